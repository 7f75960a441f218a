"""PNG, TIFF and JPEG at their own depth, or refused: Pillow decodes, the header says what it would lose."""

from __future__ import annotations

import struct
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image as PILImage
from PIL import UnidentifiedImageError

from probunet.core.errors import InputError
from probunet.io.content import Content, decoding, finite, said
from probunet.io.stored import Stored

PILImage.MAX_IMAGE_PIXELS = None  # sizes are checked here, by the limits of what is read
_MODES = {"1": 1, "L": 1, "P": 1, "I": 1, "I;16": 1, "I;16B": 1, "I;16L": 1, "F": 1, "RGB": 3, "RGBA": 3, "LA": 1}
_TAGS = {"bits": 258, "photometric": 262, "description": 270, "orientation": 274, "format": 339}
_UPRIGHT = 1
_LOSSY = {"tiff_jpeg", "jpeg", "webp"}
"""Compressions within TIFF, by Pillow's names for them."""
_SAME = {("0", c0, c1) for c0 in ("0", "0.0") for c1 in ("1", "1.0")}
"""A line of ImageJ from a number to itself."""


def read_raster(content: Content, kind: str) -> Stored:
    """Read the header of a PNG, TIFF or JPEG file.

    Args:
        content: of the file.
        kind: ``PNG``, ``TIFF`` or ``JPEG``, the only decoder that is tried.

    Raises:
        InputError: damaged, too large, several pages, turned by a tag, numbers that ImageJ maps to others, or a depth
            that would not be kept: 16-bit colour, CMYK, white as 0.
    """
    with decoding(content.name, kind), content.open() as file, _opened(file, kind, content.name) as picture:
        mode, depth = picture.mode, _depth(file, picture, content.name)
        if mode not in _MODES:
            raise InputError(f"{content.name} is a {mode} picture; save it as grey or RGB")
        if getattr(picture, "n_frames", 1) > 1:
            raise InputError(f"{content.name} has {getattr(picture, 'n_frames', 1)} pages; save each as a file")
        if kind == "TIFF":
            _check_described(picture, content.name)
        shape = (1, picture.height, picture.width)
        content.check((_MODES[mode], *shape[1:]), depth.itemsize)
        if kind != "PNG":  # Pillow decodes a PNG to find its tags, so those are asked for with the pixels
            _check_upright(picture, content.name)
        lossy = kind == "JPEG" or picture.info.get("compression") in _LOSSY
    decode = partial(_decode, content, kind, depth)
    return Stored(kind, shape, depth, decode, _MODES[mode], colours=mode == "P", lossy=lossy)


def _opened(file: Any, kind: str, name: str) -> PILImage.Image:
    """The picture with its header read.

    Raises:
        InputError: what Pillow has no picture for, such as 64-bit values in a TIFF file; or damaged.
    """
    try:
        return PILImage.open(file, formats=[kind])
    except UnidentifiedImageError as error:
        raise InputError(
            f"{name} is damaged, or a {kind} file of a kind that is not read; save it as 8 or 16-bit grey"
        ) from error


def _depth(file: Any, picture: PILImage.Image, name: str) -> np.dtype[Any]:
    """The type that the file's own values have.

    Raises:
        InputError: Pillow would give other values.
    """
    if picture.format == "PNG":
        file.seek(24)
        bits, colour = struct.unpack(">BB", file.read(2))
        if bits == 16 and colour != 0:
            raise InputError(f"{name} has 16 bits a colour, of which 8 would be lost; save each channel as 16-bit grey")
        return np.dtype(np.uint16 if bits == 16 else np.uint8)
    if picture.format != "TIFF":
        return np.dtype(np.uint8)
    tags = picture.tag_v2  # type: ignore[attr-defined]
    bits = tags.get(_TAGS["bits"], (1,))
    bits = bits if isinstance(bits, tuple) else (bits,)
    sample = tags.get(_TAGS["format"], (1,))
    sample = sample[0] if isinstance(sample, tuple) else sample
    if len(set(bits)) > 1 or (len(bits) > 1 and bits[0] != 8):
        raise InputError(f"{name} has {bits} bits a colour, of which 8 would be kept; save each channel as 16-bit grey")
    if tags.get(_TAGS["photometric"]) == 0:
        raise InputError(f"{name} stores white as 0; save it with black as 0")
    kinds = {1: "u", 2: "i", 3: "f"}
    if sample not in kinds or bits[0] not in (1, 2, 4, 8, 16, 32, 64) or (sample != 1 and bits[0] < 8):
        raise InputError(f"{name} has {bits[0]}-bit values of sample format {sample}; save it as 8 or 16-bit grey")
    size = max(bits[0] // 8, 1)
    return np.dtype(f"{kinds[sample]}{size}")


def _decode(content: Content, kind: str, depth: np.dtype[Any]) -> npt.NDArray[Any]:
    """(C, 1, H, W) in the depth of the file."""
    with decoding(content.name, kind), content.open() as file, PILImage.open(file, formats=[kind]) as picture:
        spread = _spread(file, picture)
        picture.load()
        _check_upright(picture, content.name)
        pixels = _opaque(picture, content.name)
        values = np.asarray(pixels)
        if picture.mode == "P":
            _check_table(picture, int(values.max()), content.name)
    if values.dtype == bool:
        values = values.astype(np.uint8)
    elif spread > 1:
        values = values // spread  # Pillow spreads 2 and 4 bits over 0 to 255
    if values.dtype.itemsize == depth.itemsize and values.dtype.kind in "ui" and depth.kind in "ui":
        values = values.astype(values.dtype.newbyteorder("=")).view(depth)  # bytes are kept, their sign was not
    values = finite(content.name, values.astype(depth))
    return (np.moveaxis(values, -1, 0) if values.ndim == 3 else values[None])[:, None]


def _check_described(picture: PILImage.Image, name: str) -> None:
    """ImageJ describes its TIFF files in lines: HU are stored as HU + 32,768, and a large stack as one page.

    Raises:
        InputError: it says that numbers stand for others, or that there are more images.
    """
    text = str(picture.tag_v2.get(_TAGS["description"], ""))  # type: ignore[attr-defined]
    lines = dict(line.partition("=")[::2] for line in text.splitlines() if text.startswith("ImageJ="))
    if "cf" in lines and (lines["cf"], lines.get("c0"), lines.get("c1")) not in _SAME:
        raise InputError(f"{name} holds numbers that ImageJ maps to others (c0={lines.get('c0')}); save it as 32-bit")
    if lines.get("images", "1") != "1":
        raise InputError(f"{name} holds {said(lines['images'])} images of ImageJ; save each as a file")


def _check_table(picture: PILImage.Image, largest: int, name: str) -> None:
    """A table of greys that does not go from dark to bright: what looks black is not class 0.

    Raises:
        InputError: it is such a table.
    """
    table = np.array(picture.getpalette("RGB"), int).reshape(-1, 3)[: max(largest, 1) + 1]
    grey = table[:, 0]
    if (table == table[:, :1]).all() and (grey[0] == 255 or (np.diff(grey) < 0).any()):
        raise InputError(
            f"{name} has a table of greys out of order ({said(grey[:4].tolist())}), so that class ids are not what it "
            "shows; save it as grey"
        )


def _check_upright(picture: PILImage.Image, name: str) -> None:
    if picture.getexif().get(_TAGS["orientation"], _UPRIGHT) != _UPRIGHT:
        raise InputError(f"{name} is turned by its orientation tag; save it upright")


def _spread(file: Any, picture: PILImage.Image) -> int:
    """The factor by which Pillow multiplies grey values of 2 and 4 bits."""
    if picture.mode != "L":
        return 1
    if picture.format == "PNG":
        place = file.tell()
        file.seek(24)
        bits = file.read(1)[0]
        file.seek(place)
    else:
        bits = picture.tag_v2.get(_TAGS["bits"], (8,)) if picture.format == "TIFF" else 8  # type: ignore[attr-defined]
        bits = bits[0] if isinstance(bits, tuple) else bits
    return {2: 85, 4: 17}.get(bits, 1)


def _opaque(picture: PILImage.Image, name: str) -> PILImage.Image:
    """The picture without a fourth channel that says nothing.

    Raises:
        InputError: some of it is transparent.
    """
    if picture.mode not in ("RGBA", "LA"):
        return picture
    if picture.getextrema()[-1] != (255, 255):
        raise InputError(f"{name} is partly transparent; save it as grey or RGB")
    return picture.convert(picture.mode[:-1])
