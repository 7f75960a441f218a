"""Whether a published row can be, against rows whose truth is known."""

import numpy as np
import pytest

from probunet.core.errors import InputError
from probunet.metrics import energy_distance_from, pairwise_distances
from probunet.metrics.consistency import check_row, is_possible


def test_two_columns_give_diversity_and_limit_by_hand():
    (check,) = check_row({100: 0.224, 16: 0.262}, rounding=0.0005)
    per = 1 / 16 - 1 / 100
    assert (check.few, check.many, check.possible) == (16, 100, True)
    assert (check.lowest, check.highest) == pytest.approx(((0.038 - 0.001) / per, (0.038 + 0.001) / per))
    assert check.limit == pytest.approx(0.262 - 0.038 / per / 16)


def test_what_a_model_really_scores_is_possible():
    rng = np.random.default_rng(0)
    samples, readers = rng.random((50, 16, 30)) < 0.4, rng.random((50, 4, 30)) < 0.3
    distances = pairwise_distances(samples, readers)
    row = {n: round(energy_distance_from(distances, n=n).mean(), 3) for n in (2, 4, 16)}
    checks = check_row(row)
    diversity = energy_distance_from(distances, estimator="unbiased").sample_diversity.mean()
    assert all(check.lowest <= diversity <= check.highest for check in checks)
    assert [check.possible for check in check_row(row | {64: row[16] - 0.1})] == [True, True, True, True, False, False]


def test_a_row_that_grows_is_impossible():
    assert not check_row({4: 0.2, 16: 0.25})[0].possible
    assert check_row({4: 0.482, 16: 0.482})[0].possible  # a deterministic model


def test_a_row_needs_one_diversity_for_all_of_its_columns():
    checks = check_row({4: 0.3, 8: 0.2, 16: 0.18})  # 0.8, 0.64 and 0.32 by hand
    assert all(check.possible for check in checks)
    assert not is_possible(checks)
    assert is_possible(check_row({4: 0.3, 8: 0.2, 16: 0.15}))


def test_a_coarse_column_does_not_loosen_the_others():
    checks = check_row({16: 0.21, 32: 0.188, 100: 0.162}, {16: 0.005, 32: 0.0005, 100: 0.0005})
    assert [check.possible for check in checks] == [True, True, False]
    assert checks[2].lowest == pytest.approx((0.026 - 0.001) / (1 / 32 - 1 / 100))


@pytest.mark.parametrize("row", [{16: 0.2}, {0: 0.2, 4: 0.1}, {4: -0.1, 8: 0.1}, {4: float("nan"), 8: 0.1}])
def test_what_is_no_row_is_refused(row):
    with pytest.raises(InputError):
        check_row(row)
