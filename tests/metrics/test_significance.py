import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from probunet.core.errors import InputError
from probunet.metrics import bootstrap_interval, bootstrap_seeds, compare, compare_all, holm


def test_interval_of_constant_values():
    found = bootstrap_interval([2.0, 2.0, 2.0])
    assert (found.mean, found.low, found.high, found.n, found.groups) == (2, 2, 2, 3, 3)


def test_interval_agrees_with_the_normal_theory_and_is_seeded():
    values = np.random.default_rng(0).normal(3, 2, 400)
    found = bootstrap_interval(values)
    half = 1.96 * values.std() / 20
    assert found.low == pytest.approx(found.mean - half, abs=0.03)
    assert found.high == pytest.approx(found.mean + half, abs=0.03)
    assert found == bootstrap_interval(values)
    assert found != bootstrap_interval(values, seed=1)


def test_patients_widen_the_interval():
    rng = np.random.default_rng(1)
    patients = np.repeat(np.arange(25), 16)
    values = rng.normal(size=25)[patients] + 0.1 * rng.normal(size=400)
    by_image, by_patient = bootstrap_interval(values), bootstrap_interval(values, patients)
    assert by_patient.groups == 25
    assert by_patient.mean == pytest.approx(by_image.mean)
    assert by_patient.high - by_patient.low > 2.5 * (by_image.high - by_image.low)


def test_undefined_values_are_counted():
    found = bootstrap_interval([1.0, np.nan, 3.0], ["a", "b", "c"])
    assert (found.mean, found.n, found.groups, found.left_out) == (2, 2, 2, 1)
    with pytest.raises(InputError, match="nothing to average"):
        bootstrap_interval([np.nan])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0], ["a", "b"]), "one group each"),
        (([[1.0]],), "one number for each image"),
    ],
)
def test_interval_refuses(arguments, message):
    with pytest.raises(InputError, match=message):
        bootstrap_interval(*arguments)
    with pytest.raises(InputError, match="confidence"):
        bootstrap_interval([1.0], confidence=95)


def test_compare_hand_computed():
    a, b = [1.0, 2.0, 3.0, 4.0, 5.0], [2.0, 3.5, 5.0, 6.5, 4.0]
    found = compare(a, b, names=("x", "y"))
    assert found.difference.mean == pytest.approx(-1.2)
    # |differences| 1, 1.5, 2, 2.5, 1: ranks 1.5, 3, 4, 5, 1.5, the last one positive
    assert found.effect == pytest.approx((1.5 - 13.5) / 15)
    assert found.p_value == found.p_holm == pytest.approx(stats.wilcoxon(np.subtract(a, b)).pvalue)
    assert (found.first, found.second, found.pairs) == ("x", "y", 5)
    assert found.difference.low < -1.2 < found.difference.high


def test_compare_equal_and_tiny():
    same = compare([0.1, 0.2], [0.1, 0.2])
    assert (same.p_value, same.effect, same.difference.mean) == (1, 0, 0)
    assert compare([0.3], [0.1 + 0.2]).p_value == 1  # rounding is no difference
    assert compare([1.0], [2.0]).p_value == 1


def test_compare_by_patient_counts_patients():
    rng = np.random.default_rng(2)
    patients = np.repeat(np.arange(8), 50)
    shift = rng.normal(size=8)[patients]
    by_image = compare(shift + 0.01 * rng.normal(size=400), np.zeros(400))
    by_patient = compare(shift + 0.01 * rng.normal(size=400), np.zeros(400), patients)
    assert (by_image.pairs, by_patient.pairs) == (400, 8)
    assert by_image.p_value < by_patient.p_value


def test_compare_leaves_out_and_refuses():
    found = compare([1.0, np.nan, 3.0], [0.5, 1.0, np.nan])
    assert (found.difference.n, found.difference.left_out, found.pairs) == (1, 2, 1)
    with pytest.raises(InputError, match="same images"):
        compare([1.0], [1.0, 2.0])


def test_holm_hand_computed():
    assert holm([0.01, 0.04, 0.03]).tolist() == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]).tolist() == [1, 1]
    assert holm([]).tolist() == []


@settings(max_examples=50)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_laws(p):
    corrected = holm(p)
    assert (corrected >= p).all()
    assert (corrected <= np.minimum(1, np.multiply(p, len(p)) + 1e-12)).all()
    order = np.argsort(p, kind="stable")
    assert (np.diff(corrected[order]) >= 0).all()


def test_compare_all_corrects():
    rng = np.random.default_rng(3)
    base = rng.normal(size=30)
    found = compare_all({"a": base, "b": base + 1, "c": base + rng.normal(size=30)})
    assert [(c.first, c.second) for c in found] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert [c.p_holm for c in found] == pytest.approx(holm([c.p_value for c in found]).tolist())
    assert found[0].effect == -1


def test_trainings_are_drawn_again_beside_the_patients():
    """Two trainings of means 0 and 1 without any difference between images: half of the draws are of one alone."""
    interval = bootstrap_seeds([[0.0] * 6, [1.0] * 6], list("aabbcc"))
    assert (interval.mean, interval.low, interval.high) == (0.5, 0, 1)
    assert (interval.n, interval.groups) == (6, 3)


def test_trainings_that_are_alike_leave_the_interval_of_the_patients():
    values = np.random.default_rng(0).normal(0, 1, 60)
    groups = [i // 3 for i in range(60)]
    one, three = bootstrap_interval(values, groups), bootstrap_seeds([values] * 3, groups)
    assert three.mean == pytest.approx(one.mean)
    assert (three.low, three.high) == pytest.approx((one.low, one.high), abs=0.05)


def test_an_image_that_one_training_has_no_number_for_counts_in_the_others():
    interval = bootstrap_seeds([[1.0, np.nan, np.nan], [2.0, 4.0, np.nan]])
    assert interval.mean == pytest.approx((1 + 3) / 2)
    assert (interval.n, interval.left_out) == (2, 1)
    with pytest.raises(InputError, match="a number in each training"):
        bootstrap_seeds([[1.0], [np.nan]])
