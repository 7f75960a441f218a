"""Draws of a model as each number needs them: a model with few hypotheses is not an endless source of others."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from probunet.distributions.base import SegmentationDistribution
from probunet.evaluation.set_scores import Batch, Key, distribution_scores, score_batch
from probunet.metrics.convention import Convention
from probunet.metrics.distance import pairwise_distances
from probunet.metrics.energy import Draws, energy_distance_from

Labels = npt.NDArray[np.uint8]
COVERED = 32
"""Samples up to which it is of interest how well a few that cover the distribution stand for all of it."""


def score_distribution(
    distribution: SegmentationDistribution,
    labels: Labels,
    numbers: Sequence[int],
    convention: Convention,
    generator: torch.Generator,
) -> tuple[Labels, Batch]:
    """Score the samples of some images as a user of the model would draw them.

    Independent samples are drawn once, the most that is asked for; all subsets of n of them then stand for n samples.
    Where they are not independent (members without replacement) that is wrong: four samples of a
    model with four members are all of them, four of sixteen are not. So every n is drawn anew, and what does not
    depend on n is computed from all hypotheses, or from samples that are drawn one by one. Where independent samples
    of a model differ, D_GED^2 of a few that cover its distribution stands beside theirs.

    Args:
        distribution: of B images.
        labels: (B, R, H, W) of all readers.
        numbers: of samples, ascending.
        convention: what is compared, and how.
        generator: source of randomness, on any device.

    Returns:
        (B, n, H, W) the most samples, and the scores.
    """
    *fewer, most = numbers
    samples = _draw(distribution, most, generator)
    if distribution.independent:
        scores = score_batch(samples, labels, numbers, convention, calibrated=True)
        if distribution.distinct is None:
            scores.values |= _covering(distribution, labels, numbers, convention, generator)
        return samples, scores
    scores = score_batch(samples, labels, [most], convention, calibrated=True, draws="dependent")
    for n in fewer:
        drawn = _draw(distribution, n, generator)
        part = score_batch(drawn, labels, [n], convention, calibrated=False, draws="dependent")
        scores.values |= {key: values for key, values in part.values.items() if key[1] == n}
    population, draws = _population(distribution, most, generator)
    scores.values |= distribution_scores(pairwise_distances(population, labels, convention), draws)
    return samples, scores


def _covering(
    distribution: SegmentationDistribution,
    labels: Labels,
    numbers: Sequence[int],
    convention: Convention,
    generator: torch.Generator,
) -> dict[Key, npt.NDArray[np.float64]]:
    """D_GED^2 of a few samples that cover the distribution together, drawn anew for every number of them."""
    values: dict[Key, npt.NDArray[np.float64]] = {}
    for n in numbers:
        if 1 < n <= COVERED:
            distances = pairwise_distances(_draw(distribution, n, generator, cover=True), labels, convention)
            values["ged2_covering", n] = energy_distance_from(distances, draws="dependent").value
    return values


def _population(distribution: SegmentationDistribution, n: int, generator: torch.Generator) -> tuple[Labels, Draws]:
    """All hypotheses where there are few, or else n that are independent, because each is drawn by itself."""
    if distribution.distinct is not None:
        return _draw(distribution, distribution.distinct, generator), "complete"
    return np.concatenate([_draw(distribution, 1, generator) for _ in range(n)], axis=1), "independent"


def _draw(distribution: SegmentationDistribution, n: int, generator: torch.Generator, cover: bool = False) -> Labels:
    labels: Labels = distribution.sample(n, generator, cover).movedim(0, 1).cpu().numpy()
    return labels
