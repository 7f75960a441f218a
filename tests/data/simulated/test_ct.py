"""Simulated CT: determinism, plausible HU, and that it knows the readers' mean only."""

import dataclasses
import itertools

import numpy as np
import pytest

from probunet.data.simulated.ct import HU_RANGE, mean_outline, simulate_ct
from probunet.data.simulated.texture import random_field


@pytest.fixture(scope="module")
def some(lesion_slices):
    return lesion_slices[::400]


def test_shape_range_and_determinism(some):
    for item in some[:8]:
        image = simulate_ct(item, spacing=1.0, size=80, seed=5)
        assert image.shape == (80, 80)
        assert image.dtype == np.float32
        assert np.isfinite(image).all()
        assert image.min() >= HU_RANGE[0]
        assert image.max() <= HU_RANGE[1]
        np.testing.assert_array_equal(image, simulate_ct(item, spacing=1.0, size=80, seed=5))
        assert not np.array_equal(image, simulate_ct(item, spacing=1.0, size=80, seed=6))


def test_slices_differ(lesion_slices):
    a, b = lesion_slices[0], lesion_slices[1]
    assert a.lesion == b.lesion
    assert not np.array_equal(simulate_ct(a, 1.0, 64), simulate_ct(b, 1.0, 64))


def test_who_drew_what_is_not_in_the_image(some):
    for item in some[::8]:
        image = simulate_ct(item, 1.0, 64)
        for order in itertools.islice(itertools.permutations(range(4)), 1, None, 7):
            shuffled = dataclasses.replace(item, readings=tuple(item.readings[k] for k in order))
            np.testing.assert_array_equal(image, simulate_ct(shuffled, 1.0, 64))


def test_only_the_mean_enters(lesion_slices):
    """Two readers with one outline each and one reader with both have the same mean, so the same image."""
    item = next(s for s in lesion_slices if s.empty_readings == 0)
    a = item.readings[0]
    shift = 30
    b = tuple(dataclasses.replace(c, points=c.points + np.int16(shift)) for c in a)
    apart = dataclasses.replace(item, readings=(a, b, (), ()))
    together = dataclasses.replace(item, readings=(a + b, (), (), ()))
    np.testing.assert_array_equal(mean_outline(apart, 1.0, 64), mean_outline(together, 1.0, 64))
    np.testing.assert_array_equal(simulate_ct(apart, 1.0, 64), simulate_ct(together, 1.0, 64))


def test_mean_outline_agrees_with_the_masks(some):
    for item in some:
        mean = mean_outline(item, 1.0, 80)
        assert 0 <= mean.min() <= mean.max() <= 1
        area = item.masks(0.25, 320).mean(axis=0).sum() / 16
        assert mean.sum() == pytest.approx(area, rel=0.1, abs=1.5)


def test_tissue_is_lung(lesion_slices):
    """Most of a patch is lung tissue; lesions that all drew and that are solid stand out, on the average."""
    images = np.stack([simulate_ct(s, 1.0, 64) for s in lesion_slices[::100]])
    assert -900 < np.median(images) < -780
    clear = [s for s in lesion_slices if s.empty_readings == 0 and s.ratings["texture"] > 4.5][::120]
    inside, around = [], []
    for item in clear:
        image, mean = simulate_ct(item, 1.0, 64), mean_outline(item, 1.0, 64)
        inside.append(image[mean > 0.9].mean() if (mean > 0.9).any() else np.nan)
        around.append(np.median(image))
    assert np.nanmean(inside) > np.mean(around) + 300


@pytest.mark.parametrize("ring", [False, True])
def test_random_fields(ring):
    rng = np.random.default_rng(0)
    fields = np.stack([random_field(rng, 180, 2.0, ring) for _ in range(30)])
    assert fields.shape == (30, 180, 180)
    assert abs(fields.mean()) < 0.1
    assert fields.std() == pytest.approx(1, abs=0.1)
    step = np.mean(fields[:, :, 1:] * fields[:, :, :-1])
    assert step > 0.7
    assert random_field(rng, 1_100, 2.0, ring).shape == (1_100, 1_100)
