import numpy as np
import pytest
import torch

from probunet.core.errors import InputError
from probunet.metrics import Convention, class_frequencies, disagreement_correlation, reliability


def two_classes(foreground):
    p = np.asarray(foreground, float)
    return np.stack([1 - p, p], axis=1)


def test_class_frequencies():
    maps = np.array([[[0, 1], [1, 1]]])
    assert class_frequencies(maps).tolist() == [[[0.5, 0], [0.5, 1]]]
    assert class_frequencies(np.array([[[0, 2]]]), Convention(3)).tolist() == [[[1, 0], [0, 0], [0, 1]]]
    np.testing.assert_array_equal(class_frequencies(torch.from_numpy(maps)), class_frequencies(maps))


def test_calibration_hand_computed():
    # four pixels at p = 0.3, observed 0.25 on average; one pixel at p = 1, observed 1
    probabilities = two_classes([[0.3, 0.3, 0.3, 0.3, 1.0]])
    readers = np.array([[[1, 0, 0, 0, 1], [0, 1, 0, 0, 1]]])
    found = reliability(probabilities, readers, bins=10)
    assert found.ece().mean == pytest.approx(0.8 * abs(0.3 - 0.25))
    # errors: two pixels half right: p^2 - p + 1/2; two pixels p^2; one pixel 0
    assert found.brier().mean == pytest.approx((2 * (0.09 - 0.3 + 0.5) + 2 * 0.09) / 5)
    curve = found.curve()
    assert curve[3].tolist() == pytest.approx([4, 0.3, 0.25])
    assert curve[9].tolist() == [1, 1, 1]
    assert np.isnan(curve[0, 1])


def test_ignored_pixels_and_multi_class():
    readers = np.array([[[0, 2, 255]], [[2, 2, 2]]])
    perfect = np.stack([np.eye(3)[[0, 2, 1]], np.eye(3)[[2, 2, 2]]]).swapaxes(1, 2)
    found = reliability(perfect, readers, Convention(num_classes=3, ignore=255))
    assert found.count.sum(axis=1).tolist() == [6, 9]
    assert found.ece().mean == found.brier().mean == 0
    nothing = reliability(perfect[:1], readers[:1], Convention(3), mask=np.ones((1, 3), bool))
    with pytest.raises(InputError, match="nothing to average"):
        nothing.ece()
    weighted = reliability(two_classes([[0.75]]), np.array([[[1], [0]]]), Convention(weights=[3, 1]))
    assert weighted.ece().mean == 0


def test_calibrated_samples_have_a_small_error_and_an_interval():
    rng = np.random.default_rng(0)
    p = rng.random((60, 400))
    readers = (rng.random((60, 4, 400)) < p[:, None]).astype(np.uint8)
    good, bad = reliability(two_classes(p), readers), reliability(two_classes(p**3), readers)
    interval = good.ece(np.repeat(np.arange(20), 3))
    assert interval.mean < 0.02 < bad.ece().mean
    assert interval.low <= interval.high
    assert interval.groups == 20
    assert good.brier().mean < bad.brier().mean


def test_correlation_hand_computed():
    # samples are unsure exactly where the readers disagree: 1; exactly elsewhere: -1
    readers = np.array([[[0, 1, 0, 1], [1, 0, 0, 1]]])
    same, other = two_classes([[0.5, 0.5, 0, 1]]), two_classes([[0, 1, 0.5, 0.5]])
    assert disagreement_correlation(same, readers).value == pytest.approx(1)
    assert disagreement_correlation(other, readers).value == pytest.approx(-1)


def test_correlation_is_not_defined_where_readers_agree():
    probabilities = two_classes([[0.5, 0.1], [0.5, 0.1]])
    readers = np.array([[[0, 1], [0, 1]], [[0, 1], [0, 0]]])
    found = disagreement_correlation(probabilities, readers)
    assert found.left_out.tolist() == [True, False]
    assert found.mean() == found.value[1]
    everywhere = disagreement_correlation(probabilities, readers, mask=np.ones((2, 2), bool))
    assert everywhere.left_out.all()
    half = reliability(probabilities, readers, mask=np.array([[True, True], [False, False]]))
    assert (half.ece().n, half.ece().left_out, half.brier(["a", "b"]).groups) == (1, 1, 1)


@pytest.mark.parametrize(
    ("probabilities", "readers", "options", "message"),
    [
        (np.ones((1, 2, 3)), np.zeros((1, 2, 4), int), {}, "must have the shape"),
        (np.full((1, 2, 3), 2.0), np.zeros((1, 2, 3), int), {}, "between 0 and 1"),
        (np.full((1, 2, 3), np.nan), np.zeros((1, 2, 3), int), {}, "between 0 and 1"),
        (np.full((1, 2, 3), 0.5), np.full((1, 2, 3), 5), {}, "outside 0 to 1"),
        (np.full((1, 2, 3), 0.5), np.zeros((1, 2, 3), int), {"bins": 0}, "bins=0"),
    ],
)
def test_bad_input(probabilities, readers, options, message):
    with pytest.raises(InputError, match=message):
        reliability(probabilities, readers, **options)
