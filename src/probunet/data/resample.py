"""Images and volumes with their readings from one pixel size to another, around their middle."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from probunet.core.triangles import places, triangles
from probunet.data.prepare import Drawn


def largest_size(side: int, native: Iterable[float], spacing: float) -> int:
    """Give the largest even number of pixels of ``spacing`` mm that lies inside every crop.

    Args:
        side: pixels along the crops' shorter side.
        native: mm of the crops' pixels.
        spacing: mm of the target pixels.
    """
    return int(side * min(native) / spacing + 1e-6) // 2 * 2


def resample(
    image: npt.NDArray[Any],
    labels: npt.NDArray[np.uint8],
    native: Sequence[float],
    spacing: Sequence[float],
    counts: Sequence[int] | None = None,
) -> Drawn:
    """Bring an image or a volume with its readings to another pixel size, around its middle.

    The image by a triangle as wide as the coarser of the two pixels (antialiased linear resampling), the labels by what
    lies under the middle of each target pixel, which is the rule for outlines on any grid (``contours.py``), so that
    nothing is made up between the labels.

    Args:
        image: (C, *size).
        labels: (R, *size).
        native: mm of their pixels, by axis.
        spacing: mm of the target pixels, by axis.
        counts: target pixels along each axis; as many as fit into the image if not given.

    Returns:
        (C, *counts) of the type of ``image``, whole numbers rounded, and (R, *counts).
    """
    sides = image.shape[1:]
    steps = [mm / size for mm, size in zip(spacing, native, strict=True)]
    fitting = counts_at(sides, native, spacing)
    counts = fitting if counts is None else counts
    if any(count > most for count, most in zip(counts, fitting, strict=True)):
        raise ValueError(f"{list(counts)} px of {list(spacing)} mm do not fit into {sides} px of {list(native)} mm")
    middles, values = [places(*axis) for axis in zip(sides, counts, steps, strict=True)], image
    for axis, weights in enumerate(triangles(*axis).toarray() for axis in zip(sides, counts, steps, strict=True)):
        if not np.array_equal(weights, np.eye(len(weights))):
            values = np.moveaxis(np.tensordot(weights, values, axes=(1, axis + 1)), 0, axis + 1)
    if np.issubdtype(image.dtype, np.integer):
        values = np.rint(values)
    return values.astype(image.dtype), _below(labels, middles)


def counts_at(sides: Sequence[int], native: Sequence[float], spacing: Sequence[float]) -> list[int]:
    """Target pixels along each axis that lie inside an image, at least one."""
    return [max(int(side * mm / to + 1e-6), 1) for side, mm, to in zip(sides, native, spacing, strict=True)]


def _below(labels: npt.NDArray[np.uint8], middles: list[npt.NDArray[np.float64]]) -> npt.NDArray[np.uint8]:
    """Labels (R, *size) of the pixels that lie under the middles of target pixels, by axis."""
    nearest = [
        np.floor(place + 0.5).astype(np.int64).clip(0, side - 1)
        for place, side in zip(middles, labels.shape[1:], strict=True)
    ]
    grid: tuple[Any, ...] = (slice(None), *np.ix_(*nearest))
    return labels[grid]
