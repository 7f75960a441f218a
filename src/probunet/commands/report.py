"""``probunet report``: one page about an experiment."""

from __future__ import annotations

from pathlib import Path

from probunet.commands.outcomes import tell_report
from probunet.report.page import write_report


def report(experiment: Path, /, out: Path | None = None, trust: list[str] | None = None) -> None:
    """Write one self-contained HTML page about all evaluated models of an experiment.

    Every table is also written as CSV beside it (tables/), every picture as PNG and SVG (figures/).

    Args:
        experiment: folder of the experiment, or a single run directory.
        out: the page; EXPERIMENT/report.html if not given.
        trust: modules whose code may run, for models of your own; those of probunet need none.

    Raises:
        InputError: nothing there was evaluated, or models were evaluated on different data.

    Examples:
        probunet report runs/demo
    """
    tell_report(write_report(experiment, out, trust or ()))
