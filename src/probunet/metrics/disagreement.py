"""Do the samples foresee that readers disagree, on whether there is a lesion or on how large it is?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from probunet.core.errors import InputError
from probunet.core.numbers import whole_number
from probunet.metrics.distance import Distances, Floats, samples_to_count
from probunet.metrics.values import ratio


@dataclass(frozen=True)
class Detection:
    """How well a score finds the positive images."""

    auroc: float | None
    """Area under the ROC curve: the chance that a positive image scores above a negative one, ties half.

    None where there are no positive or no negative images.
    """
    average_precision: float | None
    """Area under the precision-recall steps; a random score has the share of positives. None as above."""
    positives: int
    negatives: int
    left_out: int
    """Images that are neither: without a defined distance, or without any mark."""


def presence_disagreement(distances: Distances, *, n: int | None = None, of_class: int = 0) -> Detection:
    """Find the images whose readers disagree on the presence of a class, from the samples alone.

    An image is positive where some readers have the class and some have not, and negative where all have it. Where
    nobody has it there is nothing to agree about (a crop beside all marks): left out. Its score is q (1 - q) with q
    the fraction of the first n samples that have it: how likely two samples are to disagree.

    Args:
        distances: computed once for the samples and readers.
        n: samples an image; None: all.
        of_class: position among the evaluated classes.

    Raises:
        InputError: there are fewer than two readers.

    Source: Kohl et al. 2018, appendix E.
    """
    score, positive = presence_scores(distances, n=n, of_class=of_class)
    return detection(score, positive, len(distances.left_out))


def presence_scores(
    distances: Distances, *, n: int | None = None, of_class: int = 0
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Score and outcome of the images that are not left out, see ``presence_disagreement``."""
    mine, theirs = _areas(distances, n, of_class)
    share = (mine > 0).mean(axis=1)
    return share * (1 - share), (theirs == 0).any(axis=1)


def area_disagreement(
    distances: Distances, *, n: int | None = None, of_class: int = 0, threshold: float = 0.5
) -> Detection:
    """Find the images whose readers disagree on the area of a class, from the samples alone.

    Disagreement is the mean over all pairs of 1 - smaller / larger area (0 if both are empty, 1 if one is);
    an image is positive where the readers' is above ``threshold``, and its score is that of the first n
    samples. Where nobody has the class there is no area to agree about: left out. Arguments as for
    ``presence_disagreement``.

    Raises:
        InputError: there are fewer than two readers.
    """
    score, positive = area_scores(distances, n=n, of_class=of_class, threshold=threshold)
    return detection(score, positive, len(distances.left_out))


def area_scores(
    distances: Distances, *, n: int | None = None, of_class: int = 0, threshold: float = 0.5
) -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Score and outcome of the images that are not left out, see ``area_disagreement``."""
    if not 0 <= threshold < 1:
        raise InputError(f"threshold={threshold} must be from 0 to below 1")
    mine, theirs = _areas(distances, n, of_class)
    return _area_spread(mine), _area_spread(theirs) > threshold


def detection(score: Floats, positive: npt.NDArray[np.bool_], images: int) -> Detection:
    """AUROC and average precision of finding the positive images by their score, any finite numbers.

    Args:
        score: of the images that are not left out.
        positive: which of these are.
        images: how many there are with those that are left out.
    """
    from torchmetrics.functional.classification import binary_auroc, binary_average_precision  # slow to load

    hits, misses = int(positive.sum()), int((~positive).sum())
    auroc = average_precision = None
    if hits and misses:
        # ranks, because torchmetrics squashes scores outside 0 to 1
        ranks = torch.from_numpy(np.unique(score, return_inverse=True)[1] / len(score))
        target = torch.from_numpy(positive.astype(np.int64))
        auroc, average_precision = (float(of(ranks, target)) for of in (binary_auroc, binary_average_precision))
    return Detection(auroc, average_precision, hits, misses, images - len(score))


def _areas(distances: Distances, n: int | None, of_class: int) -> tuple[Any, Any]:
    """Areas (kept, n) of the samples and (kept, R) of the readers in the images that are not left out."""
    n, readers = samples_to_count(distances, n), distances.cross.shape[2]
    if readers < 2:
        raise InputError(f"readers can disagree only if there are two or more, not {readers}")
    classes = distances.reference_area.shape[-1]
    if whole_number("of_class", of_class, 0) >= classes:
        raise InputError(f"of_class={of_class} is no position among the {classes} evaluated classes")
    theirs = distances.reference_area[..., of_class]
    kept = ~distances.left_out & (theirs > 0).any(axis=1)
    return distances.sample_area[kept, :n, of_class], theirs[kept]


def _area_spread(area: npt.NDArray[np.int64]) -> Floats:
    count = area.shape[1]
    if count == 1:
        return np.zeros(len(area))
    i, j = np.triu_indices(count, 1)
    larger = np.maximum(area[:, i], area[:, j])
    smaller = ratio(np.minimum(area[:, i], area[:, j]), larger, 1.0)
    return np.asarray((1.0 - smaller).mean(axis=1))
