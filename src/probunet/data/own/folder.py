"""Your own images and readers: nnU-Net's folder convention, with a folder of readings for each case.

``dataset.json`` says what there is, ``imagesTr/<case>_0000.<ext>`` holds channel 0 of a case (or all, for RGB), and
``labelsTr/<case>/<reader>.<ext>`` what one reader marked. Readers may be different and differently many for each case.
nnU-Net's own ``labelsTr/<case>.<ext>`` is a case with a single reader. Where there is no ``imagesTr``, every folder
beside ``dataset.json`` is a case: ``<case>/image.<ext>`` (or ``image_0000.<ext>``, ...), and any other file is what one
reader marked.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from probunet.core.errors import InputError
from probunet.core.files import shown
from probunet.core.intensity import AIR
from probunet.core.names import refuse_alike
from probunet.core.types import IGNORE
from probunet.data.manifest import Split
from probunet.data.own.dataset_json import ENDINGS, Facts, class_names, fixed_splits, read_facts
from probunet.data.own.layout import find_files
from probunet.io.geometry import Affine, Spacing
from probunet.io.pictures import Picture, read_file

log = logging.getLogger(__name__)

Declared: TypeAlias = tuple[tuple[str, ...], int, int | None]
"""Names of the channels, number of classes, and the value in label files that means "not known"."""


@dataclass(frozen=True)
class Images:
    """All channels of a case.

    Attributes:
        values: (slices, C, H, W).
        spacing_mm: between slices (``None`` where nobody knows), rows and columns in mm; ``None`` where not even these
            are known.
        affine: (4, 4) from (column, row, slice) to mm in the axes of NIfTI, or ``None``.
    """

    values: npt.NDArray[Any]
    spacing_mm: Spacing | None
    affine: Affine | None = None

    @property
    def pixel_mm(self) -> tuple[float, float] | None:
        """Pixel size (row, column) in mm, or ``None``."""
        return None if self.spacing_mm is None else self.spacing_mm[1:]


@dataclass(frozen=True)
class CaseFiles:
    """The files of one case.

    Attributes:
        name: of the case.
        patient: what must not be divided between splits: the patient, or the case itself where nobody says whose it is.
        anonymous: whether nobody says whose it is.
        images: a file for each channel, or a single one with all of them.
        readings: a file for each reader; ``None`` where this reader did not look at the case.
    """

    name: str
    patient: str
    anonymous: bool
    images: tuple[Path, ...]
    readings: tuple[Path | None, ...]


@dataclass(frozen=True)
class Dataset:
    """A folder of images and readings, as its dataset.json and its file names tell it.

    Attributes:
        title: one line, for people.
        licence: as given.
        channels: their names.
        classes: their names, background first; the value of a class in a label file is its position.
        ignore: value that means "not known" in label files, or ``None``.
        readers: names of all readers.
        persistent: whether a reader's name is the same person in all cases.
        cases: in the order of their names.
        splits: from case to split, where dataset.json fixes it.
    """

    title: str
    licence: str
    channels: tuple[str, ...]
    classes: tuple[str, ...]
    ignore: int | None
    readers: tuple[str, ...]
    persistent: bool
    cases: tuple[CaseFiles, ...]
    splits: dict[str, Split]

    @property
    def declared(self) -> Declared:
        """What the files of a case are held against when :func:`read_case` reads them."""
        return self.channels, len(self.classes), self.ignore


def open_folder(root: Path) -> Dataset:
    """Read dataset.json and find the files; no image is opened.

    Raises:
        InputError: no such folder, dataset.json missing or wrong, or a file too many, missing or named twice.
    """
    if not root.is_dir():
        raise InputError(f"{root} is {'a broken link' if root.is_symlink() else 'not a folder'}; give the data folder")
    where = root / "dataset.json"
    facts = read_facts(where)
    classes, ignore = class_names(facts, where)
    refuse_alike(facts.labels, "classes", str(where))
    refuse_alike(map(str, facts.patients.values()), "patients", str(where))
    suffix = facts.file_ending.lower()
    if suffix not in ENDINGS:
        raise InputError(f"{where} has the file_ending '{suffix}'; use one of {', '.join(ENDINGS)}")
    images, readings = find_files(root, suffix, len(facts.channel_names))
    readers = _reader_names([reader for reading in readings.values() for reader in reading], root)
    cases = tuple(_case_files(name, facts, images[name], readings[name], readers) for name in sorted(images))
    for key, named in (("patients", facts.patients.keys()), ("splits", fixed_splits(facts, where).keys())):
        if unknown := sorted(named - {case.name for case in cases}):
            raise InputError(f"{where} names the case '{unknown[0]}' in {key}, but there is no image of it")
    single = any((root / "labelsTr" / (name + suffix)).is_file() for name in images)  # nobody knows whose it is
    return Dataset(
        facts.name or _text(root.name),
        facts.licence,
        tuple(facts.channel_names[str(k)] for k in range(len(facts.channel_names))),
        classes,
        ignore,
        tuple(_text(reader) for reader in readers),
        facts.persistent_readers and not single,
        cases,
        fixed_splits(facts, where),
    )


def _case_files(
    name: str, facts: Facts, images: tuple[Path, ...], readings: dict[str, Path], readers: tuple[str, ...]
) -> CaseFiles:
    text = _text(name)
    patient = str(facts.patients.get(text, text))
    anonymous = text not in {*facts.patients, *map(str, facts.patients.values())}
    return CaseFiles(text, patient, anonymous, images, tuple(readings.get(reader) for reader in readers))


def _text(name: str) -> str:
    """A file's name as text: bytes that are no UTF-8 are written as their numbers."""
    return name.encode("utf-8", "backslashreplace").decode()


def _reader_names(named: list[str], folder: Path) -> tuple[str, ...]:
    readers = sorted(set(named))
    refuse_alike(map(_text, readers), "readers", str(folder))
    return tuple(readers)


def is_ct(channel: str) -> bool:
    """Whether a channel's name says CT in HU, as nnU-Net reads it."""
    return channel.casefold() == "ct"


@lru_cache(maxsize=2)  # a volume is read once for all its slices
def read_case(
    case: CaseFiles, channels: tuple[str, ...], classes: int, ignore: int | None
) -> tuple[Images, npt.NDArray[np.uint8]]:
    """Read all files of a case and check that they fit; CT is cut off below ``AIR``, as wherever it is read.

    Args:
        case: the files.
        channels: their names.
        classes: how many are declared.
        ignore: value that means "not known" in label files, or ``None``.

    Returns:
        The image (slices, C, H, W), and labels (slices, R, H, W) uint8, ``IGNORE`` where a reading is missing.

    Raises:
        InputError: a file cannot be read, or differs from the others in size or geometry, or holds labels
            that are not declared.
    """
    parts = [read_file(file) for file in case.images]
    for part in parts:
        _check_fit(part, parts[0])
    values = np.concatenate([part.values() for part in parts], axis=1)
    if values.shape[1] != len(channels):
        raise InputError(f"{case.images[0]} has {values.shape[1]} channel(s), dataset.json names {len(channels)}")
    for number, name in enumerate(channels):
        if is_ct(name) and values[:, number].min() < AIR:
            values[:, number] = np.maximum(values[:, number], np.array(AIR, values.dtype))
    labels = np.full((len(values), len(case.readings), *values.shape[2:]), IGNORE, np.uint8)
    for reader, path in enumerate(case.readings):
        if path is not None:
            reading = read_file(path, class_ids=True)
            _check_fit(reading, parts[0])
            labels[:, reader] = _classes(path, reading.values(), classes, ignore)
    return Images(values, parts[0].spacing_mm, parts[0].affine), labels


def _check_fit(picture: Picture, first: Picture) -> None:
    (slices, height, width), (expected, rows, columns) = picture.shape, first.shape
    if (slices, height, width) != (expected, rows, columns):
        raise InputError(
            f"{picture.source} has {slices} slice(s) of {height}x{width} px, {first.source} {expected} of "
            f"{rows}x{columns}; they must agree"
        )
    if (picture.affine is None) != (first.affine is None):
        lost, placed = (picture, first) if picture.affine is None else (first, picture)
        raise InputError(
            f"{shown(lost.source)} does not say where its voxels lie, as {shown(placed.source)} does, so that nobody "
            "knows whether one is turned against the other; save both with their place"
        )
    if picture.same_grid(first) is False:
        raise InputError(
            f"{picture.source} and {first.source} have different spacing, origin or directions; resample one to the "
            "other"
        )


def _classes(file: Path, values: npt.NDArray[Any], classes: int, ignore: int | None) -> npt.NDArray[np.uint8]:
    if values.shape[1] != 1:
        raise InputError(f"{file} has {values.shape[1]} channels; a reading is one channel of class ids")
    labels = values[:, 0]
    unknown = (labels < 0) | (labels >= classes) | (labels != np.rint(labels)) if labels.dtype != bool else labels < 0
    if ignore is not None:
        unknown &= labels != ignore
    if unknown.any():
        raise InputError(
            f"{shown(file)} holds the label {labels[unknown][0]}; dataset.json declares 0 to {classes - 1}"
            + ("" if ignore is None else f" and {ignore} (ignore)")
        )
    return (
        np.where(labels == ignore, IGNORE, labels).astype(np.uint8) if ignore is not None else labels.astype(np.uint8)
    )
