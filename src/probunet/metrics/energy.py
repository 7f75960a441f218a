"""Generalised energy distance: how far a set of samples is from the readers, as distributions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from probunet.core.errors import InputError
from probunet.metrics.distance import Distances, Empty, Floats, pairwise_distances
from probunet.metrics.overlap import Maps
from probunet.metrics.values import mean_of_defined

Estimator: TypeAlias = Literal["v", "unbiased"]
"""``"v"``: the published one, pairs i = j included, biased upwards; ``"unbiased"``: without those pairs."""

Subsets: TypeAlias = Literal["all", "first"]
"""Which n of the N samples: the exact average over all subsets of size n, or the first n."""


@dataclass(frozen=True)
class EnergyDistance:
    """The energy distance of each of B images and its terms: value = 2 * to readers - samples - readers."""

    value: Floats
    """(B,) D_GED^2; NaN where ``left_out``."""
    distance_to_readers: Floats
    """(B,) E d(S, Y)."""
    sample_diversity: Floats
    """(B,) E d(S, S')."""
    reader_diversity: Floats
    """(B,) E d(Y, Y')."""
    left_out: np.ndarray[Any, np.dtype[np.bool_]]
    """(B,) images without a defined distance (see ``Distances``)."""
    n: int
    """Samples an image that the value stands for."""
    estimator: Estimator
    convention: str

    def mean(self) -> float:
        """Mean value over the images that are not left out.

        Raises:
            InputError: every image is left out.
        """
        return mean_of_defined(self.value, self.left_out)


def energy_distance(
    samples: Maps,
    references: Maps,
    *,
    num_classes: int = 2,
    classes: Sequence[int] | None = None,
    ignore: int | Maps | None = None,
    empty: Empty = "zero",
    weights: Maps | Sequence[float] | None = None,
    n: int | None = None,
    estimator: Estimator = "v",
    subsets: Subsets = "all",
    workers: int | None = None,
) -> EnergyDistance:
    """D_GED^2 = 2 E d(S, Y) - E d(S, S') - E d(Y, Y') of each image, with d = 1 - IoU.

    The arguments up to ``weights`` are those of ``pairwise_distances``, the others those of
    ``energy_distance_from``; this is the composition of the two.

    Args:
        samples: (B, N, ...) integer labels.
        references: (B, R, ...) integer labels.
        num_classes: labels are 0 .. num_classes - 1.
        classes: evaluated classes; None: the foreground for two classes, all otherwise.
        ignore: label or boolean mask (B, ...) of pixels that count nowhere.
        empty: what a class that neither map has contributes.
        weights: probabilities of the references; None: equal.
        n: samples an image; None: all N.
        estimator: ``"v"`` (published) or ``"unbiased"``.
        subsets: average over all subsets of n samples, or the first n.
        workers: threads; None: one for each core.

    Raises:
        InputError: see ``pairwise_distances`` and ``energy_distance_from``.

    Source: Kohl et al. 2018, Eq. 5; Szekely and Rizzo 2013.
    """
    distances = pairwise_distances(
        samples,
        references,
        num_classes=num_classes,
        classes=classes,
        ignore=ignore,
        empty=empty,
        weights=weights,
        workers=workers,
    )
    return energy_distance_from(distances, n=n, estimator=estimator, subsets=subsets)


def energy_distance_from(
    distances: Distances,
    *,
    n: int | None = None,
    estimator: Estimator = "v",
    subsets: Subsets = "all",
) -> EnergyDistance:
    """The energy distance with n samples an image, from distances that were computed once.

    With ``subsets="all"`` each term is its exact average over all subsets of n samples, in closed form: the
    term to the readers does not depend on n, and the V-statistic's diversity is ((n - 1) * mean over i != j +
    mean over i = j) / n. The unbiased value is therefore the same for every n.

    Readers are corrected like samples by ``"unbiased"``, unless ``weights`` were given: weighted references
    are the whole distribution, not a draw from it, and their diversity is exact.

    Raises:
        InputError: n is not between 1 and N; or ``"unbiased"`` with n = 1, or with a single unweighted
            reader, for which no unbiased estimate exists.
    """
    available, readers = distances.cross.shape[1:]
    n = available if n is None else n
    _check(n, available, readers, estimator, subsets, distances.weights is not None)
    cross, within = distances.cross, distances.samples
    if subsets == "first":
        cross, within = cross[:, :n], within[:, :n, :n]
    if distances.weights is None:
        to_readers = cross.mean(axis=(1, 2))
        reader_diversity = mean_within(distances.references, readers, estimator)
    else:
        to_readers = (cross.mean(axis=1) * distances.weights).sum(axis=1)
        reader_diversity = np.einsum("bi,bij,bj->b", distances.weights, distances.references, distances.weights)
    sample_diversity = mean_within(within, n, estimator)
    value = 2 * to_readers - sample_diversity - reader_diversity
    value[distances.left_out] = np.nan
    return EnergyDistance(
        value=value,
        distance_to_readers=to_readers,
        sample_diversity=sample_diversity,
        reader_diversity=reader_diversity,
        left_out=distances.left_out,
        n=n,
        estimator=estimator,
        convention=distances.convention,
    )


def mean_within(within: Floats, n: int, estimator: Estimator) -> Floats:
    """(B,) mean distance within sets of n out of the M maps of ``within`` (B, M, M)."""
    available = within.shape[1]
    if estimator == "v" and n == available:
        return within.mean(axis=(1, 2))
    same = np.trace(within, axis1=1, axis2=2)
    others = np.zeros(len(within))
    if available > 1:
        others = (within.sum(axis=(1, 2)) - same) / (available * (available - 1))
    return others if estimator == "unbiased" else ((n - 1) * others + same / available) / n


def energy_limit(
    distance_to_readers: Floats, sample_diversity: Floats, reader_diversity: Floats, *, n: int, distinct: int | None
) -> Floats:
    """The V-statistic that ever more samples would tend to, from n samples.

    2 E d(S,Y) - E d(S,S') - E d(Y,Y'), with E d(S,S') over the model's own distribution. For independent samples that
    is the mean over pairs i != j, and the limit lies below the V-statistic of n samples by E d(S,S')/n. Where a model
    has ``distinct`` hypotheses and n is a multiple of them, all drawn equally often, the samples are the whole
    distribution and nothing is to be corrected. Numbers of samples no longer matter, so models of both kinds can be
    compared.

    Args:
        distance_to_readers: (B,) E d(S,Y).
        sample_diversity: (B,) E d(S,S') of the V-statistic with n samples.
        reader_diversity: (B,) E d(Y,Y') of the V-statistic.
        n: samples.
        distinct: how many different hypotheses the model has; ``None`` for no limit.

    Returns:
        (B,), NaN where it is not defined: one independent sample, or hypotheses drawn unequally often.
    """
    factor = 1.0
    if distinct is None:
        factor = n / (n - 1) if n > 1 else np.nan
    elif n % distinct:
        factor = np.nan
    return np.asarray(2 * distance_to_readers - factor * sample_diversity - reader_diversity)


def _check(n: int, available: int, readers: int, estimator: str, subsets: str, weighted: bool) -> None:
    if estimator not in get_args(Estimator):
        raise InputError(f'estimator={estimator!r} is not known; choose "v" or "unbiased"')
    if subsets not in get_args(Subsets):
        raise InputError(f'subsets={subsets!r} is not known; choose "all" or "first"')
    if not 1 <= n <= available:
        raise InputError(f"n={n} samples an image were asked for, but there are {available}")
    if readers == 0:
        raise InputError("there is no reference to compare with")
    if estimator == "unbiased" and n == 1:
        raise InputError("one sample has no diversity to estimate without bias; use n >= 2 or the V-statistic")
    if estimator == "unbiased" and readers == 1 and not weighted:
        raise InputError(
            "one reader has no diversity to estimate without bias; use the V-statistic, or weights=[1.0] to "
            "say that this reference is the whole truth"
        )
