"""Conformal risk control: by hand, and the promise itself on synthetic patients."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from probunet.core.errors import InputError
from probunet.metrics.risk_control import (
    THRESHOLDS,
    Observed,
    Statement,
    controlled,
    empty_bounds,
    losses_of,
    needed_patients,
    observe,
    state,
)


def test_the_number_of_patients_that_is_needed():
    assert [needed_patients(risk) for risk in (0.5, 0.25, 0.2, 0.1, 0.05, 0.01)] == [1, 3, 4, 9, 19, 99]
    for risk in (0.5, 0.25, 0.2, 0.1, 0.05):
        enough = np.zeros((needed_patients(risk), 2))
        assert controlled(enough, risk) == 0
        with pytest.raises(InputError, match=f"too few for the risk {risk:g}, which needs {len(enough)} or more"):
            controlled(enough[1:], risk)
    with pytest.raises(InputError, match="between 0 and 1"):
        needed_patients(1.0)


def test_the_setting_by_hand():
    # four patients; (sum + 1) / 5: 0.8, 0.56, 0.4, 0.2
    losses = np.array([[1, 0.6, 0.4, 0], [1, 0.6, 0.3, 0], [0.5, 0.3, 0.2, 0], [0.5, 0.3, 0.1, 0]])
    assert [controlled(losses, risk) for risk in (0.8, 0.79, 0.56, 0.5, 0.4, 0.39, 0.2)] == [0, 1, 1, 2, 2, 3, 3]


def test_what_a_case_shows_by_hand():
    probability = np.array([0.1, 0.3, 0.6, 0.9, 0.9])
    readings = np.array([[0, 1, 1, 1, 255], [0, 0, 0, 1, 1], [0, 0, 0, 0, 0]])
    hypotheses = np.array([[0, 0, 1, 1, 1], [0, 0, 0, 1, 1], [0, 0, 0, 0, 0]], bool)
    case = observe("Ada", probability, hypotheses, readings, 1, 0.5)
    at = {t: int(np.searchsorted(THRESHOLDS, t)) for t in (0.05, 0.2, 0.5, 0.8)}
    # known are the first four; the readers marked 3, 1 and 0 of them
    assert [case.pixels[at[t]] for t in (0.05, 0.2, 0.5, 0.8)] == [4, 3, 2, 1]
    assert [case.outer[at[t]] for t in (0.05, 0.2, 0.5, 0.8)] == pytest.approx([0, 0, 1 / 9, 2 / 9])
    wrong = [(1 / 4 + 3 / 4 + 1) / 3, (0 + 2 / 3 + 1) / 3, (0 + 1 / 2 + 1) / 3, (0 + 0 + 1) / 3]
    assert [case.inner[at[t]] for t in (0.05, 0.2, 0.5, 0.8)] == pytest.approx(wrong)
    assert (case.outer[0], case.inner[-1], case.pixels[-1]) == (0, 0, 0)
    assert case.empty.tolist() == [False, False, True]
    # known pixels of the hypotheses: 2, 1, 0; quartiles of log(1 + size)
    quartiles = np.quantile(np.log([3, 2, 1]), [0.25, 0.5, 0.75])
    assert case.quantiles == pytest.approx(tuple(quartiles))
    assert case.excess == pytest.approx([np.log(4) - quartiles[2], -np.inf, quartiles[0]])
    assert (case.level, case.area) == (1, 1)


def patient(random, name: str, n: int = 8) -> Observed:
    """A lesion with an unknown edge, of which a model has a biased idea; some readers mark nothing."""
    grid, edge, bias = np.arange(48), random.uniform(4, 40), random.normal(2, 3)
    probability = 1 / (1 + np.exp((grid - edge - bias) / 2))
    sizes = np.where(random.random(n) < 0.15, 0, edge + bias + random.normal(0, 1.5, n))
    drawn = np.where(random.random(3) < 0.25, 0, edge + random.normal(0, 3, 3))
    return observe(name, probability, grid < sizes[:, None], (grid < drawn[:, None]).astype(np.uint8), 1, 0.2)


@pytest.mark.parametrize("risk", [0.1, 0.2])
def test_the_realised_risk_is_at_most_the_stated_one(risk):
    random = np.random.default_rng(1)
    pool = [patient(random, f"{i}") for i in range(160)]
    realised = {name: [] for name in ("outer", "inner", "area")}
    for _ in range(30):
        chosen = random.permutation(len(pool))
        statement = state([pool[i] for i in chosen[:24]], 8, risk)
        for name, losses in losses_of(statement, [pool[i] for i in chosen[24:]]).items():
            realised[name].append(losses.mean())
    for name, means in realised.items():
        error = np.std(means) / np.sqrt(len(means))
        assert np.mean(means) <= risk + 2 * error + 0.01, name
        assert np.mean(means) > risk / 10, "no statement that says nothing"


def test_the_inner_outline_lies_in_the_outer_one_which_shrinks_with_more_risk():
    random = np.random.default_rng(2)
    pool = [patient(random, f"{i}") for i in range(60)]
    statements = [state(pool, 8, risk) for risk in (0.05, 0.1, 0.2, 0.4)]
    outer, inner = [s.outer for s in statements], [s.inner for s in statements]
    assert outer == sorted(outer)
    assert all(low <= high for low, high in zip(outer, inner, strict=True))


def test_a_patient_is_one_unit_however_many_cases():
    random = np.random.default_rng(3)
    once = [patient(random, f"{i}") for i in range(30)]
    twice = [*once, *[case for case in once[:10] for _ in range(7)]]
    first, second = state(once, 8, 0.1), state(twice, 8, 0.1)
    assert (first.outer, first.inner, first.widening) == (second.outer, second.inner, second.widening)
    assert first.empty == pytest.approx(second.empty)
    with pytest.raises(InputError, match="8 patients are too few"):
        state([case for case in once[:8] for _ in range(9)], 8, 0.1)


def test_the_interval_of_the_area_by_hand():
    statement = Statement(0.5, 0.1, 0.9, np.log(2), np.zeros((5, 2)))
    # quartiles of log(1 + a) of 3, 7, 15, 31, 63 are those of 7 and 31; twice and half of 8 and 32, less 1
    assert statement.interval([3, 7, 15, 31, 63]) == pytest.approx((3, 63))
    assert Statement(0.5, 0.1, 0.9, -9.0, np.zeros((5, 2))).interval([3, 7, 15, 31, 63]) == pytest.approx((15, 15))
    assert statement.interval([0, 0, 0, 0, 0]) == pytest.approx((0, 1))


def emptiness(levels, empty) -> list[Observed]:
    nothing, cases = np.zeros(len(THRESHOLDS)), []
    for i, (level, reading) in enumerate(zip(levels, empty, strict=True)):
        seen = int(level), np.array([reading]), nothing, 0.0, (0.0, 0.0, 0.0)
        cases.append(Observed(str(i), nothing, nothing, np.zeros(1), *seen))
    return cases


def test_the_probability_of_an_empty_reading_by_hand():
    # two hypotheses; level 0: one patient, who marked; level 2: one patient, who did not
    bounds = empty_bounds(emptiness([0, 2], [False, True]), 2)
    assert bounds[0] == pytest.approx([0, 1 / 2])  # a further patient at level 0: nothing of 2, 1 of 2
    assert bounds[1] == pytest.approx([0, 1])  # nobody is known there
    assert bounds[2] == pytest.approx([1 / 2, 1])
    probability, low, high = Statement(0.1, 0, 1, 0, bounds).probability_of_nothing(0)
    assert (low, high) == (0, 1 / 2)
    assert probability == pytest.approx((1 / 2) / (1 + 1 / 2))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000))
def test_the_bounds_hold_the_frequency_and_grow_with_the_level(seed):
    random = np.random.default_rng(seed)
    levels = random.integers(0, 5, 80)
    bounds = empty_bounds(emptiness(levels, random.random(80) < (levels / 4) ** 2), 4)
    assert (bounds[:, 0] <= bounds[:, 1] + 1e-12).all()
    assert (np.diff(bounds, axis=0) >= -1e-12).all()


def test_the_probability_of_an_empty_reading_is_calibrated():
    random = np.random.default_rng(5)
    levels = random.integers(0, 9, 4000)
    empty = random.random(4000) < (levels / 8) ** 3
    bounds = empty_bounds(emptiness(levels[:2000], empty[:2000]), 8)
    said = np.array([Statement(0.1, 0, 1, 0, bounds).probability_of_nothing(level)[0] for level in levels[2000:]])
    for level in range(9):
        here = levels[2000:] == level
        assert said[here][0] == pytest.approx(empty[2000:][here].mean(), abs=0.1)
