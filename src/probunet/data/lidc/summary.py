"""What was counted while a download of LIDC-IDRI became a store, by split and beside the published counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from probunet.data.lidc.parts import Part
from probunet.data.lidc.xml import Index
from probunet.data.manifest import SPLITS
from probunet.data.splits import load_reader_split
from probunet.data.store import Store

PAPER = (8_882, 1_996, 1_992)
"""Crops in train, validation and test: Kohl et al. 2018, section 4.1."""

LATER = (8_843, 1_993, 1_980)
"""The same in later papers of the same authors."""

WHY = (
    "The published counts are of a selection whose rule is not published. Here every slice of every lesion is a crop: "
    "a lesion is what the outlines of a scan join, transitively, where their boxes touch on a slice. The whole "
    "collection gives about 15,700 crops that way. Who is in which split is not published either; the split by patient "
    "is the shipped one. Crops on which no outline has an interior show no lesion and are left out."
)


@dataclass(frozen=True)
class Counts:
    """Of a split, or of all.

    Attributes:
        split: its name, or ``all``.
        scans: CT scans.
        patients: persons.
        lesions: with at least one crop.
        crops: by how many of their four masks are empty, 0 to 3.
        paper: crops in :data:`PAPER`.
        later: crops in :data:`LATER`.
    """

    split: str
    scans: int
    patients: int
    lesions: int
    crops: tuple[int, int, int, int]
    paper: int
    later: int


@dataclass(frozen=True)
class Summary:
    """What was counted while a store was made.

    Attributes:
        counts: of every split, then of all.
        facts: one sentence for everything that was left out or is odd.
    """

    counts: tuple[Counts, ...]
    facts: tuple[str, ...]


def summarise(parts: Sequence[Part], index: Index | None, store: Store) -> Summary:
    """Count scans, lesions and crops by split, and what was left out."""
    splits = load_reader_split()
    counts = []
    for split, paper, later in (*zip(SPLITS, PAPER, LATER, strict=True), ("all", sum(PAPER), sum(LATER))):
        scans = [scan for part in parts for scan in part.scans if split in ("all", splits[scan.patient])]
        empty = Counter(masks for scan in scans for masks in scan.empty_masks)
        patients, lesions = len({scan.patient for scan in scans}), sum(scan.lesions for scan in scans)
        crops = (empty[0], empty[1], empty[2], empty[3])
        counts.append(Counts(split, len(scans), patients, lesions, crops, paper, later))
    return Summary(tuple(counts), tuple(_facts(parts, index, store)))


def _facts(parts: Sequence[Part], index: Index | None, store: Store) -> list[str]:
    scans = [scan for part in parts for scan in part.scans]
    notes = store.manifest["notes"]
    left_out = store.manifest["left_out_no_reader_marked_anything"]
    kind = "lesions" if store.dims == 3 else "crops"
    lines = [f"{left_out:,} {kind} left out because no outline on them has an interior"]
    if notes["left_out"]:
        counts = ", ".join(f"{count:,} {kind}" for kind, count in notes["left_out"].items())
        lines.append(f"marks in the XML that are no outlines and were left out: {counts}")
    if folded := notes["lesions_with_more_than_four_annotations"]:
        lines.append(f"{folded:,} lesions with more than four annotations, folded into four readings")
    if others := notes["files_that_are_no_ct"]:
        lines.append("DICOM files that are no CT: " + ", ".join(f"{n:,} {kind}" for kind, n in others.items()))
    if index:
        unused = len(index.files.keys() - {scan.series for scan in scans})
        lines.append(
            f"readers' XML: {index.chest:,} of chest X-rays and {index.other:,} others left out, {unused:,} of CT "
            "scans that are not here"
        )
    lines += [f"remark on {remark}" for remark in notes["remarks"]]
    lines += [f"skipped: {error}" for error in notes["skipped"]]
    return lines
