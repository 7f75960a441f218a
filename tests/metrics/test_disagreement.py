import numpy as np
import pytest

from probunet.core.errors import InputError
from probunet.metrics import area_disagreement, pairwise_distances, presence_disagreement
from probunet.metrics.disagreement import detection


def lines(*lengths):
    """Maps of 10 pixels whose first ones are foreground."""
    return np.stack([np.arange(10) < length for length in lengths]).astype(np.uint8)


def test_auroc_and_average_precision_hand_computed():
    # ranked: positive, negative, positive, negative: 3 of 4 pairs in order; precision 1 and 2/3 at the hits
    found = detection(np.array([4.0, 3, 2, 1]), np.array([True, False, True, False]), 4)
    assert found.auroc == 0.75
    assert found.average_precision == pytest.approx((1 + 2 / 3) / 2)
    tied = detection(np.zeros(4), np.array([True, False, False, False]), 4)
    assert tied.auroc == 0.5
    assert tied.average_precision == 0.25


def test_presence():
    readers = np.stack([lines(5, 0), lines(5, 6), lines(2, 3), lines(3, 0)])
    samples = np.stack([lines(5, 0), lines(5, 5), lines(1, 2), lines(4, 4)])
    found = presence_disagreement(pairwise_distances(samples, readers))
    # the last positive looks certain, tied with both negatives
    assert found.auroc == pytest.approx((2 + 1) / 4)
    assert (found.positives, found.negatives, found.left_out) == (2, 2, 0)
    assert presence_disagreement(pairwise_distances(samples, readers), n=1).auroc == 0.5


def test_where_nobody_marked_there_is_nothing_to_agree_about():
    readers = np.stack([lines(5, 0), lines(5, 6), lines(0, 0)])
    samples = np.stack([lines(5, 0), lines(5, 5), lines(4, 0)])
    detected = presence_disagreement(pairwise_distances(samples, readers))
    assert detected.auroc == 1.0  # with the last image as a negative, a tie: 3/4
    assert (detected.positives, detected.negatives, detected.left_out) == (1, 1, 1)


def test_area():
    readers = np.stack([lines(10, 2), lines(10, 9), lines(5, 5)])
    samples = np.stack([lines(10, 4), lines(9, 9), lines(5, 6)])
    found = area_disagreement(pairwise_distances(samples, readers))
    assert found.auroc == found.average_precision == 1.0
    assert (found.positives, found.negatives) == (1, 2)


def test_where_nobody_marked_there_is_no_area_to_agree_about():
    readers = np.stack([lines(10, 2), lines(10, 9), lines(0, 0)])
    samples = np.stack([lines(10, 5), lines(10, 4), lines(0, 0)])  # spread 1/2, 3/5 and 0
    detected = area_disagreement(pairwise_distances(samples, readers))
    assert detected.auroc == 0.0  # with the last image as a negative, 1/2
    assert detected.average_precision == 0.5
    assert (detected.positives, detected.negatives, detected.left_out) == (1, 1, 1)


def test_one_sided_truth_is_none_and_left_out_is_counted():
    readers = np.stack([lines(5, 0), lines(5, 0)])
    mask = np.zeros((2, 10), bool)
    mask[1] = True
    found = presence_disagreement(pairwise_distances(readers, readers, mask=mask))
    assert found.auroc is None
    assert found.average_precision is None
    assert (found.positives, found.negatives, found.left_out) == (1, 0, 1)


def test_refused():
    with pytest.raises(InputError, match="two or more"):
        presence_disagreement(pairwise_distances(lines(1)[None], lines(1)[None]))
    with pytest.raises(InputError, match="n=5"):
        area_disagreement(pairwise_distances(lines(1)[None], lines(1, 2)[None]), n=5)
