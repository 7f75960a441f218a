"""DICOM images, one file at a time: headers as slices with their place, pixels in the unit of the modality.

CT, MR and PET are read, classic (a file a slice) and enhanced (many frames in a file).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.uid import MediaStorageDirectoryStorage

from probunet.core.errors import InputError
from probunet.core.intensity import AIR, DENSE, MOST_HU, RAW
from probunet.io.content import Content, decoding, open_regular, said
from probunet.io.dicom_attributes import Header, groups_of, number_of, numbers_of, required, rescale_of, text_of
from probunet.io.dicom_pixels import check_deflated, check_kind, padding_in, read_stored
from probunet.io.dicom_scan import scan

MODALITIES = {"CT": "HU", "MR": RAW, "PT": RAW}
"""What is read, with the unit of its values."""
_HOUNSFIELD = ("", "HU", "HU_MOD", "US")
"""Rescale types of CT in HU (DICOM PS3.3, C.11.1.1.2): not said, HU, modified HU, unspecified. Others are maps of
atomic numbers, densities or iodine, which scanners of two energies call CT, too."""
_ENHANCED = {f"1.2.840.10008.5.1.4.1.1.{number}" for number in ("2.1", "2.2", "4.1", "4.4", "128.1", "130")}
"""SOP classes of many frames: enhanced and legacy converted CT, MR and PET."""
_PHASES = (
    "AcquisitionNumber",
    "TemporalPositionIdentifier",
    "EchoTime",
    "ImageType",
    "TriggerTime",
    "AcquisitionTime",
    "TemporalPositionIndex",
    "EffectiveEchoTime",
    "FrameAcquisitionNumber",
)
"""What may differ between images at one place, in the order in which it is asked; the last three are of frames."""
_TAGS = [
    "SpecificCharacterSet",
    "SOPClassUID",
    "Modality",
    "PatientID",
    "SeriesInstanceUID",
    "SOPInstanceUID",
    "FrameOfReferenceUID",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "SliceLocation",
    "SliceThickness",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "BitsAllocated",
    "BitsStored",
    "RescaleSlope",
    "RescaleType",
    *_PHASES,
]


@dataclass(frozen=True)
class Slice:
    """The header of one slice.

    Attributes:
        path: of the file.
        patient: patient id, empty where it was taken out.
        series: series instance UID.
        sop_uid: SOP instance UID of the file.
        reference: frame of reference UID: where positions count from; empty where it was taken out.
        position: (x, y, z) mm, centre of the first pixel, x to the left and y to the back.
        orientation: directions (x, y, z) of a row and of a column, unit vectors one after the other.
        spacing: mm between rows, mm between columns.
        shape: rows, columns.
        location: mm, SliceLocation, or ``None``.
        thickness: mm, or ``None``.
        modality: ``CT``, ``MR`` or ``PT``.
        rescale_type: what the values are after slope and intercept, as the file says it; empty where it does not.
        scaled: whether there is a slope.
        byte: whether it has 256 values in steps of one, which is too little for HU: a CT that somebody windowed.
        frame: number of the frame in a file of many, from 0; ``None`` in a file of one.
        phase: name and value of what may tell images at one place apart.
        content: bytes of the file.
    """

    path: Path
    patient: str
    series: str
    sop_uid: str
    reference: str
    position: tuple[float, ...]
    orientation: tuple[float, ...]
    spacing: tuple[float, ...]
    shape: tuple[int, int]
    location: float | None
    thickness: float | None
    modality: str
    rescale_type: str
    scaled: bool
    byte: bool
    frame: int | None
    phase: tuple[tuple[str, str], ...]
    content: Content = field(compare=False, repr=False)

    @property
    def unit(self) -> str:
        """``HU`` for CT, ``grey level`` for CT of a byte, ``RAW`` for others and for CT that is said to be another."""
        unit = MODALITIES[self.modality] if self.rescale_type in _HOUNSFIELD else RAW
        return "grey level" if unit == "HU" and self.byte else unit


def is_dicom(path: Path) -> bool:
    """Tell whether a file is meant to be DICOM: by its ending, or by its first bytes whatever its name.

    Raises:
        InputError: the file cannot be opened.
    """
    if path.suffix.lower() in (".dcm", ".dicom", ".ima"):
        return True
    with open_regular(path) as file:
        return file.read(132)[128:] == b"DICM"


def read_slice(path: Path) -> Slice | str:
    """Read the header of a file of one slice.

    Returns:
        The slice, or what a file holds that is no such image: see :func:`read_slices`.

    Raises:
        InputError: see :func:`read_slices`, or a file of many frames.
    """
    slices = read_slices(Content(path))
    if not isinstance(slices, str) and len(slices) != 1:
        raise InputError(f"{path} holds {len(slices)} frames; a file of one slice is needed")
    return slices if isinstance(slices, str) else slices[0]


def read_slices(content: Content) -> list[Slice] | str:
    """Read the header of a file: one slice, or the frames of an enhanced one.

    Returns:
        The slices, or the modality of a file that is no CT, MR or PET image (``DX``, ``CR``, ``SEG``, ...;
        ``DICOMDIR`` for an index of files).

    Raises:
        InputError: not readable, colour, a mosaic, frames without a place, or an attribute that every slice has is
            missing or impossible.
    """
    with decoding(content.name, "DICOM"):
        header: Header = scan(content, _TAGS) or {}
        if "Modality" not in header:
            whole = _header(content, _TAGS)
            if whole.file_meta.get("MediaStorageSOPClassUID") == MediaStorageDirectoryStorage:
                return "DICOMDIR"
            header = whole
        modality = str(required(header, "Modality", content.name))
        if modality not in MODALITIES:
            return said(modality)
        check_kind(header, content.name)
        frames = int(header.get("NumberOfFrames") or 1)
        shape = int(required(header, "Rows", content.name)), int(required(header, "Columns", content.name))
        bits = int(header.get("BitsAllocated") or 16)
        content.check((frames, *shape), max(bits // 8, 1))
        if frames > 1 or str(header.get("SOPClassUID")) in _ENHANCED:
            return _frames(content, _header(content, None), frames, shape)
        return [_slice(content, header, [header], None, shape)]


def read_values(one: Slice) -> npt.NDArray[np.float32]:
    """Read the pixels of a slice.

    Returns:
        (rows, columns): stored value * RescaleSlope + RescaleIntercept, for CT in HU and -1,024 or more.

    Raises:
        InputError: cut short, compressed in a way for which no decoder is installed (names the package), CT without
            rescale slope or intercept, values that are no HU, or of another size than its header says.
    """
    content = one.content
    with decoding(content.name, "DICOM"):
        dataset = _whole(content)
        groups = groups_of(dataset, one.frame)
        slope, intercept = rescale_of(groups, one.modality == "CT", content.name)
        stored = read_stored(content, dataset, one.frame or 0)
    if stored.shape != one.shape:
        raise InputError(f"{content.name} holds pixels of shape {stored.shape}; its header says {one.shape}")
    values = (stored.astype(np.float64) * slope + intercept).astype(np.float32)
    if not np.isfinite(values).all():
        raise InputError(f"{content.name} holds values that are NaN or infinite; clean it first")
    if one.unit != "HU":
        return values
    values[padding_in(stored, dataset) & (values > DENSE)] = AIR
    if values.max() > MOST_HU:
        raise InputError(f"{content.name} holds {values.max():g} HU, which nothing has; are its pixels signed numbers?")
    return np.maximum(values, np.float32(AIR))


def read_hu(one: Slice) -> npt.NDArray[np.float32]:
    """The pixels of a CT slice in HU, see :func:`read_values`.

    Raises:
        InputError: see there; or values that are said to be something else.
    """
    if one.unit != "HU":
        kind = one.modality if one.modality != "CT" else one.unit if one.unit != RAW else one.rescale_type
        raise InputError(f"{one.content.name} is no CT in HU but {said(kind)}")
    return read_values(one)


def read_header(content: Content) -> pydicom.Dataset:
    """Everything of a file but its pixels.

    Raises:
        InputError: it cannot be read.
    """
    with decoding(content.name, "DICOM"):
        return _header(content, None)


@lru_cache(maxsize=1)
def _whole(content: Content) -> pydicom.Dataset:
    """A file with its pixels; the frames of one file are usually read one after the other."""
    return _header(content, None, pixels=True)


def _header(content: Content, tags: Sequence[str] | None, pixels: bool = False) -> pydicom.Dataset:
    """Read a header; files of the time before the preamble are read too."""
    with content.open() as file:
        forced = file.read(132)[128:] != b"DICM"
        if forced:
            file.seek(0)
            if file.read(2) not in (b"\x08\x00", b"\x00\x08", b"\x02\x00"):
                raise InputError(f"{content.name} does not begin like a DICOM file (no DICM after the preamble)")
        file.seek(0)
        check_deflated(content)
        return pydicom.dcmread(
            file, stop_before_pixels=not pixels, specific_tags=None if tags is None else list(tags), force=forced
        )


def _slice(
    content: Content,
    header: Header,
    groups: Sequence[Header],
    frame: int | None,
    shape: tuple[int, int],
) -> Slice:
    """One slice out of the places where its attributes may be, the most special one first."""
    name = content.name
    orientation = numbers_of(groups, "ImageOrientationPatient", 6, name)
    directions = np.reshape(orientation, (2, 3))
    if np.abs(directions @ directions.T - np.eye(2)).max() > 1e-3:
        raise InputError(
            f"{name} has ImageOrientationPatient {said(list(orientation))}; orthogonal unit vectors are needed"
        )
    spacing = numbers_of(groups, "PixelSpacing", 2, name)
    if min(spacing) <= 0 or min(shape) <= 0:
        raise InputError(f"{name} has PixelSpacing {list(spacing)} and shape {shape}; all must be positive")
    thickness, slope = (number_of(groups, key) for key in ("SliceThickness", "RescaleSlope"))
    return Slice(
        path=content.path,
        patient=str(header.get("PatientID") or "").strip(),
        series=str(required(header, "SeriesInstanceUID", name)),
        sop_uid=str(required(header, "SOPInstanceUID", name)),
        reference=text_of(groups, "FrameOfReferenceUID").strip(),
        position=numbers_of(groups, "ImagePositionPatient", 3, name),
        orientation=orientation,
        spacing=spacing,
        shape=shape,
        location=number_of(groups, "SliceLocation"),
        thickness=thickness if thickness and thickness > 0 else None,
        modality=str(header.get("Modality")),
        rescale_type=text_of(groups, "RescaleType").strip().upper(),
        scaled=slope is not None,
        byte=int(header.get("BitsStored") or 16) <= 8 and slope in (None, 1),
        frame=frame,
        phase=tuple((key, text_of(groups, key)) for key in _PHASES),
        content=content,
    )


def _frames(content: Content, header: pydicom.Dataset, frames: int, shape: tuple[int, int]) -> list[Slice]:
    listed = header.get("PerFrameFunctionalGroupsSequence") or []
    if len(listed) != frames:
        raise InputError(f"{content.name} holds {frames} frame(s) and does not say where they lie; export slices")
    return [_slice(content, header, groups_of(header, k), k, shape) for k in range(frames)]
