"""Pictures from bytes that nobody vouches for: name and first bytes must agree, sizes are read before pixels."""

from __future__ import annotations

import io
import math
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from PIL import Image as PILImage
from pydicom.uid import DeflatedExplicitVRLittleEndian

from probunet.core.errors import InputError
from probunet.io.dicom import read_hu, read_slice

MAXIMUM_BYTES = 32 * 2**20
MAXIMUM_PIXELS = 2048 * 2048
_PILLOW: dict[str, tuple[bytes, ...]] = {
    "PNG": (b"\x89PNG\r\n\x1a\n",),
    "JPEG": (b"\xff\xd8\xff",),
    "TIFF": (b"II*\0", b"MM\0*"),
}
_KINDS = {".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".tif": "TIFF", ".tiff": "TIFF", ".npy": "NPY", ".dcm": "DCM"}
SUFFIXES = tuple(_KINDS)


@dataclass(frozen=True)
class Picture:
    """What a person looks at.

    Attributes:
        values: (C, H, W) raw intensities.
        unit: ``HU``, ``grey level``, ..., or an empty text where nobody knows.
        spacing: mm between rows, mm between columns, or ``None``.
        readers: (R, H, W) uint8 class ids, R possibly 0.
        dicom: the DICOM file that it came from, empty where it came from another.
    """

    values: npt.NDArray[Any]
    unit: str
    spacing: tuple[float, float] | None
    readers: npt.NDArray[np.uint8]
    dicom: bytes = b""


def read_picture(name: str, content: bytes) -> Picture:
    """Decode PNG, JPEG, TIFF, .npy or one CT slice in DICOM.

    Args:
        name: of the file, for its suffix and for messages; no file of this name is opened.
        content: of the file.

    Raises:
        InputError: an unknown suffix, first bytes that say something else, more than 32 MiB or 2048x2048 px (seen
            in the header, before anything is decoded), damaged, or not numbers of shape (H, W) or (C, H, W).
    """
    kind = _KINDS.get(Path(name).suffix.lower())
    if kind is None:
        raise InputError(f"{name} has none of the endings {', '.join(SUFFIXES)}; convert it first")
    if len(content) > MAXIMUM_BYTES:
        raise InputError(f"{name} has {len(content):,} bytes; at most {MAXIMUM_BYTES:,} are read")
    spacing, unit = None, ""
    if kind == "NPY":
        values = _numpy(name, content)
    elif kind == "DCM":
        values, spacing = _dicom(name, content)
        unit = "HU"
    else:
        values = _pillow(name, content, kind)
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise InputError(f"{name} holds values that are NaN or infinite; clean the image first")
    return Picture(values, unit, spacing, np.zeros((0, *values.shape[1:]), np.uint8), content if kind == "DCM" else b"")


def _pillow(name: str, content: bytes, kind: str) -> npt.NDArray[Any]:
    if not content.startswith(_PILLOW[kind]):
        raise InputError(f"{name} does not begin like a {kind} file; give it the ending of what it is")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of Pillow about damaged metadata and about sizes, checked here
            with PILImage.open(io.BytesIO(content), formats=[kind]) as picture:
                _check_size(name, picture.height, picture.width)
                colour = picture.mode in ("P", "RGBA", "CMYK", "YCbCr", "LA", "PA")
                array = np.asarray(picture.convert("RGB") if colour else picture)
    except InputError:
        raise
    except Exception as error:  # damaged files make Pillow raise nearly every kind there is
        raise InputError(f"{name} cannot be read as {kind} ({' '.join(str(error).split())[:120]})") from error
    return _checked(name, np.moveaxis(array, -1, 0) if array.ndim == 3 else array)


def _numpy(name: str, content: bytes) -> npt.NDArray[Any]:
    stream = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran, dtype = read(stream)
    except (ValueError, EOFError, SyntaxError) as error:
        raise InputError(f"{name} cannot be read as .npy ({' '.join(str(error).split())[:120]})") from error
    if dtype.kind not in "uif" or dtype.hasobject or not 2 <= len(shape) <= 3 or min(shape) < 1:
        raise InputError(
            f"{name} holds {dtype} values of shape {shape}; numbers of shape (H, W) or (C, H, W) are needed"
        )
    _check_size(name, shape[-2], shape[-1])
    if len(content) - stream.tell() != math.prod(shape) * dtype.itemsize:
        raise InputError(
            f"{name} has {len(content) - stream.tell():,} bytes of numbers where {shape} {dtype} needs others"
        )
    flat = np.frombuffer(content, dtype, offset=stream.tell())
    return _checked(name, flat.reshape(shape, order="F" if fortran else "C"))


def _dicom(name: str, content: bytes) -> tuple[npt.NDArray[Any], tuple[float, float]]:
    if content[128:132] != b"DICM":
        raise InputError(f"{name} does not begin like a DICOM file (no DICM after the preamble)")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "slice.dcm"  # a name of ours, whatever the client says
        file.write_bytes(content)
        try:
            meta = pydicom.filereader.read_file_meta_info(file)
            if meta.get("TransferSyntaxUID") == DeflatedExplicitVRLittleEndian:
                raise InputError(f"{name} is deflated as a whole, its size is not known in advance; store it plainly")
            header = read_slice(file)
            if isinstance(header, str):
                raise InputError(f"{name} holds {header}; one CT slice is needed")
            _check_size(name, *header.shape)
            return read_hu(header)[None], (header.spacing[0], header.spacing[1])
        except InputError as error:
            raise InputError(str(error).replace(str(file), name)) from error
        except Exception as error:  # pydicom raises nearly every kind there is on damaged files
            raise InputError(f"{name} cannot be read as DICOM ({' '.join(str(error).split())[:120]})") from error


def _check_size(name: str, height: int, width: int) -> None:
    if height * width > MAXIMUM_PIXELS:
        raise InputError(f"{name} has {height}x{width} px; at most {MAXIMUM_PIXELS:,} pixels are read, cut it first")


def _checked(name: str, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    array = array[None] if array.ndim == 2 else array
    if array.dtype.kind == "b":
        array = array.astype(np.uint8)
    if array.ndim != 3 or len(array) not in (1, 3) or array.dtype.kind not in "uif":
        raise InputError(
            f"{name} holds {array.dtype} values of shape {array.shape}; numbers of shape (H, W) or (C, H, W) with "
            "one or three channels are needed"
        )
    return array
