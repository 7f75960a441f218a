"""Does a model that knows its readers draw like each of them? Beside the best prediction that knows nobody."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from probunet.core.console import progress_bar
from probunet.core.seeds import seed_of
from probunet.core.types import IGNORE
from probunet.data.batches import EvaluationImages
from probunet.data.windows import cut_out
from probunet.distributions.base import SegmentationDistribution
from probunet.evaluation.shown import batch_size, distribution_of
from probunet.metrics.convention import Convention
from probunet.metrics.distance import Floats, pairwise_distance
from probunet.metrics.significance import Groups, compare
from probunet.models.base import SegmentationModel

SAMPLES = 16
"""Hypotheses of which one is taken."""


@dataclass(frozen=True)
class PersonScores:
    """What a model drew for each of R readers on N images; NaN where a reader did not look.

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
        together = compare(np.nanmean(self.own, axis=1), np.nanmean(self.any, axis=1), groups, seed=seed)
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


def score_persons(model: SegmentationModel, images: EvaluationImages, seed: int) -> PersonScores | None:
    """Draw in the place of every reader, and compare with what this reader drew.

    Args:
        model: in evaluation mode, on its device.
        images: what is shown to it.
        seed: of the hypotheses.

    Returns:
        The scores; ``None`` where the model knows nobody, or the data is of other readers.
    """
    store = images.store
    if not model.reader_names or model.reader_names != store.reader_names:
        return None
    convention = store.convention().with_overlap("dice")
    device = next(model.parameters()).device
    parts: list[npt.NDArray[np.float64]] = []
    with progress_bar() as bar, torch.inference_mode():
        task = bar.add_task("drawing like each reader", total=len(images))
        for number, rows in enumerate(images.batches(batch_size(images))):
            batch = torch.stack([torch.as_tensor(images[i]["image"]) for i in rows]).to(device)
            readings = np.stack([_readings(images, i) for i in rows])
            generator = torch.Generator(device).manual_seed(seed_of(seed, number))
            parts.append(_of_batch(model, batch, readings, convention, generator))
            bar.advance(task, len(rows))
    own, blind, drawn, predicted = np.concatenate(parts, axis=1)
    return PersonScores(model.reader_names, own, blind, drawn, predicted)


def _readings(images: EvaluationImages, position: int) -> npt.NDArray[np.uint8]:
    """(R, *size) of all readers, those who did not look at it ``IGNORE``."""
    row = int(images.indices[position])
    return cut_out(images.store.labels[row], *images.window(row), fill=IGNORE)


def _of_batch(
    model: SegmentationModel,
    batch: torch.Tensor,
    readings: npt.NDArray[np.uint8],
    convention: Convention,
    generator: torch.Generator,
) -> npt.NDArray[np.float64]:
    """Dice of its own, of any, voxels drawn and predicted: (4, B, R)."""
    whole = distribution_of(model, batch)
    median = _median(whole, convention, generator)
    scores = np.full((4, *readings.shape[:2]), np.nan)
    for r in range(readings.shape[1]):
        looked = (readings[:, r] != IGNORE).reshape(len(batch), -1).any(axis=1)
        if not looked.any():
            continue
        own = _median(whole.component(torch.full((len(batch),), r, device=batch.device)), convention, generator)
        reading = readings[looked, r]
        scores[0, looked, r] = 1 - pairwise_distance(own[looked, None], reading[:, None], convention)[:, 0, 0]
        scores[1, looked, r] = 1 - pairwise_distance(median[looked, None], reading[:, None], convention)[:, 0, 0]
        valid = reading != IGNORE
        scores[2, looked, r] = _marked(reading * valid)
        scores[3, looked, r] = _marked(own[looked] * valid)
    return scores


def _median(distribution: SegmentationDistribution, convention: Convention, generator: torch.Generator) -> Any:
    """The hypothesis (B, *size) of each image that is nearest to all others."""
    samples = np.asarray(distribution.sample(SAMPLES, generator).movedim(0, 1).cpu())
    nearest = pairwise_distance(samples, None, convention).mean(axis=2).argmin(axis=1)
    return samples[np.arange(len(samples)), nearest]


def _marked(labels: npt.NDArray[np.uint8]) -> Floats:
    """Voxels of each map that are not background."""
    return np.asarray((labels > 0).reshape(len(labels), -1).sum(axis=1), np.float64)
