import sys

import numpy as np
import pytest
import SimpleITK

from probunet.core.errors import InputError
from probunet.evaluation.reference_points import majority_of_the_readers
from probunet.metrics.consensus import consensus_of, majority, staple, staple_quality


def test_majority_by_hand():
    # three readers of five pixels: 2:1, a tie of three classes, all alike, one does not know, nobody does
    labels = np.array([[1, 0, 2, 255, 255], [1, 1, 2, 1, 255], [0, 2, 2, 1, 255]], np.uint8)
    assert majority(labels).tolist() == [1, 0, 2, 1, 255]
    assert majority(labels, [0.1, 0.1, 0.8]).tolist() == [0, 2, 2, 1, 255]
    assert consensus_of(labels, "majority").tolist() == [1, 0, 2, 1, 255]
    with pytest.raises(InputError, match="no reader"):
        majority(labels[:0])


def test_majority_is_that_of_simpleitk_where_nobody_is_even():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, (5, 6, 7), dtype=np.uint8)
    votes = SimpleITK.LabelVoting([SimpleITK.GetImageFromArray(reader) for reader in labels], 255)
    assert (majority(labels) == SimpleITK.GetArrayFromImage(votes)).all()
    assert (majority_of_the_readers(labels[None], 2, rng, None) == majority(labels)).all()


def readers(seed: int, sensitivity, specificity, size=(40, 40)) -> tuple[np.ndarray, np.ndarray]:
    """A disc, and readers who err in every pixel on their own."""
    random = np.random.default_rng(seed)
    disc = np.hypot(*(np.indices(size) - 20)) < 12
    right = np.where(disc, np.array(sensitivity)[:, None, None], np.array(specificity)[:, None, None])
    return disc, (disc ^ (random.random((len(sensitivity), *size)) > right)).astype(np.uint8)


def test_staple_recovers_readers_and_is_that_of_simpleitk():
    sensitivity, specificity = [0.95, 0.9, 0.6, 0.9], [0.95, 0.9, 0.98, 0.7]
    disc, labels = readers(0, sensitivity, specificity)
    assert (staple(labels) == disc).mean() > 0.97
    mine = staple_quality(labels == 1)
    assert mine[0] == pytest.approx(sensitivity, abs=0.04)
    assert mine[1] == pytest.approx(specificity, abs=0.04)
    method = SimpleITK.STAPLEImageFilter()
    probability = method.Execute([SimpleITK.GetImageFromArray(reader) for reader in labels])
    assert (staple(labels) == (SimpleITK.GetArrayFromImage(probability) >= 0.5)).all()
    assert mine[0] == pytest.approx(method.GetSensitivity())
    assert mine[1] == pytest.approx(method.GetSpecificity())


def test_staple_of_several_classes_is_that_of_simpleitk():
    labels = readers(1, [0.9, 0.9, 0.8], [0.95, 0.9, 0.9])[1]
    labels += readers(2, [0.9, 0.9, 0.8], [0.95, 0.9, 0.9])[1]
    fused = SimpleITK.MultiLabelSTAPLE([SimpleITK.GetImageFromArray(reader) for reader in labels], 0)
    assert (staple(labels) == SimpleITK.GetArrayFromImage(fused)).all()
    assert set(np.unique(staple(labels))) == {0, 1, 2}


def test_staple_where_there_is_nothing_to_estimate():
    nothing, all_of_it = np.zeros((3, 4), np.uint8), np.ones((3, 4), np.uint8)
    assert not staple(nothing).any()
    assert staple(all_of_it).all()
    assert staple(np.array([[0, 1, 255]], np.uint8)).tolist() == [0, 1, 255]
    sensitivity, specificity = staple_quality(nothing == 1)
    assert np.isnan(sensitivity).all()
    assert (specificity == 1).all()
    assert np.isnan(staple_quality(all_of_it == 1)[1]).all()


def test_a_pixel_that_one_reader_does_not_know_is_unknown_to_staple():
    _, labels = readers(3, [0.95] * 3, [0.95] * 3)
    labels[1, 0] = 255
    fused = staple(labels)
    assert (fused[0] == 255).all()
    assert (fused[1:] == staple(labels[:, 1:])).all()


def test_without_simpleitk_one_sentence_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with pytest.raises(InputError, match=r"STAPLE needs SimpleITK; install it with: pip install 'probunet\[itk\]'"):
        staple(np.eye(3, dtype=np.uint8))


@pytest.mark.parametrize("spoil", [-1, 257, 0.5, np.nan], ids=str)
@pytest.mark.parametrize("how", [majority, staple])
def test_values_that_are_no_class_ids_are_refused(how, spoil):
    """Their last byte would be taken for a class; of -1 STAPLE never ends."""
    labels = np.random.default_rng(0).integers(0, 2, (3, 5, 5))
    with pytest.raises(InputError, match="class ids are whole numbers"):
        how(labels * spoil)
    with pytest.raises(InputError, match="masked array"):
        how(np.ma.masked_equal(labels, 1))
