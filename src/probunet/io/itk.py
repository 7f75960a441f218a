"""NRRD and MetaImage, with their place in space; SimpleITK decodes."""

from __future__ import annotations

import math
import os
import re
import tempfile
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from probunet.core.errors import InputError
from probunet.core.packages import require
from probunet.io.content import DEFLATE, Content, decoding, finite, said
from probunet.io.geometry import LPS, Spacing, checked_affine, spacing_of
from probunet.io.stored import Stored

_SUFFIX = {"NRRD": ".nrrd", "MetaImage": ".mha"}
_IO = {"NRRD": "NrrdImageIO", "MetaImage": "MetaImageIO"}
_ELSEWHERE = {"NRRD": rb"(?im)^data ?file:", "MetaImage": rb"(?im)^ElementDataFile[ \t]*=(?![ \t]*LOCAL[ \t\r]*$)"}
_UNITS = {
    "NRRD": rb"(?im)^(?:space )?units:(?!=)[ \t]*(.*)$",
    "MetaImage": rb"(?im)^DistanceUnits[ \t]*=[ \t]*(.*)$",
}
_MM = {"m": 1e3, "cm": 10.0, "mm": 1.0, "um": 1e-3, "\u00b5m": 1e-3, "\u03bcm": 1e-3, "nm": 1e-6}
_MM |= {"meter": 1e3, "centimeter": 10.0, "millimeter": 1.0, "micrometer": 1e-3, "micron": 1e-3, "nanometer": 1e-6}
_MM |= {name + "s": mm for name, mm in _MM.items() if len(name) > 2} | {"": 1.0, "?": 1.0}
_DIRECTIONS = rb"(?im)^space directions:(?!=)(.*)$"
_DIRECTED = {"NRRD": _DIRECTIONS, "MetaImage": rb"(?im)^(TransformMatrix|Rotation|Orientation)\s*="}
"""Lines of directions; without them nobody knows which way is up."""
_SPACINGS = rb"(?im)^spacings:(?!=)(.*)$"
_ELEMENTS = rb"(?im)^Element(?:Spacing|Size)[ \t]*="
_PATIENT = re.compile(
    rb"(?im)^space:(?!=)[ \t]*(R|L|right[- ]?|left[- ]?)(A|P|anterior[- ]?|posterior[- ]?)(S|superior)[ \t\r]*$"
)
"""A space of NRRD whose axes are those of the patient; others are of a scanner, or of nobody knows what."""
_QUANTISED = {
    "NRRD": rb"(?im)^old ?(?:min|max):(?!=)(?![ \t]*nan).*$",
    "MetaImage": rb"(?im)^ElementToIntensityFunction(Slope *=(?! *1\.?0*\s)|Offset *=(?! *-?0\.?0*\s)).*$",
}
"""Lines that say that the numbers in the file stand for others."""
_HEADER = 1 << 16
_PRINTED = rb"^(Meta\w+:|Uncompress failed|\w+ required and not defined| *ideal = )"
"""How lines begin that MetaIO prints."""
_ALONE = threading.Lock()
"""Standard error is one for all threads."""
_BYTES = {"8": 1, "16": 2, "32": 4, "64": 8, "float": 4}


def read_itk(content: Content, kind: str) -> Stored:
    """Read the header of a .nrrd or .mha file.

    Args:
        content: of the file.
        kind: ``NRRD`` or ``MetaImage``.

    Raises:
        InputError: SimpleITK is not installed, damaged, voxels in another file, colour, more than 3 dimensions, an
            axis that is none of space, or lengths in a unit that is not known.
    """
    sitk = simpleitk(content.name)
    with content.open() as file:
        start = file.read(_HEADER)
    start = _text(kind, start)
    if re.search(_ELSEWHERE[kind], start):
        raise InputError(f"{content.name} keeps its voxels in another file; convert it to a single file")
    _refuse_quantised(kind, start, content.name)
    with decoding(content.name, kind), content.as_file(_SUFFIX[kind]) as path, _listening(kind):
        reader = _reader(sitk, path, kind)
        reader.ReadImageInformation()
        dims, parts = reader.GetDimension(), reader.GetNumberOfComponents()
        sizes, text = reader.GetSize(), sitk.GetPixelIDValueAsString(reader.GetPixelID())
        spacing, origin, direction = reader.GetSpacing(), reader.GetOrigin(), reader.GetDirection()
    while dims > 2 and len(sizes) > 3 and sizes[-1] == 1:
        sizes = sizes[:-1]
    if dims not in (2, 3) or len(sizes) not in (2, 3):
        raise InputError(f"{content.name} has {dims} dimensions; 2-D or 3-D is needed, one file a channel")
    if parts != 1 or "complex" in text:
        raise InputError(
            f"{content.name} holds {parts} numbers a voxel ({said(text)}); one is needed, one file a channel"
        )
    if (line := re.search(_DIRECTIONS, start)) and b"none" in line[1] and line[1].count(b"(") < len(sizes):
        raise InputError(f"{content.name} has an axis without a direction in space; save one file a time or channel")
    shape = ((*sizes, 1)[2], sizes[1], sizes[0])
    word = re.search(r"(8|16|32|64)-bit", text)
    itemsize = int(word[1]) // 8 if word else 8
    content.check(shape, itemsize, content.size() * DEFLATE)
    packed = kind == "MetaImage" and re.search(rb"(?im)^CompressedData[ \t]*=[ \t]*(True|1)", start)
    place = (len(start), math.prod(shape) * itemsize) if packed else None
    unit = _unit(kind, start, content.name)
    if min(spacing) <= 0:
        raise InputError(f"{content.name} has the spacing {said(list(spacing))}; sizes above 0 are needed")
    spacing, origin = [unit * size for size in spacing], [unit * place for place in origin]
    affine, mm = None, _said_spacing(kind, start, spacing)
    if mm is not None and re.search(_DIRECTED[kind], start):
        affine = checked_affine(content.name, _affine(dims, spacing, origin, direction))
    if affine is not None and kind == "NRRD" and not _PATIENT.search(start):  # nobody knows which way is up
        between, row, column = spacing_of(content.name, affine)
        affine, mm = None, (between if len(sizes) == 3 else None, row, column)
    dtype = _type(sitk, reader.GetPixelID())
    decode = partial(_decode, content, kind, place)
    return Stored(kind, shape, dtype, decode, affine=affine, spacing=mm, flat=len(sizes) == 2)


def simpleitk(name: str) -> Any:
    """SimpleITK, which quietly does what is asked of it.

    Args:
        name: of what needs it, for the message.

    Raises:
        InputError: it is not installed.
    """
    SimpleITK = require("SimpleITK", name)
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    return SimpleITK


def _reader(sitk: Any, path: os.PathLike[str], kind: str) -> Any:
    reader = sitk.ImageFileReader()
    reader.SetImageIO(_IO[kind])  # by name: the content of a file chooses no decoder
    reader.SetFileName(os.fspath(path))
    return reader


@contextmanager
def _listening(kind: str) -> Iterator[None]:
    """Take what MetaIO prints to standard error for what it is: the reason of an error, or one that nobody raises.

    It says "Uncompress failed" and goes on with whatever lay in memory. Lines of others are printed afterwards.

    Raises:
        ValueError: it printed something.
    """
    if kind != "MetaImage":
        yield
        return
    raised: Exception | None = None
    with _ALONE, tempfile.TemporaryFile() as kept:
        screen = os.dup(2)
        try:
            os.dup2(kept.fileno(), 2)
            yield
        except Exception as error:  # told below, in the words of the library
            raised = error
        finally:
            os.dup2(screen, 2)
            os.close(screen)
            kept.seek(0)
            lines = kept.read(_HEADER).splitlines(keepends=True)
            printed = [line.decode("utf-8", "replace") for line in lines if re.search(_PRINTED, line)]
            os.write(2, b"".join(line for line in lines if not re.search(_PRINTED, line)))
    if printed:
        raise ValueError(printed[0]) from raised
    if raised is not None:
        raise raised


def _text(kind: str, start: bytes) -> bytes:
    """The lines of the header, without the voxels behind it."""
    end = rb"\r?\n\r?\n" if kind == "NRRD" else rb"(?im)(?<=^ElementDataFile)[^\n]*\n"
    match = re.search(end, start)
    return start[: match.end()] if match else start


def _unit(kind: str, header: bytes, name: str) -> float:
    """The millimetres of one unit of length.

    Raises:
        InputError: a unit that is not known, or several.
    """
    lines = [line.decode("utf-8", "replace").strip() for line in re.findall(_UNITS[kind], header)]
    words = [word for line in lines for word in re.findall(r'"([^"]*)"', line) or [line]]
    units = {word.strip().lower() for word in words} - {""}
    if len(units) > 1 or not units <= set(_MM):
        raise InputError(f"{name} has lengths in {said(', '.join(sorted(units)))}; save it in mm")
    return _MM[units.pop()] if units else 1.0


def _refuse_quantised(kind: str, start: bytes, name: str) -> None:
    """Nobody applies these lines, so that the numbers would be taken for what they are not.

    Raises:
        InputError: the numbers in the file stand for others.
    """
    if line := re.search(_QUANTISED[kind], start):
        text = said(line[0].decode("utf-8", "replace").strip())
        raise InputError(f"{name} holds numbers that stand for others ({text}); save the values themselves")


def _said_spacing(kind: str, start: bytes, spacing: list[float]) -> Spacing | None:
    """mm between slices, rows and columns as far as the header says them; SimpleITK takes 1 where it says nothing."""
    if kind == "MetaImage":
        unknown = [re.search(_ELEMENTS, start) is None] * len(spacing)
    elif re.search(_DIRECTED[kind], start):
        unknown = [False] * len(spacing)
    else:
        line = re.search(_SPACINGS, start)
        words = line[1].decode("ascii", "replace").lower().split() if line else []
        unknown = [word == "nan" for word in words]
        if len(words) != len(spacing):  # an axis that is none of space has none
            unknown = [len(words) - sum(unknown) != len(spacing)] * len(spacing)
    column, row, between = (*(None if no else mm for no, mm in zip(unknown, spacing, strict=True)), None)[:3]
    return None if row is None or column is None else (between, row, column)


def _affine(dims: int, spacing: Any, origin: Any, direction: Any) -> npt.NDArray[np.float64]:
    affine = np.eye(4)
    affine[:dims, :dims] = np.array(direction, float).reshape(dims, dims) * np.array(spacing, float)
    affine[:dims, 3] = origin
    return LPS @ affine


def _type(sitk: Any, pixel: int) -> np.dtype[Any]:
    """Of the values as they are kept, for numbers and for vectors of a single number."""
    kept = {"UInt8": "u1", "Int8": "i1", "UInt16": "u2", "Int16": "i2", "UInt32": "u4", "Int32": "i4"}
    kept |= {"UInt64": "u8", "Int64": "i8", "Float32": "f4", "Float64": "f4"}
    names = {getattr(sitk, f"sitk{kind}{name}"): kept[name] for kind in ("", "Vector") for name in kept}
    return np.dtype(names[pixel])


def _check_packed(content: Content, start: int, size: int) -> None:
    """Unpack compressed voxels a little at a time: MetaIO takes what lay in memory for those that are not there.

    Args:
        content: of the file.
        start: of the voxels in it.
        size: bytes of all voxels.

    Raises:
        InputError: there are fewer.
    """
    unpacker, left = zlib.decompressobj(32 + zlib.MAX_WBITS), size
    with decoding(content.name, "MetaImage"), content.open() as file:
        file.seek(start)
        while left > 0 and not unpacker.eof and (chunk := unpacker.unconsumed_tail or file.read(1 << 16)):
            left -= len(unpacker.decompress(chunk, 1 << 20))
    if left > 0:
        raise InputError(f"{content.name} ends {left:,} bytes before its last voxel; fetch it again")


def _decode(content: Content, kind: str, packed: tuple[int, int] | None) -> npt.NDArray[Any]:
    """(1, slices, rows, columns)."""
    if packed:
        _check_packed(content, *packed)
    sitk = simpleitk(content.name)
    with decoding(content.name, kind), content.as_file(_SUFFIX[kind]) as path, _listening(kind):
        array = sitk.GetArrayFromImage(_reader(sitk, path, kind).Execute())
        array = array.astype(np.float32) if array.dtype == np.float64 else array
        return finite(content.name, array.reshape(1, -1, *array.shape[-2:]))
