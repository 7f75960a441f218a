"""Figures of pictures, with titles: what needs matplotlib."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke

from probunet.drawing.borders import borders
from probunet.drawing.pixels import Pixels

LONGEST_TITLE = 28
"""Letters that fit above a picture."""


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
        words = axis.text(0.5, 0.06, "empty", color="white", fontsize=7, ha="center", transform=axis.transAxes)
        words.set_path_effects([withStroke(linewidth=2, foreground="black")])  # to be read on bright and on dark


def show_outline(
    axis: Axes, mask: npt.NDArray[np.bool_], colour: Sequence[int], dash: tuple[float, float] | None = None
) -> None:
    """Draw the line around what is marked over a picture of the same size.

    Args:
        axis: with the picture.
        mask: (H, W).
        colour: red, green and blue, from 0 to 255.
        dash: lengths of a dash and of the gap behind it, in points, on a dark line, so that it is seen on any picture;
            ``None`` for a thin line without gaps.
    """
    for walk in borders(mask):
        down, across = walk.T - 0.5  # the middle of a picture's first pixel is 0
        if dash is not None:
            axis.plot(across, down, color="black", alpha=0.6, linewidth=2.2)
        look = {"linewidth": 0.6} if dash is None else {"linewidth": 1.4, "linestyle": (0, dash)}
        axis.plot(across, down, color=np.array(colour) / 255, **look)


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
