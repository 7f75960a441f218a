"""One frame of a DICOM file as it is stored, its declared and decoded sizes checked before it is decoded."""

from __future__ import annotations

import io
import math
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
from probunet.io.content import Content, said
from probunet.io.dicom_attributes import Header

_SOF = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7}
"""Markers of JPEG and JPEG-LS after which height and width stand."""
_HIERARCHICAL = {0xDE, 0xDF}
_TILES = 64
"""Tiles of JPEG 2000 along either side at most."""
_ROOM = 1 << 24
"""Bytes that a deflated file may have beside its pixels."""
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
    used = int(dataset.get("BitsStored") or bits)
    if int(dataset.get("HighBit") or used - 1) != used - 1:
        raise InputError(
            f"{content.name} has its {used} bits up to bit {dataset.HighBit} of {bits}, as DICOM no longer allows; "
            "export it again"
        )
    content.check((rows, columns), bits // 8)
    syntax = dataset.file_meta.get("TransferSyntaxUID")
    if syntax is None:  # of the time before file meta: implicit little endian, as it was read
        dataset.file_meta.TransferSyntaxUID = syntax = pydicom.uid.ImplicitVRLittleEndian
    if not syntax.is_encapsulated:
        content.check((frames, rows, columns), bits // 8, len(dataset.PixelData))
    else:
        _check_decoder(syntax, content.name)
        encoded = get_frame(dataset.PixelData, frame, extended_offsets=_offsets(dataset), number_of_frames=frames)
        if syntax == RLELossless:
            _check_runs(encoded, rows * columns, bits // 8, content.name)
        else:
            _check_stream(encoded, rows, columns, content.name)
    return np.asarray(pixel_array(dataset, index=frame, raw=True))


def padding_in(stored: npt.NDArray[Any], dataset: pydicom.Dataset) -> npt.NDArray[np.bool_]:
    """Which stored values a header says are no image; the sign that it gives them is often wrong and plays no part."""
    value = dataset.get("PixelPaddingValue")
    if not isinstance(value, int):
        return np.zeros(stored.shape, bool)
    limit = dataset.get("PixelPaddingRangeLimit")
    low, high = sorted((value, limit if isinstance(limit, int) else value))
    span = 1 << 8 * stored.dtype.itemsize
    return (stored.astype(np.int64) - low) % span <= high - low


def check_kind(header: Header, name: str) -> None:
    """Refuse what is no single image of one channel.

    Raises:
        InputError: colour, or a mosaic of slices.
    """
    colour = str(header.get("PhotometricInterpretation") or "MONOCHROME2")
    if not colour.startswith("MONOCHROME") or int(header.get("SamplesPerPixel") or 1) != 1:
        raise InputError(f"{name} is a colour image ({said(colour)}); one channel is needed")
    if "MOSAIC" in str(header.get("ImageType") or ""):
        raise InputError(f"{name} is a mosaic, many slices as tiles of one image; convert it first (dcm2niix)")


def check_deflated(content: Content) -> None:
    """Unpack a file that is deflated as a whole, a little at a time, and refuse it where it grows too large.

    Raises:
        InputError: more than its header says, with some room for what else a header may hold; or damaged.
    """
    with content.open() as file:
        pydicom.filereader.read_preamble(file, force=True)
        meta = pydicom.filereader._read_file_meta_info(file)
        if meta.get("TransferSyntaxUID") != DeflatedExplicitVRLittleEndian:
            return
        unpacker, start, total, most = zlib.decompressobj(-zlib.MAX_WBITS), b"", 0, _ROOM
        while chunk := file.read(1 << 16):
            while chunk:
                unpacked = unpacker.decompress(chunk, 1 << 20)
                start, total = start + unpacked[: _ROOM - len(start)], total + len(unpacked)
                chunk = unpacker.unconsumed_tail
                if total > most == _ROOM:  # only a large file is asked how large it says that it is
                    most += _declared(start)
                if total > min(most, content.limits.bytes):
                    raise InputError(f"{content.name} unpacks to more bytes than its header says; not read")


def _declared(start: bytes) -> int:
    """Bytes of pixels, at least 1, out of the beginning of an unpacked file."""
    tags = ["Rows", "Columns", "NumberOfFrames", "BitsAllocated"]
    wanted: list[pydicom.tag.BaseTag | int] = [pydicom.tag.Tag(tag) for tag in tags]
    header = pydicom.filereader.read_dataset(
        io.BytesIO(start), False, True, stop_when=lambda tag, *_: tag > max(wanted), specific_tags=[*wanted]
    )
    bits, *sizes = (int(header.get(tag) or 1) for tag in reversed(tags))
    return max(math.prod(sizes) * max(bits // 8, 1), 1)


def _offsets(dataset: pydicom.Dataset) -> tuple[bytes, bytes] | None:
    """Where frames lie in a large stream, read as the decoder reads it."""
    keys = ("ExtendedOffsetTable", "ExtendedOffsetTableLengths")
    return (dataset[keys[0]].value, dataset[keys[1]].value) if all(key in dataset for key in keys) else None


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
    """Height, width and channels in a JPEG, JPEG-LS or JPEG 2000 stream must be those of the header."""
    size = _of_jpeg2000(encoded) or _of_jpeg(encoded)
    if size is None:
        raise InputError(f"{name} holds a compressed stream that does not say its size; fetch it again")
    if size != (rows, columns, 1):
        raise InputError(
            f"{name} holds a compressed stream of {size[0]}x{size[1]} px with {size[2]} channel(s), its header says "
            f"{rows}x{columns} with one; do not trust this file"
        )


def _of_jpeg2000(encoded: bytes) -> tuple[int, int, int] | None:
    """Height, width and channels (ITU-T T.800, A.5.1)."""
    encoded = _codestream(encoded)
    if not encoded.startswith(b"\xff\x4f\xff\x51") or len(encoded) < 45:
        return None
    width, height, left, top, across, down = struct.unpack(">IIIIII", encoded[8:32])
    channels, (step_x, step_y) = int.from_bytes(encoded[40:42], "big"), encoded[43:45]
    if (step_x, step_y) != (1, 1) or min(across, down) * _TILES < max(width, height):
        return None  # a pixel that stands for many; tiles so small that their tables take more than the pixels
    return height - top, width - left, channels


def _codestream(encoded: bytes) -> bytes:
    """JPEG 2000 alone, or the first box of it in a JP2 file without a palette: DICOM forbids it, and people have it."""
    place = 0 if encoded.startswith(b"\0\0\0\x0cjP  ") else len(encoded)
    while place + 8 <= len(encoded):
        length, kind = struct.unpack(">I4s", encoded[place : place + 8])
        if kind == b"jp2c":
            return encoded[place + 8 :]
        if length < 8 or (kind == b"jp2h" and b"pclr" in encoded[place : place + length]):
            return b""
        place += length
    return encoded


def _of_jpeg(encoded: bytes) -> tuple[int, int, int] | None:
    """Height, width and channels (ITU-T T.81, B.2.2); a hierarchical stream grows from frame to frame: nothing."""
    place = 2
    while encoded[:1] == b"\xff" and place + 10 <= len(encoded) and encoded[place] == 0xFF:
        marker, length = encoded[place + 1], int.from_bytes(encoded[place + 2 : place + 4], "big")
        if marker in _HIERARCHICAL:
            return None
        if marker in _SOF:
            height, width = struct.unpack(">HH", encoded[place + 5 : place + 9])
            return height, width, encoded[place + 9]
        place += 1 if marker == 0xFF else 2 + length
    return None


def _check_runs(encoded: bytes, pixels: int, segments: int, name: str) -> None:
    """A run-length segment for each byte of a pixel must unpack to one byte a pixel, and a row's padding at most."""
    count, *offsets = struct.unpack("<16I", encoded[:64].ljust(64, b"\0"))
    if count != segments:
        raise InputError(f"{name} holds {count} run-length segments; one for each of {segments} byte(s) is needed")
    for start, end in zip(offsets, [*offsets[1:count], len(encoded)], strict=False):
        place, total, end = start, 0, min(end, len(encoded))
        while place < end and total <= pixels + _PADDING and place - start <= 2 * pixels + _PADDING:
            control = encoded[place]
            total += control + 1 if control < 128 else 257 - control if control > 128 else 0
            place += control + 2 if control < 128 else 2 if control > 128 else 1
        if place < end:
            raise InputError(f"{name} holds a run-length segment that is longer than its {pixels:,} pixels")
