"""Patches of volumes: drawn once for image and readings, padded beyond the volume, moved towards marks."""

from functools import partial

import numpy as np
import pytest
import torch
from small_data import VOLUMES, ball

from probunet.core.errors import InputError
from probunet.core.types import IGNORE
from probunet.data.augment import Augmentation
from probunet.data.batches import EvaluationImages, SharedBatches
from probunet.data.manifest import Case
from probunet.data.prepare_volumes import Volume, VolumeSource, write_volumes
from probunet.data.store import Store
from probunet.data.training_batches import TrainingBatches

NONE = Augmentation(probability=0, elastic=0, shift=0)


def stream(store, **changes) -> TrainingBatches:
    chosen = {"store": store, "crop": (4, 8, 8), "batch_size": 4, "augmentation": NONE, "seed": 0, "all_readers": True}
    return TrainingBatches(**{**chosen, **changes})


def test_a_patch_is_the_middle_of_the_volume_of_the_image_and_of_every_reading(volumes):
    batches = stream(volumes)
    batch = batches.batch(0)
    assert (batch.image.shape, batch.label.shape, batch.labels.shape) == (
        (4, 2, 4, 8, 8),
        (4, 4, 8, 8),
        (4, 3, 4, 8, 8),
    )
    for k, name in enumerate(batches.names(0)):
        volume = ball(int(name[-1]))
        corner = [(side - want) // 2 for side, want in zip(volume.labels.shape[1:], (4, 8, 8), strict=True)]
        window = (..., *(slice(at, at + want) for at, want in zip(corner, (4, 8, 8), strict=True)))
        np.testing.assert_array_equal(batch.image[k], ((volume.image[window] - 50) / 60).astype(np.float32))
        np.testing.assert_array_equal(batch.labels[k], volume.labels[window])
        np.testing.assert_array_equal(batch.label[k], batch.labels[k, batch.reader[k]])


def test_batches_are_a_function_of_seed_and_step(volumes):
    strong = Augmentation(mirror=True, turn=True)
    first, again, other = (stream(volumes, augmentation=strong, seed=s).batch(3) for s in (1, 1, 2))
    assert torch.equal(first.image, again.image)
    assert torch.equal(first.labels, again.labels)
    assert not torch.equal(first.image, other.image)
    few = stream(volumes, augmentation=strong, seed=1, all_readers=False).batch(3)
    assert torch.equal(few.image, first.image)
    assert torch.equal(few.label, first.label)
    assert few.labels is None


def test_beyond_a_volume_the_image_repeats_its_border_and_labels_are_ignored(volumes):
    batch = stream(volumes, crop=(12, 8, 20)).batch(0)
    for k, name in enumerate(stream(volumes).names(0)):
        depth, _, width = volumes.size(int(name[-1]))
        low, left = (12 - depth) // 2, (20 - width) // 2
        assert (batch.labels[k, :, :low] == IGNORE).all()
        assert (batch.labels[k, :, low + depth :] == IGNORE).all()
        assert (batch.labels[k, :, low : low + depth, :, left : left + width] != IGNORE).all()
        assert (batch.labels[k, ..., left + width :] == IGNORE).all()
        assert torch.equal(batch.image[k, :, 0], batch.image[k, :, low])
        assert torch.equal(batch.image[k, ..., 0], batch.image[k, ..., left])


def coded(index: int) -> Volume:
    """The value of a voxel says its reading: image and labels are deformed alike where they still agree."""
    labels = np.random.default_rng(index).integers(0, 2, (1, 6, 16, 16)).astype(np.uint8)
    return Volume((100 * labels).astype(np.int16), labels)


@pytest.fixture(scope="module")
def codes(tmp_path_factory) -> Store:
    sources = [VolumeSource(Case(f"code-{i}", f"code-{i}", "train"), partial(coded, i)) for i in range(4)]
    return write_volumes(tmp_path_factory.mktemp("codes") / "store", sources, VOLUMES, np.int16, jobs=1)


def test_mirrors_and_turns_are_of_all_axes_and_the_same_for_image_and_readings(codes):
    """Without interpolation every patch is one of the sixteen symmetries, value for value."""
    batches = stream(
        codes, crop=(6, 16, 16), augmentation=Augmentation(probability=0, elastic=0, mirror=True, turn=True)
    )
    seen = set()
    for step in range(8):
        batch = batches.batch(step)
        np.testing.assert_array_equal(batch.image[:, 0] * 60 + 50, 100.0 * batch.labels[:, 0])
        for name, label in zip(batches.names(step), batch.labels[:, 0].numpy(), strict=True):
            stored = coded(int(name[-1])).labels[0]
            turned = [np.rot90(stored, turns, (1, 2)) for turns in range(4)]
            symmetries = [np.flip(map_, axes) for map_ in turned for axes in ((), (0,), (2,), (0, 2))]
            [number] = [k for k, map_ in enumerate(symmetries) if np.array_equal(map_, label)]
            seen.add(number)
    assert len(seen) > 12


def test_a_deformation_is_the_same_in_all_slices(codes):
    """In a volume whose slices are all alike, the slices of a deformed patch are all alike."""
    alike = codes.images[0][:, :1].repeat(6, axis=1)

    batches = stream(codes, crop=(3, 12, 12), augmentation=Augmentation(mirror=True))
    codes_images, codes.images = codes.images, [alike] * 4
    try:
        image = batches.batch(0).image
    finally:
        codes.images = codes_images
    assert not torch.equal(image, image.round())
    assert torch.equal(image, image[:, :, :1].expand_as(image))


def lonely(index: int) -> Volume:
    labels = np.zeros((1, 20, 40, 40), np.uint8)
    labels[0, 18, 3, 35] = 1
    return Volume(np.zeros((1, 20, 40, 40), np.int16), labels)


def test_a_share_of_the_patches_that_miss_every_mark_is_moved_to_one(tmp_path):
    sources = [VolumeSource(Case(f"c{i}", f"c{i}", "train"), partial(lonely, i)) for i in range(4)]
    store = write_volumes(tmp_path / "store", sources, VOLUMES, np.int16, jobs=1)
    shares = {}
    for marks in (0, 1 / 3, 1):
        batches = stream(store, crop=(4, 8, 8), augmentation=Augmentation(probability=0, elastic=0, marks=marks))
        labels = torch.cat([batches.batch(step).labels for step in range(20)])
        shares[marks] = float((labels == 1).flatten(1).any(dim=1).float().mean())
    assert shares[0] < 0.05
    assert shares[1 / 3] == pytest.approx(1 / 3, abs=0.15)
    assert shares[1] == 1


def test_crops_that_do_not_fit(volumes):
    with pytest.raises(InputError, match=r"a crop of 4x8 does not fit .*; give depth, height and width"):
        stream(volumes, crop=(4, 8))
    with pytest.raises(InputError, match=r"turn takes square crops, data\.crop is 6x8"):
        stream(volumes, crop=(8, 6, 8), augmentation=Augmentation(turn=True))
    assert stream(volumes, crop=6).batch(0).image.shape == (4, 2, 6, 6, 6)


def test_whole_volumes_are_evaluated_in_batches_of_one_size(volumes):
    images = EvaluationImages(volumes, "train")
    assert images.size == (9, 17, 18)
    assert [len(rows) for rows in images.batches(8)] == [1, 1, 1, 1]  # sizes alternate
    assert np.array_equal(images[1]["labels"], ball(1).labels)
    cropped = EvaluationImages(volumes, "train", crop=(4, 8, 8))
    batch = SharedBatches(cropped, 8)[0]
    assert batch["image"].shape == (4, 2, 4, 8, 8)
    assert cropped.hidden_note() is None


def test_a_crop_of_a_volume_is_around_its_marks(tmp_path):
    source = VolumeSource(Case("a", "a", "test"), partial(lonely, 0))
    store = write_volumes(tmp_path / "store", [source], VOLUMES, np.int16, jobs=1)
    images = EvaluationImages(store, "test", crop=(4, 8, 8))
    assert images.window(0) == ((16, 0, 31), (4, 8, 8))
    assert np.argwhere(images[0]["labels"][0].numpy()).tolist() == [[2, 3, 4]]
    assert images.hidden_marks() == (0, 1)
