"""Collective insight: do all samples together cover what all readers mark, one by one and in their spread?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from probunet.core.errors import InputError
from probunet.metrics.convention import FOREGROUND, Convention
from probunet.metrics.distance import Floats, check_maps
from probunet.metrics.matching import best_dice
from probunet.metrics.overlap import Maps, as_array, count_overlaps
from probunet.metrics.values import ratio


@dataclass(frozen=True)
class CollectiveInsight:
    """The score of each of B images and its three parts; NaN where an image has none."""

    value: Floats
    """(B,) 3 S_c D_max D_a / (S_c + D_max + D_a), from 0 to 1 (best)."""
    combined_sensitivity: Floats
    """(B,) S_c: share of the union of the readers that lies in the union of the samples; 1 where nobody marked."""
    best_dice: Floats
    """(B,) D_max: Dice of the sample nearest to each reader, averaged over the readers."""
    diversity_agreement: Floats
    """(B,) D_a: 1 - (difference of the largest + difference of the smallest variance between two maps) / 2."""


def collective_insight(samples: Maps, references: Maps, convention: Convention = FOREGROUND) -> CollectiveInsight:
    """Collective insight of each image, averaged over the evaluated classes.

    The variance between two maps is that of their difference over the pixels: |A xor B| / P - ((|A| - |B|) / P)^2.
    Pairs are of two different maps of a set; a set of one map has the variance 0. It depends on the size P of the
    picture: in a large one all variances are small and D_a is near 1, whatever the samples are.

    Args:
        samples: (B, N, ...) integer labels.
        references: (B, R, ...) integer labels.
        convention: its overlap means nothing here; its weights have no place here.

    Raises:
        InputError: see ``pairwise_distances``.

    Source: Rahman et al. 2023 (CIMD), section 3.4; which pairs count is not said there.
    """
    if convention.weights is not None:
        raise InputError("collective insight has no place for weights; leave them out")
    check_maps(samples, references)
    mine, theirs = (as_array(maps).reshape(len(maps), maps.shape[1], -1) for maps in (samples, references))
    counted = count_overlaps(mine, theirs, None, convention)
    split = samples.shape[1]
    area = np.diagonal(counted.shared, axis1=2, axis2=3)  # (B, K, M)
    pixels = np.maximum(counted.valid, 1)[:, None, None, None]
    differ = (area[..., :, None] + area[..., None, :] - 2 * counted.shared) / pixels
    variance = differ - ((area[..., :, None] - area[..., None, :]) / pixels) ** 2
    of_samples, of_readers = _range(variance[..., :split, :split]), _range(variance[..., split:, split:])
    agreement = 1 - (np.abs(of_samples - of_readers)).sum(axis=-1).mean(axis=1) / 2
    sensitivity = _combined_sensitivity(mine, theirs, convention)
    best = best_dice(samples, references, convention).value
    together = sensitivity + best + agreement
    product = 3 * sensitivity * best * agreement
    value = np.divide(product, together, out=np.zeros_like(product), where=together != 0)
    return CollectiveInsight(value, sensitivity, best, agreement)


def _combined_sensitivity(
    samples: npt.NDArray[np.integer[Any]], references: npt.NDArray[np.integer[Any]], convention: Convention
) -> Floats:
    """(B,) for samples (B, N, P) and references (B, R, P), averaged over the classes."""
    known = np.ones_like(references[:, 0], bool)
    if convention.ignore is not None:
        known = (references != convention.ignore).all(axis=1)
    of_classes = []
    for label in convention.evaluated:
        wanted = (references == label).any(axis=1) & known
        covered = (wanted & (samples == label).any(axis=1)).sum(axis=1)
        total = wanted.sum(axis=1)
        of_classes.append(ratio(covered, total, 1.0))
    return np.asarray(np.mean(of_classes, axis=0))


def _range(variance: Floats) -> Floats:
    """(B, K, 2) smallest and largest variance between two different maps."""
    different = ~np.eye(variance.shape[-1], dtype=bool)
    pairs = variance[..., different]
    if not pairs.shape[-1]:
        return np.zeros((*variance.shape[:2], 2))
    return np.stack([pairs.min(axis=-1), pairs.max(axis=-1)], axis=-1)
