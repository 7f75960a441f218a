"""Segmentations drawn over images, pixel by pixel: colours, tinted pictures, mosaics, contact sheets; no matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image as PILImage
from PIL import ImageDraw, ImageFont

from probunet.core.types import IGNORE

READER, HYPOTHESIS = (230, 159, 0), (86, 180, 233)
"""Colours that stay apart for the colour-blind (Okabe and Ito)."""
STATED = (255, 95, 210)
"""Of calibrated outlines."""
COLUMNS = 8
Pixels = npt.NDArray[np.uint8]
Palette = npt.NDArray[np.uint8]
"""(256, 3) colour of every class id."""
SMALLEST_TILE, LARGEST_TILE = 128, 256
"""Pixels along the longer side of a picture in a contact sheet."""
_TITLE, _GAP = 16, 4
_COLOURS = np.frombuffer(
    bytes.fromhex(
        "1f77b4 aec7e8 ff7f0e ffbb78 2ca02c 98df8a d62728 ff9896 9467bd c5b0d5 8c564b c49c94 e377c2 f7b6d2 7f7f7f "
        "c7c7c7 bcbd22 dbdb8d 17becf 9edae5 393b79 5254a3 6b6ecf 9c9ede 637939 8ca252 b5cf6b cedb9c 8c6d31 bd9e39 "
        "e7ba52 e7cb94 843c39 ad494a d6616b e7969c 7b4173 a55194 ce6dbd de9ed6 3182bd 6baed6 9ecae1 c6dbef e6550d "
        "fd8d3c fdae6b fdd0a2 31a354 74c476 a1d99b c7e9c0 756bb1 9e9ac8 bcbddc dadaeb 636363 969696 bdbdbd d9d9d9"
    ),
    np.uint8,
).reshape(-1, 3)
"""Of matplotlib: tab20, tab20b, tab20c."""
_HEAT = np.frombuffer(
    bytes.fromhex("440154 472d7b 3b528b 2c728e 21918c 28ae80 5ec962 addc30 fde725"),
    np.uint8,
).reshape(-1, 3)
"""Of matplotlib: viridis, at nine places."""


def contact_sheet(
    file: Path,
    image: npt.NDArray[Any],
    samples: Pixels,
    probabilities: npt.NDArray[np.float32],
    groups: Sequence[tuple[int, float]],
) -> None:
    """Write a picture of an image, of what is probable and uncertain, of the groups and of all hypotheses.

    Args:
        file: .png to write.
        image: (C, H, W), any intensities.
        samples: (N, H, W) class ids.
        probabilities: (K, H, W).
        groups: position of the representative and frequency of each; as many as fit are shown.
    """
    palette, grey = class_palette(len(probabilities), ()), sized(as_rgb(image))
    empty = ["" if sample.any() else "empty" for sample in samples]
    samples = np.stack([sized(sample) for sample in samples])
    columns = max(min(len(samples), COLUMNS), 4)
    entropy = -(probabilities * np.log(np.maximum(probabilities, 1e-30))).sum(axis=0) / np.log(len(probabilities))
    painted = [paint_over(grey, sample, palette) for sample in samples]
    first = [
        ("image", grey, ""),
        ("probability", sized(heat(1 - probabilities[0])), ""),
        ("entropy", sized(heat(entropy)), ""),
    ]
    for i, (member, frequency) in enumerate(groups[: columns - len(first)], start=1):
        first.append((f"group {i} of {len(groups)}: {frequency:.0%}", painted[member], empty[member]))
    first += [("", np.full_like(grey, 255), "")] * (columns - len(first))
    tiles = [titled(title, pixels, note) for title, pixels, note in first]
    tiles += [titled("", pixels, note) for pixels, note in zip(painted, empty, strict=True)]
    PILImage.fromarray(mosaic(tiles, columns, _GAP)).save(file, compress_level=1)


def titled_mosaic(tiles: Sequence[tuple[str, Pixels]], columns: int) -> Pixels:
    """Pictures of one size with a title above each, side by side, in a size that can be looked at.

    Args:
        tiles: titles and colours (H, W, 3).
        columns: pictures in a row.
    """
    return mosaic([titled(title, sized(pixels)) for title, pixels in tiles], columns, _GAP)


def titled(title: str, pixels: Pixels, note: str = "") -> Pixels:
    """A picture of a size that can be looked at, with words above and on it."""
    height, width = pixels.shape[:2]
    tile = PILImage.new("RGB", (width, height + _TITLE), "white")
    tile.paste(PILImage.fromarray(pixels), (0, _TITLE))
    pen = ImageDraw.Draw(tile)
    pen.text((width / 2, _TITLE / 2), _fitting(title, width), fill="black", font=font(), anchor="mm")
    where, look = (width / 2, height + _TITLE - 8), font()
    # an edge, so that it can be read on bright and on dark
    pen.text(where, note, fill="white", font=look, anchor="mm", stroke_width=2, stroke_fill="black")
    return np.asarray(tile)


def _fitting(title: str, width: int) -> str:
    """As much of a title as fits into a width."""
    if font().getlength(title) <= width:
        return title
    letters = next((n for n in range(len(title), 0, -1) if font().getlength(title[:n] + "…") <= width), 0)
    return title[:letters] + "…"


def sized(pixels: Pixels) -> Pixels:
    """Colours (H, W, 3) or class ids (H, W) in a size that can be looked at."""
    height, width = pixels.shape[:2]
    longer = max(height, width)
    if SMALLEST_TILE <= longer <= LARGEST_TILE:
        return pixels
    scale = -(-SMALLEST_TILE // longer) if longer < SMALLEST_TILE else LARGEST_TILE / longer
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    mean = scale < 1 and pixels.ndim == 3
    how = PILImage.Resampling.BOX if mean else PILImage.Resampling.NEAREST
    return np.asarray(PILImage.fromarray(pixels).resize(size, how))


@cache
def font() -> Any:
    """For words of eleven pixels."""
    return ImageFont.load_default(11)


def heat(values: npt.NDArray[np.floating[Any]]) -> Pixels:
    """Colours from dark blue to yellow, (H, W, 3), of values from 0 to 1."""
    places = np.linspace(0, 1, len(_HEAT))
    table = np.stack([np.interp(np.linspace(0, 1, 256), places, _HEAT[:, c]) for c in range(3)], axis=-1)
    return table.round().astype(np.uint8)[(values.clip(0, 1) * 255).round().astype(np.uint8)]


def class_palette(classes: int, flips: Sequence[Any]) -> Palette:
    """Colours of the classes: one for a lesion, many for a street; a flipped class is a lighter tone of its own."""
    palette = np.zeros((256, 3), np.uint8)
    if classes == 2:
        palette[1] = HYPOTHESIS
        return palette
    flipped = {flip.flipped_id: flip.class_id for flip in flips}
    for k in range(classes):
        palette[k] = _COLOURS[
            (2 * flipped.get(k, k) + (k in flipped)) % len(_COLOURS)
        ]  # pairs of a strong and a lighter tone: 30 classes and flips
    return palette


def as_rgb(image: npt.NDArray[Any]) -> Pixels:
    """Show an image: three channels as they are, otherwise the first one in grey between its 0.5 and 99.5 percentiles.

    Args:
        image: (C, H, W).

    Returns:
        (H, W, 3) uint8.
    """
    low, high = (0, 0) if _is_coloured(image) else np.percentile(image[0], (0.5, 99.5)).tolist()
    return as_grey(image, (low, high))


def _is_coloured(image: npt.NDArray[Any]) -> bool:
    return len(image) == 3 and image.dtype == np.uint8


def as_grey(image: npt.NDArray[Any], window: tuple[float, float]) -> Pixels:
    """The same between two values that become black and white; three channels of bytes as they are."""
    if _is_coloured(image):
        return np.moveaxis(image, 0, -1)
    low, high = window
    grey = np.clip((image[0] - low) / max(high - low, 1e-6), 0, 1)
    return np.repeat((255 * grey).astype(np.uint8)[..., None], 3, axis=-1)


def paint(image: npt.NDArray[Any], label: npt.NDArray[np.integer], palette: Palette) -> Pixels:
    """Draw a segmentation over an image: every class filled, its border strong; class 0 of two is left clear.

    Args:
        image: (C, H, W).
        label: (H, W) class ids.
        palette: see :func:`class_palette`.

    Returns:
        (H, W, 3) uint8.
    """
    return paint_over(as_rgb(image), label, palette)


def paint_over(shown: Pixels, label: npt.NDArray[np.integer], palette: Palette) -> Pixels:
    """The same over what :func:`as_rgb` made, (H, W, 3)."""
    picture = shown.astype(np.float32)
    binary = not palette[0].any()
    for k in np.unique(label):
        if k == IGNORE or (binary and k == 0):
            continue
        inside = label == k
        border = inside & ~_inner(inside)
        for area, share in ((inside, 0.3 if binary else 0.65), (border, 0.9 if binary else 0.75)):
            picture[area] = (1 - share) * picture[area] + share * palette[k]
    return picture.round().astype(np.uint8)


def _inner(inside: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Pixels whose four neighbours are inside too; what lies beyond the edge is."""
    inner = inside.copy()
    inner[1:] &= inside[:-1]
    inner[:-1] &= inside[1:]
    inner[:, 1:] &= inside[:, :-1]
    inner[:, :-1] &= inside[:, 1:]
    return inner


def mosaic(tiles: Sequence[Pixels], columns: int, gap: int = 2) -> Pixels:
    """Put pictures of one size side by side, row by row, on white."""
    h, w = tiles[0].shape[:2]
    rows = -(-len(tiles) // columns)
    sheet = np.full((rows * (h + gap) - gap, columns * (w + gap) - gap, 3), 255, np.uint8)
    for i, tile in enumerate(tiles):
        top, left = (i // columns) * (h + gap), (i % columns) * (w + gap)
        sheet[top : top + h, left : left + w] = tile
    return sheet
