"""From the outlines of one scan's readers to its lesions, slice by slice: the rule of ``readers.py``, on real slices.

Outlines from the readers' XML find their slice by SOP instance UID. Where the series does not have that UID, or the
outline names none (the built-in contours), the slice at the outline's z is taken if exactly one is there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from probunet.core.errors import InputError
from probunet.data.lidc.annotations import AnnotationTable
from probunet.data.lidc.readers import READERS, Annotations, LesionSlice
from probunet.data.lidc.xml import Nodule, Outline
from probunet.io.series import Series

SAME_Z = 0.05
"""mm: the z of an outline and of its slice may differ by rounding."""


@dataclass(frozen=True, eq=False)
class ScanLesions:
    """The lesions of one scan.

    Attributes:
        slices: every lesion slice with the index of its CT slice, by lesion, then by height.
        lesions: their number.
        folded: lesions with more than four annotations, folded into four readings.
        remarks: sentences about what was found odd.
    """

    slices: tuple[tuple[LesionSlice, int], ...]
    lesions: int
    folded: int
    remarks: tuple[str, ...]


def builtin_nodules(table: AnnotationTable, series: str) -> tuple[Nodule, ...]:
    """Give the built-in annotations of one scan, in the form that the XML reader gives.

    Raises:
        InputError: the series is not one of the 1,018 scans.
    """
    if series not in table.scan_series:
        raise InputError(f"the built-in contours know no series {series}; use the readers' XML (--annotations xml)")
    scan = table.scan_series.index(series)
    nodules = []
    for annotation in np.flatnonzero(table.annotation_scan == scan).tolist():
        first, last = np.searchsorted(table.contour_annotation, [annotation, annotation + 1]).tolist()
        outlines = tuple(Outline("", float(table.contour_z[row]), table.contour(row)) for row in range(first, last))
        ratings = tuple(table.ratings[annotation].tolist())
        nodules.append(Nodule(f"annotation {annotation}", ratings, outlines))
    return tuple(nodules)


def find_lesions(nodules: Sequence[Nodule], series: Series, partial: bool = False) -> ScanLesions:
    """Put outlines on slices and join annotations to lesions.

    Args:
        nodules: of all readers of the scan.
        series: its slices.
        partial: accept that outlined slices are missing; lesions are joined as if they were there, then their
            slices that are missing are left out.

    Raises:
        InputError: outlined slices are not in the series, a z fits several slices, or an outline leaves the image.
    """
    placed = [(nodule, outline) for nodule in nodules for outline in nodule.outlines]
    if not placed:
        return ScanLesions((), 0, 0, ())
    found = [_slice_of(outline, series) for _, outline in placed]
    heights: list[float] = []
    at_height: dict[float, int] = {}
    lost: set[float] = set()
    for (nodule, outline), index in zip(placed, found, strict=True):
        if index is not None:
            _check_inside(nodule, outline, series, index)
            heights.append(float(series.heights[index]))
            at_height.setdefault(heights[-1], index)
        else:
            heights.append(np.inf if outline.z is None else outline.z)
            lost.add(heights[-1])
    remarks = list(_remarks([outline for _, outline in placed], found, series))
    if lost:
        sentence = (
            f"{len(lost)} outlined slices (z {min(lost):g} to {max(lost):g} mm) are not among the {len(series.slices)} "
            f"slices of series {series.uid}"
        )
        if not partial:
            raise InputError(f"{series.patient}: {sentence}; complete the download")
        remarks.append(f"{sentence}; they were left out")
    annotations = Annotations(_table(nodules, np.array(heights), series))
    return ScanLesions(
        tuple((one, at_height[one.z]) for one in annotations.lesion_slices() if one.z in at_height),
        len(annotations.lesions),
        sum(len(lesion.annotations) > READERS for lesion in annotations.lesions),
        tuple(remarks),
    )


def _check_inside(nodule: Nodule, outline: Outline, series: Series, index: int) -> None:
    one = series.slices[index]
    x, y = outline.contour.points.max(axis=0).tolist()
    if x >= one.shape[1] or y >= one.shape[0]:
        raise InputError(
            f"{series.patient}: nodule '{nodule.name}' has an outline up to pixel ({x}, {y}) on a slice of "
            f"{one.shape[1]}x{one.shape[0]} px ({one.path}); do XML and scan belong together?"
        )


def _slice_of(outline: Outline, series: Series) -> int | None:
    if outline.sop_uid in series.by_uid:
        return series.by_uid[outline.sop_uid]
    if outline.z is None:
        return None
    candidates = series.at_z(outline.z)
    if len(candidates) > 1:
        names = ", ".join(series.slices[i].path.name for i in candidates)
        raise InputError(
            f"{series.patient}: an outline at z {outline.z:g} mm fits several slices ({names}), and no SOP instance "
            "UID tells which; use the readers' XML or keep one of the slices"
        )
    return candidates[0] if candidates else None


def _table(nodules: Sequence[Nodule], heights: npt.NDArray[np.float64], series: Series) -> AnnotationTable:
    """Write the annotations of one scan as a table like the shipped one, with the heights of the real slices."""
    outlined = [nodule for nodule in nodules if nodule.outlines]
    owners = np.repeat(np.arange(len(outlined)), [len(nodule.outlines) for nodule in outlined])
    order = np.lexsort((heights, owners))
    contours = [outline.contour for nodule in outlined for outline in nodule.outlines]
    contours = [contours[i] for i in order]
    first = series.slices[0]
    return AnnotationTable(
        attribution="",
        scan_patient=(series.patient,),
        scan_series=(series.uid,),
        scan_study=("",),
        pixel_spacing=np.array([first.spacing[1]]),
        slice_thickness=np.array([first.thickness or 0.0]),
        slice_spacing=np.array([series.slice_spacing]),
        annotation_scan=np.zeros(len(outlined), dtype=np.int64),
        ratings=np.array([nodule.ratings for nodule in outlined], dtype=np.int64),
        contour_annotation=owners[order],
        contour_inclusion=np.array([contour.inclusion for contour in contours]),
        contour_z=heights[order],
        contour_first=np.cumsum([0, *(len(contour.points) for contour in contours)]),
        points=np.concatenate([contour.points for contour in contours]),
    )


def _remarks(outlines: Sequence[Outline], found: Sequence[int | None], series: Series) -> tuple[str, ...]:
    remarks = []
    by_z = sum(
        index is not None and bool(outline.sop_uid) and outline.sop_uid not in series.by_uid
        for outline, index in zip(outlines, found, strict=True)
    )
    if by_z:
        remarks.append(f"{by_z} outlines name a SOP instance UID that the series does not have; their z was used")
    gaps = [
        abs(outline.z - series.slices[i].position[2])
        for outline, i in zip(outlines, found, strict=True)
        if outline.z is not None and i is not None
    ]
    wrong = [gap for gap in gaps if gap > SAME_Z]
    if wrong:
        remarks.append(
            f"{len(wrong)} outlines give a z up to {max(wrong):g} mm from that of their slice; the slice was chosen by "
            "SOP instance UID where there is one"
        )
    return tuple(remarks)
