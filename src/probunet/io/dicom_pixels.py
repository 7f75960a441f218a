"""One frame of a DICOM file as it is stored, its declared and decoded sizes checked before it is decoded."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.encaps import get_frame
from pydicom.pixels import get_decoder, pixel_array
from pydicom.uid import DeflatedExplicitVRLittleEndian, RLELossless

from probunet.core.errors import InputError
from probunet.io.content import Content

_SOF = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7}
"""Markers of JPEG and JPEG-LS after which height and width stand."""


_PADDING = 128
"""Bytes that a run-length segment may have more than pixels: its last run is not cut."""


def read_stored(content: Content, dataset: pydicom.Dataset, frame: int) -> npt.NDArray[Any]:
    """Decode one frame.

    Args:
        content: of the file, for messages and limits.
        dataset: with its pixels.
        frame: from 0.

    Returns:
        (rows, columns), unused bits ignored.

    Raises:
        InputError: no decoder, a stream that is larger than the header says, or no grey values.
    """
    bits = int(dataset.get("BitsAllocated") or 0)
    frames, rows, columns = (int(dataset.get(key) or 1) for key in ("NumberOfFrames", "Rows", "Columns"))
    if bits not in (8, 16, 32) or "PixelData" not in dataset:
        raise InputError(f"{content.name} holds no pixels of 8, 16 or 32 bits; is it complete?")
    content.check((rows, columns), bits // 8)
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax is None:  # of the time before file meta: implicit little endian, as it was read
        dataset.file_meta.TransferSyntaxUID = syntax = pydicom.uid.ImplicitVRLittleEndian
    if not syntax.is_encapsulated:
        content.check((frames, rows, columns), bits // 8, len(dataset.PixelData))
    else:
        _check_decoder(syntax, content.name)
        encoded = get_frame(dataset.PixelData, frame, number_of_frames=frames)
        if syntax == RLELossless:
            _check_runs(encoded, rows * columns, content.name)
        else:
            _check_stream(encoded, rows, columns, content.name)
    return np.asarray(pixel_array(dataset, index=frame, raw=True))


def check_deflated(content: Content) -> None:
    """Unpack a file that is deflated as a whole, a little at a time, and refuse it where it grows too large.

    Raises:
        InputError: more than the limit, or damaged.
    """
    with content.open() as file:
        if DeflatedExplicitVRLittleEndian.encode() + b"\0" not in file.read(2048):
            return
        file.seek(0)
        pydicom.filereader.read_preamble(file, force=False)
        pydicom.filereader._read_file_meta_info(file)
        unpacker, total = zlib.decompressobj(-zlib.MAX_WBITS), 0
        while chunk := file.read(1 << 16):
            while chunk:
                total += len(unpacker.decompress(chunk, 1 << 20))
                chunk = unpacker.unconsumed_tail
                if total > content.limits.bytes:
                    raise InputError(f"{content.name} unpacks to more than {content.limits.bytes:,} bytes; not read")


def _check_decoder(syntax: pydicom.uid.UID, name: str) -> None:
    try:
        decoder = get_decoder(syntax)
    except NotImplementedError as error:
        raise InputError(f"{name} has the transfer syntax {syntax.name}, which pydicom cannot decode") from error
    if not decoder.is_available:
        raise InputError(
            f"{name} is compressed ({syntax.name}); 'pip install pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg' "
            f"to read it (pydicom names: {'; '.join(decoder.missing_dependencies)})"
        )


def _check_stream(encoded: bytes, rows: int, columns: int, name: str) -> None:
    """Height and width in a JPEG, JPEG-LS or JPEG 2000 stream must be those of the header."""
    size = _of_jpeg2000(encoded) or _of_jpeg(encoded)
    if size is None:
        raise InputError(f"{name} holds a compressed stream that does not say its size; fetch it again")
    if size != (rows, columns):
        raise InputError(
            f"{name} holds a compressed stream of {size[0]}x{size[1]} px, its header says {rows}x{columns}; "
            "do not trust this file"
        )


def _of_jpeg2000(encoded: bytes) -> tuple[int, int] | None:
    place = encoded.find(b"\xff\x4f\xff\x51", 0, 4096)
    if place < 0 or len(encoded) < place + 24:
        return None
    width, height, left, top = struct.unpack(">IIII", encoded[place + 8 : place + 24])
    return height - top, width - left


def _of_jpeg(encoded: bytes) -> tuple[int, int] | None:
    place = 2
    while place + 9 <= len(encoded) and encoded[place] == 0xFF:
        marker, length = encoded[place + 1], int.from_bytes(encoded[place + 2 : place + 4], "big")
        if marker in _SOF:
            height, width = struct.unpack(">HH", encoded[place + 5 : place + 9])
            return height, width
        place += 1 if marker == 0xFF else 2 + length
    return None


def _check_runs(encoded: bytes, pixels: int, name: str) -> None:
    """Run-length segments must unpack to one byte a pixel, and at most to a row's padding more."""
    count, *offsets = struct.unpack("<16I", encoded[:64].ljust(64, b"\0"))
    ends = [*offsets[1:count], len(encoded)]
    if not 1 <= count <= 15:
        raise InputError(f"{name} holds {count} run-length segments; from 1 to 15 are possible")
    for start, end in zip(offsets, ends, strict=False):
        place, total = start, 0
        while place < min(end, len(encoded)) and total <= pixels + _PADDING:
            control = encoded[place]
            total += control + 1 if control < 128 else 257 - control if control > 128 else 0
            place += control + 2 if control < 128 else 2 if control > 128 else 1
        if total > pixels + _PADDING:
            raise InputError(f"{name} holds a run-length segment that is longer than its {pixels:,} pixels")
