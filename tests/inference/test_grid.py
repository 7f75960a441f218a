"""From a picture's pixels to a model's and back: places computed by hand, nothing shifted, nothing made up."""

import numpy as np
import pytest

from probunet.inference.grid import Grid


def test_places_by_hand():
    """Four pixels of 1 mm, two of 2 mm: the middle of a coarse one lies between two fine ones (weights 1 3 3 1)."""
    there = Grid((4, 4), (0.5, 0.5))
    ramp = np.broadcast_to(np.array([0.0, 1, 2, 3], np.float32), (4, 4))
    # pixel 0 at 0.5: weights of pixels 0, 1, 2 are 3, 3, 1 of 7, as the one to the left is outside
    assert there.seen == (2, 2)
    assert there.to_model(ramp)[0] == pytest.approx([5 / 7, 3 - 5 / 7])
    # and back: pixel 1 at 0.25 of the coarse ones
    coarse = np.broadcast_to(np.array([0.0, 4.0], np.float32), (2, 2))
    assert there.to_picture(coarse)[0] == pytest.approx([0, 1, 3, 4])


def test_a_coarse_picture_gets_its_own_edges_back():
    """Pixels of 2 mm for a model of 1 mm: what fills fine pixels 4 to 11 fills coarse pixels 2 to 5, and no others."""
    grid = Grid((8, 8), (2.0, 2.0))
    fine = np.zeros((16, 16), np.uint8)
    fine[4:12, 4:12] = 1
    expected = np.zeros((8, 8), np.uint8)
    expected[2:6, 2:6] = 1
    assert np.array_equal(grid.labels_to_picture(fine), expected)


@pytest.mark.parametrize("scale", [0.5, 0.7, 1.25, 2.0, 2.6])
def test_the_middle_of_mass_stays(scale):
    """A disc that lies anywhere comes back where it was: a shift of a quarter of a pixel would show."""
    rows, columns = np.mgrid[:96, :96]
    middles = []
    for middle in np.random.default_rng(0).uniform(35, 60, (20, 2)):
        disc = (np.hypot(rows - middle[0], columns - middle[1]) < 17).astype(np.uint8)
        grid = Grid((96, 96), (scale, scale))
        returned = grid.labels_to_picture(grid.labels_to_model(disc))
        middles.append(np.argwhere(returned).mean(axis=0) - np.argwhere(disc).mean(axis=0))
    assert np.abs(np.mean(middles, axis=0)).max() < 0.05


def test_the_model_sees_exactly_its_own_pixel_size():
    """101 px of 0.7 mm for 1 mm: a pattern of 10 mm keeps its period, although 70.7 px are no whole number."""
    grid = Grid((101, 1), (0.7, 1.0))
    assert grid.seen == (71, 1)
    places = (np.arange(101) - 50) * 0.7
    seen = grid.to_model(np.sin(2 * np.pi * places / 10)[:, None])[:, 0]
    expected = np.sin(2 * np.pi * (np.arange(71) - 35) / 10)
    assert np.abs(seen - expected)[2:-2].max() < 0.06


def test_classes_are_never_made_up_and_shares_add_up():
    labels = np.random.default_rng(0).choice([0, 3, 255], (2, 20, 30)).astype(np.uint8)
    for scale in ((0.4, 0.9), (1.7, 3.1)):
        grid = Grid((20, 30), scale)
        seen = grid.labels_to_model(labels)
        assert seen.shape == (2, *grid.seen)
        assert set(np.unique(seen)) <= {0, 3, 255}
        shares = np.random.default_rng(0).dirichlet(np.ones(3), grid.seen).transpose(2, 0, 1).astype(np.float32)
        assert np.allclose(grid.to_picture(shares).sum(axis=0), 1, atol=1e-5)


def test_the_same_pixel_size_changes_nothing():
    values = np.random.default_rng(0).normal(size=(1, 5, 7)).astype(np.float32)
    assert np.array_equal(Grid((5, 7)).to_model(values), values)
