"""Evaluation in parts: what one batch of images gives is a file, whichever process made it, until all are there."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from probunet.core.errors import InputError
from probunet.core.seeds import seed_of
from probunet.data.flips import mode_probabilities
from probunet.data.store import Store
from probunet.evaluation.model_draws import score_distribution
from probunet.evaluation.persons import PersonScores, known_readers, score_persons
from probunet.evaluation.reference_points import REFERENCE_POINTS, always_empty
from probunet.evaluation.set_scores import Batch, SetScores, score_batch
from probunet.evaluation.shown import distribution_of
from probunet.metrics import Interval, mode_frequencies_from
from probunet.metrics.calibration import Calibration
from probunet.metrics.convention import Convention
from probunet.metrics.distance import Floats
from probunet.metrics.modes import Counts, pixel_frequencies
from probunet.models.base import SegmentationModel
from probunet.runs.checkpoints import read_checkpoint, write_checkpoint

Cells = dict[str, dict[str, float | None]]
"""From a number of samples to mean, low and high."""


@dataclass(frozen=True)
class Part:
    """What some images, or all of them, give.

    Attributes:
        sets: scores of ``"model"`` and of each reference point.
        pixels: counts of the pixels of classes that flip, see ``pixel_frequencies``.
        persons: (4, B, R) of a model that knows the readers, see ``score_persons``; ``None`` for any other.
        distinct: how many different hypotheses the model has for an image; ``None``: no limit.
        seconds: it took.
    """

    sets: dict[str, SetScores]
    pixels: Counts
    persons: Floats | None
    distinct: int | None
    seconds: float


class Parts:
    """The parts of one evaluation: a folder with a file for each batch that is scored.

    Args:
        folder: where they are; made with the first of them.
        count: how many there will be.
    """

    def __init__(self, folder: Path, count: int) -> None:
        self.folder, self.count = folder, count

    def missing(self) -> list[int]:
        """Numbers of the batches that nobody has scored so far."""
        return [number for number in range(self.count) if not self._file(number).is_file()]

    def write(self, number: int, part: Part) -> None:
        """Keep the part of one batch.

        Raises:
            InputError: the folder cannot be written.
        """
        content = {**asdict(part), "sets": {name: asdict(s.batches[0]) for name, s in part.sets.items()}}
        write_checkpoint(self._file(number), _each(content, np.ndarray, torch.from_numpy))

    def merged(self) -> Part | None:
        """All parts as one, in the order of the batches; ``None`` where another process took them away meanwhile.

        Raises:
            InputError: one of them cannot be read.
        """
        try:
            parts = [self._read(number) for number in range(self.count)]
        except FileNotFoundError:
            return None
        sets = {name: SetScores([part.sets[name].batches[0] for part in parts]) for name in parts[0].sets}
        pixels = np.sum([part.pixels for part in parts], axis=0)
        scored = [part.persons for part in parts if part.persons is not None]
        persons = np.concatenate(scored, axis=1) if scored else None
        return Part(sets, pixels, persons, parts[0].distinct, sum(part.seconds for part in parts))

    def remove(self) -> None:
        """Remove the files, once their content is elsewhere."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _file(self, number: int) -> Path:
        return self.folder / f"{number:06d}.pt"

    def _read(self, number: int) -> Part:
        file = self._file(number)
        try:
            content = _each(read_checkpoint(file), torch.Tensor, torch.Tensor.numpy)
            sets = {name: SetScores([_batch(fields)]) for name, fields in content["sets"].items()}
            return Part(**{**content, "sets": sets})
        except (InputError, KeyError, TypeError, AttributeError) as error:
            if not file.is_file():
                raise FileNotFoundError(file) from error
            raise InputError(f"{file} is damaged; remove it and give the same command again") from error


def score_part(
    model: SegmentationModel, batch: Mapping[str, Any], number: int, store: Store, numbers: Sequence[int], seed: int
) -> Part:
    """Score the model and every reference point on one batch of images, and what the model draws like each reader.

    Args:
        model: in evaluation mode, on its device.
        batch: ``image`` (B, C, *size) and ``labels`` (B, R, *size) of ``readers`` (B, R), the columns of the store.
        number: of the batch; what is drawn depends on the seed and this number alone.
        store: that the images are from.
        numbers: of samples, ascending.
        seed: of the samples.
    """
    started = time.perf_counter()
    device, most = next(model.parameters()).device, max(numbers)
    generator = torch.Generator().manual_seed(seed_of(seed, number))
    draws = np.random.default_rng([seed, number])
    convention = store.convention()
    weights = None if convention.weights is None else np.asarray(convention.weights)
    labels = batch["labels"].numpy()
    with torch.inference_mode():
        distribution = distribution_of(model, batch["image"].to(device))
        samples, scores = score_distribution(distribution, labels, numbers, convention, generator)
        generator.manual_seed(seed_of(seed, number))
        known = known_readers(model, store)
        persons = score_persons(distribution, batch, store, known, generator) if known else None
    sets = {"model": SetScores([scores])}
    for name, hypotheses in REFERENCE_POINTS.items():
        if not (store.flips and hypotheses is always_empty):
            drawn = hypotheses(labels, most, draws, weights)
            sets[name] = SetScores([score_batch(drawn, labels, numbers, convention, calibrated=False)])
    switches = [(flip.class_id, flip.flipped_id) for flip in store.flips]
    pixels = pixel_frequencies(labels[:, 0], samples, switches) if switches else np.zeros((0, 3), np.int64)
    return Part(sets, pixels, persons, distribution.distinct, time.perf_counter() - started)


def results(store: Store, whole: Part, numbers: Sequence[int], groups: list[str], seed: int) -> dict[str, Any]:
    """All numbers about the samples, with intervals by group.

    Returns:
        ``ged2``, ``ged2_unbiased``, ``scores`` and ``reference_points`` of ``evaluation.json``, ``modes`` where labels
        flip, ``persons`` where the model knows the readers.
    """
    drawn = None if whole.persons is None or np.isnan(whole.persons).all() else whole.persons
    persons = None if drawn is None else PersonScores(store.reader_names or (), *drawn)
    rows = {name: scores.summaries(groups, confidence=0.95, seed=seed) for name, scores in whole.sets.items()}
    return {
        **_energy(rows["model"], numbers),
        "scores": rows["model"],
        "reference_points": {name: _energy(rows[name], numbers) for name in rows if name != "model"},
        **({"modes": _modes(store, whole, max(numbers), groups, seed)} if store.flips else {}),
        **({} if persons is None else {"persons": persons.as_json(groups, seed)}),
    }


def _modes(store: Store, whole: Part, samples: int, groups: list[str], seed: int) -> dict[str, Any]:
    """Frequencies of the modes of label flips, and of single pixels (paper, Figs. 5 and 8 to 10)."""
    counts = np.concatenate([batch.modes for batch in whole.sets["model"].batches if batch.modes is not None])
    known = mode_probabilities(store.flips)
    equals = np.concatenate(
        [batch.equal_modes for batch in whole.sets["model"].batches if batch.equal_modes is not None]
    )
    seen = mode_frequencies_from(counts, known, equals, groups=groups, seed=seed)
    rows = zip(store.flips, whole.pixels.tolist(), strict=True)
    return {
        "n": samples,
        "probabilities": known.tolist(),
        "counts": seen.counts.tolist(),
        "total_variation": _interval(seen.total_variation),
        "total_variation_floor": seen.total_variation_floor,
        "kl": _interval(seen.kl),
        "pixels": [
            {
                "class": store.classes[flip.class_id],
                "flipped": store.classes[flip.flipped_id],
                "probability": flip.probability,
                "total": total,
                "kept": kept,
                "flipped_count": flipped,
            }
            for flip, (total, kept, flipped) in rows
        ],
    }


def _interval(value: Interval) -> dict[str, float]:
    return {"mean": value.mean, "low": value.low, "high": value.high}


def _energy(rows: list[dict[str, Any]], numbers: Sequence[int]) -> dict[str, Cells]:
    """D_GED^2 by number of samples, from the rows of all scores; ``None`` where it is not defined."""
    cells = {(row["metric"], row["n"]): {key: row[key] for key in ("mean", "low", "high")} for row in rows}
    undefined: dict[str, float | None] = dict.fromkeys(("mean", "low", "high"))
    unbiased = cells.get(("ged2_unbiased", None), undefined)
    return {
        "ged2": {str(n): cells["ged2", n] for n in numbers},
        "ged2_unbiased": {str(n): unbiased if n > 1 else undefined for n in numbers},
    }


def _batch(fields: dict[str, Any]) -> Batch:
    calibration, convention = fields["calibration"], Convention(**fields["convention"])
    if calibration is not None:
        calibration = Calibration(**{**calibration, "convention": convention})
    return Batch(**{**fields, "calibration": calibration, "convention": convention})


def _each(value: Any, kind: type, change: Callable[[Any], Any]) -> Any:
    """Change everything of one kind in nested dictionaries and tuples."""
    if isinstance(value, kind):
        return change(value)
    if isinstance(value, dict):
        return {key: _each(item, kind, change) for key, item in value.items()}
    return tuple(_each(item, kind, change) for item in value) if isinstance(value, tuple) else value
