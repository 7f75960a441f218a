"""From sections to files: one self-contained page, and its tables and pictures as files beside it."""

from __future__ import annotations

import base64
import io
import logging
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib import rc_context

from probunet.core.errors import InputError
from probunet.core.files import check_outputs, shown
from probunet.core.writing import writing_file
from probunet.report.section import Picture, Section

log = logging.getLogger(__name__)

DPI = 120
"""Of pictures as PNG."""
METADATA: dict[str, dict[str, None]] = {"svg": {"Date": None}, "png": {}}
"""Of pictures: the same results give the same files, so no date."""

MARK = b'<meta name="generator" content="probunet">'
"""In every report; a page without it is not replaced."""


def write_page(
    target: Path, template: str, title: str, sections: Sequence[Section], inputs: Iterable[Path] = (), **facts: Any
) -> None:
    """Write one self-contained HTML page.

    Every table is also written as CSV beside it (tables/), every picture as PNG and SVG (figures/).

    Args:
        target: the page.
        template: of this folder.
        title: of the page.
        sections: in their order.
        inputs: files and folders that were read, which are not written over.
        **facts: what the template shows beside the sections.

    Raises:
        InputError: something that no report made stands at one of the places.
    """
    check_outputs([target], inputs, [MARK])
    with _missing_letters():
        drawn = {
            f"{picture.name}.{suffix}": content
            for made in sections
            for picture in made.pictures
            for suffix, content in _drawn(picture).items()
        }
    tables = [table for made in sections for table in made.tables]
    if not target.exists():  # else they are of the same report as the page
        names = [f"figures/{name}" for name in drawn] + [f"tables/{table.name}.csv" for table in tables]
        beside = [target.parent / name for name in names]
        if taken := next((place for place in beside if place.exists()), None):
            other = "remove it, or give --out in a folder of its own"
            raise InputError(f"{shown(taken)} exists and is not of {target.name}; {other}")
        check_outputs(beside)
    pages = Environment(loader=PackageLoader("probunet.report", "."), autoescape=True, undefined=StrictUndefined)
    encoded = {name.removesuffix(".png"): _as_url(png) for name, png in drawn.items() if name.endswith(".png")}
    page = pages.get_template(template).render(title=title, sections=sections, encoded=encoded, cell=cell, **facts)
    with writing_file(target) as file:
        file.write_text(page)
    for name, content in drawn.items():
        with writing_file(target.parent / "figures" / name) as file:
            file.write_bytes(content)
    for table in tables:
        table.write_csv(target.parent / "tables")


def cell(value: Any) -> str:
    """Text of one value of a table; an estimate with its interval below it."""
    if isinstance(value, tuple):
        mean, low, high = value
        between = "–" if mean is not None and low >= 0 else " to "
        digits = 3 if mean is None or abs(mean) < 100 else 0
        shown = "" if mean is None else f"{mean:,.{digits}f}\n{low:,.{digits}f}{between}{high:,.{digits}f}"
        return shown.replace("-", "−") or "–"
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _drawn(picture: Picture) -> dict[str, bytes]:
    """Both files of a picture, by suffix."""
    contents = {}
    for suffix in ("svg", "png"):
        buffer = io.BytesIO()
        with rc_context({"svg.hashsalt": picture.name}):  # or the ids in the file are random
            picture.figure.savefig(buffer, format=suffix, dpi=DPI, metadata=METADATA[suffix])
        picture.figure.set_layout_engine("none")  # the second file takes the layout of the first
        contents[suffix] = buffer.getvalue()
    return contents


@contextmanager
def _missing_letters() -> Iterator[None]:
    """Say in one note that no font has letters of a name, where matplotlib warns of each of them."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    others = [one for one in caught if "missing from font" not in str(one.message)]
    for other in others:
        warnings.warn_explicit(other.message, other.category, other.filename, other.lineno)
    if len(others) < len(caught):
        log.warning("note: no font here has the letters of some names; pictures have boxes in their place")


def _as_url(png: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(png).decode()
