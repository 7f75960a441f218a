"""NumPy files, .npy and .npz: (H, W) or (slices, H, W), read without pickles."""

from __future__ import annotations

import math
import zipfile
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from probunet.core.errors import InputError
from probunet.io.content import Content, decoding, finite, said
from probunet.io.stored import Stored


def read_array(content: Content, kind: str) -> Stored:
    """Read the header of an array.

    Args:
        content: of the file.
        kind: ``NPY``, or ``NPZ`` with a single array.

    Raises:
        InputError: damaged, objects, another shape, or fewer bytes than the header says.
    """
    with decoding(content.name, kind), content.open() as file:
        if kind == "NPY":
            shape, fortran, dtype = _header(file, content.name)
            held = content.size() - file.tell()
        else:
            with zipfile.ZipFile(file) as archive:
                member = _only_member(archive, content.name)
                with archive.open(member) as stream:
                    shape, fortran, dtype = _header(stream, content.name)
                    held = member.file_size - stream.tell()
        content.check(_volume(shape, content.name), dtype.itemsize, held)
        if held != math.prod(shape) * dtype.itemsize:
            raise InputError(f"{content.name} has more bytes than its {said(shape)} {dtype} take; write it again")
    whole = _volume(shape, content.name)
    decode = partial(_decode, content, kind, shape, fortran, dtype)
    return Stored(kind, whole, np.dtype(np.uint8) if dtype.kind == "b" else dtype.newbyteorder("="), decode)


def _header(file: Any, name: str) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(file)
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, fortran, dtype = read(file)
    if any(type(size) is not int for size in shape) or dtype.kind not in "buif" or dtype.hasobject:
        raise InputError(
            f"{name} holds {said(dtype)} values of shape {said(shape)}; numbers of shape (H, W) are needed"
        )
    return shape, fortran, dtype


def _volume(shape: tuple[int, ...], name: str) -> tuple[int, int, int]:
    if len(shape) not in (2, 3):
        raise InputError(f"{name} has the shape {said(shape)}; needed is (H, W) or (slices, H, W)")
    return (1, *shape) if len(shape) == 2 else (shape[0], shape[1], shape[2])


def _only_member(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    members = [info for info in archive.infolist() if info.filename.endswith(".npy")]
    if len(members) != 1:
        raise InputError(f"{name} holds {len(members)} arrays; a picture is a single one")
    return members[0]


def _decode(
    content: Content, kind: str, shape: tuple[int, ...], fortran: bool, dtype: np.dtype[Any]
) -> npt.NDArray[Any]:
    """(1, slices, H, W) in the byte order of this machine."""
    with decoding(content.name, kind), content.open() as file:
        if kind == "NPY":
            flat = _numbers(file, shape, dtype, content.name)
        else:
            with zipfile.ZipFile(file) as archive, archive.open(_only_member(archive, content.name)) as stream:
                flat = _numbers(stream, shape, dtype, content.name)
    array = flat.reshape(shape, order="F" if fortran else "C")
    array = array.astype(np.uint8 if dtype.kind == "b" else dtype.newbyteorder("="), copy=False)
    return finite(content.name, array.reshape(_volume(shape, content.name))[None])


def _numbers(stream: Any, shape: tuple[int, ...], dtype: np.dtype[Any], name: str) -> npt.NDArray[Any]:
    _header(stream, name)
    held = stream.read(math.prod(shape) * dtype.itemsize)
    stream.read(1)  # the end of a compressed member, where its checksum is compared
    return np.frombuffer(held, dtype)
