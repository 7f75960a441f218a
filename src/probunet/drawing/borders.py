"""The line around what is marked, as corners of pixels, so that it can be dashed."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import numpy.typing as npt


def borders(mask: npt.NDArray[np.bool_]) -> list[npt.NDArray[np.int64]]:
    """Closed lines around the marked pixels, each a walk (corners, 2) of row and column that ends where it began.

    Args:
        mask: (H, W).

    Returns:
        What is marked lies to the right of every line; pixel (0, 0) has the corners (0, 0) to (1, 1).

    >>> borders(np.array([[True]]))[0].tolist()
    [[0, 0], [0, 1], [1, 1], [1, 0], [0, 0]]
    """
    padded = np.pad(mask, 1)
    steps: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    # of each side of a pixel: where its neighbour lies, its first corner, and the way along it
    for neighbour, corner, way in (
        ((-1, 0), (0, 0), (0, 1)),
        ((0, 1), (0, 1), (1, 0)),
        ((1, 0), (1, 1), (0, -1)),
        ((0, -1), (1, 0), (-1, 0)),
    ):
        beside: Any = np.roll(padded, (-neighbour[0], -neighbour[1]), axis=(0, 1))
        for row, column in np.argwhere((padded & ~beside)[1:-1, 1:-1]).tolist():
            first = row + corner[0], column + corner[1]
            steps[first].append((first[0] + way[0], first[1] + way[1]))
    walks = []
    for start in sorted(steps):
        while steps[start]:  # as many sides lead into a corner as out of it, so that each walk ends where it began
            walk = [start, steps[start].pop()]
            while walk[-1] != start:
                walk.append(steps[walk[-1]].pop())
            walks.append(np.array(walk))
    return walks
