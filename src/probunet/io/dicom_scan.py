"""The attributes of a DICOM header that order slices, read without parsing the rest: for folders of many files.

Explicit and implicit little endian are walked element by element (DICOM PS3.5, chapter 7). Whatever is odd is left to
pydicom: big endian, deflated, no preamble, letters beyond ASCII, a header longer than what is read at once.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from functools import cache
from typing import Any

from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.uid import DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ImplicitVRLittleEndian

from probunet.io.content import Content

_START = 1 << 14
_LONG = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
_UNDEFINED = 0xFFFFFFFF
_END_OF_SEQUENCE = b"\xfe\xff\xdd\xe0\0\0\0\0"
_LAST = 0x7FE00000


def scan(content: Content, keywords: Iterable[str]) -> dict[str, Any] | None:
    """Read attributes.

    Args:
        content: of the file.
        keywords: of the attributes that are wanted.

    Returns:
        Text, a number or a list of these by keyword (what is empty is left out), or ``None`` where pydicom has to
        read the file.
    """
    with content.open() as file:
        start = file.read(_START)
    if start[128:132] != b"DICM":
        return None
    wanted = _wanted(tuple(keywords))
    try:
        place, syntax = _meta(start)
        if syntax in (DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian, ""):
            return None
        return _walk(start, place, syntax != ImplicitVRLittleEndian, wanted)
    except (struct.error, ValueError, UnicodeDecodeError):
        return None


@cache
def _wanted(keywords: tuple[str, ...]) -> dict[int, tuple[str, str]]:
    """Keyword and value representation by tag."""
    tags = ((tag_for_keyword(keyword), keyword) for keyword in keywords)
    return {tag: (keyword, dictionary_VR(tag)) for tag, keyword in tags if tag is not None}


def _meta(start: bytes) -> tuple[int, str]:
    """Where the file meta information ends, and the transfer syntax in it."""
    place, syntax = 132, ""
    while start[place : place + 2] == b"\x02\x00":
        tag, value, place = _element(start, place, explicit=True)
        if tag == 0x00020010:
            syntax = value.rstrip(b"\0 ").decode("ascii")
    return place, syntax


def _walk(start: bytes, place: int, explicit: bool, wanted: dict[int, tuple[str, str]]) -> dict[str, Any] | None:
    found: dict[str, Any] = {}
    last, before = max(wanted), 0
    while True:
        tag, value, place = _element(start, place, explicit)
        if tag > last or tag >= _LAST:
            return found
        if tag <= before or place > len(start):
            return None
        before = tag
        if tag in wanted:
            keyword, kind = wanted[tag]
            read = _value(value, kind)
            if read not in ("", []):
                found[keyword] = read


def _element(start: bytes, place: int, explicit: bool) -> tuple[int, bytes, int]:
    """Tag, value and place of the next element."""
    group, number = struct.unpack_from("<HH", start, place)
    code = start[place + 4 : place + 6]
    if explicit and code not in _LONG:
        if not (code.isalpha() and code.isupper()):
            raise ValueError("no value representation")
        length, begin = struct.unpack_from("<H", start, place + 6)[0], place + 8
    elif explicit:
        length, begin = struct.unpack_from("<I", start, place + 8)[0], place + 12
    else:
        length, begin = struct.unpack_from("<I", start, place + 4)[0], place + 8
    tag = group << 16 | number
    if length == _UNDEFINED:
        end = _after_sequence(start, begin)
        return tag, b"", end
    return tag, start[begin : begin + length] if begin + length <= len(start) else b"", begin + length


def _after_sequence(start: bytes, place: int) -> int:
    """The end of a sequence of undefined length; one within another is left to pydicom."""
    end = start.find(_END_OF_SEQUENCE, place)
    if end < 0 or start[end + 8 : end + 10] == b"\xfe\xff":
        raise ValueError("a sequence within a sequence, or a long one")
    return end + 8


def _value(value: bytes, kind: str) -> Any:
    if kind == "US":
        return struct.unpack("<H", value[:2])[0] if value else ""
    parts: list[Any] = [part.strip("\0 ") for part in value.decode("ascii").split("\\")]
    if kind in ("DS", "IS"):
        parts = [float(part) for part in parts if part]
    return parts[0] if len(parts) == 1 else parts
