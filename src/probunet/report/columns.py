"""The scores of every image in ``evaluation.csv``, held against the evaluation that they are said to be of."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from probunet.core.descriptions import read_text
from probunet.core.errors import InputError
from probunet.core.files import shown
from probunet.data.manifest import Case

Floats = npt.NDArray[np.float64]


def read_columns(file: Path, cases: Sequence[Case], means: Mapping[str, float]) -> dict[str, Floats]:
    """Give all scores of one run, (images,) each, by column.

    Args:
        file: ``evaluation.csv``.
        cases: of the images, in their order.
        means: of some columns, as ``evaluation.json`` has them.

    Raises:
        InputError: other cases, no numbers, or other ones than those of ``evaluation.json``.
    """
    again = f"evaluate {shown(file.parent)} again"
    rows = list(csv.DictReader(io.StringIO(read_text(file), newline="")))
    try:
        columns = {
            key: np.array([float(row[key] or "nan") for row in rows])
            for key in (rows[0] if rows else ())
            if key not in ("name", "patient")
        }
    except (ValueError, TypeError) as error:
        raise InputError(f"{shown(file)} holds something else than numbers; {again}") from error
    if len(rows) != len(cases) or any(None in row.values() for row in rows):
        raise InputError(f"{shown(file)} is not whole; {again}")
    named = [(row.get("name"), row.get("patient")) for row in rows]
    same = named == [(case.name, case.patient) for case in cases] and means.keys() <= columns.keys()
    if not same or not all(abs(np.nanmean(columns[key]) - mean) < 1e-5 for key, mean in means.items()):
        raise InputError(f"{shown(file)} was changed, or is of another evaluation than evaluation.json; {again}")
    return columns
