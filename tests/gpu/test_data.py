"""Metrics and augmentation on a GPU are those of the processor."""

import numpy as np
import pytest
import torch
from ddp_worker import every_kind
from gpu_device import DEVICE

from probunet import metrics
from probunet.core.types import IGNORE
from probunet.data.augment import Augmentation, sampling_grid, warp_image, warp_labels
from probunet.data.training_batches import TrainingBatches

pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("default")]
ALL = Augmentation(mirror=True, turn=True, gamma_probability=0.5)


def maps(classes: int, images: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    """Samples (B, 4, H, W) and references (B, 3, H, W)."""
    generator = torch.Generator().manual_seed(1)
    coarse = torch.randint(classes, (images, 7, 6, 5), generator=generator).to(torch.uint8)
    fine = coarse.repeat_interleave(4, dim=2).repeat_interleave(4, dim=3)
    return fine[:, :4], fine[:, 4:]


@pytest.mark.parametrize("classes", [2, 4])
def test_distances(classes):
    samples, references = maps(classes)
    references = references.clone()
    references[0, :, :5] = IGNORE
    convention = metrics.Convention(classes, ignore=IGNORE)
    here = metrics.pairwise_distances(samples, references, convention)
    there = metrics.pairwise_distances(samples.to(DEVICE), references.to(DEVICE), convention)
    mixed = metrics.pairwise_distances(samples.to(DEVICE), references.numpy(), convention)
    other = metrics.pairwise_distances(samples.numpy(), references.to(DEVICE), convention)
    for found in (there, mixed, other):
        np.testing.assert_array_equal(found.cross, here.cross)
    for measure in (metrics.energy_distance, metrics.best_dice, metrics.hungarian_iou):
        expected = measure(samples, references, convention).value
        np.testing.assert_allclose(measure(samples.to(DEVICE), references.to(DEVICE), convention).value, expected)


def test_metric_objects():
    samples, references = maps(2, 6)
    for metric, on_device in zip(every_kind(), every_kind(), strict=True):
        metric.update(samples, references)
        on_device = on_device.to(DEVICE)
        on_device.update(samples[:4].to(DEVICE), references[:4].to(DEVICE))
        on_device.update(samples[4:].to(DEVICE), references[4:].to(DEVICE))
        expected, found = metric.compute(), on_device.compute()
        if not isinstance(expected, dict):
            expected, found = {"value": expected}, {"value": found}
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            ours = torch.as_tensor(found[name]).cpu()
            torch.testing.assert_close(ours, torch.as_tensor(value), rtol=1e-5, atol=1e-6, equal_nan=True)


def test_a_grid_deforms_alike():
    """Images but for rounding; labels but for the few places between two pixels."""
    grid = sampling_grid(ALL, 4, (40, 40), (32, 32), torch.Generator().manual_seed(1))
    image = torch.randn(4, 2, 40, 40, generator=torch.Generator().manual_seed(2))
    labels = torch.randint(3, (4, 3, 40, 40), generator=torch.Generator().manual_seed(3)).to(torch.uint8)
    there = warp_image(image.to(DEVICE), grid.to(DEVICE)).cpu()
    torch.testing.assert_close(there, warp_image(image, grid), rtol=1e-3, atol=1e-3)
    there = warp_labels(labels.to(DEVICE), grid.to(DEVICE)).cpu()
    assert (there == warp_labels(labels, grid)).float().mean() > 0.999


def test_grids_of_the_gpu_are_drawn_like_those_of_the_processor():
    """The mean place of many grids is the same, and so is how far they spread."""
    moments = []
    for device in ("cpu", DEVICE):
        grid = sampling_grid(ALL, 2000, (40, 40), (32, 32), torch.Generator(device).manual_seed(1)).cpu()
        assert grid.isfinite().all()
        moments.append((grid[:, ::8, ::8].mean(dim=0), grid[:, ::8, ::8].std(dim=0)))
    for here, there in zip(*moments, strict=True):
        torch.testing.assert_close(there, here, rtol=0.1, atol=1.5)


@pytest.mark.parametrize("data", ["store", "streets", "volumes"])
def test_batches(data, request):
    """Complete, of the right kind, the same when made again, and without deformation those of the processor."""
    data = request.getfixturevalue(data)
    crop = (4, 16, 16) if data.dims == 3 else (16, 16)
    deform = ALL if data.images.dtype == np.uint8 and data.dims == 2 else Augmentation(mirror=True, turn=True)

    def batch(device, augmentation):
        made = TrainingBatches(data, crop, 2, augmentation, seed=3, all_readers=True, device=device).batch(5)
        return [made.image, made.label, made.labels]

    first, second = batch(DEVICE, deform), batch(DEVICE, deform)
    for one, other in zip(first, second, strict=True):
        assert one.device.type == torch.device(DEVICE).type
        assert torch.equal(one, other)
    assert first[0].isfinite().all()
    seen = set(first[2].unique().tolist())
    assert seen <= {*range(len(data.classes)), IGNORE}
    plain = Augmentation(rotation=0, scale=1, shear=0, elastic=0, shift=0)
    here, there = batch("cpu", plain), batch(DEVICE, plain)
    torch.testing.assert_close(there[0].cpu(), here[0])
    if not data.flips:  # which are drawn on the device
        assert torch.equal(there[1].cpu(), here[1])
        assert torch.equal(there[2].cpu(), here[2])
