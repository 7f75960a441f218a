"""Many samples of a few images (paper, appendices F and G)."""

from __future__ import annotations

from probunet.drawing.pictures import new_figure, show
from probunet.drawing.pixels import as_rgb, mosaic, paint
from probunet.report.panels import readers, store_palette
from probunet.report.results import Results, is_full
from probunet.report.section import Picture, Section

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
    image, palette = results.raw(position), store_palette(results.store)
    samples = results.samples(name, position, SAMPLES)
    columns = COLUMNS if image.shape[-1] < 1.5 * image.shape[-2] else COLUMNS // 2
    heads, names = readers(results, position, columns - 1)
    sheet = mosaic([paint(image, sample, palette) for sample in samples], columns)
    top = mosaic([as_rgb(image), *heads], columns)
    width = 11.0
    heights = [width * part.shape[0] / part.shape[1] for part in (top, sheet)]
    figure = new_figure(width, sum(heights) + 0.6)
    first, second = figure.subplots(2, 1, height_ratios=heights)
    show(first, top, "image, " + ", ".join(names))
    show(second, sheet, f"{len(samples)} samples")
    case = results.store.cases[results.images.indices[position]].name
    return Picture(file, case, figure, f"{case}: {len(samples)} samples of {name}.")
