"""One DICOM file at a time: its header as a slice of a CT series, its pixels in Hounsfield units."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.pixels import get_decoder
from pydicom.uid import MediaStorageDirectoryStorage

from probunet.core.errors import InputError

_TAGS = [
    "Modality",
    "PatientID",
    "SeriesInstanceUID",
    "SOPInstanceUID",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "SliceLocation",
    "SliceThickness",
    "Rows",
    "Columns",
]


@dataclass(frozen=True)
class Slice:
    """The header of one CT slice.

    Attributes:
        path: of the file.
        patient: patient id.
        series: series instance UID.
        sop_uid: SOP instance UID, the slice's own name.
        position: (x, y, z) mm, centre of the first pixel.
        orientation: directions (x, y, z) of a row and of a column, unit vectors one after the other.
        spacing: mm between rows, mm between columns.
        shape: rows, columns.
        location: mm, SliceLocation, or ``None``.
        thickness: mm, or ``None``.
    """

    path: Path
    patient: str
    series: str
    sop_uid: str
    position: tuple[float, ...]
    orientation: tuple[float, ...]
    spacing: tuple[float, ...]
    shape: tuple[int, int]
    location: float | None
    thickness: float | None


def is_dicom(path: Path) -> bool:
    """Tell whether a file is meant to be DICOM: by its ending .dcm, or by its first bytes if it has no ending.

    Raises:
        InputError: the file cannot be opened.
    """
    if path.suffix.lower() == ".dcm":
        return True
    if path.suffix and not path.suffix[1:].isdigit():  # 1.2.840.113 is a file named by its UID
        return False
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); check its permissions") from error


def read_slice(path: Path) -> Slice | str:
    """Read the header of a file.

    Returns:
        The slice, or the modality of a file that is no CT image (``DX``, ``CR``, ``SEG``, ...; ``DICOMDIR`` for an
        index of files).

    Raises:
        InputError: not readable, or an attribute that every CT slice has is missing or impossible.
    """
    with _reading(path):
        header = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(_TAGS))
        if header.file_meta.get("MediaStorageSOPClassUID") == MediaStorageDirectoryStorage:
            return "DICOMDIR"
        modality = str(_required(header, "Modality", path))
        if modality != "CT":
            return modality
        orientation = _numbers(header, "ImageOrientationPatient", 6, path)
        row, column = np.array(orientation[:3]), np.array(orientation[3:])
        if not np.allclose([row @ row, column @ column, row @ column], [1, 1, 0], atol=1e-3):
            raise InputError(
                f"{path} has ImageOrientationPatient {list(orientation)}; orthogonal unit vectors are needed"
            )
        spacing = _numbers(header, "PixelSpacing", 2, path)
        shape = int(_required(header, "Rows", path)), int(_required(header, "Columns", path))
        if min(spacing) <= 0 or min(shape) <= 0:
            raise InputError(f"{path} has PixelSpacing {list(spacing)} and shape {shape}; all must be positive")
        return Slice(
            path=path,
            patient=str(_required(header, "PatientID", path)).strip(),
            series=str(_required(header, "SeriesInstanceUID", path)),
            sop_uid=str(_required(header, "SOPInstanceUID", path)),
            position=_numbers(header, "ImagePositionPatient", 3, path),
            orientation=orientation,
            spacing=spacing,
            shape=shape,
            location=_optional(header, "SliceLocation", path),
            thickness=_optional(header, "SliceThickness", path),
        )


def read_hu(one: Slice) -> npt.NDArray[np.float32]:
    """Read the pixels of a slice.

    Returns:
        (rows, columns) HU: stored value * RescaleSlope + RescaleIntercept.

    Raises:
        InputError: cut short, compressed in a way for which no decoder is installed (names the package), without
            rescale slope or intercept, not of one 16-bit channel, or of another size than its header says.
    """
    with _reading(one.path):
        dataset = pydicom.dcmread(one.path)
        _check_decoder(dataset, one.path)
        slope, intercept = (_numbers(dataset, key, 1, one.path)[0] for key in ("RescaleSlope", "RescaleIntercept"))
        stored = dataset.pixel_array
    if stored.dtype.itemsize != 2 or stored.shape != one.shape:
        raise InputError(
            f"{one.path} holds {stored.dtype} pixels of shape {stored.shape}; a CT slice has one 16-bit channel of "
            f"{one.shape[0]}x{one.shape[1]} px"
        )
    return stored.astype(np.float32) * np.float32(slope) + np.float32(intercept)


def _check_decoder(dataset: pydicom.Dataset, path: Path) -> None:
    syntax = dataset.file_meta.TransferSyntaxUID
    if not syntax.is_encapsulated:
        return
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError as error:
        raise InputError(f"{path} has the transfer syntax {syntax.name}, which pydicom cannot decode") from error
    if not decoder.is_available:
        raise InputError(
            f"{path} is compressed ({syntax.name}); 'pip install pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg' "
            f"to read it (pydicom names: {'; '.join(decoder.missing_dependencies)})"
        )


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    """Turn whatever a damaged file makes pydicom raise, and its warnings, into one sentence about the file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about values that are not needed; those that are get checked
            yield
    except InputError:
        raise
    except Exception as error:  # pydicom raises nearly every kind there is on damaged files
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise InputError(f"{path} cannot be read as DICOM ({reason}); fetch it again") from error


def _required(header: pydicom.Dataset, key: str, path: Path) -> Any:
    value = header.get(key)
    if value is None or value == "":
        raise InputError(f"{path} lacks {key}; is the file cut short? Fetch it again")
    return value


def _numbers(header: pydicom.Dataset, key: str, count: int, path: Path) -> tuple[float, ...]:
    value = _required(header, key, path)
    numbers = tuple(np.atleast_1d(np.asarray(value, dtype=np.float64)).tolist())
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise InputError(f"{path} has the {key} {value}; {count} finite numbers are needed")
    return numbers


def _optional(header: pydicom.Dataset, key: str, path: Path) -> float | None:
    return _numbers(header, key, 1, path)[0] if header.get(key) not in (None, "") else None
