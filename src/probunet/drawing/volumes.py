"""A contact sheet of a volume: named slices through what is marked, and each group of hypotheses below them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image as PILImage
from PIL import ImageDraw

from probunet.drawing.pixels import Pixels, as_grey, class_palette, font, mosaic, paint_over, sized, titled

LUNG, SOFT_TISSUE = (-1350.0, 150.0), (-160.0, 240.0)
"""Windows of Hounsfield units in which radiologists look."""
MOST_SLICES, MOST_GROUPS = 9, 8
_AIR = -500
_BARS = (1, 2, 5, 10, 20, 50, 100)
"""Lengths in mm that a scale may have."""


def volume_sheet(
    file: Path,
    slice_of: Callable[[int], npt.NDArray[Any]],
    samples: Pixels,
    groups: Sequence[tuple[int, float]],
    num_classes: int,
    unit: str = "",
    spacing_mm: tuple[float | None, float, float] | None = None,
) -> None:
    """Write a picture of slices of a volume in the first row, and of the groups' representatives on them below.

    The slices lie evenly through all that any hypothesis marks. In Hounsfield units the window is that for lungs where
    a twentieth of the pixels is air, and that for soft tissue elsewhere; other values are shown between their 0.5 and
    99.5 percentiles.

    Args:
        file: .png to write.
        slice_of: values (C, H, W) of a slice.
        samples: (N, D, H, W) class ids, possibly on disk.
        groups: position of the representative and frequency of each; the first eight are shown.
        num_classes: of the labels.
        unit: of the values; ``"HU"`` for CT.
        spacing_mm: between slices (``None``: not known), rows and columns.
    """
    chosen = slices_through(samples)
    images = [slice_of(index) for index in chosen]
    window = window_of(images, unit)
    greys = [sized(as_grey(image, window)) for image in images]
    if spacing_mm is not None:
        greys[0] = _with_scale(greys[0], images[0].shape[-1] * spacing_mm[2])
    palette = class_palette(num_classes, ())
    tiles = [
        titled(f"slice {index + 1} of {samples.shape[1]}", grey) for index, grey in zip(chosen, greys, strict=True)
    ]
    for i, (member, frequency) in enumerate(groups[:MOST_GROUPS], start=1):
        labels = [np.asarray(samples[member, index]) for index in chosen]
        names = [f"group {i} of {len(groups)}: {frequency:.0%}"] + [""] * (len(chosen) - 1)
        empty = "empty" if not np.asarray(samples[member]).any() else ""
        notes = [empty] + [""] * (len(chosen) - 1)
        tiles += [
            titled(name, paint_over(grey, sized(label), palette), note)
            for name, grey, label, note in zip(names, greys, labels, notes, strict=True)
        ]
    sheet = mosaic(tiles, len(chosen), 4)
    PILImage.fromarray(_with_words(sheet, _words(window, unit, spacing_mm))).save(file, compress_level=1)


def slices_through(samples: Pixels, most: int = MOST_SLICES) -> list[int]:
    """Slices that lie evenly through all that any hypothesis (N, D, H, W) marks; through the volume if none does."""
    depth = samples.shape[1]
    marked = np.flatnonzero([np.asarray(samples[:, index]).any() for index in range(depth)])
    first, last = (marked[0], marked[-1]) if len(marked) else (0, depth - 1)
    first, last = max(first - 1, 0), min(last + 1, depth - 1)  # and the empty ones beside it
    return np.unique(np.linspace(first, last, min(most, last - first + 1)).round().astype(int)).tolist()


def window_of(images: Sequence[npt.NDArray[Any]], unit: str) -> tuple[float, float]:
    """The values that become black and white."""
    values = np.concatenate([image[0].ravel() for image in images])
    if unit == "HU":
        return LUNG if np.percentile(values, 5) < _AIR else SOFT_TISSUE
    low, high = np.percentile(values, (0.5, 99.5)).tolist()
    return low, high


def _with_scale(grey: Pixels, width_mm: float) -> Pixels:
    """A bar whose length is written on it, at most two fifths of the picture wide."""
    fits = [length for length in _BARS if length <= 0.4 * width_mm]
    if not fits:
        return grey
    picture = PILImage.fromarray(grey)
    pen, (width, height) = ImageDraw.Draw(picture), picture.size
    long = fits[-1] / width_mm * width
    pen.rectangle((5, height - 8, 5 + long, height - 6), fill="white", outline="black")
    pen.text((5, height - 10), f"{fits[-1]} mm", fill="white", font=font(), anchor="lb", stroke_width=1, stroke_fill=0)
    return np.asarray(picture)


def _words(window: tuple[float, float], unit: str, spacing_mm: tuple[float | None, float, float] | None) -> str:
    known = (
        " x ".join("?" if mm is None else f"{mm:.3g}" for mm in spacing_mm) + " mm" if spacing_mm else "size unknown"
    )
    return f"window {window[0]:g} to {window[1]:g} {unit}".rstrip() + f"; voxels (slice, row, column) {known}"


def _with_words(sheet: Pixels, words: str) -> Pixels:
    picture = PILImage.new("RGB", (sheet.shape[1], sheet.shape[0] + 16), "white")
    picture.paste(PILImage.fromarray(sheet), (0, 0))
    ImageDraw.Draw(picture).text((4, sheet.shape[0] + 8), words, fill="black", font=font(), anchor="lm")
    return np.asarray(picture)
