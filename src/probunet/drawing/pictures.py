"""Images with segmentations drawn over them, alone, as mosaics and as contact sheets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy.ndimage import binary_erosion

from probunet.core.types import IGNORE

READER, HYPOTHESIS = (230, 159, 0), (86, 180, 233)
"""Colours that stay apart for the colour-blind (Okabe and Ito)."""
COLUMNS = 8
Pixels = npt.NDArray[np.uint8]
Palette = npt.NDArray[np.uint8]
"""(256, 3) colour of every class id."""
LONGEST_TITLE = 28
"""Letters that fit above a picture."""


def contact_sheet(
    file: Path,
    image: npt.NDArray[Any],
    samples: Pixels,
    probabilities: npt.NDArray[np.float32],
    modes: Sequence[tuple[int, float]],
) -> None:
    """Write a picture of an image, of what is probable and uncertain, of the modes and of all hypotheses.

    Args:
        file: .png to write.
        image: (C, H, W), any intensities.
        samples: (N, H, W) class ids.
        probabilities: (K, H, W).
        modes: position of the representative and frequency of each; as many as fit are shown.
    """
    palette = class_palette(len(probabilities), ())
    columns = max(min(len(samples), COLUMNS), 4)
    rows = -(-len(samples) // columns)
    figure = grid_figure(1.4 * columns, 1.55 * (rows + 1))
    axes = figure.subplots(rows + 1, columns, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    show(axes[0, 0], as_rgb(image), "image")
    entropy = -(probabilities * np.log(np.maximum(probabilities, 1e-30))).sum(axis=0) / np.log(len(probabilities))
    for axis, values, title in ((axes[0, 1], 1 - probabilities[0], "probability"), (axes[0, 2], entropy, "entropy")):
        axis.imshow(values, cmap="viridis", vmin=0, vmax=1)
        axis.set_title(title, fontsize=7, pad=2)
    for i, (axis, (member, frequency)) in enumerate(zip(axes[0, 3:], modes, strict=False), start=1):
        show_hypothesis(axis, paint(image, samples[member], palette), samples[member])
        axis.set_title(f"mode {i} of {len(modes)}: {frequency:.0%}", fontsize=7, pad=2)
    for axis, sample in zip(axes[1:].flat, samples, strict=False):
        show_hypothesis(axis, paint(image, sample, palette), sample)
    figure.savefig(file, dpi=100)


def class_palette(classes: int, flips: Sequence[Any]) -> Palette:
    """Colours of the classes: one for a lesion, many for a street; a flipped class is a lighter tone of its own."""
    palette = np.zeros((256, 3), np.uint8)
    if classes == 2:
        palette[1] = HYPOTHESIS
        return palette
    colours = np.concatenate([colormaps[name].colors for name in ("tab20", "tab20b", "tab20c")])  # type: ignore[attr-defined]
    colours = np.round(255 * colours).astype(np.uint8)  # pairs of a strong and a lighter tone: 30 classes and flips
    flipped = {flip.flipped_id: flip.class_id for flip in flips}
    for k in range(classes):
        palette[k] = colours[(2 * flipped.get(k, k) + (k in flipped)) % len(colours)]
    return palette


def as_rgb(image: npt.NDArray[Any]) -> Pixels:
    """Show an image: three channels as they are, otherwise the first one in grey between its 0.5 and 99.5 percentiles.

    Args:
        image: (C, H, W).

    Returns:
        (H, W, 3) uint8.
    """
    if len(image) == 3 and image.dtype == np.uint8:
        return np.moveaxis(image, 0, -1)
    low, high = np.percentile(image[0], (0.5, 99.5))
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
    picture = as_rgb(image).astype(np.float64)
    binary = not palette[0].any()
    for k in np.unique(label):
        if k == IGNORE or (binary and k == 0):
            continue
        inside = label == k
        border = inside & ~binary_erosion(inside, border_value=1)
        for area, share in ((inside, 0.3 if binary else 0.65), (border, 0.9 if binary else 0.75)):
            picture[area] = (1 - share) * picture[area] + share * palette[k]
    return picture.round().astype(np.uint8)


def mosaic(tiles: Sequence[Pixels], columns: int, gap: int = 2) -> Pixels:
    """Put pictures of one size side by side, row by row, on white."""
    h, w = tiles[0].shape[:2]
    rows = -(-len(tiles) // columns)
    sheet = np.full((rows * (h + gap) - gap, columns * (w + gap) - gap, 3), 255, np.uint8)
    for i, tile in enumerate(tiles):
        top, left = (i // columns) * (h + gap), (i % columns) * (w + gap)
        sheet[top : top + h, left : left + w] = tile
    return sheet


def grid_figure(width: float, height: float) -> Figure:
    """A figure for a grid of pictures with short titles; inches."""
    figure = new_figure(width, height, automatic=False)
    margin = 0.22 / height
    figure.subplots_adjust(left=0.005, right=0.995, bottom=0.005, top=1 - margin, wspace=0.04, hspace=0.16)
    return figure


def show(axis: Axes, picture: Pixels, title: str = "") -> None:
    """Show a picture without axes; of a long line of the title its end, which tells cases apart."""
    axis.imshow(picture, interpolation="nearest")
    lines = [line if len(line) <= LONGEST_TITLE else f"…{line[-LONGEST_TITLE:]}" for line in title.splitlines()]
    axis.set_title("\n".join(lines), fontsize=7, pad=2)
    axis.axis("off")


def show_hypothesis(axis: Axes, picture: Pixels, sample: Pixels) -> None:
    """Show a painted hypothesis; one without anything says so."""
    show(axis, picture)
    if not sample.any():
        axis.text(0.5, 0.06, "empty", color="white", fontsize=7, ha="center", transform=axis.transAxes)


def new_figure(width: float, height: float, automatic: bool = True) -> Figure:
    """Make a figure that belongs to no window.

    Args:
        width: in inches.
        height: in inches.
        automatic: make room for titles and labels, which is slow for a grid of many pictures.
    """
    figure = Figure(figsize=(width, height), layout="constrained" if automatic else None)
    FigureCanvasAgg(figure)
    return figure
