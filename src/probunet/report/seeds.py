"""One table of comparisons that differ by their seed alone, with intervals over trainings and patients together."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from probunet.core.errors import InputError
from probunet.core.writing import writing_file
from probunet.metrics import Interval, bootstrap_seeds
from probunet.report.results import Results

SKIPPED = ("perfect_model", "perfect_model_unlimited", "reader_diversity")
"""Columns that are of the readers, not of a model."""


@dataclass(frozen=True)
class Row:
    """One number of one model.

    Attributes:
        model: its name.
        column: of ``evaluation.csv``.
        mean: over seeds and images; ``low`` to ``high`` is its interval when trainings and patients are drawn again.
        spread: standard deviation of the mean over seeds; NaN for a single one.
        difference: to the first model, on the same images and seed by seed; with an interval likewise.
        seeds: trainings.
        images: where it is defined.
    """

    model: str
    column: str
    mean: float
    low: float
    high: float
    spread: float
    difference: float
    difference_low: float
    difference_high: float
    seeds: int
    images: int


def seeds_table(experiments: Mapping[int, Path]) -> list[Row]:
    """All numbers that are known image by image.

    Args:
        experiments: folder of a comparison by its seed; at least one.

    Raises:
        InputError: comparisons of other models, other images or other numbers of samples than the first.
    """
    results = [Results(folder) for folder in experiments.values()]
    first = results[0]
    for other in results[1:]:
        if (other.names, other.numbers, other.data) != (first.names, first.numbers, first.data):
            raise InputError(
                f"{other.path} and {first.path} differ in more than their seed: other models, images or numbers of "
                "samples; compare them again"
            )
    rows = []
    for column in dict.fromkeys(column for name in first.names for column in first.columns(name)):
        if column.partition("_n")[0] in SKIPPED:
            continue
        tables = {name: np.stack([r.values(name, column) for r in results]) for name in first.names}
        rows += [_row(name, column, values, tables[first.names[0]], first) for name, values in tables.items()]
    return [row for row in rows if row is not None]


def _row(
    name: str, column: str, values: npt.NDArray[np.float64], against: npt.NDArray[np.float64], results: Results
) -> Row | None:
    """A row, ``None`` where a training has no such number."""
    if np.isnan(values).all(axis=1).any():
        return None
    mean = bootstrap_seeds(values, results.groups, seed=results.seed)
    spread = float(np.nanmean(values, axis=1).std(ddof=1)) if len(values) > 1 else np.nan
    apart = values - against
    difference = Interval(np.nan, np.nan, np.nan, 0, 0)
    if not np.isnan(apart).all(axis=1).any():
        difference = bootstrap_seeds(apart, results.groups, seed=results.seed)
    shown = (difference.mean, difference.low, difference.high)
    return Row(name, column, mean.mean, mean.low, mean.high, spread, *shown, len(values), mean.n)


def write_seeds(experiments: Mapping[int, Path], file: Path) -> list[Row]:
    """Write the table as CSV.

    Raises:
        InputError: see :func:`seeds_table`, or the file cannot be written.
    """
    rows = seeds_table(experiments)
    with writing_file(file) as temporary, temporary.open("w", newline="") as handle:
        writer = csv.DictWriter(handle, list(asdict(rows[0])), lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: _written(value) for key, value in asdict(row).items()} for row in rows)
    return rows


def _written(value: object) -> object:
    """A number in six digits, an empty text where there is none."""
    return value if not isinstance(value, float) else "" if np.isnan(value) else f"{value:.6g}"
