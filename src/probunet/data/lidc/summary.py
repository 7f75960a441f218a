"""What ``probunet prepare lidc`` says at its end: counts per split beside the published ones, and all remarks."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

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


def summarise(parts: Sequence[Part], index: Index | None, store: Store) -> None:
    """Print counts on standard output: scans, lesions, crops and empty masks per split, then what was left out."""
    output = Console()
    output.print(_table(parts))
    output.print(WHY, highlight=False)
    for line in facts(parts, index, store):
        output.print(f"- {line}", markup=False, highlight=False, soft_wrap=True)


def _table(parts: Sequence[Part]) -> Table:
    table = Table(
        title="Crops (0 to 3 of 4 masks empty) beside the published ones", box=SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    table.add_column("", no_wrap=True)
    for name in ("scans", "patients", "lesions", "0", "1", "2", "3", "crops", "paper", "later"):
        table.add_column(name, justify="right", no_wrap=True)
    splits = load_reader_split()
    for split, paper, later in (*zip(SPLITS, PAPER, LATER, strict=True), ("all", sum(PAPER), sum(LATER))):
        scans = [scan for part in parts for scan in part.scans if split in ("all", splits[scan.patient])]
        empty = [count for scan in scans for count in scan.empty_masks]
        by_empty = [empty.count(n) for n in range(4)]
        patients, lesions = len({scan.patient for scan in scans}), sum(scan.lesions for scan in scans)
        row = (len(scans), patients, lesions, *by_empty, sum(by_empty), paper, later)
        table.add_row(split, *(f"{value:,}" for value in row))
    return table


def facts(parts: Sequence[Part], index: Index | None, store: Store) -> list[str]:
    """Give one sentence for everything that was counted, left out or found odd."""
    scans = [scan for part in parts for scan in part.scans]
    notes = store.manifest["notes"]
    left_out = store.manifest["left_out_no_reader_marked_anything"]
    lines = [f"{left_out:,} crops left out because no outline on them has an interior"]
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
