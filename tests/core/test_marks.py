"""What label maps mark: background and what nobody knows are no marks."""

import numpy as np

from probunet.core.marks import box_of, foreground, fullest_slice, marked, marked_places
from probunet.core.types import IGNORE

MAPS = np.array([[[0, 1, 0], [IGNORE, 0, 0]], [[0, 0, 0], [0, IGNORE, 2]]], np.uint8)
"""(2, 2, 3): two label maps, or one of two slices."""


def test_marks_are_anything_but_background_where_a_reader_knows():
    assert foreground(MAPS).tolist() == [[[False, True, False], [False] * 3], [[False] * 3, [False, False, True]]]
    assert marked(MAPS).tolist() == [True, True]
    assert marked(MAPS[None], dims=3).tolist() == [True]
    assert marked(np.full((1, 2, 2), IGNORE)).tolist() == [False]


def test_places_and_the_box_are_those_of_all_maps_together():
    assert marked_places(MAPS).tolist() == [[0, 1], [1, 2]]
    assert box_of(MAPS) == [(0, 2), (1, 3)]
    assert box_of(MAPS[:, :, :1]) is None


def test_the_fullest_slice_is_the_first_of_those_with_most_marks():
    assert fullest_slice(MAPS[None]) == 0
    assert fullest_slice(np.concatenate([MAPS, MAPS[:1] + 1])[None]) == 2
    assert fullest_slice(np.zeros((2, 4, 3, 3), np.uint8)) is None
