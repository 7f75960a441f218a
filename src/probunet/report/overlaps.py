"""Numbers that everybody knows, beside D_GED^2: Dice, sizes, and what each reader draws."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from probunet.core.marks import foreground
from probunet.core.types import IGNORE
from probunet.metrics import Convention, Distances, bootstrap_interval, pairwise_distances
from probunet.metrics.consensus import majority
from probunet.report.columns import Floats
from probunet.report.results import SAMPLES, Results
from probunet.report.section import Estimate, Section, Table

Labels = npt.NDArray[np.uint8]

DICE = Convention(2, ignore=IGNORE, overlap="dice")
"""All classes but background count together, as one; pixels that any reader does not know count nowhere."""


def section(results: Results) -> Section | None:
    """Dice with the readers and size of every model's hypotheses, and a row for each reader; not with label flips."""
    if results.store.flips:
        return None
    unit, sizes = _units(results)
    labels = [results.images[i]["labels"].numpy() for i in results.spread]
    maps = {name: results.spread_samples(name) for name in results.names}
    maps["majority of the readers"] = [majority(readings)[None] for readings in labels]
    measured = {
        name: [compared(maps_of, readings) for maps_of, readings in zip(drawn, labels, strict=True)]
        for name, drawn in maps.items()
    }
    rows = [[name, *_row(results, images, sizes)] for name, images in measured.items()]
    outlines = measured["majority of the readers"]
    between = [_off_diagonal(image.references[0]) for image in outlines]
    areas = [_areas(image, image.reference_area, pixel) for image, pixel in zip(outlines, sizes, strict=True)]
    rows.append(["a reader", *(_over(results, list(values)) for values in (between, *zip(*areas, strict=True)))])
    columns = ["", "Dice with a reader", f"size ({unit})", "share empty"]
    text = [
        f"{SAMPLES} hypotheses of each of {len(labels)} {'images' if results.store.dims == 2 else 'volumes'}, spread "
        "over all. All classes but background count together, as one. Dice is 1 where both are empty; of a reader it "
        "is that with the others. The majority saw the very readings that it is compared with. Dice of single outlines "
        "rewards the middle of the readers: whether a model draws all of them is what D²_GED says. Pixels that a "
        "reader of an image leaves open count in no Dice and no size of it."
    ]
    tables = [Table("overlaps", "", columns, rows, muted=2)]
    if results.store.reader_names:
        tables.append(_readers(results, measured[results.reference], outlines, sizes, unit))
    else:
        text.append(
            "The readers of this data have no names, as a column is not always the same person: no row for each."
        )
    return Section("Dice, sizes, and each reader", text, tables)


def compared(samples: Labels, readings: Labels) -> Distances:
    """1 - Dice and areas of label maps (n, *size) and readings (R, *size) of one image, see ``DICE``."""
    first, second = (np.where(maps == IGNORE, np.uint8(IGNORE), foreground(maps)) for maps in (samples, readings))
    return pairwise_distances(first[None], second[None], DICE, workers=1)


def _off_diagonal(distances: Floats) -> float:
    """The mean Dice of any two readers, out of their distances (R, R)."""
    count = len(distances)
    return float("nan") if count < 2 else 1 - float(distances[~np.eye(count, dtype=bool)].mean())


def _units(results: Results) -> tuple[str, list[float]]:
    """Unit of the sizes, and the size of a pixel of each image in it."""
    spacings = [results.store.spacing(int(results.images.indices[i])) for i in results.spread]
    names = ("px", "mm²") if results.store.dims == 2 else ("voxels", "mm³")
    if any(spacing is None for spacing in spacings):
        return names[0], [1.0] * len(spacings)
    return names[1], [math.prod(spacing or ()) for spacing in spacings]


def _row(results: Results, images: list[Distances], sizes: list[float]) -> list[Estimate]:
    overlap = [1 - float(image.cross.mean()) for image in images]
    areas = [_areas(image, image.sample_area, pixel) for image, pixel in zip(images, sizes, strict=True)]
    return [_over(results, list(values)) for values in (overlap, *zip(*areas, strict=True))]


def _areas(image: Distances, areas: npt.NDArray[np.int64], pixel: float) -> tuple[float, float]:
    """Mean size of some maps and the share of empty ones; NaN of an image of which no pixel counts."""
    if image.left_out[0]:
        return float("nan"), float("nan")
    return float(areas.mean() * pixel), float(np.mean(areas == 0))


def _over(results: Results, values: list[float]) -> Estimate:
    numbers = np.array(values)
    known = np.flatnonzero(~np.isnan(numbers))
    if not len(known):
        return None, None, None
    groups = [results.groups[results.spread[i]] for i in known]
    interval = bootstrap_interval(numbers[known], groups, seed=results.seed)
    return interval.mean, interval.low, interval.high


def _readers(
    results: Results, drawn: list[Distances], outlines: list[Distances], sizes: list[float], unit: str
) -> Table:
    """A row for each person, over the images that this person looked at."""
    name, people = results.reference, [results.images[i]["readers"].tolist() for i in results.spread]
    rows = []
    for column, reader in enumerate(results.store.reader_names or ()):
        looked = [(i, columns.index(column)) for i, columns in enumerate(people) if column in columns]
        if not looked:
            rows.append([reader, 0, None, None, None, None, None])
            continue
        areas = [_areas(outlines[i], outlines[i].reference_area[:, r], sizes[i]) for i, r in looked]
        values = [
            *map(list, zip(*areas, strict=True)),
            [1 - _mean(np.delete(outlines[i].references[0, r], r)) for i, r in looked],
            [1 - _mean(outlines[i].cross[0, :, r]) for i, r in looked],
            [1 - _mean(drawn[i].cross[0, :, r]) for i, r in looked],
        ]
        rows.append([reader, len(looked), *(_shown(column) for column in values)])
    columns = ["reader", "readings", f"size ({unit})", "share empty", "Dice with the others", "with the majority"]
    return Table("each_reader", "Each reader", [*columns, f"with {name}"], rows)


def _mean(values: Floats) -> float:
    return float(values.mean()) if values.size else float("nan")


def _shown(values: list[float]) -> float | None:
    known = [value for value in values if not math.isnan(value)]
    return round(sum(known) / len(known), 3) if known else None
