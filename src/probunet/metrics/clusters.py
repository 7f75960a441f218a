"""Groups of hypotheses that say nearly the same, each with its frequency and a representative."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform

from probunet.metrics.convention import Convention
from probunet.metrics.distance import pairwise_distance


@dataclass(frozen=True)
class Group:
    """Hypotheses of an image that say nearly the same.

    Attributes:
        members: positions of its hypotheses.
        representative: the member that is closest to all others.
        frequency: share of all hypotheses.
    """

    members: list[int]
    representative: int
    frequency: float


ALIKE = 0.5
"""Largest 1 - IoU within a group, where nothing else is chosen."""


def groups(labels: npt.NDArray[np.uint8], num_classes: int, distance: float = ALIKE) -> list[Group]:
    """Group hypotheses whose average distance (1 - IoU) is small, most frequent group first.

    Average linkage; the IoU is averaged over the classes that either of two hypotheses has (the foreground alone
    where there are two classes), and two empty hypotheses are equal.

    Args:
        labels: (n, H, W) or (n, S, H, W) class ids; a memory-mapped array is read block by block.
        num_classes: classes K.
        distance: groups are kept apart from this average distance on, in (0, 1].
    """
    count = len(labels)
    if count == 1:
        return [Group([0], 0, 1.0)]
    apart = np.nan_to_num(
        pairwise_distance(labels[None], None, Convention(num_classes, empty="skip"), workers=1)[0], nan=0.0
    )
    np.fill_diagonal(apart, 0.0)
    numbers = fcluster(linkage(squareform(apart, checks=False), "average"), distance, "distance")
    clusters = []
    for number in np.unique(numbers):
        members = np.flatnonzero(numbers == number)
        middle = members[apart[np.ix_(members, members)].sum(axis=1).argmin()]
        clusters.append(Group(members.tolist(), int(middle), len(members) / count))
    return sorted(clusters, key=lambda group: (-group.frequency, group.members[0]))
