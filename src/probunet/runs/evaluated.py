"""What others read of ``evaluation.json``, as one schema: checked as a whole before anything of it is used."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field


class _Part(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True, allow_inf_nan=False)


class Cell(_Part):
    """A mean with its interval; ``None`` where it is not defined."""

    mean: float | None
    low: float | None
    high: float | None


class Row(Cell):
    """A measure, as ``probunet score`` gives it."""

    metric: str
    n: int | None
    images: int


class Points(_Part):
    """D_GED^2 of hypotheses, by number of samples."""

    ged2: dict[str, Cell]
    ged2_unbiased: dict[str, Cell]


class Data(_Part):
    """What was evaluated on."""

    store: str
    title: str
    simulated: bool
    split: str
    images: int
    patients: int
    crop: int | list[int] | str


class Words(_Part):
    """The convention of the distance."""

    words: str


class Passed(_Part):
    """What an exported folder holds of it."""

    data: Data
    ged2: dict[Annotated[str, Field(pattern="^[0-9]{1,9}$")], Cell]
    convention: Words


class Evaluated(Points):
    """``evaluation.json``; docs/files.md says what each of them is."""

    model: str
    parameters: int
    data: Data
    convention: dict[str, Any]
    grouped_by: str
    checkpoint: str
    seed: int
    distinct_hypotheses: int | None
    scores: list[Row]
    reference_points: dict[str, Points]
    versions: dict[str, str]
