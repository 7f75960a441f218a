"""Many samples of a few images (paper, appendices F and G)."""

from __future__ import annotations

from probunet.drawing.pictures import new_figure, show
from probunet.drawing.pixels import as_rgb, mosaic, paint
from probunet.report.results import Results, is_full
from probunet.report.section import Picture, Section
from probunet.report.shown import shown, store_palette

SAMPLES, COLUMNS, CASES = 64, 16, 2


def section(results: Results) -> Section | None:
    """One sheet an image, of the full Probabilistic U-Net."""
    full = [run.name for run in results.runs if is_full(run)]
    if not full:
        return None
    pictures = []
    for kind, positions in results.chosen.items():
        for i, position in enumerate(positions[:CASES]):
            pictures.append(_sheet(results, full[0], position, f"sheet_{kind.replace(' ', '_')}_{i + 1}"))
    return Section(
        "Many samples of one image", [f"{SAMPLES} samples of {full[0]}, in the order of drawing."], [], pictures
    )


def _sheet(results: Results, name: str, position: int, file: str) -> Picture:
    case, palette = shown(results, position), store_palette(results.store)
    samples = case.on(results.samples(name, position, SAMPLES))
    columns = COLUMNS if case.image.shape[-1] < 1.5 * case.image.shape[-2] else COLUMNS // 2
    heads, names = case.painted(palette, columns - 1)
    sheet = mosaic([paint(case.image, sample, palette) for sample in samples], columns)
    top = mosaic([as_rgb(case.image), *heads], columns)
    width = 11.0
    heights = [width * part.shape[0] / part.shape[1] for part in (top, sheet)]
    figure = new_figure(width, sum(heights) + 0.6)
    first, second = figure.subplots(2, 1, height_ratios=heights)
    show(first, top, f"image and {case.kind}")
    show(second, sheet, f"{len(samples)} samples")
    row = f"First row: image, {', '.join(names)}"
    if len(names) < len(case.labels):
        row += f" ({case.first_of(columns - 1)})"
    return Picture(file, case.case, figure, f"{case.case}{case.where}. {row}. Below: {len(samples)} samples of {name}.")
