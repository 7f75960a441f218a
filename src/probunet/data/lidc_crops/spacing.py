"""How large a pixel of other people's LIDC-IDRI crops is, from the built-in annotations.

The crops' number of a lesion is that of whoever made them, so it is no key. What is common is the patient and, on the
native pixel grid, the number of pixels inside every reader's outline: a crop fits a scan if some slice of that scan
has outlines with all of the crop's mask sizes. (Sizes are compared reading by reading, not lesion by lesion, because
people group outlines to lesions by different rules.)
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

import numpy as np
import numpy.typing as npt

from probunet.data.lidc.contours import Grid, rasterise
from probunet.data.lidc.readers import Annotations, load_annotations

Key = tuple[str, str]
"""Patient, and a name for one of the patient's lesions."""

Sizes = tuple[int, ...]
"""Pixels inside each of the masks that are not empty, on one slice."""


def mask_sizes(labels: npt.NDArray[np.uint8]) -> Sizes:
    """Count the pixels of the masks (R, H, W) that are not empty."""
    return tuple(sorted(int(n) for n in (labels > 0).sum(axis=(1, 2)) if n))


def match_spacing(lesions: Mapping[Key, Iterable[Sizes]], annotations: Annotations | None = None) -> dict[Key, float]:
    """Find the pixel spacing in mm of the scan that each lesion is in; see :func:`match_voxels`."""
    return {key: pixel for key, (_, pixel) in match_voxels(lesions, annotations).items()}


def match_voxels(
    lesions: Mapping[Key, Iterable[Sizes]], annotations: Annotations | None = None
) -> dict[Key, tuple[float | None, float]]:
    """Find the voxel size of the scan that each lesion is in.

    Args:
        lesions: mask sizes of every slice of every lesion; slices without any mask say nothing.
        annotations: the built-in ones, unless given.

    Returns:
        mm between slices (``None`` where scans that fit equally well differ in it) and mm of a pixel, of the lesions
        that were found: at least half of the slices fit a scan of that patient, and none of another pixel spacing fits
        as many.
    """
    annotations = annotations or load_annotations()
    scans = _sizes_by_scan(annotations, {patient for patient, _ in lesions})
    matched: dict[Key, tuple[float | None, float]] = {}
    for (patient, name), slices in lesions.items():
        sizes = [Counter(marks) for marks in slices if marks]
        fits = {
            scan: sum(any(marks <= reading for reading in readings) for marks in sizes)
            for scan, readings in scans[patient].items()
        }
        best = max(fits.values(), default=0)
        winners = [scan for scan, count in fits.items() if count == best]
        pixels = {float(annotations.table.pixel_spacing[scan]) for scan in winners}
        if sizes and 2 * best >= len(sizes) and len(pixels) == 1:
            between = {float(annotations.table.slice_spacing[scan]) for scan in winners}
            matched[patient, name] = (between.pop() if len(between) == 1 else None, pixels.pop())
    return matched


def _sizes_by_scan(annotations: Annotations, patients: set[str]) -> dict[str, dict[int, list[Counter[int]]]]:
    """Mask sizes of all readings on every slice: patient -> scan -> one count of sizes a slice."""
    table = annotations.table
    by_slice: dict[tuple[int, float], Counter[int]] = defaultdict(Counter)
    for (annotation, z), rows in annotations.contours.items():
        scan = int(table.annotation_scan[annotation])
        if table.scan_patient[scan] in patients:
            x0, y0, x1, y1 = annotations.boxes[annotation, z]
            grid = Grid((x0, y0), 1.0, y1 - y0 + 1, x1 - x0 + 1)
            by_slice[scan, z][int(rasterise([table.contour(row) for row in rows], grid).sum())] += 1
    scans: dict[str, dict[int, list[Counter[int]]]] = {patient: defaultdict(list) for patient in patients}
    for (scan, _), sizes in by_slice.items():
        scans[table.scan_patient[scan]][scan].append(sizes)
    return scans
