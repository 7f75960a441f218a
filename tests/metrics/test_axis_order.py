"""Hypotheses straight out of a model, (n, B, ...), are never taken for (B, n, ...), whatever n and B are."""

import copy
import pickle
import typing

import numpy as np
import pytest
import torch

import probunet as pu
from probunet import metrics
from probunet.core.errors import InputError
from probunet.core.samples import Samples, array_of_samples
from probunet.distributions.base import SegmentationDistribution

SIZE = 4  # n = B = R: nothing in the shapes tells the axes apart


@pytest.fixture(scope="module")
def drawn():
    torch.manual_seed(0)
    model = pu.ProbabilisticUNet(in_channels=1, num_classes=2, channels=[4, 8]).eval()
    samples = model(3 * torch.randn(SIZE, 1, 16, 16)).sample(SIZE, torch.Generator().manual_seed(0))
    assert not torch.equal(samples, samples.transpose(0, 1))
    return samples


@pytest.fixture(scope="module")
def references():
    return torch.randint(0, 2, (SIZE, SIZE, 16, 16), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)


FUNCTIONS = {
    "energy_distance": lambda s, r: metrics.energy_distance(s, r).value,
    "hungarian_iou": lambda s, r: metrics.hungarian_iou(s, r).value,
    "best_dice": lambda s, r: metrics.best_dice(s, r).value,
    "sample_diversity": lambda s, r: metrics.sample_diversity(s).value,
    "reconstruction_iou": lambda s, r: metrics.reconstruction_iou(s, r).value,
    "pairwise_distances": lambda s, r: metrics.pairwise_distances(s, r).cross,
    "pairwise_distance of two": lambda s, r: metrics.pairwise_distance(s, r),
    "pairwise_distance": lambda s, r: metrics.pairwise_distance(s),
    "iou_and_dice": lambda s, r: metrics.iou_and_dice(s, r)[1].cross,
    "class_frequencies": lambda s, r: metrics.class_frequencies(s),
    "pixel_frequencies": lambda s, r: metrics.pixel_frequencies(r[:, 0], s, [(1, 0)]),
    "as references": lambda s, r: metrics.reliability(metrics.class_frequencies(r), s).observed,
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_take_samples_as_a_model_gives_them(drawn, references, name):
    moved = np.moveaxis(np.asarray(drawn.numpy()), 0, 1)
    expected = FUNCTIONS[name](torch.from_numpy(moved), references)
    for samples in (drawn, drawn.movedim(0, 1), drawn.long(), drawn.numpy(), drawn.clone().numpy().astype(np.int64)):
        np.testing.assert_array_equal(FUNCTIONS[name](samples, references), expected)


OBJECTS = {
    metrics.EnergyDistanceMetric: lambda s, r: metrics.energy_distance(s, r).mean(),
    metrics.HungarianIoUMetric: lambda s, r: metrics.hungarian_iou(s, r).mean(),
    metrics.BestDiceMetric: lambda s, r: metrics.best_dice(s, r).mean(),
    metrics.SampleDiversityMetric: lambda s, r: metrics.sample_diversity(s).mean(),
}


@pytest.mark.parametrize("kind", OBJECTS)
def test_objects_take_samples_as_a_model_gives_them(drawn, references, kind):
    metric = kind()
    metric.update(drawn, references)
    assert float(metric.compute()) == pytest.approx(OBJECTS[kind](drawn.movedim(0, 1), references), rel=1e-12)


def test_what_keeps_the_axes_keeps_the_kind_and_nothing_else_does(drawn):
    for same in (drawn.cpu(), drawn.to(torch.int32), drawn.clone(), drawn.detach(), copy.deepcopy(drawn)):
        assert type(same) is Samples
        assert same.shape == drawn.shape
    for plain in (drawn[0], drawn[:, :1], drawn.movedim(0, 1), drawn.permute(1, 0, 2, 3), drawn.flatten(), drawn == 1):
        assert type(plain) is torch.Tensor
    for plain in (torch.stack([drawn, drawn]), torch.cat([drawn, drawn]), drawn.float().mean(0), *drawn):
        assert type(plain) is torch.Tensor
    array = drawn.numpy()
    assert array.hypotheses_first
    assert array.copy().hypotheses_first
    for plain in (array[0], array.swapaxes(0, 1), array.T, array == 1, np.asarray(array), array.swapaxes(0, 1).copy()):
        assert not getattr(plain, "hypotheses_first", False)
    with pytest.raises(InputError, match="movedim"):
        drawn.transpose_(0, 1)


def test_files_hold_plain_arrays(drawn, tmp_path):
    torch.save(drawn, tmp_path / "samples.pt")
    assert type(torch.load(tmp_path / "samples.pt", weights_only=True)) is torch.Tensor
    assert type(pickle.loads(pickle.dumps(drawn))) is torch.Tensor
    assert type(pickle.loads(pickle.dumps(drawn.numpy()))) is np.ndarray
    np.save(tmp_path / "samples.npy", array_of_samples(np.arange(24).reshape(2, 3, 2, 2)))
    np.testing.assert_array_equal(np.load(tmp_path / "samples.npy"), np.arange(24).reshape(2, 3, 2, 2))


def test_a_type_checker_knows_what_a_model_gives():
    assert typing.get_type_hints(pu.ProbabilisticUNet.__call__)["return"] is SegmentationDistribution
    assert typing.get_type_hints(SegmentationDistribution.sample)["return"] is Samples
