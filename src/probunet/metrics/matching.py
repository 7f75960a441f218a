"""Metrics that match samples to readers one by one, or look at the samples alone."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Literal

import numpy as np
from scipy import sparse
from scipy.optimize import LinearConstraint, linear_sum_assignment, milp

from probunet.core.errors import InputError
from probunet.core.samples import images_first
from probunet.metrics.convention import FOREGROUND, Convention
from probunet.metrics.distance import Distances, Floats, check_maps, pairwise_distances, samples_to_count
from probunet.metrics.energy import mean_within
from probunet.metrics.overlap import Maps
from probunet.metrics.values import ImageValues

_LARGEST_ASSIGNMENT = 256
"""Rows of an assignment that is solved as such; a larger one is a transport problem, which repeats no row."""


def hungarian_iou(
    samples: Maps,
    references: Maps,
    convention: Convention = FOREGROUND,
    *,
    mask: Maps | None = None,
    n: int | None = None,
) -> ImageValues:
    """Mean IoU of the best one-to-one matching of samples (B, N, ...) and references (B, R, ...).

    Both sides are repeated to the least common multiple of their numbers, so that each sample and each reader
    counts equally. See ``pairwise_distances`` for the arguments.

    Raises:
        InputError: see ``pairwise_distances``; or the convention has weights.

    Source: Kohl et al. 2019 (Hierarchical Probabilistic U-Net), section 4.
    """
    return hungarian_iou_from(pairwise_distances(samples, references, convention, mask=mask), n=n)


def hungarian_iou_from(distances: Distances, *, n: int | None = None) -> ImageValues:
    """Hungarian-matched IoU of the first n samples, from distances that were computed once."""
    _require(distances, "iou", "hungarian_iou")
    if distances.weights is not None:
        raise InputError("a one-to-one matching has no place for weights; leave them out")
    cross = distances.cross[:, : samples_to_count(distances, n)]
    value = np.full(len(cross), np.nan)
    for b in np.flatnonzero(~distances.left_out):
        value[b] = 1.0 - _matched(cross[b])
    return ImageValues(value, distances.left_out, distances.convention)


def _matched(cost: Floats) -> float:
    """Mean cost (N, R) of the cheapest matching in which every row and every column has the same share."""
    count, readers = cost.shape
    both = math.lcm(count, readers)
    if both <= _LARGEST_ASSIGNMENT:
        cost = np.tile(cost, (both // count, both // readers))
        return float(cost[linear_sum_assignment(cost)].mean())
    rows = sparse.kron(sparse.eye(count), np.ones((1, readers)))
    columns = sparse.kron(np.ones((1, count)), sparse.eye(readers))
    shares = np.concatenate([np.full(count, 1 / count), np.full(readers, 1 / readers)])
    solved = milp(cost.ravel(), constraints=LinearConstraint(sparse.vstack([rows, columns]).tocsc(), shares, shares))
    assert solved.x is not None  # every transport problem with equal sums has a solution
    return float(cost.ravel() @ solved.x)


def best_dice(
    samples: Maps,
    references: Maps,
    convention: Convention = FOREGROUND,
    *,
    mask: Maps | None = None,
    n: int | None = None,
) -> ImageValues:
    """Dice of the sample nearest to each reader, averaged over the readers (with their weights).

    Grows with the number of samples: never compare it across n. See ``pairwise_distances`` for the arguments; the
    distance is always 1 - Dice.

    Raises:
        InputError: see ``pairwise_distances``.
    """
    return best_dice_from(pairwise_distances(samples, references, convention.with_overlap("dice"), mask=mask), n=n)


def best_dice_from(distances: Distances, *, n: int | None = None) -> ImageValues:
    """Best Dice of the first n samples, from distances that were computed with ``overlap="dice"``."""
    _require(distances, "dice", "best_dice")
    best = 1.0 - distances.cross[:, : samples_to_count(distances, n)].min(axis=1)
    value = best.mean(axis=1) if distances.weights is None else best @ distances.weights
    return ImageValues(_blank(value, distances), distances.left_out, distances.convention)


def nearest_dice_from(distances: Distances, *, n: int | None = None) -> ImageValues:
    """Dice of the reader nearest to each sample, averaged over the first n samples: ``best_dice`` the other way round.

    It rewards samples that are near to any reader, and no diversity. Needs distances with ``overlap="dice"``; weights
    of the references have no place in it.

    Source: ``dice_max`` of the published code of D-Persona (Wu et al. 2024).
    """
    _require(distances, "dice", "nearest_dice")
    value = 1.0 - distances.cross[:, : samples_to_count(distances, n)].min(axis=2).mean(axis=1)
    return ImageValues(_blank(value, distances), distances.left_out, distances.convention)


def matched_dice_from(distances: Distances, *, n: int | None = None) -> ImageValues:
    """Mean Dice over the readers, each with a sample of its own, so chosen that it is largest.

    Other than for ``hungarian_iou`` nothing is repeated: samples beyond the number of readers are left without a
    partner, so that it grows with n. Needs distances with ``overlap="dice"``.

    Raises:
        InputError: there are fewer samples than readers, or the convention has weights.

    Source: ``Dice_match`` of D-Persona (Wu et al. 2024).
    """
    _require(distances, "dice", "matched_dice")
    cross = distances.cross[:, : samples_to_count(distances, n)]
    if distances.weights is not None:
        raise InputError("a one-to-one matching has no place for weights; leave them out")
    if cross.shape[1] < cross.shape[2]:
        counts = f"{cross.shape[1]} sample(s) and {cross.shape[2]} readers"
        raise InputError(f"{counts} cannot be matched one to one; give at least as many samples as readers")
    value = np.full(len(cross), np.nan)
    for b in np.flatnonzero(~distances.left_out):
        value[b] = 1.0 - cross[b][linear_sum_assignment(cross[b])].mean()
    return ImageValues(value, distances.left_out, distances.convention)


def sample_diversity(
    samples: Maps,
    convention: Convention = FOREGROUND,
    *,
    mask: Maps | None = None,
    n: int | None = None,
    estimator: Literal["v", "unbiased"] = "unbiased",
) -> ImageValues:
    """Mean 1 - IoU between the samples of each image, E d(S, S'); pairs i = j only with ``estimator="v"``.

    Raises:
        InputError: see ``pairwise_distances``; or ``"unbiased"`` with one sample.
    """
    samples = images_first(samples)
    if estimator == "unbiased" and (samples.shape[1] if n is None else n) < 2:
        raise InputError("one sample has no diversity to estimate without bias; give two or more")
    distances = pairwise_distances(samples, samples[:, :0], replace(convention, weights=None), mask=mask)
    value = mean_within(distances.samples, samples_to_count(distances, n), estimator == "unbiased")
    return ImageValues(_blank(value, distances), distances.left_out, distances.convention)


def reconstruction_iou(
    reconstructions: Maps, references: Maps, convention: Convention = FOREGROUND, *, mask: Maps | None = None
) -> ImageValues:
    """Mean IoU of each reader's own reconstruction (B, R, ...) with that reader's map (B, R, ...).

    A reconstruction is the prediction from the posterior that saw the reader's map. See ``pairwise_distances`` for
    the arguments; weights have no place here, and an ignore label counts for the reader who used it alone.

    Raises:
        InputError: see ``pairwise_distances``; or the two shapes differ.
    """
    reconstructions, references = images_first(reconstructions), images_first(references)
    check_maps(reconstructions, references)
    if reconstructions.shape != references.shape:
        raise InputError(
            f"every reader needs one reconstruction, but the shapes are {tuple(reconstructions.shape)} and "
            f"{tuple(references.shape)}"
        )
    images, readers = references.shape[:2]
    single = (images * readers, 1, *references.shape[2:])
    each = None if mask is None else mask[np.repeat(np.arange(images), readers)]
    distances = pairwise_distances(
        reconstructions.reshape(single), references.reshape(single), replace(convention, weights=None), mask=each
    )
    value = 1.0 - distances.cross.reshape(images, readers).mean(axis=1)
    return ImageValues(value, np.isnan(value), distances.convention)


def _require(distances: Distances, overlap: str, name: str) -> None:
    if distances.convention.overlap != overlap:
        measured = distances.convention.overlap
        raise InputError(f'{name} needs distances computed with overlap="{overlap}", not "{measured}"')
    if 0 in distances.cross.shape[1:]:
        raise InputError(f"{name} needs at least one sample and one reference")


def _blank(value: Floats, distances: Distances) -> Floats:
    return np.where(distances.left_out, np.nan, value)
