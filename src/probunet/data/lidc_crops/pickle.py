"""The 15,096 slices of LIDC-IDRI that come as one pickled dict, ``data_lidc.pickle``.

Every value is a dict of ``image`` (128x128, from 0 to 1), ``masks`` (four arrays of 0 and 1) and ``series_uid``. The
file has no splits and no spacing; patients are found by the series in the built-in annotations.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
import numpy.typing as npt

from probunet.core.console import console
from probunet.core.errors import InputError
from probunet.core.intensity import Intensity
from probunet.core.writing import scratch_folder
from probunet.data.lidc.annotations import LICENCE, load_table
from probunet.data.lidc_crops.safe_pickle import PickledArray, read_items
from probunet.data.manifest import Case
from probunet.data.prepare import CaseSource, Description, Drawn, write_store
from probunet.data.splits import FRACTIONS, split_by_patient
from probunet.data.store import Store

log = logging.getLogger(__name__)

READERS = 4
_PATIENT = re.compile(r"LIDC-IDRI-\d{4}")


class _Slice(NamedTuple):
    name: str
    series: str


def prepare_pickle(file: Path, out: Path, fractions: Sequence[float] | None, seed: int) -> Store:
    """Prepare the slices of the pickle. No code in it is run, and it is read in pieces (about half a GB of memory).

    Args:
        file: the pickle.
        out: folder of the store to make.
        fractions: shares of patients for train, validation and test.
        seed: of the split by patient.

    Raises:
        InputError: the file is unreadable, is no such dict or holds anything else; or ``out`` cannot be written.
    """
    fractions = fractions or FRACTIONS
    if out.exists():
        raise InputError(f"{out} exists already; choose another folder or remove it first")
    with scratch_folder(out) as folder:
        with console.status(f"reading {file}"):
            slices, shape = _stage(file, folder)
        patients, notes = _patients(slices)
        parts = split_by_patient(patients, fractions, seed)
        sources = [
            CaseSource(Case(entry.name, patient, parts[patient]), partial(_draw, folder, row, (len(slices), *shape)))
            for row, (entry, patient) in enumerate(zip(slices, patients, strict=True))
        ]
        description = Description(
            title="LIDC-IDRI slices of data_lidc.pickle, four readers",
            licence=LICENCE,
            arguments={"command": "prepare import", "source": file.name, "fractions": list(fractions), "seed": seed},
            intensity=Intensity("grey level, 0 to 1", offset=0.5, scale=0.25),
            spacing_mm=None,
            notes=notes,
        )
        return write_store(out, sources, description, np.float32, threads=True)


def _stage(file: Path, folder: Path) -> tuple[list[_Slice], tuple[int, int]]:
    """Copy images and masks to plain files, as nothing tells where in the pickle they are."""
    slices: list[_Slice] = []
    seen: set[str] = set()
    shape: tuple[int, int] | None = None
    with (folder / "images").open("wb") as images, (folder / "labels").open("wb") as labels:
        for key, value in read_items(file):
            if not isinstance(key, str) or not isinstance(value, dict):
                raise InputError(f"{file} has something else than named slices in it; is it data_lidc.pickle?")
            where = f"{file}: slice {key[:80]!r}"
            if not {"image", "masks", "series_uid"} <= value.keys() or not isinstance(value["series_uid"], str):
                raise InputError(f"{where} is not a dict of image, masks and series_uid; is it data_lidc.pickle?")
            if key in seen:
                raise InputError(f"{where} is there twice; keep one of them")
            seen.add(key)
            image, masks = _arrays(value, where)
            shape = shape or image.shape
            _write(image, masks, shape, images, labels, where)
            slices.append(_Slice(key, value["series_uid"]))
    if shape is None:
        raise InputError(f"{file} holds no slices; is it data_lidc.pickle?")
    return slices, shape


def _arrays(value: dict[Any, Any], where: str) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """Give image (H, W) and masks (4, H, W), checked by themselves."""
    masks = value["masks"]
    if isinstance(masks, PickledArray) and masks.values is not None and masks.values.ndim == 3:
        readings = list(masks.values)
    elif isinstance(masks, list | tuple):
        readings = [_values(mask, where) for mask in masks]
    else:
        raise InputError(f"{where} has masks that are no list of arrays")
    image = _values(value["image"], where)
    if len(readings) != READERS or image.ndim != 2 or not image.size:
        raise InputError(f"{where} has {len(readings)} masks and an image of shape {image.shape}; 4 and HxW are needed")
    for mask in readings:
        if mask.shape != image.shape:
            raise InputError(f"{where} has a mask of shape {mask.shape} and an image of shape {image.shape}")
    labels = np.stack(readings)
    if not np.isin(labels, (0, 1)).all():
        raise InputError(f"{where} has mask values {np.unique(labels)[:6].tolist()}; only 0 and 1 are possible")
    if not (image >= 0).all() or not (image <= 1).all():
        raise InputError(f"{where} has grey levels {image.min():g} to {image.max():g}; they must be from 0 to 1")
    return image.astype(np.float32), labels.astype(np.uint8)


def _values(array: Any, where: str) -> npt.NDArray[Any]:
    if not isinstance(array, PickledArray) or array.values is None:
        raise InputError(f"{where} has something else than an array as image or mask")
    return array.values


def _write(
    image: npt.NDArray[np.float32],
    masks: npt.NDArray[np.uint8],
    shape: tuple[int, int],
    images: BinaryIO,
    labels: BinaryIO,
    where: str,
) -> None:
    if image.shape != shape:
        raise InputError(f"{where} is of {image.shape} px where the others have {shape}; all must be of one size")
    images.write(image.tobytes())
    labels.write(masks.tobytes())


def _draw(folder: Path, row: int, shape: tuple[int, int, int]) -> Drawn:
    count, height, width = shape
    images = np.memmap(folder / "images", np.float32, "r", shape=(count, 1, height, width))
    labels = np.memmap(folder / "labels", np.uint8, "r", shape=(count, READERS, height, width))
    return images[row], labels[row]


def _patients(slices: list[_Slice]) -> tuple[list[str], dict[str, Any]]:
    """Find every slice's patient: by its series, else named in its key, else the series stands for the patient."""
    table = load_table()
    known_patients = dict(zip(table.scan_series, table.scan_patient, strict=True))
    patients, known = [], 0
    for entry in slices:
        named = _PATIENT.match(entry.name)
        patient = known_patients.get(entry.series) or (named[0] if named else None)
        known += patient is not None
        patients.append(patient or entry.series)
    text = "split by patient"
    if known < len(slices):
        text = f"{len(slices) - known:,} slices are of series that LIDC-IDRI does not have: split by series there"
    log.info(f"{len(slices):,} slices of {len(set(patients)):,} patients; {text}")
    return patients, {"slices_with_known_patient": known, "slices_split_by_series_only": len(slices) - known}
