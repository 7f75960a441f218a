"""Figure 3: image, readers and hypotheses side by side."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

READER, HYPOTHESIS = "#e69f00", "#56b4e9"
"""Colours that stay apart for the colour-blind (Okabe and Ito)."""


@dataclass(frozen=True)
class Case:
    """One image with what readers and a model say of it.

    Attributes:
        name: of the image.
        image: (H, W), any intensities.
        readers: (R, H, W) class ids.
        samples: (N, H, W) class ids.
        probability: (H, W), of the foreground.
        note: one line on the case.
    """

    name: str
    image: npt.NDArray[Any]
    readers: npt.NDArray[np.integer]
    samples: npt.NDArray[np.integer]
    probability: npt.NDArray[np.float32]
    note: str = ""


def contact_sheet(
    file: Path, image: npt.NDArray[Any], samples: npt.NDArray[np.integer], probabilities: npt.NDArray[np.float32]
) -> None:
    """Write a picture of an image, its hypotheses and the foreground probability.

    Args:
        file: .png to write.
        image: (C, H, W), any intensities; the first channel is shown.
        samples: (N, H, W) class ids.
        probabilities: (K, H, W).
    """
    case = Case("", image[0], samples[:0], samples, 1 - probabilities[0])
    figure = panels([case], columns=min(len(samples), 8))
    figure.savefig(file, dpi=100)


def panels(cases: list[Case], columns: int = 8) -> Figure:
    """Draw each case as image, readers' outlines and probability on top, hypotheses below.

    Returns:
        A figure that belongs to no window.
    """
    heads = [2 + len(case.readers) for case in cases]
    columns = max([columns, *heads])
    rows = [1 + -(-len(case.samples) // columns) for case in cases]
    figure = Figure(figsize=(1.15 * columns, 1.32 * sum(rows)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(sum(rows), columns, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    top = 0
    for case, count in zip(cases, rows, strict=True):
        _draw_case(axes[top : top + count], case, columns)
        top += count
    return figure


def _draw_case(axes: npt.NDArray[Any], case: Case, columns: int) -> None:
    low, high = np.percentile(case.image, (0.5, 99.5))
    first = axes[0]
    show_image(first[0], case.image, low, high)
    first[0].set_title("image", fontsize=7)
    for i, reader in enumerate(case.readers):
        outline(first[1 + i], case.image, reader, READER, low, high)
        first[1 + i].set_title(f"reader {i + 1}", fontsize=7)
    place = first[1 + len(case.readers)]
    place.imshow(case.probability, cmap="viridis", vmin=0, vmax=1)
    place.set_title("probability", fontsize=7)
    if case.note and columns > 2 + len(case.readers):
        note = first[2 + len(case.readers)].text(0, 0.5, case.note, fontsize=7, va="center")
        note.set_in_layout(False)  # it reaches over empty panels and must not push them apart
    for i, sample in enumerate(case.samples):
        axis = axes[1 + i // columns][i % columns]
        outline(axis, case.image, sample, HYPOTHESIS, low, high)
        if i == 0:
            axis.set_title(f"{len(case.samples)} hypotheses", fontsize=7)


def show_image(axis: Axes, image: npt.NDArray[Any], low: float, high: float) -> None:
    """Show an image in grey between two intensities."""
    axis.imshow(image, cmap="gray", vmin=low, vmax=max(high, low + 1e-6))


def outline(
    axis: Axes, image: npt.NDArray[Any], label: npt.NDArray[np.integer], colour: str, low: float, high: float
) -> None:
    """Show an image with a segmentation filled lightly and outlined; "empty" is written where there is nothing."""
    show_image(axis, image, low, high)
    if not label.any():
        axis.text(0.5, 0.08, "empty", color=colour, fontsize=6, ha="center", transform=axis.transAxes)
        return
    inside = np.ma.masked_equal(label > 0, False)
    axis.imshow(inside, cmap=ListedColormap([colour]), alpha=0.35)
    for k in np.unique(label[label > 0]):
        axis.contour(label == k, levels=[0.5], colors=[colour], linewidths=0.8)
