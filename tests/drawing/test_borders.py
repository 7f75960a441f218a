"""Lines around what is marked: closed, as long as the border, and with what is marked inside."""

from itertools import pairwise

import numpy as np
import pytest
from matplotlib.path import Path

from probunet.drawing.borders import borders


def test_a_pixel_and_a_ring_by_hand():
    [walk] = borders(np.array([[False, False], [False, True]]))
    assert walk.tolist() == [[1, 1], [1, 2], [2, 2], [2, 1], [1, 1]]
    ring = np.ones((3, 3), bool)
    ring[1, 1] = False
    assert sorted(len(walk) - 1 for walk in borders(ring)) == [4, 12]
    assert borders(np.zeros((2, 3), bool)) == []


@pytest.mark.parametrize("seed", range(4))
def test_they_enclose_what_is_marked_and_no_side_is_walked_twice(seed):
    mask = np.random.default_rng(seed).random((9, 7)) < 0.5
    walks = borders(mask)
    padded = np.pad(mask, 1)
    sides = (padded[1:] != padded[:-1]).sum() + (padded[:, 1:] != padded[:, :-1]).sum()
    steps = [tuple(sorted(map(tuple, pair))) for walk in walks for pair in pairwise(walk)]
    assert len(steps) == len(set(steps)) == sides
    assert all((walk[0] == walk[-1]).all() for walk in walks)
    middles = np.argwhere(np.ones_like(mask)) + 0.5
    inside = sum(Path(walk).contains_points(middles).astype(int) for walk in walks) % 2
    assert (inside.reshape(mask.shape) == mask).all()
