"""A .npy file that is filled piece by piece: its space is reserved first, and memory holds one piece."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt


class ArrayFile:
    """An open .npy file; made by :func:`array_file`.

    Args:
        file: open for writing, at its start.
        shape: of the array.
        dtype: of the array.

    Raises:
        OSError: there is no room for all of it.
    """

    def __init__(self, file: BinaryIO, shape: tuple[int, ...], dtype: npt.DTypeLike) -> None:
        self._file, self.shape, self.dtype = file, shape, np.dtype(dtype)
        header = {"descr": np.lib.format.dtype_to_descr(self.dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        file.flush()
        self._begin = file.tell()
        _reserve(file, self._begin + math.prod(shape) * self.dtype.itemsize)

    def put(self, place: tuple[int, ...], values: npt.NDArray[Any]) -> None:
        """Write what stands at ``array[place]``, whose axes are the last ones of the array.

        Raises:
            ValueError: a place outside, or values of another shape or type.
        """
        if values.shape != self.shape[len(place) :] or values.dtype != self.dtype:
            raise ValueError(f"{values.dtype} of shape {values.shape} at {place} of {self.dtype} of shape {self.shape}")
        first = int(np.ravel_multi_index(place, self.shape[: len(place)])) if place else 0
        self._file.seek(self._begin + first * values.nbytes)
        self._file.write(np.ascontiguousarray(values).data)


@contextmanager
def array_file(file: Path, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Iterator[ArrayFile]:
    """Open a .npy file to be filled; ``numpy.load(file, mmap_mode="r")`` reads it without loading it.

    It is not written through a memory map: on a full disk that ends the process, and its pages count as memory.

    Raises:
        OSError: the file cannot be made, or there is no room for all of it.
    """
    with file.open("wb") as handle:
        yield ArrayFile(handle, shape, dtype)


def _reserve(file: BinaryIO, size: int) -> None:
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(file.fileno(), 0, size)
    else:  # macOS and Windows, where a full disk shows when the pieces are written
        file.truncate(size)
