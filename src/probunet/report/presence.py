"""Images on whose lesion the readers disagree, told from the others (paper, appendix E)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from probunet.core.marks import marked
from probunet.metrics import bootstrap_interval
from probunet.report.columns import Floats
from probunet.report.results import Results
from probunet.report.section import Estimate, Section, Table


def section(results: Results) -> Section | None:
    """How well samples tell where readers disagree on presence, and D_GED^2 of both kinds; binary data only."""
    if results.store.flips or len(results.store.classes) != 2 or results.store.readers < 2:
        return None
    shown = [marked(results.images[i]["labels"].numpy(), results.store.dims) for i in range(len(results.images))]
    ambiguous = np.array([marks.any() and not marks.all() for marks in shown])
    agreed = np.array([len(marks) > 1 and bool(marks.all()) for marks in shown])
    if ambiguous.all() or not ambiguous.any():
        return None
    most = max(results.numbers)
    rows: list[list[Any]] = []
    for name in results.names:
        scores = {row["metric"]: row["mean"] for row in results.evaluations[name]["scores"]}
        values = results.values(name, f"ged2_n{most}")
        parts = [_mean(results, values, kind) for kind in (ambiguous, agreed)]
        rows.append([name, _rounded(scores.get("presence_auroc")), _rounded(scores.get("presence_ap")), *parts])
    columns = [
        "model",
        "AUROC",
        "average precision",
        f"D²_GED({most}), {int(ambiguous.sum()):,} images with disagreement",
        f"{int(agreed.sum()):,} where all marked",
    ]
    text = [
        "On an ambiguous image at least one reader marked a lesion and at least one marked none. AUROC and average "
        f"precision say how well the variance of presence among {most} samples tells these images from the others "
        f"(a guess has {ambiguous.sum() / (ambiguous | agreed).sum():.2f} average precision). "
        + _neither([marks for marks in shown if len(marks) < 2 or not marks.any()])
    ]
    return Section("On which images do readers disagree on presence?", text, [Table("presence", "", columns, rows)])


def _neither(shown: list[npt.NDArray[np.bool_]]) -> str:
    """Images without any mark, or that one reader alone looked at, are no agreement: said, and in neither column."""
    empty = sum(not marks.any() for marks in shown)
    notes = [
        f"On {empty:,} images nobody marked anything inside; they are in neither of the two columns." if empty else "",
        f"On {len(shown) - empty:,} images a single reader looked and marked; they are in neither, too."
        if len(shown) > empty
        else "",
    ]
    return " ".join(note for note in notes if note)


def _mean(results: Results, values: Floats, kind: npt.NDArray[np.bool_]) -> Estimate:
    chosen = np.flatnonzero(kind & ~np.isnan(values))
    if not len(chosen):
        return None, None, None
    groups = [results.groups[i] for i in chosen]
    interval = bootstrap_interval(values[chosen], groups, seed=results.seed)
    return interval.mean, interval.low, interval.high


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
