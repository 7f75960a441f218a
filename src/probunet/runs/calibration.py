"""``calibration.json`` beside a model: what may be said of a reader, with the risk, and the data that it is from."""

from __future__ import annotations

import hashlib
import json
import math
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from probunet.core.descriptions import read_json
from probunet.core.errors import InputError
from probunet.core.files import shown
from probunet.data.manifest import sentence
from probunet.metrics.risk_control import Statement, needed_patients
from probunet.models.base import SegmentationModel
from probunet.runs.description import TrainedModel

CALIBRATION = "calibration.json"
FORMAT = "probunet-calibration"
VERSION: Literal[1] = 1

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1, le=1 << 40)]
Size = Annotated[tuple[Count, ...], Field(min_length=2, max_length=3)]
Checksum = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
Name = Annotated[str, Field(max_length=1000)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


class DataPart(_Part):
    """What it was calibrated on.

    Attributes:
        title: of the data, for people.
        identity: checksums, see ``probunet.data.identity.Identity``.
        split: part of it.
        patients: how many; each is one unit.
        cases: how many.
        readings: how many.
        sizes: of what the model saw, the smallest and the largest along each axis; of crops the same.
        spacing_mm: of its pixels or voxels, where it is known and the same for all.
    """

    title: Name
    identity: dict[str, Any]
    split: Name
    patients: Count
    cases: Count
    readings: Count
    sizes: tuple[Size, Size]
    spacing_mm: Annotated[tuple[float, ...], Field(min_length=2, max_length=3)] | None


class ClassPart(_Part):
    """What is said of one class, see ``probunet.metrics.risk_control.Statement``.

    Attributes:
        name: of the class.
        outer: threshold of the outer outline; ``None``: no pixel is inside, as readers mark next to nothing.
        inner: threshold of the inner outline; ``None``: no pixel is inside.
        widening: of the interval of the area, of volumes that of the volume.
        empty: bounds of the probability of an empty reading by the number of empty hypotheses.
        figures: what it costs, and how well the probability of an empty reading is calibrated.
    """

    name: Name
    outer: Share | None
    inner: Share | None
    widening: float
    empty: Annotated[list[tuple[Share, Share]], Field(min_length=2, max_length=100_001)]
    figures: dict[str, Any]


class Calibration(_Part):
    """``calibration.json`` as a whole.

    Attributes:
        format: what the file is.
        version: of its form.
        weights: checksum of the weights that it belongs to, see ``weights_identity``.
        model: checksum of what else the model says, see ``TrainedModel.settings_checksum``.
        risk: of every statement on its own.
        hypotheses: drawn for every picture.
        data: what it was calibrated on.
        classes: statements about every class but the background.
        checked: realised risks on other patients, where they were looked at.
        notes: what the user should know.
    """

    format: Literal["probunet-calibration"]
    version: Literal[1]
    weights: Checksum
    model: Checksum
    risk: Annotated[float, Field(gt=0, lt=1)]
    hypotheses: Annotated[int, Field(ge=1, le=100_000)]
    data: DataPart
    classes: Annotated[list[ClassPart], Field(min_length=1, max_length=255)]
    checked: dict[str, Any] | None = None
    notes: list[str] = []

    @model_validator(mode="after")
    def _fits(self) -> Calibration:
        if any(len(part.empty) != self.hypotheses + 1 for part in self.classes):
            raise ValueError("every class needs one pair of bounds more than there are hypotheses")
        if any(low > high for part in self.classes for low, high in part.empty):
            raise ValueError("a probability of an empty reading has a lower bound above its upper one")
        if self.data.patients < (needed := needed_patients(self.risk)):
            raise ValueError(
                f"{self.data.patients} patients are too few for the risk {self.risk:g}: {needed} are needed"
            )
        return self

    def statement(self, part: ClassPart) -> Statement:
        """The statement about one of the classes."""
        outer, inner = (math.inf if value is None else value for value in (part.outer, part.inner))
        return Statement(self.risk, outer, inner, part.widening, np.array(part.empty))

    @property
    def checksum(self) -> str:
        """Of all that it says."""
        return hashlib.sha256(self.model_dump_json().encode()).hexdigest()

    @property
    def words(self) -> str:
        """Risk and data in one line, which goes with everything that is said."""
        data = self.data
        return (
            f"risk {self.risk:g}, calibrated on {data.patients} patients ({data.cases} cases, {data.readings} "
            f"readings) of the {data.split} split of {data.title}"
        )


def weights_identity(model: SegmentationModel) -> str:
    """Checksum of the weights of a model, wherever they lie."""
    digest = hashlib.sha256()
    for value in model.state_dict().values():
        digest.update(value.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def read_calibration(trained: TrainedModel, identity: str) -> Calibration | None:
    """The calibration beside a trained model, of a guest else the one beside its weights; ``None`` where there is none.

    Args:
        trained: where it is looked for.
        identity: of its weights, see ``weights_identity``.

    Raises:
        InputError: the file is damaged, of a later version, or of another model: its weights, its class and arguments,
            or its input (intensity, crop, pixel size, classes).
    """
    if not (trained.path / CALIBRATION).is_file():
        trained = trained.origin
    file = trained.path / CALIBRATION
    if not file.is_file():
        return None
    calibration = checked_calibration(file, read_json(file))
    if calibration.weights != identity:
        raise InputError(f"{shown(file)} is of other weights than those beside it; run 'probunet calibrate' again")
    if calibration.model != trained.settings_checksum:
        raise InputError(
            f"{shown(file)} is of a model with other settings (its arguments, intensity, crop, pixel size or classes) "
            "than the one beside it; run 'probunet calibrate' again"
        )
    if [part.name for part in calibration.classes] != trained.classes[1:]:
        raise InputError(f"{shown(file)} has other classes than the model; run 'probunet calibrate' again")
    return calibration


def checked_calibration(file: Path, content: dict[str, Any]) -> Calibration:
    """Check the content of a file as a whole.

    Raises:
        InputError: no calibration, of a later version, or something in it is missing, unknown or out of bounds.
    """
    if content.get("format") != FORMAT:
        raise InputError(f"{shown(file)} is no calibration; remove it, or run 'probunet calibrate' again")
    version = content.get("version")
    if isinstance(version, int) and version > VERSION:
        raise InputError(f"{shown(file)} has version {version}, this is for {VERSION}; update probunet")
    with sentence(file, "run 'probunet calibrate' again"):
        return Calibration.model_validate_json(json.dumps(content, allow_nan=False), strict=True)
