"""Where a picture's bytes come from, a regular file or an upload, and the guard in front of every decoder."""

from __future__ import annotations

import io
import math
import os
import re
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from probunet.core.errors import InputError
from probunet.core.files import regular_file, shown
from probunet.core.words import by

DEFLATE = 1032
"""Bytes that a byte of deflate can become at most (zlib, technical details)."""


@dataclass(frozen=True)
class Limits:
    """What is decoded at most, checked against what a header declares before anything is allocated.

    Attributes:
        pixels: of a slice.
        bytes: of a whole picture, decoded.
    """

    pixels: int
    bytes: int


OF_FILES = Limits(pixels=1 << 27, bytes=1 << 34)
"""Files of the user's own: 134 million pixels a slice, 16 GiB."""
OF_UPLOADS = Limits(pixels=2048 * 2048, bytes=1 << 28)
"""Bytes that nobody vouches for: 2048x2048 px a slice, 256 MiB."""


@dataclass(frozen=True, eq=False)
class Content:
    """The bytes of one file.

    Attributes:
        path: of the file; of an upload the name that it was given, which is never opened.
        held: bytes of an upload, ``None`` for a file on disk.
        limits: of what is decoded.
    """

    path: Path
    held: bytes | None = None
    limits: Limits = OF_FILES

    @property
    def name(self) -> str:
        """For messages."""
        return shown(self.path)

    def open(self) -> BinaryIO:
        """Open for reading from the start.

        Raises:
            InputError: missing, not a regular file, or no permission.
        """
        return open_regular(self.path) if self.held is None else io.BytesIO(self.held)

    def size(self) -> int:
        """Number of bytes."""
        if self.held is not None:
            return len(self.held)
        with self.open() as file:
            return os.fstat(file.fileno()).st_size

    def read(self) -> bytes:
        """All bytes."""
        with self.open() as file:
            return file.read()

    @contextmanager
    def as_file(self, suffix: str) -> Iterator[Path]:
        """A path for libraries that take nothing else; an upload lies in a temporary file of a name of ours."""
        if self.held is None:
            self.open().close()
            yield self.path
            return
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / f"upload{suffix}"
            file.write_bytes(self.held)
            yield file

    def check(self, shape: Sequence[int], itemsize: int, held: int | None = None) -> None:
        """Check declared sizes before anything is allocated.

        Args:
            shape: of all numbers, height and width last.
            itemsize: bytes of a number.
            held: bytes that the numbers take at least where they are not compressed, else ``None``.

        Raises:
            InputError: sizes that are not positive, too large, or more than the file can hold.
        """
        text = by(shape)
        if min(shape, default=0) < 1:
            raise InputError(f"{self.name} has the shape {text}; every side must be at least 1")
        if shape[-1] * shape[-2] > self.limits.pixels:
            most = self.limits.pixels
            raise InputError(f"{self.name} has {shape[-2]}x{shape[-1]} px; at most {most:,} pixels are read, cut it")
        total = math.prod(shape) * itemsize
        if total > self.limits.bytes:
            raise InputError(f"{self.name} declares {total:,} bytes of pixels; at most {self.limits.bytes:,} are read")
        if held is not None and held < total:
            raise InputError(f"{self.name} declares {total:,} bytes of pixels and can hold {held:,}; fetch it again")


def open_regular(path: Path) -> BinaryIO:
    """Open a regular file; anything else (a FIFO, a device) could block or never end.

    Raises:
        InputError: missing, not a regular file, or no permission.
    """
    try:
        return regular_file(path).open("rb")
    except (OSError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{shown(path)} cannot be read ({reason_of(error)})") from error


@contextmanager
def decoding(name: str, kind: str) -> Iterator[None]:
    """Turn whatever a decoder raises on damaged bytes into one sentence, and silence its warnings.

    Raises:
        InputError: names the file, the kind and the reason.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about values that are not needed; those that are get checked
            yield
    except InputError:
        raise
    except Exception as error:  # decoders raise nearly every kind there is on damaged bytes
        raise InputError(f"{name} cannot be read as {kind} ({reason_of(error)}); is it complete?") from error


def said(value: object) -> str:
    """What a file says, for a message: printable, on one line, and short."""
    text = "".join(letter if letter.isprintable() else "?" for letter in str(value)[:200])
    return text if len(text) <= 80 else f"{text[:80]}..."


def reason_of(error: BaseException) -> str:
    """The first words of a library's message, or the kind of the error."""
    words = " ".join(str(error).split())
    words = re.sub(r"^.*ITK ERROR: \w+(\(\w*\))?:? ?", "", words)  # nor does the place in its source
    words = re.sub(r" ?<[^<>]* at 0x[0-9a-f]+>", "", words)  # an object says nothing to a reader
    return words[:160] or type(error).__name__


def finite(name: str, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The values, if they are numbers.

    Raises:
        InputError: of another type, masked, or NaN or infinite.
    """
    if np.ma.is_masked(values):
        raise InputError(f"{name} is a masked array, whose mask would be lost; fill it first")
    if values.dtype.kind not in "buif":
        raise InputError(f"{name} holds {values.dtype}; numbers are needed")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise InputError(f"{name} holds values that are NaN or infinite; clean it first")
    return values
