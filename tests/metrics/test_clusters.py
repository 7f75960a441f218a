"""Grouping of hypotheses into groups, against distances worked out by hand."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from probunet.metrics.clusters import groups


def row(*pixels: int) -> npt.NDArray[np.uint8]:
    """A 1 x 8 hypothesis with these foreground pixels."""
    label = np.zeros((1, 8), np.uint8)
    label[0, list(pixels)] = 1
    return label


def test_near_hypotheses_are_one_group_and_far_ones_another() -> None:
    # 1 - IoU: 0,1 -> 1/4; 1,2 -> 1/4; 0,2 -> 2/5 (3 of 5 pixels shared); the last shares nothing with them.
    labels = np.stack([row(0, 1, 2, 3), row(1, 2, 3), row(1, 2, 3, 4), row(6, 7)])
    found = groups(labels, 2, 0.5)
    assert [group.members for group in found] == [[0, 1, 2], [3]]
    assert [group.frequency for group in found] == pytest.approx([0.75, 0.25])
    assert [group.representative for group in found] == [1, 3]


def test_distance_decides_what_counts_as_one() -> None:
    labels = np.stack([row(0, 1, 2, 3), row(1, 2, 3)])  # 1 - 3/4 = 0.25
    assert len(groups(labels, 2, 0.3)) == 1
    assert len(groups(labels, 2, 0.2)) == 2


def test_empty_hypotheses_are_equal_and_the_most_frequent_group_is_first() -> None:
    found = groups(np.stack([row(0, 1), row(), row()]), 2, 0.5)
    assert [group.members for group in found] == [[1, 2], [0]]


def test_one_hypothesis_is_one_group() -> None:
    (group,) = groups(row(0)[None], 2, 0.5)
    assert (group.members, group.representative, group.frequency) == ([0], 0, 1.0)
