"""What a page is made of: sections with sentences, tables and pictures."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from matplotlib.figure import Figure

from probunet.core.writing import writing_file

Estimate: TypeAlias = tuple[float | None, float | None, float | None]
"""Mean, lower and upper end of its interval; ``None`` where it is not defined."""

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#000000")
"""Colours that stay apart for the colour-blind (Okabe and Ito)."""
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")


@dataclass(frozen=True)
class Table:
    """Rows of text, numbers and estimates.

    Attributes:
        name: of the CSV file.
        title: above the table.
        columns: their headings.
        rows: one value a column.
        muted: how many of the last rows are only for orientation.
        shown: on the page; otherwise only in the CSV file.
    """

    name: str
    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]
    muted: int = 0
    shown: bool = True

    def write_csv(self, folder: Path) -> None:
        """Write NAME.csv; an estimate becomes three columns."""
        wide = [i for i in range(len(self.columns)) if any(isinstance(row[i], tuple) for row in self.rows)]
        header = [
            title
            for i, name in enumerate(self.columns)
            for title in ([name, f"{name} low", f"{name} high"] if i in wide else [name])
        ]
        with writing_file(folder / f"{self.name}.csv") as file, file.open("w", newline="") as handle:
            writer = csv.writer(handle, lineterminator="\n")
            writer.writerow(header)
            for row in self.rows:
                cells = [value if isinstance(value, tuple) else (value,) for value in row]
                padded = [cell + (None,) * (2 if i in wide and len(cell) == 1 else 0) for i, cell in enumerate(cells)]
                writer.writerow(["" if value is None else value for cell in padded for value in cell])


@dataclass(frozen=True)
class Picture:
    """A figure with its name (of the files) and caption."""

    name: str
    title: str
    figure: Figure
    caption: str


@dataclass(frozen=True)
class Section:
    """A heading with sentences, tables and pictures below it.

    Attributes:
        title: the heading.
        text: sentences, a paragraph each.
        tables: below them.
        pictures: below those.
        notes: what the columns and words mean, for those who open it.
    """

    title: str
    text: Sequence[str] = ()
    tables: Sequence[Table] = ()
    pictures: Sequence[Picture] = field(default_factory=tuple)
    notes: Sequence[str] = ()


def style(i: int) -> dict[str, Any]:
    """Colour, marker and line of the i-th method; no two of the first 63 are alike."""
    return {
        "color": COLOURS[i % len(COLOURS)],
        "marker": MARKERS[i % len(MARKERS)],
        "linestyle": ("-", "--", ":")[i // len(COLOURS) % 3],
    }


def estimate(cell: dict[str, Any]) -> Estimate:
    """Mean, low and high of an evaluation's cell."""
    return cell["mean"], cell["low"], cell["high"]
