"""Images with readings and hypotheses of every method below each other (paper, Fig. 3)."""

from __future__ import annotations

from probunet.drawing.pictures import grid_figure, show, show_hypothesis
from probunet.drawing.pixels import as_rgb, paint
from probunet.report.results import Results
from probunet.report.section import Picture, Section
from probunet.report.shown import shown, store_palette

COLUMNS = 8


def section(results: Results) -> Section | None:
    """Fig. 3: image, readers or modes, and hypotheses of every method below each other."""
    pictures = []
    for kind, positions in results.chosen.items():
        for i, position in enumerate(positions):
            pictures.append(_case(results, kind, position, f"panel_{kind.replace(' ', '_')}_{i + 1}"))
    return Section("What does every method propose?", [], [], pictures) if pictures else None


def _case(results: Results, kind: str, position: int, name: str) -> Picture:
    case, palette = shown(results, position), store_palette(results.store)
    names = results.names
    ratio = case.image.shape[-2] / case.image.shape[-1]
    figure = grid_figure(11, (1.35 * ratio + 0.22) * (len(names) + 1))
    axes = figure.subplots(len(names) + 1, COLUMNS, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    show(axes[0, 0], as_rgb(case.image), "image")
    for axis, picture, title in zip(axes[0, 1:], *case.painted(palette, COLUMNS - 1), strict=False):
        show(axis, picture, title)
    for row, method in zip(axes[1:], names, strict=True):
        for i, sample in enumerate(case.on(results.samples(method, position, COLUMNS))):
            show_hypothesis(row[i], paint(case.image, sample, palette), sample)
        row[0].set_title(method.replace("_", " "), fontsize=8, loc="left", fontweight="bold", pad=2)
    first = f"{case.case}{case.where}. First row: image and {case.first_of(COLUMNS - 1)}; then up to {COLUMNS} samples"
    return Picture(name, f"{kind[0].upper()}{kind[1:]}: {case.case}", figure, f"{first} a method.")
