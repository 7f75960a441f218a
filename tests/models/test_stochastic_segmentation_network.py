"""The low-rank normal over logits against torch's own, numerical integration and hand-made numbers."""

import math

import pytest
import torch
from torch.distributions import LowRankMultivariateNormal

import probunet as pu
from probunet.core.errors import InputError
from probunet.core.types import IGNORE
from probunet.distributions.base import SegmentationDistribution
from probunet.distributions.hierarchical import Seeds
from probunet.models.stochastic_segmentation_network import LowRankNormal
from probunet.nets.decode import Network


def low_rank(mean, factor, sigma) -> SegmentationDistribution:
    batch, classes, *size = mean.shape
    decode = Network(LowRankNormal(mean, factor, sigma, (0, 0)))
    return SegmentationDistribution(Seeds(batch, torch.device("cpu")), [decode], classes, (batch, *size))


def _small(batch: int = 1, classes: int = 2, height: int = 1, width: int = 2, rank: int = 2):
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(batch, classes, height, width, generator=generator)
    factor = torch.randn(batch, rank, classes, height, width, generator=generator)
    sigma = 0.2 + torch.rand(batch, classes, height, width, generator=generator)
    return mean, factor, sigma


def test_draws_have_the_mean_and_the_covariance_of_torchs_low_rank_normal(generator):
    mean, factor, sigma = _small()
    seeds = torch.randint(2**62, (30_000,), generator=generator)
    draws = LowRankNormal(mean, factor, sigma, (0, 0))(seeds).flatten(1)
    torchs = LowRankMultivariateNormal(mean[0].flatten(), factor[0].flatten(1).T, sigma[0].flatten() ** 2)
    torch.testing.assert_close(draws.mean(dim=0), torchs.mean, atol=0.05, rtol=0)
    torch.testing.assert_close(draws.T.cov(), torchs.covariance_matrix, atol=0.15, rtol=0)


def test_the_likelihood_of_one_pixel_is_the_integral_of_the_sigmoid(generator):
    """The difference of two logits is normal: mean 1, variance (1.5 - 0.5)^2 + 0.6^2 + 0.8^2 = 2."""
    mean = torch.tensor([0.0, 1.0]).reshape(1, 2, 1, 1)
    factor = torch.tensor([0.5, 1.5]).reshape(1, 1, 2, 1, 1)
    sigma = torch.tensor([0.6, 0.8]).reshape(1, 2, 1, 1)
    grid = torch.linspace(-12, 12, 20_001, dtype=torch.float64)
    density = torch.exp(-((grid - 1) ** 2) / 4) / math.sqrt(4 * math.pi)
    expected = float((density * grid.sigmoid()).sum() * (grid[1] - grid[0]))
    distribution = low_rank(mean, factor, sigma)
    label = torch.ones(1, 1, 1, dtype=torch.uint8)
    assert distribution.log_prob(label, 3000, generator).exp().item() == pytest.approx(expected, abs=0.02)
    assert distribution.probabilities(samples=3000, generator=generator)[0, 1].item() == pytest.approx(
        expected, abs=0.02
    )


def test_one_shared_number_moves_all_pixels_together(generator):
    """Two pixels with one factor and hardly any noise of their own are always of the same class, each in half."""
    factor = torch.tensor([-5.0, -5.0, 5.0, 5.0]).reshape(1, 1, 2, 1, 2)
    distribution = low_rank(torch.zeros(1, 2, 1, 2), factor, torch.full((1, 2, 1, 2), 1e-3))
    samples = distribution.sample(1000, generator)[:, 0, 0]
    assert torch.equal(samples[:, 0], samples[:, 1])
    assert samples[:, 0].float().mean().item() == pytest.approx(0.5, abs=0.06)
    # unlike pixels that are independent, the pair (1, 1) has a probability of about a half, not a quarter
    both = distribution.log_prob(torch.ones(1, 1, 2, dtype=torch.uint8), 1500, generator).exp()
    assert 0.4 < both.item() < 0.5


def test_an_ignored_pixel_is_integrated_out(generator):
    """What is said of a pixel does not depend on the logits of another one that is ignored."""
    mean, factor, sigma = _small()
    other = mean.clone()
    other[..., 1] += 30
    label = torch.tensor([[[1, IGNORE]]], dtype=torch.uint8)
    first, second = (
        low_rank(m, factor, sigma).log_prob(label, 8, torch.Generator().manual_seed(3)) for m in (mean, other)
    )
    assert torch.equal(first, second)


@pytest.mark.parametrize("wrong", [{"rank": 0}, {"draws": 0}])
def test_no_factor_or_no_draw_is_refused(wrong):
    with pytest.raises(InputError, match="at least 1"):
        pu.StochasticSegmentationNetwork(**wrong)
