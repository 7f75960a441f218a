"""Statements about a reader that hold for new patients: conformal risk control of outlines, areas and empty readings.

A statement is chosen by its loss on patients that no model was trained on. If these and the next patient are
exchangeable, the expected loss on the next one is at most the risk, whatever the model is worth (Angelopoulos et al.
2022, Theorem 1). One patient is one unit: losses are averaged over its readers and cases first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.optimize import isotonic_regression

from probunet.core.errors import InputError
from probunet.core.types import IGNORE
from probunet.metrics.distance import Floats
from probunet.metrics.values import ratio

Marks = npt.NDArray[np.bool_]

THRESHOLDS: Floats = np.concatenate([[0.0], 1 / (1 + np.exp(-np.linspace(-14, 14, 561))), [np.inf]])
"""Probabilities at which an outline can be cut: everything, even steps of the log odds, nothing."""


def needed_patients(risk: float) -> int:
    """The fewest patients from which a statement of this risk can be made: 1 / risk - 1, rounded up.

    Raises:
        InputError: the risk is not between 0 and 1.

    >>> [needed_patients(risk) for risk in (0.5, 0.2, 0.1, 0.05)]
    [1, 4, 9, 19]
    """
    if not 0 < risk < 1:
        raise InputError(f"the risk {risk} must lie between 0 and 1")
    return math.ceil(round(1 / risk, 9)) - 1


def controlled(losses: Floats, risk: float) -> int:
    """The first setting whose expected loss on the next patient is at most the risk.

    Args:
        losses: (patients, settings) from 0 to 1, which do not increase from one setting to the next and end with 0.
        risk: that is allowed.

    Returns:
        The first column with (sum of the losses + 1) / (patients + 1) <= risk: the further patient counts as the worst.

    Raises:
        InputError: there are fewer patients than ``needed_patients``.

    Source: Angelopoulos et al. 2022, Eq. 4, with B = 1.
    """
    patients, needed = len(losses), needed_patients(risk)
    if patients < needed:
        raise InputError(
            f"{patients} patients are too few for the risk {risk:g}, which needs {needed} or more; ask for a higher "
            "risk or take more patients"
        )
    bound = (losses.sum(axis=0) + 1) / (patients + 1)
    return int(np.argmax(bound <= risk + 1e-12))


@dataclass(frozen=True)
class Observed:
    """What one case shows of every possible statement about one class.

    Attributes:
        patient: whose case it is.
        outer: (thresholds,) share of a reader's pixels outside of the pixels with p >= t; mean over the readers.
        inner: (thresholds,) share of the pixels with p >= t that a reader did not mark, likewise.
        excess: (R,) by how much a reader's area is beyond the quantiles of the hypotheses, in log(1 + pixels);
            negative within them, minus infinity at their median.
        level: how many of the hypotheses are empty.
        empty: (R,) whether a reader marked nothing.
        pixels: (thresholds,) how many have p >= t.
        area: mean pixels of a hypothesis.
        quantiles: lower, median and upper of the hypotheses' log(1 + pixels).
    """

    patient: str
    outer: Floats
    inner: Floats
    excess: Floats
    level: int
    empty: Marks
    pixels: Floats
    area: float
    quantiles: tuple[float, float, float]


@dataclass(frozen=True)
class Statement:
    """What may be said of one class, with a risk.

    Attributes:
        risk: expected loss on the next patient, at most.
        outer: a reader's pixels lie in p >= outer, but for a share of at most the risk; 0: everywhere.
        inner: pixels with p >= inner are ones that a reader marked, but for such a share; infinite: there are none.
        widening: of the quantiles risk / 2 and 1 - risk / 2 of the hypotheses' areas, in log(1 + pixels).
        empty: (hypotheses + 1, 2) bounds of the probability that a reader marks nothing, by how many hypotheses
            are empty.
    """

    risk: float
    outer: float
    inner: float
    widening: float
    empty: Floats

    def interval(self, areas: npt.ArrayLike) -> tuple[float, float]:
        """Lower and upper end of a reader's area in pixels, from the areas (n,) of the hypotheses."""
        return self.interval_of(area_quantiles(areas, self.risk))

    def interval_of(self, quantiles: tuple[float, float, float]) -> tuple[float, float]:
        """The same from the quantiles that ``area_quantiles`` gives."""
        low, middle, high = quantiles
        ends = min(low - self.widening, middle), max(high + self.widening, middle)
        return max(float(np.expm1(ends[0])), 0.0), float(np.expm1(ends[1]))

    def probability_of_nothing(self, level: int) -> tuple[float, float, float]:
        """Probability that a reader marks nothing where this many hypotheses are empty, and its two bounds.

        The probability is the one of least regret between the bounds (Vovk et al. 2015).
        """
        low, high = self.empty[level].tolist()
        return high / (1 - low + high), low, high


def observe(
    patient: str, probability: Floats, hypotheses: Marks, readings: npt.NDArray[np.integer], label: int, risk: float
) -> Observed:
    """What one case shows.

    Args:
        patient: whose case it is.
        probability: (...) of the class, at every pixel.
        hypotheses: (n, ...) whether a hypothesis has the class.
        readings: (R, ...) class ids; pixels with ``IGNORE`` in any of them count nowhere.
        label: the class.
        risk: for the quantiles of the areas.
    """
    flat = readings.reshape(len(readings), -1)
    known = (flat != IGNORE).all(axis=0)
    marks = (flat == label)[:, known]
    place = np.searchsorted(THRESHOLDS, probability.reshape(-1)[known].astype(np.float64), side="right")
    inside = _at_least(place)
    marked_inside = np.stack([_at_least(place[reader]) for reader in marks])
    areas = marks.sum(axis=1)
    outer = 1 - ratio(marked_inside, areas[:, None], 1.0)
    inner = ratio(inside - marked_inside, inside[None], 0.0)
    sizes = hypotheses.reshape(len(hypotheses), -1)[:, known].sum(axis=1)
    low, middle, high = area_quantiles(sizes, risk)
    sized = np.log1p(areas)
    excess = np.where(sized < middle, low - sized, np.where(sized > middle, sized - high, -np.inf))
    return Observed(
        patient,
        outer.mean(axis=0),
        inner.mean(axis=0),
        excess,
        int((sizes == 0).sum()),
        areas == 0,
        inside,
        float(sizes.mean()),
        (low, middle, high),
    )


def state(cases: Sequence[Observed], hypotheses: int, risk: float) -> Statement:
    """Choose the sharpest statement that the cases of many patients allow.

    The share of wrong inner pixels may grow with the threshold. Its largest value at any higher threshold stands for
    it, which grows never, so that the theorem holds; what is stated is then rather too careful.

    Args:
        cases: of patients whom the model never saw.
        hypotheses: how many were drawn for each case.
        risk: of each part of the statement on its own.

    Raises:
        InputError: there are too few patients for this risk.
    """
    outer, inner = (_by_patient(cases, [getattr(case, name) for case in cases]) for name in ("outer", "inner"))
    strict = np.maximum.accumulate(inner[:, ::-1], axis=1)[:, ::-1]
    last = len(THRESHOLDS) - 1
    widenings = np.unique(np.concatenate([case.excess[np.isfinite(case.excess)] for case in cases] + [[0.0]]))
    beyond = _by_patient(cases, [(case.excess[:, None] > widenings).mean(axis=0) for case in cases])
    surely_not = last - controlled(outer[:, ::-1], risk)
    return Statement(
        risk,
        float(THRESHOLDS[surely_not]),
        float(THRESHOLDS[max(controlled(strict, risk), surely_not)]),  # the inner outline never leaves the outer one
        float(widenings[controlled(beyond, risk)]),
        empty_bounds(cases, hypotheses),
    )


def losses_of(statement: Statement, cases: Sequence[Observed]) -> dict[str, Floats]:
    """(patients,) realised losses of a statement: outer, inner, area; a mean above the risk breaks the promise."""
    outer, inner = (int(np.searchsorted(THRESHOLDS, value)) for value in (statement.outer, statement.inner))
    beyond = [np.array([(case.excess > statement.widening).mean()]) for case in cases]
    return {
        "outer": _by_patient(cases, [case.outer for case in cases])[:, outer],
        "inner": _by_patient(cases, [case.inner for case in cases])[:, inner],
        "area": _by_patient(cases, beyond)[:, 0],
    }


def area_quantiles(areas: npt.ArrayLike, risk: float) -> tuple[float, float, float]:
    """Quantiles risk / 2, 1/2 and 1 - risk / 2 of log(1 + area)."""
    low, middle, high = np.quantile(np.log1p(np.asarray(areas, np.float64)), [risk / 2, 0.5, 1 - risk / 2])
    return float(low), float(middle), float(high)


def empty_bounds(cases: Sequence[Observed], hypotheses: int) -> Floats:
    """(hypotheses + 1, 2) Venn-Abers bounds of the probability of an empty reading, by how many hypotheses are empty.

    At every level a further patient is put in, once as marking nothing and once as marking something, and the
    increasing function that fits best is taken there: one of the two is calibrated, whichever comes true. Every
    patient has the weight 1.

    Source: Vovk, Petej and Fedorova 2015 (inductive Venn-Abers predictors).
    """
    weight, nothing = np.zeros(hypotheses + 1), np.zeros(hypotheses + 1)
    counts = _counts(cases)
    for case in cases:
        weight[case.level] += 1 / counts[case.patient]
        nothing[case.level] += case.empty.mean() / counts[case.patient]
    bounds = np.empty((hypotheses + 1, 2))
    for level, outcome in np.ndindex(*bounds.shape):
        of_level, sums = weight.copy(), nothing.copy()
        of_level[level] += 1
        sums[level] += outcome
        used = np.flatnonzero(of_level)
        fitted = isotonic_regression(sums[used] / of_level[used], weights=of_level[used]).x
        bounds[level, outcome] = fitted[np.searchsorted(used, level)]
    return bounds


def _at_least(place: npt.NDArray[np.int64]) -> Floats:
    """(thresholds,) how many pixels have p >= t, from the number of thresholds that are at most p."""
    counts = np.bincount(place, minlength=len(THRESHOLDS) + 1)
    return counts[::-1].cumsum()[::-1][1:].astype(np.float64)


def _counts(cases: Sequence[Observed]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for case in cases:
        counts[case.patient] = counts.get(case.patient, 0) + 1
    return counts


def _by_patient(cases: Sequence[Observed], values: Sequence[Floats]) -> Floats:
    """(patients, settings) mean over the cases of each patient."""
    counts = _counts(cases)
    index = {patient: i for i, patient in enumerate(counts)}
    total = np.zeros((len(counts), len(values[0])))
    for case, value in zip(cases, values, strict=True):
        total[index[case.patient]] += value / counts[case.patient]
    return total
