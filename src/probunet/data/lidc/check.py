"""The readers' XML against the built-in contours, annotation by annotation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from probunet.data.lidc.annotations import AnnotationTable
from probunet.data.lidc.lesions import builtin_nodules
from probunet.data.lidc.xml import Index, Nodule, read_copies


@dataclass(frozen=True)
class Comparison:
    """What the cross-check found.

    Attributes:
        scans: scans compared.
        absent: built-in scans without XML.
        unknown: scans with XML that are not built in.
        copies: further files of a scan, with the same content.
        same: annotations with the same outlines in both, point by point.
        same_ratings: of these, with the same nine ratings.
        remarks: a sentence for every annotation that is not the same in both.
    """

    scans: int
    absent: int
    unknown: int
    copies: int
    same: int
    same_ratings: int
    remarks: tuple[str, ...]

    def __str__(self) -> str:
        """Sentences with the counts, then one line per disagreement."""
        return "\n".join(
            [
                f"{self.scans:,} scans compared; {self.absent:,} built-in scans have no XML, {self.unknown:,} scans "
                f"with XML are not built in; {self.copies:,} files are further copies",
                f"{self.same:,} annotations have the same outlines in both, point by point; {self.same_ratings:,} of "
                "them also the same ratings",
                f"{len(self.remarks):,} annotations differ{':' if self.remarks else ''}",
                *(f"  {remark}" for remark in self.remarks),
            ]
        )


def cross_check(index: Index, table: AnnotationTable) -> Comparison:
    """Compare every scan that has XML with its built-in contours.

    Raises:
        InputError: an XML file that cannot be read, or two for one scan that differ.
    """
    same = same_ratings = copies = 0
    remarks: list[str] = []
    built_in = set(table.scan_series)
    known = sorted(index.files.keys() & built_in, key=table.scan_series.index)
    for series in known:
        ours, theirs = list(builtin_nodules(table, series)), []
        copies += len(index.files[series]) - 1
        for nodule in read_copies(index.files[series]).nodules:
            twin = next((one for one in ours if one.content == nodule.content), None)
            if twin is None:
                theirs.append(nodule)
                continue
            ours.remove(twin)
            same += 1
            same_ratings += twin.ratings == nodule.ratings
            if nodule.one_pixel:
                theirs.append(nodule)
        patient = table.scan_patient[table.scan_series.index(series)]
        remarks += [f"{patient} {remark}" for remark in _disagreements(theirs, ours)]
    return Comparison(
        len(known),
        len(built_in) - len(known),
        len(index.files) - len(known),
        copies,
        same,
        same_ratings,
        tuple(remarks),
    )


def _disagreements(theirs: Sequence[Nodule], ours: Sequence[Nodule]) -> list[str]:
    """Describe what of one scan is not the same, pairing what shares an outline."""
    remarks, paired = [], set()
    for nodule in theirs:
        name = f"'{nodule.name}' ({len(nodule.outlines)} outlines, z {_extent(nodule)} mm)"
        partner = max(ours, key=lambda one: len(one.content & nodule.content), default=None)
        shared = len(partner.content & nodule.content) if partner else 0
        if partner and shared:
            paired.add(partner.name)
            remarks.append(f"{name}: {shared} outlines are the same, the built-in one has {len(partner.outlines)}")
        elif nodule.one_pixel:
            remarks.append(f"{name}: the same but for single-pixel outlines ({nodule.one_pixel}), only in the XML")
        else:
            rated = "" if any(nodule.ratings) else ", without ratings"
            remarks.append(f"{name}: only in the XML{rated}")
    for nodule in ours:
        if nodule.name not in paired:
            remarks.append(f"{nodule.name} ({len(nodule.outlines)} outlines, z {_extent(nodule)} mm): only built in")
    return remarks


def _extent(nodule: Nodule) -> str:
    heights = [outline.z or 0.0 for outline in nodule.outlines]
    return f"{min(heights):g} to {max(heights):g}"
