import numpy as np
import pytest

from probunet.core.errors import InputError
from probunet.metrics.reader_quality import outliers, reader_quality


def test_by_hand():
    # ten pixels; A marks 0-3, B 0-1, C 1-2, D nothing; pixel 9 is not known to D and counts nowhere
    labels = np.zeros((4, 10), np.uint8)
    labels[0, :4], labels[1, :2], labels[2, 1:3], labels[3, 9] = 1, 1, 1, 255
    quality = reader_quality(labels)
    # A against B, C, D: two of three mark pixel 1 alone; B against A, C, D: pixels 1, 2; D against A, B, C: 0, 1, 2
    assert quality.sensitivity.tolist() == [1, 0.5, 0.5, 0]
    assert quality.specificity == pytest.approx([5 / 8, 6 / 7, 6 / 7, 1])
    assert np.exp(quality.log_ratio[:3]) == pytest.approx([4 / 2, 2 / 3, 2 / 3])
    assert np.isnan(quality.log_ratio[3])
    assert quality.empty.tolist() == [False, False, False, True]
    assert quality.alone.tolist() == [False, False, False, True]


def test_two_readers_are_compared_with_each_other_and_nobody_with_nobody():
    quality = reader_quality(np.array([[0, 1, 1, 1], [0, 0, 0, 1]]))
    assert quality.sensitivity == pytest.approx([1, 1 / 3])
    assert quality.specificity == pytest.approx([1 / 3, 1])
    nothing = reader_quality(np.zeros((3, 4), int))
    assert np.isnan(nothing.sensitivity).all()
    assert (nothing.specificity == 1).all()
    assert not nothing.alone.any()
    with pytest.raises(InputError, match="two or more, not 1"):
        reader_quality(np.zeros((1, 4), int))


def test_classes_are_apart():
    labels = np.array([[1, 2, 2], [1, 1, 2], [1, 2, 0]])
    # class 2 of the others: no pixel for reader 0, pixel 1 for reader 1, pixel 2 for reader 2
    quality = reader_quality(labels, 2)
    assert np.isnan(quality.sensitivity[0])
    assert quality.sensitivity[1:].tolist() == [0, 0]
    assert quality.specificity == pytest.approx([1 / 3, 1 / 2, 1 / 2])


@pytest.mark.parametrize("reference", ["majority", "staple"])
def test_unmarked_pixels_need_not_be_looked_at(reference):
    random = np.random.default_rng(0)
    labels = (random.random((4, 30, 30)) < 0.6).astype(np.uint8)
    labels[:, 15:] = 0
    shuffled = labels.reshape(4, -1)[:, random.permutation(900)]
    first, second = reader_quality(labels, 1, reference), reader_quality(shuffled, 1, reference)
    assert first.sensitivity == pytest.approx(second.sensitivity)
    assert first.specificity == pytest.approx(second.specificity)


def disc(row: float, column: float, radius: float) -> np.ndarray:
    return (np.hypot(*(np.indices((40, 40)) - np.array([row, column])[:, None, None])) < radius).astype(np.uint8)


def test_every_kind_of_outlier_is_named():
    cell = [disc(15, 15, r) for r in (7, 7.5, 8)]
    assert outliers(np.stack(cell)) == []
    named = outliers(np.stack([*cell, disc(32, 32, 7), cell[1], np.zeros_like(cell[0])]))
    assert [(f.kind, f.reader, f.other) for f in named] == [("copy", 1, 4), ("elsewhere", 3, None)]
    shifted = outliers(np.stack([*cell, disc(15, 22, 7)]))
    assert [(f.kind, f.reader) for f in shifted] == [("far", 3)]
    sizes = {
        f.reader: f.value for f in outliers(np.stack([*cell, disc(15, 15, 11), disc(15, 15, 5.2)])) if f.kind == "size"
    }
    areas = {r: disc(15, 15, r).sum() for r in (5.2, 7, 8, 11)}
    assert sizes == {3: pytest.approx(areas[11] / areas[8]), 4: pytest.approx(areas[5.2] / areas[7])}


def test_two_empty_readings_are_no_copy():
    assert outliers(np.zeros((3, 5), int)) == []
