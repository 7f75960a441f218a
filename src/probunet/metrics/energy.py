"""Generalised energy distance: how far a set of samples is from the readers, as distributions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from probunet.core.errors import InputError
from probunet.metrics.convention import FOREGROUND, Convention
from probunet.metrics.distance import Distances, Floats, pairwise_distances, samples_to_count
from probunet.metrics.overlap import Maps
from probunet.metrics.values import mean_of_defined

Estimator: TypeAlias = Literal["v", "unbiased", "limit"]
"""Which pairs count within a set.

- ``"v"``: the published one, pairs i = j included on both sides, biased upwards.
- ``"unbiased"``: without those pairs: the excess over a model that is the readers' distribution.
- ``"limit"``: without them among the samples, with them among the readers: what ``"v"`` tends to with ever more
  samples.
"""

Subsets: TypeAlias = Literal["all", "first"]
"""Which n of the N samples: the exact average over all subsets of size n, or the first n."""

Draws: TypeAlias = Literal["independent", "complete", "dependent"]
"""How the samples of an image were drawn.

- ``"independent"``: each on its own.
- ``"complete"``: they are all hypotheses that the model has, each as likely as the others (the members of an ensemble).
- ``"dependent"``: in any other way, for example members without replacement.
"""


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
    convention: Convention

    def mean(self) -> float:
        """Mean value over the images that are not left out.

        Raises:
            InputError: every image is left out.
        """
        return mean_of_defined(self.value, self.left_out)


def energy_distance(
    samples: Maps,
    references: Maps,
    convention: Convention = FOREGROUND,
    *,
    mask: Maps | None = None,
    n: int | None = None,
    estimator: Estimator = "v",
    subsets: Subsets = "all",
    draws: Draws = "independent",
    workers: int | None = None,
) -> EnergyDistance:
    """D_GED^2 = 2 E d(S, Y) - E d(S, S') - E d(Y, Y') of each image, with d = 1 - IoU.

    Args:
        samples: (B, N, ...) integer labels.
        references: (B, R, ...) integer labels.
        convention: what is compared, and how.
        mask: (B, ...) True where a pixel counts nowhere.
        n: samples an image; None: all N.
        estimator: which pairs count, see ``Estimator``.
        subsets: average over all subsets of n samples, or the first n.
        draws: how the samples were drawn, see ``Draws``.
        workers: threads; None: one for each core.

    Raises:
        InputError: see ``pairwise_distances`` and ``energy_distance_from``.

    Source: Kohl et al. 2018, Eq. 5; Szekely and Rizzo 2013.

    >>> samples, readers = np.array([[[[0, 1]], [[0, 0]]]]), np.array([[[[0, 1]], [[1, 1]]]])
    >>> energy_distance(samples, readers).value
    array([0.75])
    """
    distances = pairwise_distances(samples, references, convention, mask=mask, workers=workers)
    return energy_distance_from(distances, n=n, estimator=estimator, subsets=subsets, draws=draws)


def energy_distance_from(
    distances: Distances,
    *,
    n: int | None = None,
    estimator: Estimator = "v",
    subsets: Subsets = "all",
    draws: Draws = "independent",
) -> EnergyDistance:
    """The energy distance with n samples an image, from distances that were computed once.

    With ``subsets="all"`` each term is its exact average over all subsets of n samples, in closed form: the
    term to the readers does not depend on n, and the V-statistic's diversity is ((n - 1) * mean over i != j +
    mean over i = j) / n. The unbiased value is therefore the same for every n.

    Readers are corrected like samples by ``"unbiased"``, unless the convention weighs them: weighted references are
    the whole distribution, not a draw from it, and their diversity is exact. So is that of ``"complete"`` samples.

    Raises:
        InputError: n is not between 1 and N; no such estimate exists from one sample or one unweighted reader; or
            the samples are no independent draws and an estimate needs that they are.
    """
    available, readers = distances.cross.shape[1:]
    n = samples_to_count(distances, n)
    weights = distances.weights
    _check(n, available, readers, estimator, subsets, draws, weights is not None)
    cross, within = distances.cross, distances.samples
    if subsets == "first":
        cross, within = cross[:, :n], within[:, :n, :n]
    if weights is None:
        to_readers = cross.mean(axis=(1, 2))
        reader_diversity = mean_within(distances.references, readers, estimator == "unbiased")
    else:
        to_readers = cross.mean(axis=1) @ weights
        reader_diversity = np.einsum("i,bij,j->b", weights, distances.references, weights)
    sample_diversity = mean_within(within, n, estimator != "v" and draws == "independent")
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


def perfect_energy(distances: Distances, n: int | None) -> Floats:
    """(B,) what D_GED^2 of n independent draws is on average for a model that *is* the readers' distribution.

    The published estimator is biased: such a model does not score 0 but E d(Y, Y') (1/n + 1/R) against R readers who
    are a draw of that distribution, and E d(Y, Y') / n against weighted references, which are all of it; 1/n is 0 for
    unlimited samples (``None``). (Where a map
    is at a distance from itself, under ``empty="one"``, that is taken off E d(Y, Y').) NaN for a single unweighted
    reader, from whom E d(Y, Y') cannot be told.

    >>> maps = np.array([[[[0, 1]], [[0, 0]]]])  # two readers at distance 1
    >>> perfect_energy(pairwise_distances(maps, maps), n=16)  # 1/16 + 1/2
    array([0.5625])
    """
    within, readers = distances.references, distances.references.shape[1]
    share = 0 if n is None else 1 / n
    weights = distances.weights
    if weights is not None:
        same = np.einsum("bii,i->b", within, weights)
        apart = np.einsum("i,bij,j->b", weights, within, weights)
        return np.asarray(np.where(distances.left_out, np.nan, (apart - same) * share))
    if readers < 2:
        return np.full(len(within), np.nan)
    same = np.trace(within, axis1=1, axis2=2) / readers
    apart = mean_within(within, readers, without_same=True)
    return np.asarray(np.where(distances.left_out, np.nan, (apart - same) * (share + 1 / readers)))


def mean_within(within: Floats, n: int, without_same: bool) -> Floats:
    """(B,) mean distance within sets of n out of the M maps of ``within`` (B, M, M), with or without pairs i = j."""
    available = within.shape[1]
    if not without_same and n == available:
        return within.mean(axis=(1, 2))
    same = np.trace(within, axis1=1, axis2=2)
    others = np.zeros(len(within))
    if available > 1:
        others = (within.sum(axis=(1, 2)) - same) / (available * (available - 1))
    return others if without_same else ((n - 1) * others + same / available) / n


def _check(n: int, available: int, readers: int, estimator: str, subsets: str, draws: str, weighted: bool) -> None:
    for name, value, known in (
        ("estimator", estimator, Estimator),
        ("subsets", subsets, Subsets),
        ("draws", draws, Draws),
    ):
        if value not in get_args(known):
            raise InputError(f"{name}={value!r} is not known; choose one of {', '.join(get_args(known))}")
    if readers == 0 or available == 0:
        raise InputError(f"there is no {'sample' if readers else 'reference'} to compare with")
    if draws != "independent" and n != available:
        raise InputError(
            f"{n} of {available} samples that are no independent draws say nothing of {n} drawn; draw {n} anew"
        )
    if estimator == "v":
        return
    if draws == "dependent":
        raise InputError(
            f"the {estimator} estimate needs independent samples (or all hypotheses that a model has); "
            "draw each on its own, or use the V-statistic"
        )
    if n == 1 and draws == "independent":
        raise InputError("one sample has no diversity to estimate without bias; use n >= 2 or the V-statistic")
    if estimator == "unbiased" and readers == 1 and not weighted:
        raise InputError(
            "one reader has no diversity to estimate without bias; use the V-statistic, or weights=(1.0,) to "
            "say that this reference has every mode"
        )
