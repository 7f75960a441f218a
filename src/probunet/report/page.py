"""The page about an experiment: one self-contained file, and the same tables and pictures as files beside it."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib import rc_context

from probunet.core.console import progress_bar
from probunet.core.files import check_outputs, writing_file
from probunet.report import (
    ablations,
    calibration,
    costs,
    energy,
    latent_plane,
    modes,
    panels,
    presence,
    sheets,
)
from probunet.report.results import Results
from probunet.report.section import Picture, Section

SECTIONS: tuple[Callable[[Results], Section | None], ...] = (
    energy.section,
    modes.section,
    ablations.section,
    panels.section,
    latent_plane.section,
    presence.section,
    calibration.section,
    sheets.section,
    costs.section,
)
"""In the order of the page; a section that does not apply to the data or the models gives ``None``."""
METADATA: dict[str, dict[str, None]] = {"svg": {"Date": None}, "png": {}}
"""Of pictures: the same results give the same files, so no date."""

MARK = b'<meta name="generator" content="probunet">'
"""In every report; a page without it is not replaced."""


def write_report(experiment: Path, out: Path | None = None) -> Path:
    """Write one self-contained HTML page about all evaluated models of an experiment; give its path.

    Every table is also written as CSV beside it (tables/), every picture as PNG and SVG (figures/).

    Raises:
        InputError: nothing there was evaluated, or models were evaluated on different data.
    """
    results = Results(experiment)
    target = out or Path(experiment) / "report.html"
    check_outputs([target], [results.store.path], [MARK])
    sections: list[Section] = []
    with progress_bar() as bar:
        task = bar.add_task("drawing the report", total=len(SECTIONS))
        for make in SECTIONS:
            made = make(results)
            sections += [made] if made else []
            bar.advance(task)
    drawn = {
        f"{picture.name}.{suffix}": content
        for made in sections
        for picture in made.pictures
        for suffix, content in _drawn(picture).items()
    }
    tables = [table for made in sections for table in made.tables]
    if not target.exists():  # else they are of the same report as the page
        beside = [f"figures/{name}" for name in drawn] + [f"tables/{table.name}.csv" for table in tables]
        check_outputs(target.parent / name for name in beside)
    template = Environment(
        loader=PackageLoader("probunet.report", "."), autoescape=True, undefined=StrictUndefined
    ).get_template("page.html")
    page = template.render(
        title=f"probunet: {Path(experiment).name}",
        data=results.data,
        size=_size(results.data["crop"]),
        flips=[(results.store.classes[f.class_id], f.probability) for f in results.store.flips],
        sections=sections,
        encoded={name.removesuffix(".png"): _as_url(png) for name, png in drawn.items() if name.endswith(".png")},
        cell=cell,
        versions=", ".join(f"{name} {version}" for name, version in results.first["versions"].items()),
        seed=results.seed,
        licence=results.store.manifest["licence"],
        settings={run.name: yaml.safe_dump(run.settings, sort_keys=False) for run in results.runs},
    )
    with writing_file(target) as file:
        file.write_text(page)
    for name, content in drawn.items():
        with writing_file(target.parent / "figures" / name) as file:
            file.write_bytes(content)
    for table in tables:
        table.write_csv(target.parent / "tables")
    return target


def cell(value: Any) -> str:
    """Text of one value of a table; an estimate with its interval below it."""
    if isinstance(value, tuple):
        mean, low, high = value
        between = "–" if mean is not None and low >= 0 else " to "
        return "–" if mean is None else f"{mean:.3f}\n{low:.3f}{between}{high:.3f}".replace("-", "−")
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _size(crop: int | list[int]) -> str:
    height, width = (crop, crop) if isinstance(crop, int) else crop
    return f"{height}×{width}"


def _drawn(picture: Picture) -> dict[str, bytes]:
    """Both files of a picture, by suffix."""
    contents = {}
    for suffix in ("svg", "png"):
        buffer = io.BytesIO()
        with rc_context({"svg.hashsalt": picture.name}):  # or the ids in the file are random
            picture.figure.savefig(buffer, format=suffix, dpi=120, metadata=METADATA[suffix])
        picture.figure.set_layout_engine("none")  # the second file takes the layout of the first
        contents[suffix] = buffer.getvalue()
    return contents


def _as_url(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()
