"""Metrics that match samples to readers one by one, or look at the samples alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from probunet.core.errors import InputError
from probunet.metrics.distance import Distances, Floats, check_maps, pairwise_distances
from probunet.metrics.energy import Estimator, mean_within
from probunet.metrics.overlap import Maps
from probunet.metrics.values import ImageValues


def hungarian_iou(samples: Maps, references: Maps, *, n: int | None = None, **convention: Any) -> ImageValues:
    """Mean IoU of the best one-to-one matching of samples (B, N, ...) and references (B, R, ...).

    Both sides are repeated to the least common multiple of their numbers, so that each sample and each reader
    counts equally. Takes the arguments of ``pairwise_distances`` but no ``weights``.

    Raises:
        InputError: see ``pairwise_distances``; or weights were given.

    Source: Kohl et al. 2019 (Hierarchical Probabilistic U-Net), section 4.
    """
    return hungarian_iou_from(pairwise_distances(samples, references, **convention), n=n)


def hungarian_iou_from(distances: Distances, *, n: int | None = None) -> ImageValues:
    """Hungarian-matched IoU of the first n samples, from distances that were computed once."""
    _require(distances, "iou", "hungarian_iou")
    if distances.weights is not None:
        raise InputError("a one-to-one matching has no place for weights; leave them out")
    cross = distances.cross[:, : _first(distances, n)]
    count, readers = cross.shape[1:]
    both = math.lcm(count, readers)
    value = np.full(len(cross), np.nan)
    for b in np.flatnonzero(~distances.left_out):
        cost = np.tile(cross[b], (both // count, both // readers))
        value[b] = 1.0 - cost[linear_sum_assignment(cost)].mean()
    return ImageValues(value, distances.left_out, distances.convention)


def best_dice(samples: Maps, references: Maps, *, n: int | None = None, **convention: Any) -> ImageValues:
    """Dice of the sample nearest to each reader, averaged over the readers (with their weights).

    Grows with the number of samples: never compare it across n. Takes the arguments of
    ``pairwise_distances``.

    Raises:
        InputError: see ``pairwise_distances``.
    """
    return best_dice_from(pairwise_distances(samples, references, overlap="dice", **convention), n=n)


def best_dice_from(distances: Distances, *, n: int | None = None) -> ImageValues:
    """Best Dice of the first n samples, from distances that were computed with ``overlap="dice"``."""
    _require(distances, "dice", "best_dice")
    best = 1.0 - distances.cross[:, : _first(distances, n)].min(axis=1)
    value = best.mean(axis=1) if distances.weights is None else (best * distances.weights).sum(axis=1)
    return ImageValues(_blank(value, distances), distances.left_out, distances.convention)


def sample_diversity(
    samples: Maps, *, n: int | None = None, estimator: Estimator = "unbiased", **convention: Any
) -> ImageValues:
    """Mean 1 - IoU between the samples of each image, E d(S, S'); pairs i = j only with ``estimator="v"``.

    Raises:
        InputError: see ``pairwise_distances``; or ``"unbiased"`` with one sample.
    """
    if estimator == "unbiased" and (samples.shape[1] if n is None else n) < 2:
        raise InputError("one sample has no diversity to estimate without bias; give two or more")
    distances = pairwise_distances(samples, samples[:, :0], **convention)
    value = mean_within(distances.samples, _first(distances, n), estimator)
    return ImageValues(_blank(value, distances), distances.left_out, distances.convention)


def reconstruction_iou(reconstructions: Maps, references: Maps, **convention: Any) -> ImageValues:
    """Mean IoU of each reader's own reconstruction (B, R, ...) with that reader's map (B, R, ...).

    A reconstruction is the prediction from the posterior that saw the reader's map. Takes the arguments of
    ``pairwise_distances`` but no ``weights``; an ignore label counts for the reader who used it alone.

    Raises:
        InputError: see ``pairwise_distances``; or the two shapes differ.
    """
    check_maps(reconstructions, references)
    if reconstructions.shape != references.shape:
        raise InputError(
            f"every reader needs one reconstruction, but the shapes are {tuple(reconstructions.shape)} and "
            f"{tuple(references.shape)}"
        )
    images, readers = references.shape[:2]
    single = (images * readers, 1, *references.shape[2:])
    ignore = convention.pop("ignore", None)
    if ignore is not None and not isinstance(ignore, int | np.integer):
        ignore = ignore[np.repeat(np.arange(images), readers)]
    distances = pairwise_distances(
        reconstructions.reshape(single), references.reshape(single), ignore=ignore, **convention
    )
    value = 1.0 - distances.cross.reshape(images, readers).mean(axis=1)
    return ImageValues(value, np.isnan(value), distances.convention)


def _first(distances: Distances, n: int | None) -> int:
    available = distances.cross.shape[1]
    if n is not None and not 1 <= n <= available:
        raise InputError(f"n={n} samples an image were asked for, but there are {available}")
    return available if n is None else n


def _require(distances: Distances, overlap: str, name: str) -> None:
    if distances.overlap != overlap:
        raise InputError(f'{name} needs distances computed with overlap="{overlap}", not "{distances.overlap}"')
    if 0 in distances.cross.shape[1:]:
        raise InputError(f"{name} needs at least one sample and one reference")


def _blank(value: Floats, distances: Distances) -> Floats:
    return np.where(distances.left_out, np.nan, value)
