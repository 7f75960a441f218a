"""How sure a number is: intervals by cluster bootstrap, and tests between two methods on the same images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

from probunet.core.errors import InputError
from probunet.core.numbers import whole_number
from probunet.core.seeds import checked_seed
from probunet.metrics.distance import Floats
from probunet.metrics.values import ratio

Groups = Sequence[Any] | npt.NDArray[Any]
STEP = 100
"""Draws at a time: few, so that the memory stays small for any number of groups."""


@dataclass(frozen=True)
class Interval:
    """An estimate with its bootstrap percentile interval."""

    mean: float
    low: float
    high: float
    n: int
    """Values that were averaged."""
    groups: int
    """Independent groups (patients) among them."""
    left_out: int = 0
    """Values that were not defined (NaN) and count nowhere."""
    confidence: float = 0.95


@dataclass(frozen=True)
class Comparison:
    """Two methods on the same images: differences are a - b."""

    first: str
    second: str
    difference: Interval
    """Mean of a - b with its bootstrap interval by group."""
    p_value: float
    """Wilcoxon signed-rank test, two-sided."""
    p_holm: float
    """The same after Holm's correction over all comparisons made together."""
    effect: float
    """Matched-pairs rank-biserial correlation: -1 (a always smaller) to 1 (a always larger)."""
    pairs: int
    """Pairs in the test: images, or groups where groups were given."""


def bootstrap_interval(
    values: npt.ArrayLike,
    groups: Groups | None = None,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Mean of the values (B,) and its percentile interval when whole groups are drawn again with replacement.

    Args:
        values: one number for each image; NaN means "not defined": left out and counted in ``left_out``.
        groups: (B,) what belongs together (the patient); None: every value on its own.
        confidence: of the interval, between 0 and 1.
        resamples: bootstrap draws.
        seed: of the draws; the same seed gives the same interval.

    Raises:
        InputError: no value is defined, one is infinite, or the lengths differ.

    Source: Davison and Hinkley 1997, section 3.8 (cluster resampling).
    """
    array = _finite("values", values)
    if array.ndim != 1:
        raise InputError(f"values must be one number for each image, not of shape {array.shape}")
    kept = ~np.isnan(array)
    labels = None if groups is None else _checked_groups(groups, len(array))[kept]
    table = np.stack([array[kept], np.ones(kept.sum())], axis=1)
    interval = bootstrap_sums(table, lambda sums: sums[:, 0] / sums[:, 1], labels, confidence, resamples, seed)
    return replace(interval, left_out=int((~kept).sum()))


def bootstrap_seeds(
    values: npt.ArrayLike,
    groups: Groups | None = None,
    *,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Mean over trainings of the mean over images, and its interval when both trainings and groups are drawn again.

    Few trainings vary less in a bootstrap than they do: the variance of S of them is (S - 1)/S of what it should be.

    Args:
        values: (S, B) of S trainings that differ by their seed; NaN means "not defined".
        groups: (B,) what belongs together (the patient); None: every image on its own.
        confidence: of the interval, between 0 and 1.
        resamples: bootstrap draws.
        seed: of the draws.

    Raises:
        InputError: a training without any defined value, or the lengths differ.
    """
    array = np.asarray(values, np.float64)
    if array.ndim != 2 or np.isnan(array).all(axis=1).any():
        raise InputError(f"values of shape {array.shape} must be trainings x images, with a number in each training")
    kept = ~np.isnan(array)
    defined = kept.any(axis=0)
    table = np.concatenate([np.where(kept, array, 0), kept])[:, defined].T  # (B, 2 S): sums and counts
    labels = None if groups is None else _checked_groups(groups, array.shape[1])[defined]
    sums = table if labels is None else _sum_by_group(table, labels)
    rng, drawn = np.random.default_rng(checked_seed(seed)), []
    for done in range(0, whole_number("resamples", resamples), STEP):
        draws = min(STEP, resamples - done)
        drawn.append(_over_seeds(_times_drawn(len(sums), draws, rng) @ sums, _times_drawn(len(array), draws, rng)))
    tail = (1 - confidence) / 2
    low, high = np.nanquantile(np.concatenate(drawn), [tail, 1 - tail], method="inverted_cdf")
    estimate = float(_over_seeds(sums.sum(axis=0, keepdims=True), np.ones((1, len(array)), np.int64))[0])
    return Interval(estimate, float(low), float(high), len(table), len(sums), int((~defined).sum()), confidence)


def _over_seeds(sums: Floats, times: npt.NDArray[np.int64]) -> Floats:
    """Means of the means of trainings that were drawn so many ``times`` (draws, S), from sums and counts (draws, 2 S).

    Where no image of a training was drawn, the others count.
    """
    values, counts = np.hsplit(sums, 2)
    weights = times * (counts > 0)
    weighted = (weights * values / np.maximum(counts, 1)).sum(axis=1)
    total = weights.sum(axis=1)
    return ratio(weighted, total)


def bootstrap_sums(
    table: Floats,
    statistic: Callable[[Floats], Floats],
    groups: Groups | None = None,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Interval:
    """Interval of any statistic of column sums, which covers means, frequencies and calibration errors.

    Args:
        table: (B, D) one row for each image.
        statistic: maps column sums (draws, D) to numbers (draws,).
        groups: (B,) what is drawn together; None: every row on its own.
        confidence: of the interval.
        resamples: bootstrap draws.
        seed: of the draws.

    Raises:
        InputError: the table is empty, or confidence or resamples make no sense.
    """
    if len(table) == 0:
        raise InputError("no image has a defined value, so there is nothing to average")
    if not 0 < confidence < 1:
        raise InputError(f"confidence={confidence} must lie between 0 and 1")
    whole_number("resamples", resamples)
    sums = table if groups is None else _sum_by_group(table, _checked_groups(groups, len(table)))
    rng = np.random.default_rng(checked_seed(seed))
    drawn = [
        statistic(_times_drawn(len(sums), min(STEP, resamples - done), rng) @ sums)
        for done in range(0, resamples, STEP)
    ]
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.concatenate(drawn), [tail, 1 - tail], method="inverted_cdf")
    estimate = float(statistic(sums.sum(axis=0, keepdims=True))[0])
    return Interval(estimate, float(low), float(high), len(table), len(sums), confidence=confidence)


def compare(
    a: npt.ArrayLike,
    b: npt.ArrayLike,
    groups: Groups | None = None,
    *,
    names: tuple[str, str] = ("a", "b"),
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> Comparison:
    """Are two methods different on the same images? Wilcoxon signed-rank test, effect size, interval.

    With groups, images of one patient are not independent, so the test and the effect size use each group's
    mean difference; without, each image counts as one pair (the paper's test). Equal pairs are dropped from
    the test; when all are equal, p = 1 and the effect is 0. Images where either value is NaN are left out and
    counted.

    Args:
        a: (B,) values of the first method.
        b: (B,) values of the second method on the same images, in the same order.
        groups: (B,) patients; None: every image on its own.
        names: of the two methods.
        confidence: of the interval of the mean difference.
        resamples: bootstrap draws.
        seed: of the draws.

    Raises:
        InputError: the lengths differ, no pair is defined, or a value is infinite.

    Source: Wilcoxon 1945; Kerby 2014 (rank-biserial correlation).
    """
    first, second = _finite(names[0], a), _finite(names[1], b)
    if first.shape != second.shape or first.ndim != 1:
        raise InputError(
            f"{names[0]} has {first.shape} values and {names[1]} {second.shape}; pairs need the same images"
        )
    difference = first - second
    interval = bootstrap_interval(difference, groups, confidence=confidence, resamples=resamples, seed=seed)
    kept = ~np.isnan(difference)
    pairs = difference[kept]
    if groups is not None:
        table = np.stack([pairs, np.ones(len(pairs))], axis=1)
        sums = _sum_by_group(table, _checked_groups(groups, len(difference))[kept])
        pairs = sums[:, 0] / sums[:, 1]
    p_value, effect = _signed_rank(pairs)
    return Comparison(*names, interval, p_value, p_value, effect, len(pairs))


def compare_all(values: Mapping[str, npt.ArrayLike], groups: Groups | None = None, **options: Any) -> list[Comparison]:
    """``compare`` for every pair of methods, with Holm's correction over all of them.

    Args:
        values: (B,) values of each method, on the same images in the same order.
        groups: (B,) patients.
        **options: confidence, resamples and seed of ``compare``.

    Raises:
        InputError: see ``compare``.
    """
    comparisons = [compare(values[a], values[b], groups, names=(a, b), **options) for a, b in combinations(values, 2)]
    corrected = holm([c.p_value for c in comparisons])
    return [replace(c, p_holm=float(p)) for c, p in zip(comparisons, corrected, strict=True)]


def holm(p_values: Sequence[float] | Floats) -> Floats:
    """Holm's step-down correction of several p-values: they then bound the chance of any false claim.

    Raises:
        InputError: something is no p-value.

    Source: Holm 1979.
    """
    p = np.asarray(p_values, np.float64)
    if p.ndim != 1 or not ((p >= 0) & (p <= 1)).all():
        raise InputError(f"p_values={p.tolist()} must be a row of numbers from 0 to 1")
    order = np.argsort(p, kind="stable")
    corrected = np.empty_like(p)
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1.0)
    return corrected


def _finite(name: str, values: npt.ArrayLike) -> Floats:
    """Values of which NaN are not defined; infinite ones have no mean."""
    array = np.asarray(values, np.float64)
    if np.isinf(array).any():
        raise InputError(
            f"{name} holds {int(np.isinf(array).sum())} infinite values, which have no mean; leave them out"
        )
    return array


def _times_drawn(count: int, draws: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """(draws, count) how often each of ``count`` groups is among ``count`` drawn with replacement."""
    chosen = rng.integers(count, size=(draws, count)) + count * np.arange(draws)[:, None]
    return np.bincount(chosen.ravel(), minlength=draws * count).reshape(draws, count)


def _signed_rank(pairs: Floats) -> tuple[float, float]:
    from scipy import stats  # takes longer to load than all other metrics together

    different = pairs[np.abs(pairs) > 1e-12]  # beyond the rounding of a mean of distances
    if len(different) == 0:
        return 1.0, 0.0
    ranks = stats.rankdata(np.abs(different))
    effect = float((ranks * np.sign(different)).sum() / ranks.sum())
    return float(stats.wilcoxon(different).pvalue), effect


def _checked_groups(groups: Groups, count: int) -> npt.NDArray[Any]:
    array = np.asarray(groups)
    if array.dtype == object or len({isinstance(group, str) for group in groups}) > 1:
        raise InputError("groups hold values of several kinds; give names alone, or numbers alone")
    if array.dtype.kind == "f" and np.isnan(array).any():
        raise InputError("groups hold a value that is no number; give every image a group")
    if array.shape != (count,):
        raise InputError(f"there are {count} values but groups of shape {array.shape}; give one group each")
    return array


def _sum_by_group(table: Floats, groups: npt.NDArray[Any]) -> Floats:
    names, index = np.unique(groups, return_inverse=True)
    sums = np.zeros((len(names), table.shape[1]))
    np.add.at(sums, index, table)
    return sums
