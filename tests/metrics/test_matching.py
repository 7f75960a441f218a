from itertools import permutations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from plain_metrics import plain_matrix
from scipy.optimize import linear_sum_assignment, linprog

from probunet.core.errors import InputError
from probunet.metrics import (
    Convention,
    best_dice,
    best_dice_from,
    hungarian_iou,
    hungarian_iou_from,
    pairwise_distances,
    reconstruction_iou,
    sample_diversity,
)

EMPTY, FULL = np.zeros((2, 2), np.uint8), np.ones((2, 2), np.uint8)
LEFT, RIGHT = np.array([[1, 0], [1, 0]], np.uint8), np.array([[0, 1], [0, 1]], np.uint8)


def stack(*maps):
    return np.stack(maps)[None]


def test_hungarian_hand_computed():
    # best pairs: LEFT-LEFT (1), FULL-RIGHT (1/2)
    assert hungarian_iou(stack(FULL, LEFT), stack(LEFT, RIGHT)).value == [0.75]
    assert hungarian_iou(stack(EMPTY), stack(EMPTY)).value == [1.0]
    assert hungarian_iou(stack(EMPTY), stack(FULL)).value == [0.0]


def test_hungarian_repeats_both_sides_to_the_least_common_multiple():
    # one sample against two readers: it is matched with both
    assert hungarian_iou(stack(FULL), stack(FULL, LEFT)).value == [0.75]
    # three samples, two readers: six against six, three FULL readers take two FULL samples and one LEFT
    assert hungarian_iou(stack(FULL, LEFT, LEFT), stack(FULL, LEFT)).value == pytest.approx((2 + 0.5 + 3) / 6)


def test_hungarian_of_the_first_n():
    distances = pairwise_distances(stack(LEFT, FULL), stack(LEFT, FULL))
    assert hungarian_iou_from(distances, n=1).value == [0.75]
    assert hungarian_iou_from(distances).value == [1.0]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
def test_hungarian_is_the_best_permutation_and_knows_no_order(seed, n):
    rng = np.random.default_rng(seed)
    a, b = rng.integers(0, 2, (2, n, 3, 3)), rng.integers(0, 2, (2, n, 3, 3))
    value = hungarian_iou(a, b).value
    for image in range(2):
        iou = 1 - plain_matrix(a[image], b[image], (1,))
        best = max(np.mean([iou[i, p[i]] for i in range(n)]) for p in permutations(range(n)))
        assert value[image] == pytest.approx(best)
    np.testing.assert_allclose(hungarian_iou(rng.permutation(a, axis=1), b).value, value)
    np.testing.assert_allclose(hungarian_iou(b, a).value, value)
    np.testing.assert_array_equal(hungarian_iou(torch.from_numpy(a), torch.from_numpy(b)).value, value)


def test_best_dice_hand_computed():
    # LEFT: the best is LEFT (1); FULL: the best is LEFT with 2 * 2 / 6
    assert best_dice(stack(LEFT, EMPTY), stack(LEFT, FULL)).value == pytest.approx((1 + 4 / 6) / 2)
    assert best_dice(stack(LEFT, EMPTY), stack(LEFT, FULL), Convention(weights=[1, 3])).value == pytest.approx(0.75)
    assert best_dice(stack(EMPTY, LEFT), stack(LEFT, FULL), n=1).value == [0.0]


def test_sample_diversity_hand_computed():
    assert sample_diversity(stack(FULL, EMPTY)).value == [1.0]
    assert sample_diversity(stack(FULL, EMPTY), estimator="v").value == [0.5]
    assert sample_diversity(stack(EMPTY, EMPTY)).value == [0.0]
    assert sample_diversity(stack(FULL), estimator="v").value == [0.0]
    with pytest.raises(InputError, match="one sample"):
        sample_diversity(stack(FULL))


def test_reconstruction_hand_computed():
    assert reconstruction_iou(stack(FULL, LEFT), stack(LEFT, LEFT)).value == [0.75]
    with pytest.raises(InputError, match="one reconstruction"):
        reconstruction_iou(stack(FULL), stack(LEFT, LEFT))


def test_reconstruction_ignores_for_the_reader_alone():
    readers = stack(np.array([[255, 1], [1, 1]], np.uint8), LEFT)
    assert reconstruction_iou(stack(FULL, FULL), readers, Convention(ignore=255)).value == [0.75]
    mask = np.array([[[False, True], [False, True]]])
    assert reconstruction_iou(stack(FULL, FULL), stack(LEFT, LEFT), mask=mask).value == [1.0]
    tensors = [torch.from_numpy(x) for x in (stack(FULL, FULL), stack(LEFT, LEFT), mask)]
    assert reconstruction_iou(tensors[0], tensors[1], mask=tensors[2]).value == [1.0]


def test_left_out_images_are_counted():
    for metric in (hungarian_iou, best_dice, reconstruction_iou):
        result = metric(np.stack([[EMPTY], [FULL]]), np.stack([[EMPTY], [FULL]]), Convention(empty="skip"))
        assert result.left_out.tolist() == [True, False]
        assert np.isnan(result.value[0])
        assert result.mean() == 1.0
    with pytest.raises(InputError, match="none of the 1 images"):
        hungarian_iou(stack(EMPTY), stack(EMPTY), Convention(empty="skip")).mean()


def test_misuse_is_refused():
    iou = pairwise_distances(stack(FULL), stack(LEFT))
    with pytest.raises(InputError, match='overlap="dice"'):
        best_dice_from(iou)
    with pytest.raises(InputError, match="n=2"):
        hungarian_iou_from(iou, n=2)
    with pytest.raises(InputError, match="weights"):
        hungarian_iou(stack(FULL), stack(LEFT), Convention(weights=[1]))
    with pytest.raises(InputError, match="at least one"):
        hungarian_iou(stack(FULL), stack(LEFT)[:, :0])


@pytest.mark.parametrize(("count", "readers"), [(89, 71), (17, 16)])
def test_numbers_without_a_common_divisor_are_a_transport_problem(count, readers):
    """Repeated to the least common multiple 89 x 71 would be 6,319 rows; 17 x 16 is solved both ways here."""
    rng = np.random.default_rng(1)
    samples, references = rng.random((1, count, 30)) < 0.4, rng.random((1, readers, 30)) < 0.3
    cost = pairwise_distances(samples, references).cross[0]
    value = hungarian_iou(samples, references).value[0]
    if count == 17:
        repeated = np.tile(cost, (readers, count))
        best = repeated[linear_sum_assignment(repeated)].mean()
    else:
        duals = linprog(
            -np.concatenate([np.full(count, 1 / count), np.full(readers, 1 / readers)]),
            A_ub=np.concatenate(
                [np.repeat(np.eye(count), readers, axis=0), np.tile(np.eye(readers), (count, 1))], axis=1
            ),
            b_ub=cost.ravel(),
            bounds=(None, None),
        )
        best = -duals.fun  # what the dual problem gives
    assert value == pytest.approx(1 - best, abs=1e-9)
