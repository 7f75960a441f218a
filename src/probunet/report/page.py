"""The page about an experiment: one self-contained file, and the same tables and pictures as files beside it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import yaml

from probunet.core.console import progress_bar
from probunet.core.files import check_outputs
from probunet.data.manifest import LEARNED_FROM
from probunet.report import (
    ablations,
    calibration,
    costs,
    energy,
    latent_plane,
    modes,
    outlines,
    overlaps,
    panels,
    persons,
    presence,
    sheets,
)
from probunet.report.rendering import MARK, write_page
from probunet.report.results import Results
from probunet.report.section import Section
from probunet.runs.specification import Trust

SECTIONS: tuple[Callable[[Results], Section | None], ...] = (
    energy.section,
    overlaps.section,
    modes.section,
    ablations.section,
    panels.section,
    latent_plane.section,
    presence.section,
    persons.section,
    calibration.section,
    outlines.section,
    sheets.section,
    costs.section,
)
"""In the order of the page; a section that does not apply to the data or the models gives ``None``."""


def write_report(experiment: Path, out: Path | None = None, trust: Trust = ()) -> Path:
    """Write one self-contained HTML page about all evaluated models of an experiment; give its path.

    Every table is also written as CSV beside it (tables/), every picture as PNG and SVG (figures/).

    Raises:
        InputError: nothing there was evaluated, or models were evaluated on different data.
    """
    results = Results(experiment, trust)
    target = out or Path(experiment) / "report.html"
    check_outputs([target], [results.store.path], [MARK])  # before the work
    sections: list[Section] = []
    with progress_bar() as bar:
        task = bar.add_task("drawing the report", total=len(SECTIONS))
        for make in SECTIONS:
            made = make(results)
            sections += [made] if made else []
            bar.advance(task)
    write_page(
        target,
        "experiment.html",
        f"probunet: {Path(experiment).name}",
        sections,
        [results.store.path],
        data=results.data,
        learned_from=LEARNED_FROM.get(results.data["split"]),
        size=_size(results),
        readers=_readers(results),
        verdict=energy.verdict(results),
        volumes=results.store.dims == 3,
        flips=[(results.store.classes[f.class_id], f.probability) for f in results.store.flips],
        versions=", ".join(f"{name} {version}" for name, version in results.first["versions"].items()),
        seed=results.seed,
        licence=results.store.manifest["licence"],
        settings={run.name: yaml.safe_dump(run.settings, sort_keys=False) for run in results.runs},
    )
    return target


def _readers(results: Results) -> str:
    """How many looked at an image, in words."""
    counts = results.store.present[results.images.indices].sum(axis=1)
    least, most = int(counts.min()), int(counts.max())
    return f"{most} reader{'s' if most != 1 else ''} each" if least == most else f"{least} to {most} readers each"


def _size(results: Results) -> str:
    """Of what was scored, in words."""
    crop, dims = results.data["crop"], results.store.dims
    if crop == "whole":
        return f"whole, up to {'×'.join(map(str, results.images.size))}"
    return "×".join(map(str, [crop] * dims if isinstance(crop, int) else crop))
