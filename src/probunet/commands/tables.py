"""The tables of numbers that commands print: the same for scored files and for trained models."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from probunet.data.lidc.summary import WHY, Summary
from probunet.metrics.consistency import RowCheck, is_possible

if TYPE_CHECKING:
    from probunet.report.seeds import Row

NAMES = {
    "ged2_unbiased": "excess (ged2_unbiased)",
    "perfect_model": "  perfect model",
    "perfect_model_unlimited": "  perfect model",
}
"""Metrics that a person reads under another name."""


def print_scores(title: str, convention: str, summaries: Sequence[Mapping[str, Any]]) -> None:
    """Print one row for each number of ``SetScores.summaries``, the excess over a perfect model first."""
    table = _table(title, convention)
    for column in ("metric", "n", "mean", "interval", "median", "images", "left\nout"):
        table.add_column(column, justify="left" if column == "metric" else "right", no_wrap=True)
    for row in summaries:
        span = "-" if row["low"] is None else f"{row['low']:.3f} to {row['high']:.3f}"
        counts = (str(row["images"]), str(row["left_out"]))
        name, n = NAMES.get(row["metric"], row["metric"]), str(row["n"] or "all")
        table.add_row(name, n, _number(row["mean"]), span, _number(row["median"]), *counts)
    _print(table)


def print_persons(persons: Mapping[str, Any]) -> None:
    """Print how well a model draws like each reader."""
    words = f"{persons['what']}, drawn in this reader's place (own) and in nobody's (any); p over all: "
    table = _table("readers, by name", words + f"{persons['p_value']:.2g}")
    for column in ("reader", "own", "any", "own - any", "interval", "drawn px", "predicted"):
        table.add_column(column, justify="left" if column == "reader" else "right", no_wrap=column != "reader")
    for row in [*persons["readers"], {"reader": "all", "difference": persons["difference"]}]:
        interval = row["difference"]
        span = f"{interval['low']:.3f} to {interval['high']:.3f}"
        numbers = (_number(row.get(key)) for key in ("own", "any"))
        areas = ("" if row.get(key) is None else f"{row[key]:,.0f}" for key in ("drawn", "predicted"))
        table.add_row(row["reader"], *numbers, _number(interval["mean"]), span, *areas)
    _print(table)


def print_comparisons(tests: Sequence[Mapping[str, Any]]) -> None:
    """Print the tests between pairs of sets, if there are any."""
    if not tests:
        return
    table = _table("comparisons", "Wilcoxon signed-rank, Holm's correction over the pairs of sets")
    for column in ("metric", "n", "a", "b", "a - b", "interval", "p (Holm)", "effect"):
        table.add_column(column, justify="left" if column in ("metric", "a", "b") else "right")
    for test in tests:
        span = f"{test['low']:.3f} to {test['high']:.3f}"
        numbers = (_number(test["difference"]), span, f"{test['p_holm']:.2g}", f"{test['effect']:.2f}")
        name = NAMES.get(test["metric"], test["metric"])
        table.add_row(name, str(test["n"] or "all"), test["first"], test["second"], *numbers)
    _print(table)


def print_row_checks(checks: Sequence[RowCheck]) -> None:
    """Print what every two columns of a published row say, and whether the row can be."""
    table = _table("D_n = L + D/n with 0 <= D <= 1", "D: distance between two samples; L: with unlimited samples")
    for column in ("columns", "D", "L", "possible"):
        table.add_column(column, justify="right", no_wrap=True)
    for check in checks:
        span = f"{check.lowest:.2f} to {check.highest:.2f}"
        table.add_row(f"{check.few} and {check.many}", span, f"{check.limit:.3f}", "yes" if check.possible else "NO")
    _print(table)
    possible = is_possible(checks)
    if not possible and all(check.possible for check in checks):
        Console().print("every two columns are possible, but they need different D, and a model has one")
    Console().print("this row is possible" if possible else "this row is not possible")


def print_seeds(rows: Sequence[Row], columns: Sequence[str]) -> None:
    """Print a table over seeds for each of some columns."""
    for column in columns:
        table = _table(NAMES.get(column, column), "")
        for head in ("model", "mean", "interval", "spread", "less the first", "interval"):
            table.add_column(head, justify="left" if head == "model" else "right")
        for row in (row for row in rows if row.column == column):
            span, apart = f"{row.low:.3f} to {row.high:.3f}", f"{row.difference_low:.3f} to {row.difference_high:.3f}"
            shown = (_number(row.mean), span, _number(row.spread), f"{row.difference:.4f}", apart)
            table.add_row(row.model, *shown)
        if table.row_count:
            _print(table)
    drawn = "trainings and patients" if any(row.seeds > 1 for row in rows) else "patients, of one training,"
    Console().print(f"intervals: {drawn} drawn again; spread: standard deviation over seeds")


def print_lidc(summary: Summary) -> None:
    """Print the crops of every split beside the published ones, why they differ, and all that was left out."""
    table = Table(
        title="Crops (0 to 3 of 4 masks empty) beside the published ones", box=SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    table.add_column("", no_wrap=True)
    for name in ("scans", "patients", "lesions", "0", "1", "2", "3", "crops", "paper", "later"):
        table.add_column(name, justify="right", no_wrap=True)
    for row in summary.counts:
        numbers = (row.scans, row.patients, row.lesions, *row.crops, sum(row.crops), row.paper, row.later)
        table.add_row(row.split, *(f"{number:,}" for number in numbers))
    _print(table)
    console = Console()
    console.print(WHY, highlight=False)
    for fact in summary.facts:
        console.print(f"- {fact}", markup=False, highlight=False, soft_wrap=True)


def _print(table: Table) -> None:
    """Print a table in the width that it needs: a narrow window folds its lines, and cuts no number."""
    console = Console()
    needed = Measurement.get(console, console.options.update(max_width=1000), table).maximum
    console.width = max(console.width, needed)
    console.print(table)


def _table(title: str, caption: str) -> Table:
    style: dict[str, Any] = {"title_justify": "left", "caption_justify": "left"}
    return Table(title=title, caption=caption, box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, **style)


def _number(value: float | None) -> str:
    return "-" if value is None or math.isnan(value) else f"{value:.4f}"
