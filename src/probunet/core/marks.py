"""What label maps mark: anything but background, where a reader knows."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from probunet.core.errors import InputError
from probunet.core.types import IGNORE


def foreground(labels: npt.NDArray[Any]) -> npt.NDArray[np.bool_]:
    """Where label maps show anything but background; ``IGNORE`` shows nothing."""
    return np.asarray((labels != 0) & (labels != IGNORE))


def marked(labels: npt.NDArray[Any], dims: int = 2) -> npt.NDArray[np.bool_]:
    """Whether label maps (..., *size) of so many axes show anything but background; ``IGNORE`` shows nothing."""
    return np.asarray(foreground(labels).any(axis=tuple(range(-dims, 0))))


def refuse_unmarked(labels_are_marked: bool, some_are_unknown: bool) -> None:
    """Refuse labels of which none is a mark and some are ``IGNORE``: masks of 0 and 255, which say another thing here.

    Raises:
        InputError: these are such labels.
    """
    if some_are_unknown and not labels_are_marked:
        raise InputError(
            f"the labels hold no class but the background, and {IGNORE}, which says that nothing is known there; write "
            f"the marks of masks of 0 and {IGNORE} as 1"
        )


def marked_places(labels: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """(M, axes) pixels or voxels that any of some label maps (R, *size) marks, in the order of the axes."""
    return np.argwhere(foreground(labels).any(axis=0))


def box_of(labels: npt.NDArray[Any]) -> list[tuple[int, int]] | None:
    """First position and end, along each axis, of all that label maps (R, *size) mark; ``None`` where it is nothing."""
    marks = np.asarray(foreground(labels).any(axis=0))
    if not marks.any():
        return None
    axes = range(marks.ndim)
    lines = [np.flatnonzero(marks.any(axis=tuple(other for other in axes if other != axis))) for axis in axes]
    return [(int(line[0]), int(line[-1]) + 1) for line in lines]


def fullest_slice(labels: npt.NDArray[Any]) -> int | None:
    """The slice on which label maps (R, D, H, W) mark most, the first of several; ``None`` where it is nothing."""
    counts = foreground(labels).sum(axis=(0, 2, 3))
    return int(counts.argmax()) if counts.any() else None
