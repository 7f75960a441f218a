import numpy as np
import pytest

from probunet.core.errors import InputError
from probunet.metrics import mode_counts, mode_frequencies, pairwise_distances, pixel_frequencies

FULL, LEFT, EMPTY = (np.array(m, np.uint8) for m in ([[1, 1]], [[1, 0]], [[0, 0]]))


def distances(*samples, images=1):
    return pairwise_distances(np.stack([samples] * images), np.stack([[FULL, LEFT, EMPTY]] * images))


def test_nearest_mode_and_ties():
    assert mode_counts(distances(FULL, LEFT, LEFT, EMPTY)).tolist() == [[1, 2, 1]]
    assert mode_counts(distances(FULL, LEFT, LEFT, EMPTY), n=2).tolist() == [[1, 1, 0]]
    right = np.array([[0, 1]], np.uint8)  # 1/2 from FULL, 1 from LEFT and EMPTY
    assert mode_counts(distances(right)).tolist() == [[1, 0, 0]]


def test_total_variation_and_kl_hand_computed():
    found = mode_frequencies(distances(FULL, LEFT, LEFT, EMPTY), [0.5, 0.25, 0.25])
    assert found.total_variation.mean == 0.25  # (1/4, 1/2, 1/4) against (1/2, 1/4, 1/4)
    assert found.kl.mean == pytest.approx(0.25 * np.log(0.5) + 0.5 * np.log(2))
    assert found.total_variation.low == found.total_variation.high == 0.25  # one image: nothing varies
    assert 0 < found.total_variation_floor < 1


def test_a_mode_that_cannot_be():
    found = mode_frequencies(distances(FULL, EMPTY, images=3), [1, 1, 0])
    assert found.kl.mean == found.kl.high == np.inf
    assert found.total_variation.mean == 0.5


def test_interval_covers_the_truth_of_random_samples():
    rng = np.random.default_rng(0)
    maps = np.stack([FULL, LEFT, EMPTY])
    truth = np.array([0.5, 0.3, 0.2])
    samples = maps[rng.choice(3, p=truth, size=(400, 8))]
    found = mode_frequencies(pairwise_distances(samples, np.stack([maps] * 400)), truth)
    assert found.total_variation.low <= found.total_variation.mean <= found.total_variation.high < 0.06
    assert found.total_variation_floor == pytest.approx(0.01, abs=0.01)


def test_left_out_and_refused():
    mask = np.array([[[True, True]], [[False, False]]])
    both = pairwise_distances(
        np.stack([[EMPTY, FULL], [FULL, FULL]]),
        np.stack([[FULL, LEFT]] * 2),
        mask=mask,
    )
    found = mode_frequencies(both, [0.5, 0.5])
    assert found.left_out == 1
    assert found.counts.tolist() == [2, 0]
    with pytest.raises(InputError, match="as many probabilities"):
        mode_frequencies(both, [1.0])
    with pytest.raises(InputError, match="n=3"):
        mode_counts(both, n=3)


def test_pixel_frequencies_hand_computed():
    label = np.array([[1, 1, 0, 255]])
    samples = np.array([[[1, 3, 0, 3], [3, 2, 1, 1]]])
    assert pixel_frequencies(label, samples, [(1, 3), (0, 2)]).tolist() == [[4, 1, 2], [2, 1, 0]]


def test_the_floor_knows_that_absent_classes_make_modes_equal():
    """Where a class is absent its flip is no change: two of four modes are one map, and draws from the truth itself
    count for the first of them. With very many draws the floor is what moves: 3/16 + 1/16 of the probability."""
    modes = np.array([[[1, 0], [1, 1], [1, 0], [1, 1]]], np.uint8)
    truth = [9 / 16, 3 / 16, 3 / 16, 1 / 16]
    samples = np.repeat(modes, 500, axis=1)
    found = mode_frequencies(pairwise_distances(samples, modes), truth)
    assert found.counts.tolist() == [1000, 1000, 0, 0]
    assert found.total_variation_floor == pytest.approx(4 / 16, abs=0.01)
    # the same by brute force: draw a mode, look for the nearest one
    rng = np.random.default_rng(0)
    drawn = modes[0][rng.choice(4, p=truth, size=(400, 20))]
    counts = mode_counts(pairwise_distances(drawn, np.repeat(modes, 400, axis=0)))
    variations = [0.5 * np.abs(row / 20 - truth).sum() for row in counts]
    few = mode_frequencies(pairwise_distances(samples[:, :20], modes), truth).total_variation_floor
    assert few == pytest.approx(np.mean(variations), abs=0.02)
