"""Evaluate a model from Python: real objects in, one typed result out, nothing printed and nothing written."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
import torch

from probunet.core.devices import chosen_device
from probunet.core.errors import InputError
from probunet.core.marks import foreground, refuse_unmarked
from probunet.core.seeds import checked_counts, checked_seed, seed_of
from probunet.core.types import IGNORE
from probunet.data.batches import Crop, SharedBatches
from probunet.data.manifest import Split
from probunet.data.store import Store
from probunet.evaluation.fit import check_fit, check_values, tell_known, tell_pixels
from probunet.evaluation.groups import independent_groups
from probunet.evaluation.model_draws import score_distribution
from probunet.evaluation.set_scores import SetScores
from probunet.evaluation.shown import Part, batch_size, distribution_of, images_to_score
from probunet.metrics.convention import Convention
from probunet.metrics.distance import Floats
from probunet.metrics.significance import Groups, Interval
from probunet.models.base import SegmentationModel
from probunet.runs.description import TrainedModel
from probunet.runs.specification import Trust
from probunet.runs.trained import open_model

Pairs = Iterable[tuple[torch.Tensor, torch.Tensor]]
"""Batches of image (B, C, *size) as the model sees it and labels (B, R, *size) of all readers."""
Pieces = Iterable[tuple[torch.Tensor, Any]]
"""The same, with labels as arrays, of images that the same readers looked at."""


@dataclass(frozen=True)
class Evaluation:
    """Every number about a model's samples, with 95 % intervals.

    Attributes:
        convention: what was measured.
        rows: one for each metric and number of samples, as ``probunet score`` prints and writes them.
        images: every image's values, by column (``ged2_n16``, ``ged2_unbiased``, ...).
        grouped_by: what intervals take as independent: ``"patient"`` or ``"image"``.
    """

    convention: Convention
    rows: list[dict[str, Any]]
    images: dict[str, Floats]
    grouped_by: str

    @property
    def excess(self) -> Interval | None:
        """D_GED^2 without bias: how much more than a perfect model has. ``None`` where readers do not allow it."""
        return self._by_number("ged2_unbiased").get(0)

    @property
    def ged2(self) -> dict[int, Interval]:
        """D_GED^2 (V-statistic) by number of samples."""
        return self._by_number("ged2")

    @property
    def perfect_model(self) -> dict[int, Interval]:
        """D_GED^2 by number of samples of a model that is the readers' distribution."""
        return self._by_number("perfect_model")

    @property
    def hungarian_iou(self) -> dict[int, Interval]:
        """Hungarian-matched IoU by number of samples; empty for weighted references."""
        return self._by_number("hungarian_iou")

    @property
    def best_dice(self) -> dict[int, Interval]:
        """Dice of the best sample for each reader, by number of samples."""
        return self._by_number("best_dice")

    @property
    def ece(self) -> Interval | None:
        """Expected calibration error of the class frequencies among all samples."""
        return self._by_number("ece").get(0)

    @property
    def brier(self) -> Interval | None:
        """Brier score of the same against each reader."""
        return self._by_number("brier").get(0)

    def as_json(self) -> dict[str, Any]:
        """Convention, rows and grouping as plain data."""
        return {"convention": self.convention.as_json(), "grouped_by": self.grouped_by, "scores": self.rows}

    def _by_number(self, metric: str) -> dict[int, Interval]:
        """Intervals of a metric by number of samples, 0 for all of them; undefined ones are left out."""
        return {
            row["n"] or 0: Interval(
                row["mean"], row["low"], row["high"], row["images"], row.get("groups", row["images"]), row["left_out"]
            )
            for row in self.rows
            if row["metric"] == metric and row["low"] is not None
        }


def evaluate(
    model: SegmentationModel | TrainedModel | Path | str,
    data: Store | Path | str | Pairs,
    n: Iterable[int] = (1, 4, 8, 16),
    *,
    split: Split = "test",
    crop: Crop | Part | None = None,
    convention: Convention | None = None,
    groups: Groups | None = None,
    seed: int = 0,
    device: str = "auto",
    trust: Trust = (),
) -> Evaluation:
    """Score a model's hypotheses against all readers.

    Args:
        model: a model; or what a run directory, an exported folder or a name on the Hub holds.
        data: a prepared store; or batches of image (B, C, *size) as the model sees it and labels (B, R, *size), for
            example a ``torch.utils.data.DataLoader``. A reader whose labels of an image are all ignored (255) did not
            look at it, and the others count.
        n: numbers of samples.
        split: part of a store.
        crop: central part of a store's images (of volumes the part around the marks), ``"whole"`` for all of them,
            ``"trained"`` for that of the training; if not given, whole volumes, and of images the part of the training
            for a trained model unless it hides all marks of an image, all otherwise.
        convention: what is compared; the store's, or that of the model's classes if not given.
        groups: of every image, what intervals take as independent; patients of a store if not given.
        seed: of samples and bootstrap.
        device: where the model runs.
        trust: modules by name, or classes, whose code may run to load a model of your own.

    Raises:
        InputError: no numbers of samples, no images, or data that does not fit the model.
    """
    numbers, seed = checked_counts(n), checked_seed(seed)
    trained = None
    if not isinstance(model, SegmentationModel):
        if not isinstance(model, TrainedModel | Path | str):
            raise InputError(f"model is a {type(model).__name__}; give one of probunet's, or the path of a trained one")
        trained = model if isinstance(model, TrainedModel) else open_model(model, trust)
        model = trained.model()
    model = model.eval().to(chosen_device(device))
    by = "image" if groups is None else "group"
    if isinstance(data, Store | Path | str):
        store = data if isinstance(data, Store) else Store(data)
        if trained:
            check_fit(trained, store, split)
            check_values(trained, store, split)
            tell_pixels(trained, store)
            tell_known(trained, store, split)
        shown = images_to_score(store, split, trained.crop if trained else None, crop, model.intensity)
        if groups is None:
            groups, by = independent_groups([store.cases[i].patient for i in shown.indices])
        convention = convention or store.convention()
        batches = SharedBatches(shown, batch_size(shown))
        pieces: Pieces = (
            (batch["image"], batch["labels"].numpy()) for batch in (batches[i] for i in range(len(batches)))
        )
    else:
        if crop is not None or split != "test":
            raise InputError("crop and split are of a prepared store; batches are scored as they are, leave them out")
        convention = convention or Convention(model.num_classes, ignore=IGNORE)
        pieces = _pieces(data, model.dims, convention)
    scores = _scores(model, pieces, numbers, convention, seed)
    return Evaluation(convention, scores.summaries(groups, confidence=0.95, seed=seed), scores.columns(), by)


def _scores(
    model: SegmentationModel,
    pieces: Pieces,
    numbers: Sequence[int],
    convention: Convention,
    seed: int,
) -> SetScores:
    scores = SetScores()
    like = next(model.parameters())
    with torch.inference_mode():
        for number, (image, readers) in enumerate(pieces):
            generator = torch.Generator().manual_seed(seed_of(seed, number))
            distribution = distribution_of(model, image.to(like))
            scores.add(score_distribution(distribution, readers, numbers, convention, generator)[1])
    if not scores.batches:
        raise InputError("there are no images to evaluate on; give at least one batch")
    return scores


def _pieces(data: Pairs, dims: int, convention: Convention) -> Iterator[tuple[torch.Tensor, Any]]:
    """Batches as they are, cut where other readers looked at an image: of each the images, and the labels of those.

    Raises:
        InputError: a batch that is no images and labels, or labels that mark nothing, see ``refuse_unmarked``.
    """
    if not isinstance(data, Iterable):
        raise InputError(f"data is a {type(data).__name__}; give a prepared store, or batches of images and labels")
    marks = unknown = False
    for number, pair in enumerate(data):
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            raise InputError(f"batch {number} is no pair of images and labels, but a {type(pair).__name__}")
        image, labels = (torch.as_tensor(part) for part in pair)
        if image.ndim != 2 + dims or labels.ndim != image.ndim or len(image) != len(labels):
            raise InputError(
                f"batch {number} has images {tuple(image.shape)} and labels {tuple(labels.shape)}; needed are "
                + ("(B, C, H, W) and (B, R, H, W)" if dims == 2 else "(B, C, D, H, W) and (B, R, D, H, W)")
            )
        readings = np.asarray(labels.cpu())
        marks |= bool(foreground(readings).any())
        unknown |= bool((readings == IGNORE).any())
        looked = np.ones(readings.shape[:2], bool)
        if convention.weights is None and convention.ignore is not None:
            looked = (readings != convention.ignore).reshape(*looked.shape, -1).any(axis=2)
            looked |= ~looked.any(axis=1, keepdims=True)  # where nobody did, all are as many as none
        for present, group in groupby(enumerate(map(tuple, looked.tolist())), key=itemgetter(1)):
            rows = [row for row, _ in group]
            yield image[rows], readings[rows][:, np.flatnonzero(present)]
    refuse_unmarked(marks, unknown)
