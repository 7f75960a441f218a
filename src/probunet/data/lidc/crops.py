"""Crops of one scan around its lesions: CT at the wanted spacing with the four readings."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import numpy.typing as npt
from PIL import Image

from probunet.core.intensity import AIR
from probunet.data.lidc.contours import Grid, rasterise
from probunet.data.lidc.lesions import ScanLesions
from probunet.io.dicom import read_hu
from probunet.io.series import Series

Crops = tuple[npt.NDArray[np.int16], npt.NDArray[np.uint8]]
"""(N, 1, size, size) HU and (N, 4, size, size) masks."""


def crop_scan(series: Series, lesions: ScanLesions, spacing: float, size: int) -> Crops:
    """Cut a square around every lesion slice, centred on the middle of the box around its readings.

    Every CT slice is read once and only if a lesion is on it; one slice is in memory at a time.

    Args:
        series: the scan.
        lesions: its lesion slices.
        spacing: mm of the target pixels.
        size: target pixels along either side.

    Returns:
        Crops in the order of ``lesions.slices``.

    Raises:
        InputError: a slice cannot be read.
    """
    row_spacing, column_spacing = series.slices[0].spacing
    count = len(lesions.slices)
    images = np.empty((count, 1, size, size), dtype=np.int16)
    labels = np.empty((count, 4, size, size), dtype=np.uint8)
    by_slice: dict[int, list[int]] = defaultdict(list)
    for number, (_, index) in enumerate(lesions.slices):
        by_slice[index].append(number)
    for index, numbers in by_slice.items():
        hu = read_hu(series.slices[index])
        for number in numbers:
            item = lesions.slices[number][0]
            grid = Grid.centred(item.centre, spacing, size, column_spacing, row_spacing)
            images[number, 0] = resample(hu, grid)
            labels[number] = [rasterise(reading, grid) for reading in item.readings]
    return images, labels


def resample(hu: npt.NDArray[np.float32], grid: Grid) -> npt.NDArray[np.int16]:
    """Bring a slice onto a grid: linear between pixels where the grid is finer, an average where it is coarser.

    The weights are a triangle as wide as the coarser of the two pixels (Pillow's antialiased linear resampling), so
    nothing aliases and no value is made that the slice does not have. Beyond the slice is air.

    Args:
        hu: (rows, columns).
        grid: the target pixels.

    Returns:
        (height, width), rounded, -1,024 HU or more.
    """
    (x, y), (step_x, step_y) = grid.origin, grid.steps
    left, top = x + 0.5 - step_x / 2, y + 0.5 - step_y / 2  # edges, in pixels from the edge of the slice
    right, bottom = left + step_x * grid.width, top + step_y * grid.height
    margin = 1 + int(np.ceil(max(step_x, step_y)))  # what the triangle reaches beyond the grid
    low = np.floor([top, left]).astype(int) - margin
    high = np.ceil([bottom, right]).astype(int) + margin
    window = np.full((high - low).tolist(), AIR, dtype=np.float32)
    inner_low, inner_high = np.clip(low, 0, hu.shape), np.clip(high, 0, hu.shape)
    if (inner_high > inner_low).all():
        target = tuple(slice(a, b) for a, b in zip(inner_low - low, inner_high - low, strict=True))
        source = tuple(slice(a, b) for a, b in zip(inner_low, inner_high, strict=True))
        window[target] = np.maximum(hu[source], AIR)
    box = (left - low[1], top - low[0], right - low[1], bottom - low[0])
    resized = Image.fromarray(window).resize((grid.width, grid.height), Image.Resampling.BILINEAR, box=box)
    return np.rint(np.asarray(resized)).clip(AIR, np.iinfo(np.int16).max).astype(np.int16)
