"""DICOM series: slices in order, checked against each other, phases at one place told apart.

What makes a series unusable raises: slices that differ in orientation, size or pixel spacing, or one name for two
images. What does not touch a single slice is a remark, because crops are made of single slices: slices that are
missing or there twice, uneven distances, a SliceLocation that does not follow the position.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from probunet.core.errors import InputError
from probunet.io.content import Content
from probunet.io.dicom import Slice, read_slices

SAME_PLACE = 1e-3
"""mm: slices closer than this are at the same place."""

UNKNOWN_THICKNESS = 1.0
"""mm of a single slice that does not say how thick it is."""

BESIDE = 0.05
"""How far a slice may be beside the line of the others, as a part of the usual step."""


@dataclass(frozen=True, eq=False)
class Series:
    """The slices of one series, by ascending height.

    Attributes:
        uid: series instance UID.
        patient: patient id.
        slices: ascending.
        heights: (N,) mm along the normal of the slices, which points up (towards z, or towards x or y in a series
            that is rather sagittal or coronal): for an axial series the z of every slice. Slices at the same place
            have exactly the same height.
        remarks: sentences about what was found odd.
    """

    uid: str
    patient: str
    slices: tuple[Slice, ...]
    heights: npt.NDArray[np.float64]
    remarks: tuple[str, ...]

    @property
    def slice_spacing(self) -> float:
        """Median distance between neighbouring places in mm, 0 for a single one."""
        steps = np.diff(np.unique(self.heights))
        return float(np.median(steps)) if len(steps) else 0.0

    @cached_property
    def by_uid(self) -> dict[str, int]:
        """From SOP instance UID to the slice's index."""
        return {one.sop_uid: index for index, one in enumerate(self.slices)}

    def at_z(self, z: float) -> list[int]:
        """Give the slices whose ImagePositionPatient has this z, within a quarter of the usual distance."""
        heights = np.array([one.position[2] for one in self.slices])
        tolerance = max(SAME_PLACE, self.slice_spacing / 4)
        gaps = np.abs(heights - z)
        return np.flatnonzero((gaps <= tolerance) & (gaps <= gaps.min() + SAME_PLACE)).tolist()


def read_headers(paths: Sequence[Path]) -> tuple[dict[str, list[Slice]], Counter[str]]:
    """Read the headers of many files.

    Returns:
        The CT slices by series, and the number of other files by modality.

    Raises:
        InputError: a file that cannot be read, see :func:`probunet.io.dicom.read_slices`.
    """
    series: dict[str, list[Slice]] = defaultdict(list)
    others: Counter[str] = Counter()
    for path in paths:
        slices = read_slices(Content(path))
        if isinstance(slices, str):
            others[slices] += 1
        elif slices[0].modality != "CT":
            others[slices[0].modality] += len(slices)
        else:
            series[slices[0].series] += slices
    return dict(series), others


def make_series(slices: Sequence[Slice]) -> Series:
    """Sort the slices of one series and check them against each other.

    Raises:
        InputError: they differ in patient, orientation, size, pixel spacing, unit or frame of reference, or two
            different files have the same SOP instance UID.
    """
    remarks: list[str] = []
    slices = _without_copies(slices, remarks)
    first = slices[0]
    for one in slices[1:]:
        for what, mine, its in (
            ("PatientID", first.patient, one.patient),
            ("Rows and Columns", first.shape, one.shape),
            ("ImageOrientationPatient", first.orientation, one.orientation),
            ("PixelSpacing", first.spacing, one.spacing),
            ("RescaleType", first.rescale_type, one.rescale_type),
            ("RescaleSlope", *("a value" if each.scaled else "no value" for each in (first, one))),
            ("the unit", first.unit, one.unit),
            ("FrameOfReferenceUID", first.reference, one.reference),
        ):
            same = (
                mine == its
                if isinstance(mine, str)
                else np.allclose(mine, its, rtol=1e-3, atol=0.0 if "Spacing" in what else 1e-3)
            )
            if not same:
                raise InputError(
                    f"{one.path} has {what} {its} where {first.path.name} of the same series has {mine}; "
                    "the slices of a series must agree"
                )
    up = _normal(first)
    heights = np.array([np.dot(one.position, up) for one in slices])
    order = np.argsort(heights, kind="stable")
    heights = heights[order]
    new = np.diff(heights, prepend=-np.inf) > SAME_PLACE
    heights = heights[new][np.cumsum(new) - 1]
    ordered = tuple(slices[i] for i in order)
    remarks += _remarks_on_distances(heights) + _remarks_on_line(ordered) + _remarks_on_locations(ordered, heights)
    return Series(first.series, first.patient, ordered, heights, tuple(remarks))


def split_phases(slices: Sequence[Slice]) -> list[list[Slice]]:
    """Divide the slices of one series into images that have one slice at every place, all in one direction.

    Two phases, echoes or times at the same places, and an overview that crosses the others, are told apart by the first
    attribute that does so everywhere. Slices that cross each other without one stay together, for :func:`make_series`
    to refuse.

    Raises:
        InputError: two slices are at one place, and nothing tells them apart.
    """
    crossing = _cross(slices)
    pair = None if crossing else _at_one_place(slices)
    if pair is None and not crossing:
        return [list(slices)]
    for number in range(len(slices[0].phase)):
        groups: dict[str, list[Slice]] = defaultdict(list)
        for one in slices:
            groups[one.phase[number][1]].append(one)
        if len(groups) > 1 and not any(_cross(group) or _at_one_place(group) for group in groups.values()):
            return list(groups.values())
    if pair is None:
        return [list(slices)]
    raise InputError(
        f"{pair[0].path} and {pair[1].path} of one series are at the same place, and nothing tells two images apart; "
        "keep one slice for each place"
    )


def _cross(slices: Sequence[Slice]) -> bool:
    """Whether slices differ in direction or size, so that nobody can stack them."""
    first = slices[0]
    return any(
        one.shape != first.shape or not np.allclose(one.orientation, first.orientation, rtol=0, atol=1e-3)
        for one in slices
    )


def _at_one_place(slices: Sequence[Slice]) -> tuple[Slice, Slice] | None:
    """Two different slices at the same height, or ``None``."""
    up = _normal(slices[0])
    ordered = sorted(
        {(one.sop_uid, one.frame): one for one in slices}.values(), key=lambda one: float(np.dot(one.position, up))
    )
    for low, high in pairwise(ordered):
        if float(np.dot(high.position, up) - np.dot(low.position, up)) <= SAME_PLACE:
            return low, high
    return None


def _without_copies(slices: Sequence[Slice], remarks: list[str]) -> list[Slice]:
    unique: dict[tuple[str, int | None], Slice] = {}
    copies = 0
    for one in sorted(slices, key=lambda one: one.path):
        other = unique.setdefault((one.sop_uid, one.frame), one)
        if other is not one:
            if one.content.read() != other.content.read():
                raise InputError(f"{one.path} and {other.path} have one SOPInstanceUID but differ; keep one of them")
            copies += 1
    if copies:
        remarks.append(f"{copies} files are copies of another and were read once")
    return list(unique.values())


def _normal(one: Slice) -> npt.NDArray[np.float64]:
    """Unit normal of a slice; its largest component is positive, and an axial one is exactly (0, 0, 1)."""
    normal = np.cross(one.orientation[:3], one.orientation[3:])
    normal = np.where(np.abs(normal) < 1e-6, 0.0, normal)
    normal /= np.linalg.norm(normal)
    return normal * np.sign(normal[np.abs(normal).argmax()])


def _remarks_on_distances(heights: npt.NDArray[np.float64]) -> list[str]:
    places, counts = np.unique(heights, return_counts=True)
    remarks = []
    if (counts > 1).any():
        listed = ", ".join(f"{z:g}" for z in places[counts > 1][:5])
        remarks.append(f"{int((counts > 1).sum())} places have more than one slice (mm: {listed})")
    steps = np.diff(places)
    if len(steps) < 2:
        return remarks
    usual = float(np.median(steps))
    missing = np.rint(steps / usual).astype(int) - 1
    gap = (missing > 0) & (np.abs(steps - (missing + 1) * usual) <= 0.1 * usual)
    if gap.any():
        listed = ", ".join(f"{a:g} to {a + step:g}" for a, step in zip(places[:-1][gap], steps[gap], strict=True))
        remarks.append(f"{int(missing[gap].sum())} slices are missing (mm: {listed})")
    uneven = ~gap & (np.abs(steps - usual) > max(0.01, 0.05 * usual))
    if uneven.any():
        remarks.append(
            f"{int(uneven.sum())} of {len(steps)} distances between slices, {steps[uneven].min():g} to "
            f"{steps[uneven].max():g} mm, differ from the usual {usual:g} mm"
        )
    return remarks


def _remarks_on_line(slices: Sequence[Slice]) -> list[str]:
    """Slices lie on a straight line, also with a tilted gantry; what is shown of one beside it is at another place."""
    places = np.array([one.position for one in slices]) - slices[0].position
    length = float(np.linalg.norm(places[-1]))
    if len(slices) < 3 or length <= SAME_PLACE:
        return []
    line = places[-1] / length
    aside = np.linalg.norm(places - np.outer(places @ line, line), axis=1)
    if aside.max() <= BESIDE * length / (len(slices) - 1):
        return []
    name = slices[int(aside.argmax())].path.name
    return [
        f"{name} lies {aside.max():.3g} mm beside the line from the first slice to the last, so that no volume shows "
        "all at their place"
    ]


def _remarks_on_locations(slices: Sequence[Slice], heights: npt.NDArray[np.float64]) -> list[str]:
    """SliceLocation may count from anywhere and either way, along the normal or along z, but it must follow."""
    known = [i for i, one in enumerate(slices) if one.location is not None]
    if len(known) < 2:
        return []
    locations, heights = np.array([slices[i].location for i in known], dtype=np.float64), heights[known]
    z = np.array([slices[i].position[2] for i in known])
    offsets = (locations - sign * places for places in (heights, z) for sign in (1, -1))
    gaps = min((np.abs(offset - np.median(offset)) for offset in offsets), key=lambda gaps: float(gaps.sum()))
    wrong = gaps > 0.1
    if not wrong.any():
        return []
    worst = int(gaps.argmax())
    return [
        f"the SliceLocation of {int(wrong.sum())} slices contradicts ImagePositionPatient, which is used (for example "
        f"{slices[known[worst]].path.name}: {locations[worst]:g} at {heights[worst]:g} mm)"
    ]
