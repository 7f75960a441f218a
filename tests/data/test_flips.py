"""Label flips: the modes and their probabilities are the paper's, and training draws from them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from probunet.core.errors import InputError
from probunet.data.augment import Augmentation
from probunet.data.batches import EvaluationImages
from probunet.data.flips import PAPER, Flip, mode_probabilities, modes, with_flips
from probunet.data.training_batches import TrainingBatches, draw_flips

FLIPS = (Flip(1, 3, 0.25), Flip(2, 4, 0.5))


def test_modes_enumerate_every_combination():
    label = np.array([[0, 1, 2]], np.uint8)
    assert modes(label, FLIPS)[:, 0].tolist() == [[0, 1, 2], [0, 3, 2], [0, 1, 4], [0, 3, 4]]
    assert mode_probabilities(FLIPS).tolist() == [0.375, 0.125, 0.375, 0.125]


def test_the_papers_modes_range_from_half_a_percent_to_eleven():
    """The extremes named in the paper's section 4.2, and the authors' own table of the 32 probabilities."""
    names = ["road", "sidewalk", "vegetation", "person", "car"]
    found = mode_probabilities(with_flips(names, PAPER)[1])
    assert len(found) == 32
    assert found.sum() == pytest.approx(1)
    assert found.min() == pytest.approx(8 * 7 * 6 * 5 * 4 / 17**5)
    assert found.max() == pytest.approx(9 * 10 * 11 * 12 * 13 / 17**5)
    assert (round(found.min(), 3), round(found.max(), 3)) == (0.005, 0.109)
    golden = json.loads((Path(__file__).parents[1] / "golden" / "cityscapes_modes.json").read_text())
    np.testing.assert_allclose(np.sort(found), np.sort(golden["mode_probability"]), atol=1e-12)


def test_draws_are_independent_per_image_and_as_frequent_as_said(generator):
    label = torch.tensor([1, 2, 0, 255], dtype=torch.uint8).repeat(4000, 1)[:, None]
    drawn = draw_flips(label, FLIPS, generator)[:, 0]
    first, second = (drawn[:, 0] == 3).float(), (drawn[:, 1] == 4).float()
    assert first.mean().item() == pytest.approx(0.25, abs=0.03)
    assert second.mean().item() == pytest.approx(0.5, abs=0.03)
    assert (first * second).mean().item() == pytest.approx(0.125, abs=0.03)
    assert (drawn[:, 2] == 0).all()
    assert (drawn[:, 3] == 255).all()
    assert label[:, 0, 0].eq(1).all()


def test_what_cannot_flip_is_refused():
    with pytest.raises(InputError, match="no class 'tram' to flip; the classes are road, car"):
        with_flips(["road", "car"], {"tram": 0.5})
    with pytest.raises(InputError, match=r"'car' cannot flip with probability 1\.5"):
        with_flips(["road", "car"], {"car": 1.5})


def test_training_sees_draws_and_evaluation_sees_all_modes(streets):
    batch = TrainingBatches(streets, (16, 24), 8, Augmentation(probability=0), seed=0).batch(0)
    assert batch.image.shape == (8, 3, 16, 24)
    known = batch.label[batch.label != 255]
    assert set(known.unique().tolist()) <= set(range(5))
    assert (known >= 3).any()
    item = EvaluationImages(streets, "test", (16, 24))[0]
    assert item["labels"].shape == (4, 16, 24)
    assert set(item["labels"][0].unique().tolist()) == {0, 1, 2}
    assert set(item["labels"][3].unique().tolist()) == {0, 3, 4}


def test_where_labels_flip_the_one_draw_stands_for_all_readers(streets):
    batch = TrainingBatches(streets, (16, 24), 8, Augmentation(probability=0), seed=0, all_readers=True).batch(0)
    usual = TrainingBatches(streets, (16, 24), 8, Augmentation(probability=0), seed=0).batch(0)
    assert torch.equal(batch.labels, usual.label[:, None])
