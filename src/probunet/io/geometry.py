"""How a picture lies in space: its canonical order, spacing, and whether two lie on one grid.

World axes are those of NIfTI throughout: x to the patient's right, y to the front, z to the head, in mm. An affine
goes from (column, row, slice) to these. DICOM, NRRD and MetaImage count x to the left and y to the back (LPS).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import Any

import numpy as np
import numpy.typing as npt

from probunet.core.errors import InputError

Affine = npt.NDArray[np.float64]
Shape = tuple[int, int, int]
Spacing = tuple[float | None, float, float]
"""mm between slices, rows and columns."""

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
"""Between the axes of DICOM and those of NIfTI, either way."""
SAME = 0.01
"""Part of a voxel's smallest side by which two grids may differ anywhere and still be one."""
ASKEW = 0.01
"""Cosine between rows and columns up to which they are at right angles: the area is right to 1 in 20,000."""
TILTED = 1.0
"""Degrees from which on slices are said to lie askew."""
_HEAD, _BACK, _LEFT = np.array([0, 0, 1.0]), np.array([0, -1.0, 0]), np.array([-1.0, 0, 0])
_PLANES = ((_HEAD, _BACK, _LEFT), (_BACK, -_HEAD, _LEFT), (_LEFT, -_HEAD, _BACK))
"""Directions of slices, rows and columns as radiologists look at axial, coronal and sagittal slices."""


@dataclass(frozen=True)
class Order:
    """How the stored axes (slice, row, column) become the canonical ones.

    Attributes:
        axes: the stored axis that becomes each canonical one.
        flipped: whether each canonical axis runs against its stored one.
    """

    axes: tuple[int, int, int] = (0, 1, 2)
    flipped: tuple[bool, bool, bool] = (False, False, False)

    def canonical(self, stored: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Bring (..., slices, rows, columns) from the stored to the canonical order; a view."""
        lead = stored.ndim - 3
        turned = stored.transpose(*range(lead), *(lead + axis for axis in self.axes))
        return turned[_turns(self.flipped)]

    def native(self, canonical: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Bring (..., slices, rows, columns) from the canonical to the stored order; a view."""
        lead = canonical.ndim - 3
        turned = canonical[_turns(self.flipped)]
        return turned.transpose(*range(lead), *(lead + int(axis) for axis in np.argsort(self.axes)))

    def plane(self, frame: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Bring one stored slice (..., rows, columns) to its canonical order, where slices stay slices."""
        turned = frame.swapaxes(-1, -2) if self.axes[1] == 2 else frame
        return turned[_turns(self.flipped[1:])]

    def shape(self, stored: Shape) -> Shape:
        """The canonical shape of a stored one."""
        return stored[self.axes[0]], stored[self.axes[1]], stored[self.axes[2]]

    def affine(self, stored: Affine, shape: Shape) -> Affine:
        """The affine of the canonical grid.

        Args:
            stored: affine of the stored grid.
            shape: stored slices, rows and columns.
        """
        steps = stored[:3, [2, 1, 0]]  # of slice, row, column
        result = np.eye(4)
        origin = stored[:3, 3].copy()
        for place, (axis, flip) in enumerate(zip(self.axes, self.flipped, strict=True)):
            result[:3, 2 - place] = -steps[:, axis] if flip else steps[:, axis]
            origin += (shape[axis] - 1) * steps[:, axis] if flip else 0
        result[:3, 3] = origin
        return result


def _turns(flipped: Sequence[bool]) -> Any:
    """The index that turns the last axes round."""
    return (..., *(slice(None, None, -1 if flip else 1) for flip in flipped))


def canonical_order(affine: Affine | None, shape: Shape) -> Order:
    """The order in which radiologists look at a picture.

    A volume becomes axial: rows run to the back, columns to the patient's left, slices to the head, each stored axis
    taken for the one it is closest to. A single slice keeps its plane; in a coronal or sagittal one rows run to the
    feet. Without a place in space everything stays as it is stored.

    Args:
        affine: of the stored grid, or ``None``.
        shape: stored slices, rows and columns.
    """
    if affine is None:
        return Order()
    steps = affine[:3, [2, 1, 0]]
    directions = (steps / np.linalg.norm(steps, axis=0)).T  # of slice, row, column
    thin = [axis for axis in range(3) if shape[axis] == 1]
    candidates = list(permutations(range(3)))
    planes: tuple[tuple[npt.NDArray[np.float64], ...], ...] = _PLANES[:1]
    if len(thin) == 1:
        candidates = [axes for axes in candidates if axes[0] == thin[0]]
        planes = _PLANES
    best, wanted = max(
        ((axes, plane) for plane in planes for axes in candidates),
        key=lambda pair: sum(abs(float(w @ directions[a])) for a, w in zip(pair[0], pair[1], strict=True)),
    )
    flipped = tuple(bool(w @ directions[a] < 0) for a, w in zip(best, wanted, strict=True))
    return Order((best[0], best[1], best[2]), (flipped[0], flipped[1], flipped[2]))


def checked_affine(name: str, affine: npt.ArrayLike) -> Affine:
    """An affine that spans space.

    Raises:
        InputError: not finite, or axes that fall together.
    """
    matrix = np.array(affine, np.float64)
    steps = np.linalg.norm(matrix[:3, :3], axis=0) if np.isfinite(matrix).all() else np.zeros(3)
    if matrix.shape != (4, 4) or not (steps > 0).all() or abs(np.linalg.det(matrix[:3, :3] / steps)) < 1e-6:
        raise InputError(f"{name} lies nowhere: its directions and pixel sizes {matrix[:3].tolist()} span no space")
    return matrix


def spacing_of(name: str, affine: Affine) -> tuple[float, float, float]:
    """mm between slices, rows and columns of a grid; their product is the volume of a voxel.

    Slices may lie askew (a tilted gantry): the distance between them is that of their planes.

    Raises:
        InputError: rows and columns are not at right angles.
    """
    column, row = affine[:3, 0], affine[:3, 1]
    lengths = float(np.linalg.norm(row)), float(np.linalg.norm(column))
    cosine = abs(float(row @ column)) / (lengths[0] * lengths[1])
    if cosine > ASKEW:
        angle = np.degrees(np.arccos(min(cosine, 1.0)))
        raise InputError(f"{name} has rows and columns at an angle of {angle:.1f} degrees; resample it to right angles")
    volume = abs(float(np.linalg.det(affine[:3, :3])))
    return volume / (lengths[0] * lengths[1]), *lengths


def tilt_of(affine: Affine) -> float:
    """Degrees between the step from slice to slice and the normal of the slices: 0 but for a tilted gantry."""
    normal = np.cross(affine[:3, 0], affine[:3, 1])
    cosine = abs(float(normal @ affine[:3, 2])) / float(np.linalg.norm(normal) * np.linalg.norm(affine[:3, 2]))
    return float(np.degrees(np.arccos(min(cosine, 1.0))))


def same_grid(first: Affine, other: Affine, shape: Sequence[int]) -> bool:
    """Whether two affines put every voxel of a grid at the same place, to a hundredth of a voxel's side.

    Args:
        first: of one grid.
        other: of the other.
        shape: slices, rows and columns of both.
    """
    ends = [(0, size - 1) for size in reversed(shape)]
    corners = np.array([(c, r, s, 1.0) for c in ends[0] for r in ends[1] for s in ends[2]])
    gaps = np.linalg.norm((corners @ (first - other).T)[:, :3], axis=1)
    side = float(np.linalg.norm(first[:3, :3], axis=0).min())
    turned = np.linalg.norm(first[:3, :3] - other[:3, :3], axis=0).max()
    return bool(gaps.max() <= SAME * side and turned <= SAME * side)
