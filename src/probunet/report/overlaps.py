"""Numbers that everybody knows, beside D_GED^2: Dice, sizes, and what each reader draws."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from probunet.core.marks import foreground
from probunet.core.types import IGNORE
from probunet.metrics import bootstrap_interval
from probunet.metrics.consensus import majority
from probunet.report.results import SAMPLES, Floats, Results
from probunet.report.section import Estimate, Section, Table

Labels = npt.NDArray[np.uint8]


def section(results: Results) -> Section | None:
    """Dice with the readers and size of every model's hypotheses, and a row for each reader; not with label flips."""
    if results.store.flips:
        return None
    unit, sizes = _units(results)
    labels = [results.images[i]["labels"].numpy() for i in results.spread]
    outlines = [majority(readings)[None] for readings in labels]
    maps = {name: results.spread_samples(name) for name in results.names}
    maps["majority of the readers"] = outlines
    rows: list[list[Any]] = [[name, *_row(results, drawn, labels, sizes)] for name, drawn in maps.items()]
    between = [_off_diagonal(dice(readings, readings)) for readings in labels]
    theirs = [_size(readings, size) for readings, size in zip(labels, sizes, strict=True)]
    empty = [float(np.mean(_marks(readings).sum(axis=1) == 0)) for readings in labels]
    rows.append(["a reader", *(_over(results, values) for values in (between, theirs, empty))])
    columns = ["", "Dice with a reader", f"size ({unit})", "share empty"]
    text = [
        f"{SAMPLES} hypotheses of each of {len(labels)} {'images' if results.store.dims == 2 else 'volumes'}, spread "
        "over all. All classes but background count together, as one. Dice is 1 where both are empty; of a reader it "
        "is that with the others. The majority saw the very readings that it is compared with. Dice of single outlines "
        "rewards the middle of the readers: whether a model draws all of them is what D²_GED says."
    ]
    tables = [Table("overlaps", "", columns, rows, muted=2)]
    if results.store.reader_names:
        tables.append(_readers(results, labels, outlines, sizes, unit))
    else:
        text.append(
            "The readers of this data have no names, as a column is not always the same person: no row for each."
        )
    return Section("Dice, sizes, and each reader", text, tables)


def dice(first: Labels, second: Labels) -> Floats:
    """Dice of every map (n, *size) with every other one (m, *size), (n, m); 1 where both mark nothing.

    Pixels with ``IGNORE`` in either count in neither.
    """
    a, b = _marks(first).astype(np.float32), _marks(second).astype(np.float32)
    known_a, known_b = ((maps.reshape(len(maps), -1) != IGNORE).astype(np.float32) for maps in (first, second))
    both, either = 2.0 * (a @ b.T), a @ known_b.T + known_a @ b.T
    return np.where(either > 0, both / np.maximum(either, 1), 1.0)


def _marks(maps: Labels) -> npt.NDArray[np.bool_]:
    return foreground(maps.reshape(len(maps), -1))


def _off_diagonal(values: Floats) -> float:
    count = len(values)
    return float("nan") if count < 2 else float(values[~np.eye(count, dtype=bool)].mean())


def _size(maps: Labels, pixel: float) -> float:
    return float(_marks(maps).sum(axis=1).mean() * pixel)


def _units(results: Results) -> tuple[str, list[float]]:
    """Unit of the sizes, and the size of a pixel of each image in it."""
    spacings = [results.store.spacing(int(results.images.indices[i])) for i in results.spread]
    names = ("px", "mm²") if results.store.dims == 2 else ("voxels", "mm³")
    if any(spacing is None for spacing in spacings):
        return names[0], [1.0] * len(spacings)
    return names[1], [math.prod(spacing or ()) for spacing in spacings]


def _row(results: Results, maps: list[Labels], labels: list[Labels], sizes: list[float]) -> list[Estimate]:
    overlap = [float(dice(drawn, readings).mean()) for drawn, readings in zip(maps, labels, strict=True)]
    size = [_size(drawn, pixel) for drawn, pixel in zip(maps, sizes, strict=True)]
    empty = [float(np.mean(_marks(drawn).sum(axis=1) == 0)) for drawn in maps]
    return [_over(results, values) for values in (overlap, size, empty)]


def _over(results: Results, values: list[float]) -> Estimate:
    numbers = np.array(values)
    known = np.flatnonzero(~np.isnan(numbers))
    if not len(known):
        return None, None, None
    groups = [results.groups[results.spread[i]] for i in known]
    interval = bootstrap_interval(numbers[known], groups, seed=results.seed)
    return interval.mean, interval.low, interval.high


def _readers(results: Results, labels: list[Labels], outlines: list[Labels], sizes: list[float], unit: str) -> Table:
    """A row for each person, over the images that this person looked at."""
    name, people = results.reference, [results.images[i]["readers"].tolist() for i in results.spread]
    samples, rows = results.spread_samples(name), []
    for column, reader in enumerate(results.store.reader_names or ()):
        looked = [(i, columns.index(column)) for i, columns in enumerate(people) if column in columns]
        if not looked:
            rows.append([reader, 0, None, None, None, None, None])
            continue
        own = [labels[i][r : r + 1] for i, r in looked]
        values = [
            [_size(reading, sizes[i]) for reading, (i, _) in zip(own, looked, strict=True)],
            [float(not _marks(reading).any()) for reading in own],
            [
                _mean(dice(reading, np.delete(labels[i], r, axis=0)))
                for reading, (i, r) in zip(own, looked, strict=True)
            ],
            [_mean(dice(reading, outlines[i])) for reading, (i, _) in zip(own, looked, strict=True)],
            [_mean(dice(reading, samples[i])) for reading, (i, _) in zip(own, looked, strict=True)],
        ]
        rows.append([reader, len(looked), *(_shown(column) for column in values)])
    columns = ["reader", "readings", f"size ({unit})", "share empty", "Dice with the others", "with the majority"]
    return Table("each_reader", "Each reader", [*columns, f"with {name}"], rows)


def _mean(values: Floats) -> float:
    return float(values.mean()) if values.size else float("nan")


def _shown(values: list[float]) -> float | None:
    known = [value for value in values if not math.isnan(value)]
    return round(sum(known) / len(known), 3) if known else None
