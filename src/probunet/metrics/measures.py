"""How large hypotheses are, as a distribution: volume or area, longest diameter in a slice, and how many are empty."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import ConvexHull
from scipy.spatial.distance import cdist

from probunet.core.errors import InputError
from probunet.core.numbers import checked_spacing, whole_number
from probunet.metrics.distance import Floats, check_map
from probunet.metrics.overlap import Maps, as_array

Mask = npt.NDArray[np.bool_]
_TOUCHING = np.ones((3, 3), bool)


@dataclass(frozen=True)
class Spread:
    """Where the values of hypotheses lie; quantiles between two values are interpolated."""

    median: float
    interval_50: tuple[float, float]
    """Quantiles .25 and .75."""
    interval_90: tuple[float, float]
    """Quantiles .05 and .95."""

    @classmethod
    def of(cls, values: Floats) -> Spread:
        """Of (n,) values."""
        low, lower, median, upper, high = np.quantile(values, (0.05, 0.25, 0.5, 0.75, 0.95)).tolist()
        return cls(median, (lower, upper), (low, high))

    def as_json(self) -> dict[str, Any]:
        """As plain data."""
        return {"median": self.median, "interval_50": list(self.interval_50), "interval_90": list(self.interval_90)}


@dataclass(frozen=True)
class Sizes:
    """How large one class is in each of n maps; all 0 where a map has nothing of it."""

    size: Floats
    """(n,) volumes, or areas of maps of one slice."""
    diameter: Floats
    """(n,) longest diameter within a slice."""
    perpendicular: Floats
    """(n,) longest diameter perpendicular to it in the same slice and part."""
    unit: str
    """Of ``size``: mm3, mm2, voxels or pixels."""
    length: str = "pixels"
    """Unit of the diameters: mm or pixels."""

    @property
    def empty(self) -> float:
        """Share of the maps that have nothing of the class."""
        return float((self.size == 0).mean())

    def above(self, threshold: float) -> float:
        """Share of the maps that are larger than a threshold, in their unit."""
        return float((self.size > threshold).mean())

    def as_json(self, above: Sequence[float] = ()) -> dict[str, Any]:
        """As plain data; empty maps count in all of it, with 0.

        Args:
            above: thresholds t for which P(size > t) is wanted, in the unit of the sizes.
        """
        return {
            "unit": self.unit,
            **Spread.of(self.size).as_json(),
            "probability_above": {f"{threshold:g}": self.above(threshold) for threshold in above},
            "probability_empty": self.empty,
            "diameter": {"unit": self.length, **Spread.of(self.diameter).as_json()},
            "perpendicular_diameter": {"unit": self.length, **Spread.of(self.perpendicular).as_json()},
        }


def sizes(maps: Maps, label: int = 1, spacing: Sequence[float | None] | None = None) -> Sizes:
    """Volume and longest diameter of a class in every map, as radiologists measure it (RECIST 1.1).

    The diameter is the longest distance between two points of the outline of one connected part (corners connect) in
    one slice; the largest over the slices counts. The outline goes through the middles of the pixels' edges, so that n
    pixels in a row are n pixels long. The perpendicular diameter is the longest chord of that part's convex hull at
    right angles to it.

    Args:
        maps: (n, H, W) or (n, D, H, W) integer labels, slices through the plane first; memory-mapped ones are read
            slice by slice.
        label: the class.
        spacing: mm of a pixel along each spatial axis, (H, W) or (D, H, W); pixels and voxels if not given. Where the
            distance between slices is ``None``, volumes are in voxels.

    Raises:
        InputError: no integer maps, not two or three spatial axes, or a spacing that does not fit them.

    >>> square = np.zeros((1, 3, 8, 8), np.uint8)
    >>> square[0, 1, 2:6, 2:5] = 1
    >>> measured = sizes(square, spacing=(2.0, 0.5, 0.5))
    >>> measured.size.tolist(), measured.unit, measured.empty
    ([6.0], 'mm3', 0.0)
    """
    check_map("maps", maps)
    whole_number("label", label, 0)
    axes = maps.ndim - 1
    if axes not in (2, 3) or not len(maps):
        raise InputError(f"maps of shape {tuple(maps.shape)} are not one or more label maps (n, H, W) or (n, D, H, W)")
    in_plane = isinstance(spacing, Sequence) and len(spacing) == axes == 3 and spacing[0] is None
    mm = checked_spacing((1.0, *spacing[1:]) if in_plane and spacing else spacing, axes)
    known = spacing is not None and not in_plane
    unit = {(2, False): "pixels", (3, False): "voxels", (2, True): "mm2", (3, True): "mm3"}[axes, known]
    counts, longest = np.zeros(len(maps)), np.zeros((len(maps), 2))
    for i, labels in enumerate(maps):
        for slice_labels in labels if axes == 3 else (labels,):
            mask = as_array(slice_labels) == label
            count = np.count_nonzero(mask)
            counts[i] += count
            if count:
                longest[i] = max(tuple(longest[i]), _diameters(mask, (mm[-2], mm[-1]), longest[i, 0]))
    size = counts * math.prod(mm) if known else counts
    return Sizes(size, longest[:, 0], longest[:, 1], unit, "pixels" if spacing is None else "mm")


def _diameters(mask: Mask, mm: tuple[float, float], at_least: float) -> tuple[float, float]:
    """Longest and perpendicular diameter of the part of a slice with the longest; 0 where all are below a length."""
    best = 0.0, 0.0
    rows, columns = (np.flatnonzero(mask.any(axis=axis)) for axis in (1, 0))
    mask = mask[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    if math.hypot(mask.shape[0] * mm[0], mask.shape[1] * mm[1]) < at_least:
        return best
    parts, _ = ndimage.label(mask, _TOUCHING)
    for number, box in enumerate(ndimage.find_objects(parts), start=1):
        part = parts[box] == number
        if math.hypot(part.shape[0] * mm[0], part.shape[1] * mm[1]) >= max(at_least, best[0]):
            best = max(best, _of_part(part, mm))
    return best


def _of_part(part: Mask, mm: tuple[float, float]) -> tuple[float, float]:
    """Longest and perpendicular diameter of one connected part that fills its box."""
    rows = np.arange(len(part))
    first, last = part.argmax(axis=1), part.shape[1] - 1 - part[:, ::-1].argmax(axis=1)
    steps = ((0, -0.5, first), (0, 0.5, last), *((half, 0, ends) for half in (-0.5, 0.5) for ends in (first, last)))
    points = np.concatenate([np.stack([rows + y, columns + x], axis=1) for y, x, columns in steps]) * np.array(mm)
    hull = points[ConvexHull(points).vertices]
    away = cdist(hull, hull)
    start, end = np.unravel_index(away.argmax(), away.shape)
    longest = float(away[start, end])
    along = (hull[end] - hull[start]) / longest
    t, s = (hull - hull[start]) @ along, (hull - hull[start]) @ np.array([-along[1], along[0]])
    ring = np.roll(np.arange(len(hull)), -int(start))  # from one end of the diameter around to it again
    turn = int(np.flatnonzero(ring == end)[0])
    forth, back = ring[: turn + 1], np.append(ring[turn:], start)[::-1]
    chords = np.interp(t, t[forth], s[forth]) - np.interp(t, t[back], s[back])
    return longest, float(np.abs(chords).max())


def gap_share(maps: Maps, label: int = 1) -> Floats:
    """Share (B,) of the maps (B, N, D, H, W) of each image in which an empty slice lies between two that are not.

    A map without the class has no gap. Readers hardly ever leave one; a model that speaks slice by slice does.

    Raises:
        InputError: these are no volumes.

    >>> volume = np.array([1, 0, 1, 1, 1, 0], np.uint8).reshape(1, 2, 3, 1, 1)  # 1 0 1 and 1 1 0
    >>> gap_share(volume).tolist()
    [0.5]
    """
    if maps.ndim != 5:
        raise InputError(f"maps of shape {tuple(maps.shape)} are no volumes (B, N, D, H, W); gaps are between slices")
    marked = (as_array(maps) == label).any(axis=(-2, -1))
    depth = marked.shape[-1]
    first, last = marked.argmax(axis=-1), depth - 1 - marked[..., ::-1].argmax(axis=-1)
    gaps = marked.any(axis=-1) & (last - first + 1 > marked.sum(axis=-1))
    return np.asarray(gaps.mean(axis=1))
