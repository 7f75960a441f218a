"""Volumes: one hypothesis through all slices, strip by strip to disk."""

import numpy as np
import pytest
import torch
from test_laws import MODELS, images

import probunet as pu
from probunet.core.errors import InputError
from probunet.inference.streaming import Strip, stream_samples, write_strips


def generator():
    return torch.Generator().manual_seed(3)


@pytest.mark.parametrize("name", MODELS)
def test_equal_slices_get_equal_hypotheses(name):
    torch.manual_seed(0)
    model = MODELS[name](1, 2).eval()
    slices = [images(1)[0]] * 3
    strips = list(stream_samples(model, slices, 4, generator(), tile=16))
    per_slice = [np.concatenate([s.labels for s in strips if s.index == i], axis=1) for i in range(3)]
    assert per_slice[0].shape == (4, 24, 20)
    assert (per_slice[0] == per_slice[1]).all()
    assert (per_slice[0] == per_slice[2]).all()


def test_every_slice_has_its_own_prior_and_all_the_same_noise():
    torch.manual_seed(0)
    model = pu.ProbabilisticUNet(1, 2, channels=(4, 6, 6), latent_dims=3).eval()
    slices = images(2)
    strips = list(stream_samples(model, slices, 2, generator()))
    noise = torch.randn(2, 1, 3, generator=generator())
    for i, strip in enumerate(strips):
        with torch.inference_mode():
            latent = model(slices[i : i + 1]).latent
            z = latent.prior.mean + latent.prior.stddev * noise
            expected = torch.stack([latent.logits(one).argmax(dim=1)[0] for one in z])
        assert (strip.index, strip.top) == (i, 0)
        assert (strip.labels == expected.numpy()).mean() > 0.999


def test_files_hold_what_was_streamed(tmp_path):
    torch.manual_seed(0)
    model = pu.ProbabilisticUNet(1, 3, channels=(4, 6, 6), latent_dims=3).eval()
    slices = images(3, height=50, width=37)
    samples, probabilities = tmp_path / "samples.npy", tmp_path / "probabilities.npy"
    write_strips(stream_samples(model, slices, 2, generator(), tile=16), 2, 3, (3, 50, 37), samples, probabilities)
    labels, shares = np.load(samples, mmap_mode="r"), np.load(probabilities)
    assert labels.shape == (2, 3, 50, 37)
    assert labels.dtype == np.uint8
    for i in range(3):
        with torch.inference_mode():
            distribution = model.tiled(slices[i : i + 1], tile=16)
            noise = distribution.noise(2, generator())
            expected, marginal = distribution.labels(noise)[:, 0], distribution.probabilities(noise)[0]
        np.testing.assert_array_equal(labels[:, i], expected)
        np.testing.assert_allclose(shares[i], marginal, atol=1e-6)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["probabilities.npy", "samples.npy"]


def test_a_missing_slice_leaves_no_file(tmp_path):
    one = Strip(0, 0, np.zeros((1, 2, 3), np.uint8), np.zeros((2, 2, 3), np.float32))
    with pytest.raises(InputError, match="2 rows came for a volume of 2 slices of 2 rows"):
        write_strips([one], 1, 2, (2, 2, 3), tmp_path / "a.npy", tmp_path / "b.npy")
    with pytest.raises(InputError, match="do not fit a volume of 1x1x3 in 1"):
        write_strips([one], 1, 2, (1, 1, 3), tmp_path / "a.npy", tmp_path / "b.npy")
    assert list(tmp_path.iterdir()) == []


def test_a_bad_slice_is_named():
    slices = images(2)
    slices[1, 0, 0, 0] = float("nan")
    with pytest.raises(InputError, match="slice 1: the image holds 1 values"):
        list(stream_samples(pu.UNet(1, 2, channels=(4, 6)), slices, 1, generator()))
