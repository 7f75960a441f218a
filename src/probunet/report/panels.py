"""Images with readings and hypotheses of every method below each other (paper, Fig. 3)."""

from __future__ import annotations

import numpy as np

from probunet.data.store import Store
from probunet.drawing.pictures import grid_figure, show, show_hypothesis
from probunet.drawing.pixels import READER, Palette, Pixels, as_rgb, class_palette, paint
from probunet.report.results import Results
from probunet.report.section import Picture, Section

COLUMNS = 8


def section(results: Results) -> Section:
    """Fig. 3: image, readers or modes, and hypotheses of every method below each other."""
    pictures = []
    for kind, positions in results.chosen.items():
        for i, position in enumerate(positions):
            pictures.append(_case(results, kind, position, f"panel_{kind.replace(' ', '_')}_{i + 1}"))
    return Section("What does every method propose?", [], [], pictures)


def store_palette(store: Store) -> Palette:
    """Palette of the classes of a store."""
    return class_palette(len(store.classes), store.flips)


def readers(results: Results, position: int, most: int) -> tuple[list[Pixels], list[str]]:
    """Pictures of the readings, or of the most probable modes, with their names."""
    image, palette = results.raw(position), store_palette(results.store)
    labels = results.labels(position)[:most]
    if results.store.flips:
        weights = np.sort(results.store.convention().weights or ())[::-1]
        names = [f"mode of {weight:.1%}" for weight in weights[: len(labels)]]
    else:
        palette = palette.copy()
        palette[1] = READER if len(results.store.classes) == 2 else palette[1]
        names = [f"reader {i + 1}" + ("" if label.any() else ": empty") for i, label in enumerate(labels)]
    return [paint(image, label, palette) for label in labels], names


def _case(results: Results, kind: str, position: int, name: str) -> Picture:
    image, palette = results.raw(position), store_palette(results.store)
    names = results.names
    ratio = image.shape[-2] / image.shape[-1]
    figure = grid_figure(11, (1.35 * ratio + 0.22) * (len(names) + 1))
    axes = figure.subplots(len(names) + 1, COLUMNS, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    show(axes[0, 0], as_rgb(image), "image")
    for axis, picture, title in zip(axes[0, 1:], *readers(results, position, COLUMNS - 1), strict=False):
        show(axis, picture, title)
    for row, method in zip(axes[1:], names, strict=True):
        for i, sample in enumerate(results.samples(method, position, COLUMNS)):
            show_hypothesis(row[i], paint(image, sample, palette), sample)
        row[0].set_title(method.replace("_", " "), fontsize=8, loc="left", fontweight="bold", pad=2)
    case = results.store.cases[results.images.indices[position]].name
    caption = f"{case}. First row: image and {'modes' if results.store.flips else 'readers'}; then up to "
    return Picture(name, f"{kind[0].upper()}{kind[1:]}: {case}", figure, caption + f"{COLUMNS} samples a method.")
