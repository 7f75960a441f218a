"""What may be relied on: calibrated outlines on a few images, and the risk that they have on patients shown here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.axes import Axes

from probunet.core.marks import fullest_slice
from probunet.data.pictures import readings_of_case
from probunet.drawing.pictures import grid_figure, show, show_outline
from probunet.drawing.pixels import READER, STATED, as_rgb
from probunet.evaluation.calibrate import observed_cases, realised_risks
from probunet.inference.calibrated import Calibrated
from probunet.inference.writers import pixel_size
from probunet.report.results import Results
from probunet.report.section import Picture, Section, Table, estimate
from probunet.report.shown import store_palette
from probunet.runs.calibration import Calibration

INNER, OUTER = (1.0, 1.0), (4.0, 2.0)
"""Dashes and gaps, in points."""
MOST_CLASSES = 3
"""Of which numbers stand above a picture."""
COLUMNS = (
    "model",
    "class",
    "risk",
    "realised: outer outline",
    "realised: inner outline",
    "realised: area",
    "inner (px)",
    "hypothesis (px)",
    "outer (px)",
)


def section(results: Results) -> Section | None:
    """Outlines and realised risks of the models that were calibrated."""
    known = {name: made for name in results.names if (made := results.predictor(name).calibration) is not None}
    if not known:
        return None
    rows: list[list[Any]] = []
    text = []
    for name, made in known.items():
        realised, sentence = _realised(results, name, made)
        text.append(f"{name}: {made.words}. {sentence}")
        rows += [_row(name, made, k, realised) for k in range(len(made.classes))]
    pictures = [_figure(results, known, kind, positions) for kind, positions in results.chosen.items()]
    return Section("What may be relied on?", text, [Table("outlines", "", COLUMNS, rows)], pictures, _notes(known))


def _notes(known: Mapping[str, Calibration]) -> list[str]:
    said = dict.fromkeys(note for made in known.values() for note in made.notes)
    return [
        "Outer outline: share of a reader's pixels outside of it. Inner outline: share of its pixels that a reader did "
        "not mark. Area (of volumes the volume): share of readings whose size its interval misses. Each is at most the "
        "risk on average, and given as it was realised on the patients shown here, with its interval; patients drawn "
        "again. Pixels: mean number inside of the inner outline, in a hypothesis, and inside of the outer one.",
        *said,
    ]


def _realised(results: Results, name: str, made: Calibration) -> tuple[dict[str, Any] | None, str]:
    """Realised risks by class, where these patients are others than those of the calibration; and which they are."""
    split = results.data["split"]
    if made.data.identity != results.data["identity"]:
        return None, (
            "These are other data than the ones shown here, and nobody knows whether they share patients, so no "
            "realised risk is given."
        )
    if made.data.split == split:
        return None, "These are the patients shown here; on them it says nothing, so no realised risk is given."
    if made.checked is not None and made.checked["split"] == split:
        return made.checked, _others(made.checked["patients"], "", split)
    images = results.some_images(name)
    cases = observed_cases(results.predictor(name).model, images, made.risk, made.hypotheses, results.seed)
    realised = {part.name: realised_risks(made.statement(part), cases[k]) for k, part in enumerate(made.classes)}
    return realised, _others(len({case.patient for case in cases[0]}), f" ({len(images):,} images)", split)


def _others(patients: int, images: str, split: str) -> str:
    return (
        f"Realised: mean loss on {patients} patients{images} of the {split} split, who are shown here and were not "
        "calibrated on."
    )


def _row(name: str, made: Calibration, k: int, realised: Mapping[str, Any] | None) -> list[Any]:
    part = made.classes[k]
    figures = None if realised is None else realised[part.name]
    risks = [None if figures is None else estimate(figures[what]) for what in ("outer", "inner", "area")]
    cost = (part.figures if figures is None else figures)["cost"]
    pixels = [round(cost[f"{what}_pixels"], 1) for what in ("inner", "hypothesis", "outer")]
    return [name, part.name, made.risk, *risks, *pixels]


def _figure(results: Results, known: Mapping[str, Calibration], kind: str, positions: list[int]) -> Picture:
    fields = [results.prediction(next(iter(known)), position).view.field for position in positions]
    ratio = max(field.height / field.width for field in fields)
    figure = grid_figure(9, (9 / 3 * ratio + 0.5) * len(known))
    axes = figure.subplots(len(known), max(len(positions), 3), squeeze=False)
    notes: dict[str, None] = {}
    for axis in axes.flat:
        axis.axis("off")
    for row, name in zip(axes, known, strict=True):
        for axis, position in zip(row, positions, strict=False):
            notes |= dict.fromkeys(_case(axis, results, name, position))
    words = "; ".join(f"{name}: {made.words}" for name, made in known.items())
    caption = (
        "Dotted: calibrated inner outline; dashed: outer one; thin: readers. Above: interval of a reader's area or "
        f"volume with its coverage, and the probability that a reader marks nothing. {words}. "
        + " ".join(f"{note[0].upper()}{note[1:]}." for note in notes)
    )
    name = f"outlines_{kind.replace(' ', '_')}"
    return Picture(name, f"{kind[0].upper()}{kind[1:]}: calibrated outlines", figure, caption.strip())


def _case(axis: Axes, results: Results, name: str, position: int) -> list[str]:
    """Draw what is said of one case; give what should be known of it beside what holds for all."""
    prediction, row = results.prediction(name, position), int(results.images.indices[position])
    picture, field = prediction.picture, prediction.view.field
    readings = readings_of_case(results.store, row, picture)
    index = fullest_slice(readings)
    index = picture.shape[0] // 2 if index is None else index
    made = Calibrated(prediction, results.seed)
    said = list(made.slices())[index]  # all of them are gone through for the numbers
    facts = made.facts(pixel_size(picture))
    where = f", slice {index + 1} of {picture.shape[0]}" if picture.shape[0] > 1 else ""
    show(axis, as_rgb(field.of(picture.slice(index))), "\n".join([results.case(position) + where, *_above(facts)]))
    palette = store_palette(results.store)
    for k in range(len(made.statements)):
        for reading in field.of(readings[:, index]):
            show_outline(axis, reading == k + 1, READER)
        colour = STATED if len(made.statements) == 1 else palette[k + 1]
        for mask, dash in ((said.inner, INNER), (said.outer, OUTER)):
            show_outline(axis, field.of(mask[k]), colour, dash)
    return [note for note in facts["notes"] if note not in made.calibration.notes]


def _above(facts: Mapping[str, Any]) -> list[str]:
    """Interval of a reader's area or volume, and the probability that a reader marks nothing, a line a class."""
    lines = []
    for name, said in list(facts["classes"].items())[:MOST_CLASSES]:
        size = said.get("volume", said.get("area"))
        unit = next((unit for unit in size["low"] if unit != "pixels"), "pixels")
        ends = f"{size['low'][unit]:.0f} to {size['high'][unit]:.0f} {unit.replace('pixels', 'px')}"
        before = f"{name}: " if len(facts["classes"]) > 1 else ""
        lines += [f"{before}{ends} ({size['coverage']:.0%})", f"{before}nothing: {said['nothing']['probability']:.1%}"]
    return lines
