"""Whole lesions: their slices without a gap on one grid, and some above and below that nobody marked."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from probunet.core.errors import InputError
from probunet.data.lidc.contours import Grid
from probunet.data.lidc.lesions import ScanLesions
from probunet.data.lidc.readers import READERS, LesionSlice
from probunet.io.dicom_pictures import affine
from probunet.io.geometry import Affine
from probunet.io.series import Series

BEYOND_MM = 6.0
"""How far a volume reaches above and below the slices that somebody marked."""
MOST_BEYOND = 6
"""Slices on either side, at most."""
EVEN = 0.01
"""Part of the distance between slices by which it may differ within a volume."""


def slices_beyond(step: float) -> int:
    """How many slices lie above, and below, for a distance in mm."""
    return min(math.ceil(BEYOND_MM / step), MOST_BEYOND)


def common_centre(slices: Sequence[LesionSlice]) -> tuple[float, float]:
    """Middle (x, y) of all slices of a lesion, in pixels of the scan."""
    centres = np.array([lesion_slice.centre for lesion_slice in slices])
    x, y = ((centres.min(axis=0) + centres.max(axis=0)) / 2).tolist()
    return x, y


def unmarked(like: LesionSlice) -> LesionSlice:
    """A slice of the same lesion without contours."""
    return replace(like, readings=((),) * READERS)


def whole_lesions(lesions: ScanLesions, series: Series) -> ScanLesions:
    """Fill up the slices of every lesion, around one centre, as far as the scan reaches in even steps.

    Args:
        lesions: the slices that somebody marked.
        series: the scan.

    Raises:
        InputError: CT slices are missing between those of a lesion.
    """
    heights, first = np.unique(series.heights, return_index=True)
    step = series.slice_spacing
    by_lesion: dict[int, list[LesionSlice]] = defaultdict(list)
    for lesion_slice, _ in lesions.slices:
        by_lesion[lesion_slice.lesion].append(lesion_slice)
    whole: list[tuple[LesionSlice, int]] = []
    for slices in by_lesion.values():
        marked = {int(np.searchsorted(heights, lesion_slice.z)): lesion_slice for lesion_slice in slices}
        low, high = min(marked), max(marked)
        uneven = np.abs(np.diff(heights) - step) > EVEN * step
        if uneven[low:high].any():
            raise InputError(
                f"{series.patient}: CT slices are missing between z {heights[low]:g} and {heights[high]:g} mm of "
                f"series {series.uid}, so a lesion there is no volume; complete the download"
            )
        for _ in range(slices_beyond(step) if step else 0):
            low -= low > 0 and not uneven[low - 1]
            high += high < len(heights) - 1 and not uneven[high]
        centre = common_centre(slices)
        for place in range(low, high + 1):
            own = marked.get(place) or unmarked(slices[0])
            whole.append((replace(own, centre=centre, z=float(heights[place])), int(first[place])))
    return replace(lesions, slices=tuple(whole))


def place_of(slices: Sequence[tuple[LesionSlice, int]], series: Series, spacing: float, size: int) -> Affine | None:
    """Where the crops of a lesion lie: (4, 4) from (column, row, slice) to mm in the axes of NIfTI.

    Args:
        slices: of the lesion, with the index of their CT slice, by height.
        series: the scan.
        spacing: mm of the crops' pixels.
        size: pixels along either side.

    Returns:
        ``None`` where a single slice, or slices that are not in even steps along a line, say no place of a volume.
    """
    indices = [index for _, index in slices]
    own = replace(series, slices=tuple(series.slices[i] for i in indices), heights=series.heights[indices])
    whole, uneven = affine(own)
    if uneven or len(indices) < 2:
        return None
    row_spacing, column_spacing = own.slices[0].spacing
    grid = Grid.centred(slices[0][0].centre, spacing, size, column_spacing, row_spacing)
    crop = np.diag([*grid.steps, 1.0, 1.0])
    crop[:2, 3] = grid.origin
    return whole @ crop
