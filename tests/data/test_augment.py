"""One draw deforms the image and every label alike, and labels are never blended."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch

from probunet.core.types import IGNORE
from probunet.data.augment import Augmentation, draw_brightness, sampling_grid, warp_image, warp_labels

NONE = Augmentation(rotation=0, scale=1, shear=0, elastic=0)


def grid(augmentation: Augmentation, source=(40, 40), crop=(32, 32), batch=8, seed=0) -> torch.Tensor:
    return sampling_grid(augmentation, batch, source, crop, torch.Generator().manual_seed(seed))


def labels(batch: int = 8, classes: tuple[int, ...] = (0, 3, 7), size: int = 40) -> torch.Tensor:
    chosen = np.random.default_rng(0).choice(classes, size=(batch, 4, size, size))
    return torch.from_numpy(chosen.astype(np.uint8))


def test_nothing_to_do_is_the_identity():
    found = labels()
    same = grid(NONE, (40, 40), (40, 40))
    assert torch.equal(warp_labels(found, same), found)
    torch.testing.assert_close(warp_image(found.float(), same), found.float(), atol=1e-4, rtol=0)


def test_a_shift_alone_is_a_crop():
    image = torch.arange(1600, dtype=torch.float32).reshape(1, 1, 40, 40)
    shifted = grid(Augmentation(rotation=0, scale=1, shear=0, elastic=0, shift=4), batch=1)
    top_left = shifted[0, 0, 0]
    assert (top_left >= 0).all()
    assert (top_left <= 8).all()
    expected = top_left[1] * 40 + top_left[0]
    torch.testing.assert_close(warp_image(image, shifted)[0, 0, 0, 0], expected, atol=1e-2, rtol=0)


PARITIES = list(product((40, 41), (39, 40), (32, 33), (31, 32)))  # stored height, width; crop height, width
PARITIES += [(65, 65, 48, 48), (181, 217, 128, 128), (1, 7, 1, 4)]


@pytest.mark.parametrize("sizes", PARITIES)
@pytest.mark.parametrize("mirror", [False, True])
def test_an_undeformed_crop_is_a_slice_of_the_array_to_the_bit(sizes, mirror):
    """Each pixel and each label is one of the array's own; all places occur, and nothing beside them."""
    height, width, h, w = sizes
    random = np.random.default_rng(0)
    row, column = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    values = torch.from_numpy(random.normal(0, 1, (height, width)).astype(np.float32))
    image = torch.stack([row, column, values])[None]  # each pixel says where it is from
    label = torch.from_numpy(random.integers(0, 9, (1, 3, height, width), dtype=np.uint8))
    few = (height - h + 1) * (width - w + 1) <= 100
    batch = 100 if h >= 100 else 400 if few else 1000  # drawn windows; all places occur in the small ones
    places = grid(replace(NONE, mirror=mirror), (height, width), (h, w), batch)
    warped = warp_image(image.expand(batch, -1, -1, -1), places), warp_labels(label.expand(batch, -1, -1, -1), places)
    top, left = warped[0][:, 0].amin(dim=(1, 2)).long(), warped[0][:, 1].amin(dim=(1, 2)).long()
    rows = (top[:, None] + torch.arange(h))[:, :, None]
    columns = (left[:, None] + torch.arange(w))[:, None, :]
    flipped = warped[0][:, 1, 0, 0] != left
    columns = torch.where(flipped[:, None, None], columns.flip(-1), columns)
    assert torch.equal(warped[0], image[0][:, rows, columns].movedim(0, 1))
    assert torch.equal(warped[1], label[0][:, rows, columns].movedim(0, 1))
    assert mirror or not flipped.any()
    seen = set(zip(top.tolist(), left.tolist(), strict=True))
    assert len(seen) > 0.9 * min((height - h + 1) * (width - w + 1), batch / 4)
    if batch < 400:
        return
    for axis, margin in enumerate((height - h, width - w)):
        assert {place[axis] for place in seen} >= set(range(1, margin)) | {margin // 2}


@pytest.mark.parametrize("size", [1, 2, 5, 8])
@pytest.mark.parametrize("stored", [8, 9])
def test_turns_and_mirrors_are_the_eight_symmetries_of_the_square_to_the_bit(size, stored):
    random = np.random.default_rng(0)
    image = torch.from_numpy(random.normal(0, 1, (1, 1, stored, stored)).astype(np.float32))
    label = torch.from_numpy(random.integers(0, 9, (1, 2, stored, stored), dtype=np.uint8))
    places = grid(replace(NONE, mirror=True, turn=True, shift=0), (stored, stored), (size, size), 400)
    pixels = warp_image(image.expand(400, -1, -1, -1), places)
    labels_ = warp_labels(label.expand(400, -1, -1, -1), places)
    first = (stored - size) // 2
    window = (..., slice(first, first + size), slice(first, first + size))
    times = []
    for turns, mirrored in product(range(4), (False, True)):
        shown, marked = (torch.rot90(array[window][0], turns, (-2, -1)) for array in (image, label))
        shown, marked = (shown.flip(-1), marked.flip(-1)) if mirrored else (shown, marked)
        same = (pixels == shown).flatten(1).all(dim=1)
        assert torch.equal(labels_[same], marked.expand(int(same.sum()), -1, -1, -1))
        times.append(int(same.sum()))
    assert sum(times) == (400 if size > 1 else 8 * 400)
    assert min(times) > 25  # 50 expected


@pytest.mark.parametrize("sizes", PARITIES)
def test_a_shift_is_a_limit_on_both_sides_of_the_central_crop(sizes):
    height, width, h, w = sizes
    image = torch.arange(height * width, dtype=torch.float32).reshape(1, 1, height, width)
    for shift in (0, 2):
        places = grid(replace(NONE, shift=shift), (height, width), (h, w), batch=200)
        first = warp_image(image.expand(200, -1, -1, -1), places)[:, 0, 0, 0].int().numpy()
        for found, have, want in ((first // width, height, h), (first % width, width, w)):
            middle = (have - want) // 2
            allowed = range(max(0, middle - shift), min(have - want, middle + shift) + 1)
            assert set(found.tolist()) == set(allowed)


@pytest.mark.parametrize("augmentation", [Augmentation(), Augmentation(elastic=6, rotation=90, scale=2, mirror=True)])
def test_labels_are_never_blended(augmentation):
    warped = warp_labels(labels(), grid(augmentation))
    assert set(warped.unique().tolist()) <= {0, 3, 7, IGNORE}


def test_outside_the_stored_image_is_ignored_and_only_there():
    everywhere = torch.ones(8, 1, 40, 40, dtype=torch.uint8)
    places = grid(Augmentation(scale=2, elastic=0), (40, 40), (40, 40))
    warped = warp_labels(everywhere, places)[:, 0]
    inside = ((places >= -0.5) & (places < 39.5)).all(dim=-1)
    clearly = ((places - 19.5).abs() - 20).abs().amin(dim=-1) > 1e-3
    assert (warped == IGNORE).any()
    assert torch.equal((warped != IGNORE)[clearly], inside[clearly])


def test_image_and_labels_move_together():
    """A label painted into the image is found where the label is found, up to the interpolated edge."""
    disc = torch.zeros(8, 1, 40, 40, dtype=torch.uint8)
    disc[..., 12:24, 16:30] = 1
    places = grid(Augmentation(mirror=True, elastic=2))
    image, label = warp_image(disc.float(), places), warp_labels(disc, places)
    known = label != IGNORE
    assert torch.equal(
        (image > 0.5)[known & ((image - 0.5).abs() > 0.49)], (label == 1)[known & ((image - 0.5).abs() > 0.49)]
    )


def test_the_same_seed_gives_the_same_deformation_and_examples_differ():
    assert torch.equal(grid(Augmentation(), seed=3), grid(Augmentation(), seed=3))
    assert not torch.equal(grid(Augmentation(), seed=3), grid(Augmentation(), seed=4))
    one = grid(Augmentation())
    assert not torch.equal(one[0], one[1])


def test_rotation_keeps_distances_and_scale_changes_them():
    def step(places: torch.Tensor) -> torch.Tensor:
        return (places[:, 0, 1] - places[:, 0, 0]).norm(dim=-1)

    rotated = step(grid(Augmentation(rotation=90, scale=1, shear=0, elastic=0)))
    torch.testing.assert_close(rotated, torch.ones(8), atol=1e-4, rtol=0)
    scaled = step(grid(Augmentation(rotation=0, scale=1.5, shear=0, elastic=0), batch=200))
    assert 1 / 1.51 < scaled.min() < 0.72
    assert 1.4 < scaled.max() < 1.51


def test_as_many_examples_as_asked_for_are_deformed():
    places = grid(Augmentation(probability=0.3, shift=0), batch=400)
    untouched = grid(Augmentation(probability=0, shift=0), batch=1)
    share = (places - untouched).abs().amax(dim=(1, 2, 3)).gt(1e-3).float().mean()
    assert 0.2 < share < 0.4


def test_brightness_is_a_power_of_the_grey_level(generator):
    raw = np.full((4000, 1, 1, 1), 51, np.uint8)  # 51 / 255 = 0.2
    found = draw_brightness(Augmentation(gamma=(0.5, 2.0), gamma_probability=0.25), raw, generator)[:, 0, 0, 0]
    exponent = np.log(found / 255) / np.log(0.2)
    changed = np.abs(exponent - 1) > 1e-4
    assert changed.mean() == pytest.approx(0.25, abs=0.03)
    assert exponent.min() >= 0.5 - 1e-4
    assert exponent.max() <= 2 + 1e-4
    assert np.median(exponent[changed]) == pytest.approx(1, abs=0.1), "even on a logarithmic scale"


def test_brightness_stays_where_it_is_not_asked_for(generator):
    raw, state = np.full((2, 1, 1, 1), 7, np.uint8), generator.get_state()
    assert draw_brightness(Augmentation(), raw, generator) is raw
    assert torch.equal(generator.get_state(), state)
