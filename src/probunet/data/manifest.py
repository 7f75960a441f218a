"""What a store says about itself, as one schema: checked as a whole before anything of it is used.

A manifest comes from people and from strangers. Nothing in it is a path: the files of a store have fixed names.
"""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from probunet.core.descriptions import read_json, read_text
from probunet.core.errors import InputError
from probunet.core.files import sha256, shown

MANIFEST = "manifest.json"
FORMAT, VERSION = "probunet-store", 3
"""3: cases and patients under these names, readers by name."""
LONGEST_NAME = 300
"""Characters of the name of a case, patient, reader or class."""
MOST_FLIPS = 10
"""Label flips of a store: S of them make 2^S modes, each a label map in evaluation."""
Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = get_args(Split)
LEARNED_FROM: dict[str, str] = {"train": "trained on", "validation": "chosen by"}
"""What models are in respect of patients of a split that is not for testing: figures on these flatter them."""
FileName = Literal["images.npy", "labels.npy", "present.npy", "sizes.npy", "spacings.npy", "affines.npy", "cases.csv"]
FILES: tuple[FileName, ...] = get_args(FileName)
PLACES: tuple[FileName, ...] = ("sizes.npy", "spacings.npy", "affines.npy")
"""Of volumes alone: sizes (N, 3) in voxels, spacings (N, 3) in mm and affines (N, 4, 4)."""

Name = Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]
Millimetres = Annotated[float, Field(gt=1e-7, lt=100)]
Count = Annotated[int, Field(ge=0)]
Size = Annotated[int, Field(ge=1, le=1 << 40)]
COLUMNS = ["name", "patient", "split"]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


@dataclass(frozen=True)
class Case:
    """One picture, or one slice of it, with its readings.

    Attributes:
        name: unique name, used in every message about it.
        patient: what must not be divided between splits and is resampled as a whole.
        split: the part of the data that it belongs to.
    """

    name: Name
    patient: Name
    split: Split


_CASES = TypeAdapter(list[Case])


class IntensityPart(_Part):
    """See :class:`probunet.core.intensity.Intensity`."""

    unit: Annotated[str, Field(max_length=100)]
    offset: Annotated[float, Field(ge=-1e12, le=1e12)]
    scale: Annotated[float, Field(gt=1e-12, le=1e12)]


class FlipPart(_Part):
    """See :class:`probunet.data.flips.Flip`."""

    class_id: Annotated[int, Field(ge=0, le=254)]
    flipped_id: Annotated[int, Field(ge=0, le=254)]
    probability: Annotated[float, Field(gt=0, lt=1)]


class ArrayPart(_Part):
    """Shape and type of an array."""

    shape: Annotated[tuple[Size, ...], Field(min_length=2, max_length=4)]
    dtype: Literal["bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "float16", "float32", "float64"]


class FilePart(_Part):
    """Size and checksum of a file."""

    bytes: Count
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class SplitPart(_Part):
    """What is in one split."""

    cases: Count
    patients: Count


class Manifest(_Part):
    """``manifest.json``.

    Attributes:
        dims: axes of an image: 2, or 3 for volumes.
        readers: name of the person behind each column of readings; ``None`` where a column is not a person.
        (The others are described at :class:`probunet.data.prepare.Description`, or count what is there.)
    """

    format: Literal["probunet-store"]
    version: Literal[3]
    dims: Literal[2, 3] = 2
    title: Annotated[str, Field(max_length=1000)]
    simulated: bool
    licence: Annotated[str, Field(max_length=20_000)]
    made_by: dict[str, Any]
    classes: Annotated[list[Name], Field(min_length=2, max_length=255)]
    spacing_mm: Annotated[tuple[Millimetres, ...], Field(min_length=2, max_length=3)] | None
    intensity: IntensityPart
    images: ArrayPart
    labels: ArrayPart
    readers: Annotated[list[Name], Field(min_length=1)] | None
    splits: dict[Split, SplitPart]
    empty_masks_per_case: dict[str, Count]
    missing_readings: Count = 0
    left_out_no_reader_marked_anything: Count = 0
    notes: dict[str, Any] = {}
    flips: Annotated[list[FlipPart], Field(max_length=MOST_FLIPS)] = []
    files: dict[FileName, FilePart]

    @model_validator(mode="after")
    def _fits(self) -> Manifest:
        needed = {"images.npy", "labels.npy", "cases.csv", *(PLACES if self.dims == 3 else ())}
        if missing := needed - self.files.keys():
            raise ValueError(f"files lacks {min(missing)}")
        if self.dims == 2 and (more := self.files.keys() & set(PLACES)):
            raise ValueError(f"files has {min(more)}, which is of volumes")
        if self.spacing_mm is not None and len(self.spacing_mm) != self.dims:
            raise ValueError(f"spacing_mm has {len(self.spacing_mm)} axes, images have {self.dims}")
        if len(set(self.classes)) < len(self.classes):
            raise ValueError("classes names a class twice")
        if self.readers is not None and len(set(self.readers)) < len(self.readers):
            raise ValueError("readers names a reader twice")
        if self.readers is not None and len(self.readers) != self.labels.shape[1]:
            raise ValueError(f"readers has {len(self.readers)} names, there are {self.labels.shape[1]} readings a case")
        ids = [number for flip in self.flips for number in (flip.class_id, flip.flipped_id)]
        if len(set(ids)) < len(ids) or max(ids, default=0) >= len(self.classes):
            raise ValueError(f"flips has the classes {ids}; each must be one of the {len(self.classes)}, once")
        axes, of = {2: (4, (0, 2, 3)), 3: (2, (0,))}[self.dims]
        images, labels = self.images.shape, self.labels.shape
        fits = len(images) == len(labels) == axes and all(images[axis] == labels[axis] for axis in of)
        if self.labels.dtype != "uint8" or not fits:
            raise ValueError("images and labels do not fit each other")
        return self


def is_store(folder: Path) -> bool:
    """Whether a folder is a prepared store."""
    return (folder / MANIFEST).is_file()


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read and check ``manifest.json`` of a store.

    Raises:
        InputError: no store, of another version, or not as the schema says.
    """
    file = folder / MANIFEST
    if not file.is_file():
        raise InputError(f"{shown(folder)} is not a prepared store (no {MANIFEST}); make one with 'probunet prepare'")
    content = read_json(file)
    if content.get("format") != FORMAT:
        raise InputError(f"{shown(file)} is not the manifest of a probunet store")
    version = content.get("version")
    if isinstance(version, int) and version > VERSION:
        raise InputError(f"{shown(file)} is of version {version}, this probunet reads {VERSION}; upgrade probunet")
    with sentence(file, "prepare the store again"):
        return Manifest.model_validate_json(json.dumps(content)).model_dump(mode="json")


def read_cases(file: Path) -> list[Case]:
    """Read and check ``cases.csv``.

    Raises:
        InputError: another header, a name twice, empty or too long, no such split, or a patient in two splits.
    """
    try:
        header, *rows = csv.reader(io.StringIO(read_text(file, 1 << 30), newline=""), strict=True)
    except (csv.Error, ValueError) as error:
        raise InputError(f"{shown(file)} is no table ({error}); prepare the store again") from error
    if header != COLUMNS or any(len(row) != len(COLUMNS) for row in rows):
        raise InputError(f"{shown(file)} has other columns than {','.join(COLUMNS)}; prepare the store again")
    with sentence(file, "prepare the store again"):
        cases = _CASES.validate_python([dict(zip(COLUMNS, row, strict=True)) for row in rows])
    counts = Counter(case.name for case in cases)
    if twice := next((name for name, count in counts.items() if count > 1), None):
        raise InputError(f"{shown(file)} names the case '{twice[:80]}' twice; prepare the store again")
    parts: dict[str, Split] = {}
    for case in cases:
        if (split := parts.setdefault(case.patient, case.split)) != case.split:
            raise InputError(
                f"{shown(file)} has the patient '{case.patient[:80]}' in the splits {split} and {case.split}; "
                "prepare the store again"
            )
    return cases


@contextmanager
def sentence(file: Path, advice: str) -> Iterator[None]:
    """Turn the first finding of a schema into a sentence that names the file, the place and the value.

    Raises:
        InputError: the block found something wrong; the sentence ends with the advice.
    """
    try:
        yield
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])[:80]
        if first["type"] == "missing":
            words = f"lacks '{place}'"
        else:
            value = repr(first["input"])
            value = f" {value}" if len(value) <= 60 and place else ""
            words = f"has the unusable{value} in '{place}'" if place else "does not fit"
            words += f" ({first['msg'].removeprefix('Value error, ')[:160]})"
        raise InputError(f"{shown(file)} {words}; {advice}") from error


def write_cases(file: Path, cases: Sequence[Case]) -> None:
    """Write ``cases.csv``."""
    with file.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows((case.name, case.patient, case.split) for case in cases)


def write_manifest(folder: Path, facts: dict[str, Any]) -> None:
    """Write ``manifest.json`` beside finished arrays: the given facts, then sizes and checksums."""
    names = [name for name in FILES if (folder / name).is_file()]
    files = {name: {"bytes": (folder / name).stat().st_size, "sha256": sha256(folder / name)} for name in names}
    manifest = {"format": FORMAT, "version": VERSION, **facts, "files": files}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
