"""A crop with its masks from one pixel size to another, around the crop's middle."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from probunet.data.prepare import Drawn


def largest_size(side: int, native: Iterable[float], spacing: float) -> int:
    """Give the largest even number of pixels of ``spacing`` mm that lies inside every crop.

    Args:
        side: pixels along the crops' shorter side.
        native: mm of the crops' pixels.
        spacing: mm of the target pixels.
    """
    return int(side * min(native) / spacing + 1e-6) // 2 * 2


def resample_crop(
    image: npt.NDArray[np.uint8], labels: npt.NDArray[np.uint8], native: float, spacing: float, size: int
) -> Drawn:
    """Bring a crop to another pixel size.

    The image by a triangle as wide as the coarser of the two pixels (Pillow's antialiased linear resampling), the
    labels by what lies under the middle of each target pixel, which is the rule for outlines on any grid
    (``contours.py``), so that nothing is made up between the labels.

    Args:
        image: (1, H, W).
        labels: (R, H, W).
        native: mm of their pixels.
        spacing: mm of the target pixels.
        size: target pixels along either side; the target must lie inside the crop.

    Returns:
        (1, size, size) and (R, size, size).
    """
    height, width = image.shape[1:]
    step = spacing / native
    half = size * step / 2
    if half > min(height, width) / 2 + 1e-6:
        raise ValueError(f"{size} px of {spacing} mm do not fit into {width}x{height} px of {native} mm")
    box = (
        max(width / 2 - half, 0),
        max(height / 2 - half, 0),
        min(width / 2 + half, width),
        min(height / 2 + half, height),
    )
    resized = Image.fromarray(image[0]).resize((size, size), Image.Resampling.BILINEAR, box=box)
    return np.asarray(resized)[None], _below(labels, [_places(size, step, side) for side in (height, width)])


def resample_plane(
    image: npt.NDArray[Any], labels: npt.NDArray[np.uint8], native: tuple[float, float], spacing: float
) -> Drawn:
    """Bring a whole image with its readings to square pixels of another size, around its middle.

    The image by a triangle as wide as the coarser of the two pixels, the labels by what lies under the middle of each
    target pixel. The result is as large as fits into the image.

    Args:
        image: (C, H, W).
        labels: (R, H, W).
        native: row and column of their pixels in mm.
        spacing: mm of the target pixels.

    Returns:
        (C, h, w) of the type of ``image``, whole numbers rounded, and (R, h, w).
    """
    sides = image.shape[1:]
    counts = counts_at(sides, native, (spacing, spacing))
    steps = [spacing / size for size in native]
    places = [_places(*axis) for axis in zip(counts, steps, sides, strict=True)]
    rows, columns = (_triangles(*axis) for axis in zip(places, steps, sides, strict=True))
    values = rows @ image.astype(np.float64) @ columns.T
    if np.issubdtype(image.dtype, np.integer):
        values = np.rint(values)
    return values.astype(image.dtype), _below(labels, places)


def resample_volume(
    image: npt.NDArray[Any], labels: npt.NDArray[np.uint8], native: Sequence[float], spacing: Sequence[float]
) -> Drawn:
    """Bring a volume to another voxel size, around its middle; see :func:`resample_plane`.

    Args:
        image: (C, D, H, W).
        labels: (R, D, H, W).
        native: mm of their voxels, by axis.
        spacing: mm of the target voxels, by axis.

    Returns:
        (C, d, h, w) of the type of ``image``, whole numbers rounded, and (R, d, h, w).
    """
    sides = image.shape[1:]
    counts = counts_at(sides, native, spacing)
    steps = [mm / size for mm, size in zip(spacing, native, strict=True)]
    places = [_places(*axis) for axis in zip(counts, steps, sides, strict=True)]
    values = image
    for axis, weights in enumerate(map(_triangles, places, steps, sides)):
        if not np.array_equal(weights, np.eye(len(weights))):
            values = np.moveaxis(np.tensordot(weights, values, axes=(1, axis + 1)), 0, axis + 1)
    if np.issubdtype(image.dtype, np.integer):
        values = np.rint(values)
    return values.astype(image.dtype), _below(labels, places)


def counts_at(sides: Sequence[int], native: Sequence[float], spacing: Sequence[float]) -> list[int]:
    """Target pixels along each axis that lie inside an image, at least one."""
    return [max(int(side * mm / to + 1e-6), 1) for side, mm, to in zip(sides, native, spacing, strict=True)]


def _places(count: int, step: float, side: int) -> npt.NDArray[np.float64]:
    """Middles of target pixels along an axis of ``side`` pixels, in its pixels, around its middle."""
    return (np.arange(count, dtype=np.float64) - (count - 1) / 2) * step + (side - 1) / 2


def _below(labels: npt.NDArray[np.uint8], places: list[npt.NDArray[np.float64]]) -> npt.NDArray[np.uint8]:
    """Labels (R, *size) of the pixels that lie under the middles of target pixels, by axis."""
    nearest = [
        np.floor(place + 0.5).astype(np.int64).clip(0, side - 1)
        for place, side in zip(places, labels.shape[1:], strict=True)
    ]
    grid: tuple[Any, ...] = (slice(None), *np.ix_(*nearest))
    return labels[grid]


def _triangles(places: npt.NDArray[np.float64], step: float, side: int) -> npt.NDArray[np.float64]:
    """Weights (targets, side) of the pixels of an axis; each row sums to 1."""
    weights = np.maximum(1 - np.abs(places[:, None] - np.arange(side)) / max(step, 1.0), 0)
    return weights / weights.sum(axis=1, keepdims=True)
