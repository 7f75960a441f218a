"""Does a model that knows its readers draw like each of them? Beside the best prediction that knows nobody."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from probunet.core.types import IGNORE
from probunet.data.store import Store
from probunet.distributions.base import SegmentationDistribution
from probunet.metrics.convention import Convention
from probunet.metrics.distance import Floats, pairwise_distance
from probunet.metrics.significance import Groups, compare
from probunet.metrics.values import defined_mean
from probunet.models.base import SegmentationModel

SAMPLES = 16
"""Hypotheses of which one is taken."""


@dataclass(frozen=True)
class PersonScores:
    """What a model drew for each of R readers on N images; NaN where a reader did not look or is not known to it.

    Attributes:
        readers: their names.
        own: (N, R) Dice of the median hypothesis of a reader's own component to this reader's label map.
        any: (N, R) Dice of the median hypothesis of the whole model, which knows nobody, to the same one.
        drawn: (N, R) voxels that the reader marked.
        predicted: (N, R) voxels of the median hypothesis of the reader's own component.
    """

    readers: tuple[str, ...]
    own: Floats
    any: Floats
    drawn: Floats
    predicted: Floats

    def as_json(self, groups: Groups, seed: int) -> dict[str, Any]:
        """Means and differences with intervals by group, as plain data."""
        rows = []
        for r, name in enumerate(self.readers):
            looked = ~np.isnan(self.own[:, r])
            if looked.any():
                rows.append({"reader": name, "images": int(looked.sum())} | self._row(looked, r, groups, seed))
        together = compare(defined_mean(self.own, axis=1), defined_mean(self.any, axis=1), groups, seed=seed)
        areas = np.array([[row["drawn"], row["predicted"]] for row in rows]).T
        varied = len(rows) > 2 and (areas.std(axis=1) > 0).all()
        return {
            "what": f"Dice of the median of {SAMPLES} hypotheses to each reader's label map",
            "readers": rows,
            "difference": vars(together.difference),
            "p_value": together.p_value,
            "area_correlation": float(np.corrcoef(areas)[0, 1]) if varied else None,
        }

    def _row(self, looked: npt.NDArray[np.bool_], r: int, groups: Groups, seed: int) -> dict[str, Any]:
        own, other = self.own[looked, r], self.any[looked, r]
        test = compare(own, other, np.asarray(groups)[looked], seed=seed)
        return {
            "own": float(own.mean()),
            "any": float(other.mean()),
            "difference": vars(test.difference),
            "p_value": test.p_value,
            "drawn": float(self.drawn[looked, r].mean()),
            "predicted": float(self.predicted[looked, r].mean()),
        }


def known_readers(model: SegmentationModel, store: Store) -> dict[int, int]:
    """Columns of a store's readers whom a model knows by name, each with the model's number of this person."""
    numbers = {name: number for number, name in enumerate(model.reader_names or ())}
    names = () if store.flips else store.reader_names or ()
    return {column: numbers[name] for column, name in enumerate(names) if name in numbers}


def score_persons(
    distribution: SegmentationDistribution,
    batch: Mapping[str, Any],
    store: Store,
    known: Mapping[int, int],
    generator: torch.Generator,
) -> Floats:
    """Draw in the place of every reader, and compare with what this reader drew.

    Args:
        distribution: of a model that knows readers, for the images of a batch.
        batch: ``labels`` (B, r, *size) of ``readers`` (B, r), the columns of the store.
        store: that the images are from.
        known: of its readers, see :func:`known_readers`.
        generator: of the hypotheses.

    Returns:
        (4, B, R) Dice of a reader's own hypothesis and of the whole model's, voxels drawn and predicted; NaN where a
        reader did not look or is not known.
    """
    convention = store.convention().with_overlap("dice")
    readings = _readings(batch, store.readers)
    median = _median(distribution, convention, generator)
    scores = np.full((4, *readings.shape[:2]), np.nan)
    for r, number in known.items():
        looked = (readings[:, r] != IGNORE).reshape(len(readings), -1).any(axis=1)
        if not looked.any():
            continue
        chosen = torch.full((len(readings),), number, device=distribution.device)
        own, reading = _median(distribution.component(chosen), convention, generator)[looked], readings[looked, r]
        for row, hypothesis in enumerate((own, median[looked])):
            scores[row, looked, r] = 1 - pairwise_distance(hypothesis[:, None], reading[:, None], convention)[:, 0, 0]
        valid = reading != IGNORE
        scores[2, looked, r] = _marked(reading * valid)
        scores[3, looked, r] = _marked(own * valid)
    return scores


def _readings(batch: Mapping[str, Any], count: int) -> npt.NDArray[np.uint8]:
    """(B, R, *size) of all readers, those who did not look at it ``IGNORE``."""
    labels = batch["labels"].numpy()
    readings = np.full((len(labels), count, *labels.shape[2:]), IGNORE, np.uint8)
    readings[np.arange(len(labels))[:, None], batch["readers"].numpy()] = labels
    return readings


def _median(distribution: SegmentationDistribution, convention: Convention, generator: torch.Generator) -> Any:
    return nearest_to_all(np.asarray(distribution.sample(SAMPLES, generator).movedim(0, 1).cpu()), convention)


def nearest_to_all(samples: npt.NDArray[np.uint8], convention: Convention) -> npt.NDArray[np.uint8]:
    """The median hypothesis (B, *size) of samples (B, n, *size): the one that is nearest to all others."""
    nearest = pairwise_distance(samples, None, convention).mean(axis=2).argmin(axis=1)
    return samples[np.arange(len(samples)), nearest]


def _marked(labels: npt.NDArray[np.uint8]) -> Floats:
    """Voxels of each map that are not background."""
    return np.asarray((labels > 0).reshape(len(labels), -1).sum(axis=1), np.float64)
