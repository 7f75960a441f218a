"""What goes with a model's weights: how it was made, and what its input was; one schema for runs and exported folders.

A description comes from people and from strangers. It is checked as a whole before anything is made of it.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Literal

import torch
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from probunet.core.errors import InputError
from probunet.core.intensity import Intensity
from probunet.data.batches import Crop
from probunet.models.base import SegmentationModel
from probunet.nets.layers import LAYOUT
from probunet.runs.specification import Specification, Trust

FORMAT, VERSION = "probunet-model", 1
START = {"train": "start", "validation": "start validation"}
"""Among the splits of a description's patients: those of the weights that a training began with, by their checksums."""
CHECKSUM = re.compile("[0-9a-f]{64}")
CLASS_NAME = r"^[^\W\d]\w*(\.[^\W\d]\w*)*$"


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class ModelPart(_Part):
    """A model as in ``Specification.as_plain``."""

    class_: str = Field(alias="class", pattern=CLASS_NAME, max_length=200)
    arguments: dict[str, Any]


def _usable(intensity: Intensity) -> Intensity:
    if not (math.isfinite(intensity.offset) and math.isfinite(intensity.scale) and intensity.scale > 0):
        raise ValueError("the offset must be finite and the scale finite and positive")
    return intensity


Size = Annotated[int, Field(ge=1, le=1 << 20)]
Millimetres = Annotated[float, Field(gt=0, le=1e4)]


class InputPart(_Part):
    """What a model's input is.

    Attributes:
        intensity: from raw values to what the model sees.
        crop: height and width that it was trained on, in pixels, of volumes depth, height and width.
        classes: names, background first.
        spacing_mm: of its pixels (row, column), or of its voxels; ``None`` where nobody knows.
        title: of the data.
        simulated: whether the data are; ``None`` where nobody knows.
    """

    intensity: Annotated[Intensity, AfterValidator(_usable)]
    crop: Size | Annotated[tuple[Size, ...], Field(min_length=2, max_length=3)]
    classes: Annotated[list[Annotated[str, Field(max_length=200)]], Field(min_length=2, max_length=256)]
    spacing_mm: Annotated[tuple[Millimetres, ...], Field(min_length=2, max_length=3)] | None
    title: str = Field(max_length=1000)
    simulated: bool | None


class WeightsPart(_Part):
    """What a file of weights has to be."""

    sha256: str = Field(pattern="^[0-9a-f]{64}$")


class Description(_Part):
    """``run.yaml`` and ``probunet.json``."""

    format: Literal["probunet-model"]
    version: int
    model: ModelPart
    input: InputPart
    weights: WeightsPart | None = None
    data: dict[str, Any] | None = None
    identity: dict[str, Any] | None = None
    patients: dict[str, list[str]] | None = None
    optimisation: dict[str, Any] | None = None
    energy: dict[str, Any] | None = None
    trainer: dict[str, Any] | None = None
    start: dict[str, str] | None = None
    compile: bool = False
    seed: int | None = None
    members: list[str] | None = None
    training: dict[str, Any] | None = None
    evaluation: dict[str, Any] | None = None
    licence: str = Field("not given", max_length=20_000)
    versions: dict[str, str] = {}


class TrainedModel(ABC):
    """A trained model on disk.

    Args:
        path: where it is kept.
        file: that its description was read from.
        settings: what the file holds.
        trust: see ``probunet.runs.specification.Trust``.

    Attributes:
        settings: the description as plain data.
        specification: of the model.
        intensity: from raw values to what the model sees.
        crop: that it was trained on, in pixels.
        classes: names, background first.

    Raises:
        InputError: no description, or one of a later version.
    """

    def __init__(self, path: Path, file: Path, settings: Any, trust: Trust = ()) -> None:
        self.path, self.name, self.trust = path, path.name, trust
        description = check_description(file, settings)
        self.settings: dict[str, Any] = settings
        self.specification = Specification.read(settings["model"])
        self.intensity = description.input.intensity
        self.crop: Crop = description.input.crop
        self.classes = description.input.classes
        self.spacing_mm = description.input.spacing_mm
        if self.dims == 3 and self.spacing_mm is not None and len(self.spacing_mm) != 3:
            raise InputError(f"{file} is of a model of volumes but gives no spacing through the plane; make it again")

    @property
    def store(self) -> Path | None:
        """The prepared store that it was trained on; ``None`` where it does not say."""
        named = (self.settings.get("data") or {}).get("store")
        return None if named is None else Path(named)

    @property
    def identity(self) -> dict[str, Any] | None:
        """Checksums of that store, see :class:`probunet.data.identity.Identity`; ``None`` where it does not say."""
        return self.settings.get("identity")

    @property
    def dims(self) -> int:
        """Axes of an image: 2, or 3 of a model of volumes.

        Raises:
            InputError: the description says something else.
        """
        dims = self.specification.arguments.get("dims", 2)
        if not isinstance(dims, int) or dims not in (2, 3):
            raise InputError(f"{self.path} is of a model with dims={str(dims)[:40]!r}; 2 or 3 are the axes of an image")
        return dims

    @property
    def sides(self) -> tuple[int, ...]:
        """Those of the crop that it was trained on, by axis."""
        return (self.crop,) * self.dims if isinstance(self.crop, int) else tuple(self.crop)

    @property
    def plane(self) -> tuple[int, int]:
        """Height and width of the crop that it was trained on, in pixels."""
        return self.sides[-2], self.sides[-1]

    def knows(self, patients: Iterable[str], splits: Sequence[str]) -> list[str]:
        """Which of some patients were in these splits of its training data, as far as its description says.

        Those of the weights that its training began with count as what they were to those weights.
        """
        mine = self.settings.get("patients") or {}
        known = {name for split in [*splits, *(START[s] for s in splits if s in START)] for name in mine.get(split, ())}
        return sorted(patient for patient in set(patients) if known & {patient, hashed(patient)})

    def checksums(self) -> dict[str, list[str]]:
        """Its patients by split, none of them by name."""
        mine = self.settings.get("patients") or {}
        return {split: sorted(who if CHECKSUM.fullmatch(who) else hashed(who) for who in mine[split]) for split in mine}

    @property
    def settings_checksum(self) -> str:
        """Checksum of all but the weights that decides what it says of a picture: class, arguments and its input."""
        facts = {
            "model": self.specification.as_plain(),
            "intensity": asdict(self.intensity),
            "crop": self.crop,
            "spacing_mm": self.spacing_mm,
            "classes": self.classes,
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    @property
    def origin(self) -> TrainedModel:
        """Where its weights lie: itself, but of a guest the model elsewhere."""
        return self

    @property
    @abstractmethod
    def weights_file(self) -> Path:
        """The file that holds its weights."""

    @abstractmethod
    def training(self) -> dict[str, Any] | None:
        """How long and how well it was trained, see ``training.json``; ``None`` where nothing says so.

        Raises:
            InputError: what is said is damaged.
        """

    @abstractmethod
    def weights(self) -> tuple[Path, dict[str, torch.Tensor]]:
        """Read the weights, and say from which file.

        Raises:
            InputError: none, or some that cannot be read or are not what was written.
        """

    def model(self, device: str = "cpu") -> SegmentationModel:
        """Build the model and load its weights, ready for use.

        Raises:
            InputError: no weights, or some that cannot be read or do not fit the model, or a class without trust.
        """
        file, weights = self.weights()
        try:
            model = self.specification.build(self.trust, sum(value.numel() for value in weights.values()))
        except InputError as error:
            raise InputError(f"{self.path}: {error}") from error
        try:
            model.load_state_dict(weights)
        except RuntimeError as error:
            raise InputError(f"{file} does not fit the model that is described beside it; make it again") from error
        if not all(torch.isfinite(parameter).all() for parameter in model.parameters()):
            raise InputError(f"{file} holds weights that are NaN or infinite; make it again")
        model.intensity = self.intensity
        return model.eval().to(device).to(memory_format=LAYOUT[model.dims])  # type: ignore[call-overload]


TRAINING: dict[str, type | UnionType] = {
    "steps": int,
    "seconds": float | int,
    "parameters": int,
    "best_validation_ged2": float | None,
}
"""What others read of the account of a training."""


def check_written(file: Path, content: Mapping[str, Any], kinds: Mapping[str, type | UnionType]) -> None:
    """Refuse results that are not as they were written.

    Raises:
        InputError: a key is missing, or its value is of another kind.
    """
    for key, kind in kinds.items():
        if not isinstance(content.get(key), kind):
            raise InputError(f"{file} does not say '{key}' as it was written; remove it and make it again")


def hashed(patient: str) -> str:
    """What an exported model says of a patient: enough to find this patient again, not to name one."""
    return hashlib.sha256(f"probunet patient {patient}".encode()).hexdigest()


def check_description(file: Path, settings: Any) -> Description:
    """Check a description as a whole.

    Raises:
        InputError: not a description, of a later version, or something in it is missing, unknown or out of bounds.
    """
    if not isinstance(settings, dict) or settings.get("format") != FORMAT:
        raise InputError(f"{file} does not describe a model of probunet; train or export it again")
    version = settings.get("version")
    if isinstance(version, int) and version > VERSION:
        raise InputError(f"{file} has version {version}, this is for {VERSION}; update probunet")
    try:
        return Description.model_validate_json(json.dumps(settings, allow_nan=False), strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])[:80]
        raise InputError(f"{file}: '{place}': {first['msg'][:160]}; train or export the model again") from error
    except (ValueError, TypeError) as error:
        raise InputError(f"{file} holds what is no plain data ({str(error)[:80]}); export the model again") from error
