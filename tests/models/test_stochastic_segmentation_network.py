"""The law of the logits against torch's own low-rank normal, and the likelihood by hand."""

import math

import pytest
import torch
from torch.distributions import LowRankMultivariateNormal

import probunet as pu
from probunet.errors import InputError
from probunet.models.stochastic_segmentation_network import LowRankSegmentation


def test_draws_have_the_covariance_of_torchs_low_rank_normal(generator):
    mean, factor = torch.randn(1, 2, 1, 2, generator=generator), torch.randn(1, 3, 2, 1, 2, generator=generator)
    sigma = torch.rand(1, 2, 1, 2, generator=generator) + 0.2
    drawn = LowRankSegmentation(mean, factor, sigma).logits_samples(40_000, generator).flatten(1)
    law = LowRankMultivariateNormal(mean.flatten(), factor.flatten(2)[0].T, sigma.flatten().square())
    torch.testing.assert_close(drawn.mean(dim=0), law.mean, atol=0.05, rtol=0)
    torch.testing.assert_close(torch.cov(drawn.T), law.covariance_matrix, atol=0.15, rtol=0)


def test_the_likelihood_without_variance_is_that_of_the_mean(generator):
    mean = torch.zeros(1, 2, 2, 2)
    mean[:, 1, 0] = math.log(3)  # probability 3/4 in the upper row, 1/2 in the lower one
    still = LowRankSegmentation(mean, torch.zeros(1, 1, 2, 2, 2), torch.full_like(mean, 1e-9))
    label = torch.tensor([[[1, 0], [1, 255]]], dtype=torch.uint8)
    wanted = math.log(3 / 4 * 1 / 4 * 1 / 2)
    assert float(still.log_prob(label, 5, generator)) == pytest.approx(wanted, abs=1e-4)


def test_one_direction_moves_all_pixels_together(generator):
    """With a rank of one and hardly any diagonal, two pixels are both foreground or both background."""
    factor = torch.zeros(1, 1, 2, 1, 2)
    factor[:, :, 1] = 5.0
    samples = LowRankSegmentation(torch.zeros(1, 2, 1, 2), factor, torch.full((1, 2, 1, 2), 1e-4)).sample(
        400, generator
    )
    assert (samples[..., 0] == samples[..., 1]).float().mean() > 0.99
    assert 0.4 < samples.float().mean() < 0.6


def test_a_rank_of_zero_is_refused():
    with pytest.raises(InputError, match="rank=0"):
        pu.StochasticSegmentationNetwork(rank=0)
