"""NIfTI volumes, read and written: the affine rules, units are mm, and what is written lies where its source lies."""

from __future__ import annotations

import gzip
import io
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from probunet.core.errors import InputError
from probunet.core.packages import require
from probunet.core.writing import writing_file
from probunet.io.content import DEFLATE, Content, decoding, finite, reason_of
from probunet.io.geometry import Affine, Spacing, checked_affine
from probunet.io.stored import Stored

_MM = (1.0, 1000.0, 1.0, 1e-3)
"""Millimetres of the units of length, by their code: not known, metre, millimetre, micrometre."""
_LARGEST_HEADER = 1 << 28
_TRAILING = 1 << 24
"""Bytes after the last voxel that are read to reach the checksum."""


@dataclass(frozen=True)
class _Layout:
    """Where the numbers of a file are and what they mean."""

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    offset: int
    slope: float
    inter: float

    @property
    def bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def scaled(self) -> bool:
        return (self.slope, self.inter) != (1.0, 0.0)


def read_nifti(content: Content, kind: str) -> Stored:
    """Read the header of a .nii or .nii.gz file; 2-D or 3-D, sform before qform, any unit of length.

    Args:
        content: of the file.
        kind: ``NIfTI``.

    Raises:
        InputError: nibabel is not installed, damaged, colour or complex numbers, more than three dimensions, sizes
            that the file cannot hold, or an affine that spans no space.
    """
    nibabel = require("nibabel", content.name)
    with decoding(content.name, kind), _unpacked(content) as stream:
        header = _header(nibabel, stream, content.name)
        sizes = tuple(int(size) for size in header.get_data_shape())
        dtype = header.get_data_dtype()
        slope, inter = header.get_slope_inter()
        affine, spacing = _place(header, content.name)
        offset = int(header.get_data_offset())
    if dtype.kind not in "iuf":
        kinds = "colours" if dtype.kind == "V" else "complex numbers"
        raise InputError(f"{content.name} holds {kinds}; one number a voxel is needed")
    if not len(sizes) >= 2 or any(size != 1 for size in sizes[3:]):
        raise InputError(f"{content.name} has the shape {sizes}; 2-D or 3-D is needed, one file a channel or time")
    shape = ((*sizes, 1)[2], sizes[1], sizes[0])
    layout = _Layout(shape, dtype, offset, 1.0 if slope is None else slope, 0.0 if inter is None else inter)
    packed = _is_gzip(content)
    held = content.size() * DEFLATE if packed else content.size()
    content.check(shape, dtype.itemsize, held - offset)
    if not header.single_vox_offset <= offset <= _LARGEST_HEADER:
        least = header.single_vox_offset
        raise InputError(
            f"{content.name} begins its voxels at byte {offset:,}, not at {least} or later; write it again"
        )
    return Stored(
        kind,
        shape,
        _type(layout),
        partial(_decode, content, layout),
        frame=None if packed else partial(_frame, content, layout),
        affine=affine,
        spacing=spacing,
        flat=len(sizes) == 2,
        nifti=header,
    )


def _is_gzip(content: Content) -> bool:
    with content.open() as file:
        return file.read(2) == b"\x1f\x8b"


@contextmanager
def _unpacked(content: Content) -> Iterator[Any]:
    """The stream of a file, unpacked where it is packed."""
    with content.open() as file:
        if _is_gzip(content):
            with gzip.GzipFile(fileobj=file) as stream:
                yield stream
        else:
            yield file


def _header(nibabel: Any, stream: Any, name: str) -> Any:
    start = stream.read(4)
    size = {int.from_bytes(start, order): order for order in ("little", "big")}
    version = next((known for known in (348, 540) if known in size), None)
    if version is None:
        raise InputError(f"{name} does not begin like a NIfTI file; give it the ending of what it is")
    rest = stream.read(version - 4)
    kind = nibabel.Nifti1Header if version == 348 else nibabel.Nifti2Header
    header = kind.from_fileobj(io.BytesIO(start + rest + bytes(4)), check=False)
    if bytes(header["magic"])[:3] not in (b"n+1", b"n+2"):
        raise InputError(f"{name} is no NIfTI file with its voxels inside; convert it to one .nii.gz file")
    return header


def _place(header: Any, name: str) -> tuple[Affine | None, Spacing | None]:
    """Affine in mm, or spacing alone where the header gives no place."""
    code = int(header["xyzt_units"]) & 7
    if code >= len(_MM):
        raise InputError(f"{name} has lengths in the unit {code}, which NIfTI does not have; save it in mm (unit 2)")
    unit = _MM[code]
    if int(header["sform_code"]) > 0 or int(header["qform_code"]) > 0:
        if header["pixdim"][0] == 0:
            header["pixdim"][0] = 1  # "which should not occur, we take qfac = 1": nifti1.h on method 2
        try:
            affine = np.array(header.get_best_affine(), float)
        except Exception as error:  # nibabel has kinds of its own: a quaternion longer than 1, negative pixel sizes
            raise InputError(
                f"{name} lies nowhere: its qform says no place ({reason_of(error)}); write it again with its directions"
            ) from error
        return checked_affine(name, np.diag([unit, unit, unit, 1.0]) @ affine), None
    column, row, between = (abs(float(size)) * unit for size in header["pixdim"][1:4])
    if not (np.isfinite([column, row, between]).all() and column and row):
        return None, None
    return None, (between or None, row, column)


def _type(layout: _Layout) -> np.dtype[Any]:
    if layout.scaled or (layout.dtype.kind == "f" and layout.dtype.itemsize > 4):
        return np.dtype(np.float32)
    return layout.dtype.newbyteorder("=")


def _scaled(stored: npt.NDArray[Any], layout: _Layout, name: str) -> npt.NDArray[Any]:
    values = stored * np.float64(layout.slope) + layout.inter if layout.scaled else stored
    with np.errstate(over="ignore"):
        return finite(name, values.astype(_type(layout), copy=False))


def _decode(content: Content, layout: _Layout) -> npt.NDArray[Any]:
    """(1, slices, rows, columns)."""
    with decoding(content.name, "NIfTI"), _unpacked(content) as stream:
        stream.read(layout.offset)
        held = stream.read(layout.bytes)
        left = _TRAILING
        while left > 0 and (more := stream.read(1 << 16)):  # to the end, where gzip compares its checksum
            left -= len(more)
        if left <= 0:
            raise InputError(f"{content.name} goes on for megabytes after its last voxel; is its header right?")
        stored = np.frombuffer(held, layout.dtype).reshape(layout.shape)
        return _scaled(stored, layout, content.name)[None]


def _frame(content: Content, layout: _Layout, index: int) -> npt.NDArray[Any]:
    """(1, rows, columns)."""
    count = layout.shape[1] * layout.shape[2]
    with decoding(content.name, "NIfTI"), content.open() as stream:
        stream.seek(layout.offset + index * count * layout.dtype.itemsize)
        held = stream.read(count * layout.dtype.itemsize)
        stored = np.frombuffer(held, layout.dtype).reshape(layout.shape[1:])
        return _scaled(stored, layout, content.name)[None]


def write_nifti(file: Path, labels: npt.NDArray[Any], source: Stored) -> None:
    """Write class ids or numbers where their source lies.

    A source that was NIfTI gives its header: codes and values of sform and qform, units and dimensions stay. Any
    other place is written as sform and qform; where nothing is known both codes are 0, and so is the length of a
    voxel along an axis where nobody knows it (other tools read 1 for it).

    Args:
        file: .nii or .nii.gz.
        labels: (slices, rows, columns) on the stored grid of the source, or (N, slices, rows, columns), whose N then
            becomes the fourth dimension.
        source: what was segmented.

    Raises:
        InputError: nibabel is not installed, another ending or shape, slices in uneven steps, or a file that cannot
            be written.
    """
    nibabel = require("nibabel", str(file))
    if not file.name.endswith((".nii", ".nii.gz")):
        raise InputError(f"{file} does not end in .nii or .nii.gz; name it so")
    if labels.shape[-3:] != source.shape:
        raise InputError(f"{file}: an array of shape {labels.shape} does not fit its source; {source.shape} is needed")
    header = _written_header(nibabel, file, labels, source)
    with writing_file(file) as temporary, temporary.open("wb") as raw:
        if file.suffix == ".gz":
            with gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed:  # no name, no time: same data, same file
                _write(packed, header, labels)
        else:
            _write(raw, header, labels)


def _write(stream: Any, header: Any, labels: npt.NDArray[Any]) -> None:
    stream.write(header.binaryblock + bytes(header.get_data_offset() - header.sizeof_hdr))
    for volume in labels if labels.ndim == 4 else labels[None]:
        for plane in volume:  # the first index runs fastest, so slices follow each other
            stream.write(np.ascontiguousarray(plane, header.get_data_dtype()).tobytes())


def _written_header(nibabel: Any, file: Path, labels: npt.NDArray[Any], source: Stored) -> Any:
    slices, rows, columns = source.shape
    sizes = (columns, rows, slices) if source.nifti is None else tuple(source.nifti.get_data_shape())
    if labels.ndim == 4:
        sizes = (columns, rows, slices, len(labels))
    header = nibabel.Nifti1Header() if source.nifti is None else source.nifti.copy()
    zooms = header["pixdim"].copy()
    header.set_data_dtype(labels.dtype)
    header.set_data_shape(sizes)
    header["pixdim"][:] = zooms
    header["pixdim"][len(sizes) + 1 :] = 1
    header.set_slope_inter(1, 0)
    header["cal_max"] = header["cal_min"] = 0
    header["vox_offset"] = 352 if header.sizeof_hdr == 348 else 544
    header.set_intent("none", allow_unknown=True)
    if source.nifti is None:
        _set_place(header, file, source)
    return header


def _set_place(header: Any, file: Path, source: Stored) -> None:
    header.set_xyzt_units("mm")
    if source.uneven:
        raise InputError(f"{source.uneven}; NIfTI needs even steps, write DICOM instead")
    if source.affine is None:
        between, row, column = source.spacing or (0, 0, 0)
        header["pixdim"][1:4] = (column, row, between or 0)
        header["sform_code"] = header["qform_code"] = 0
        return
    steps = np.linalg.norm(source.affine[:3, :3], axis=0)
    scaled = source.affine[:3, :3] / steps
    straight = np.allclose(scaled.T @ scaled, np.eye(3), atol=1e-4)
    header.set_qform(source.affine, code="scanner" if straight else "unknown")  # a quaternion cannot say askew
    header["pixdim"][1:4] = steps
    header.set_sform(source.affine, code="scanner")
