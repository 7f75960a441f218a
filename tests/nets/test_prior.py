"""Families of the prior: draws follow the densities, and KL is what integration says."""

import sys

import pytest
import torch
from torch.distributions import Categorical, Independent, MixtureSameFamily, MultivariateNormal, Normal, kl_divergence

import probunet as pu
from probunet.core.errors import InputError
from probunet.distributions.experts import Experts
from probunet.distributions.latent import Normals, divergence
from probunet.nets.prior import prior_net
from probunet.nets.scales import make_scales

FAMILIES = ("axis_aligned", "full", "mixture", "flow")


@pytest.fixture(params=FAMILIES)
def distribution(request, generator):
    torch.manual_seed(3)
    net = prior_net(request.param, 1, make_scales((4, 4), 1), 2)
    return net(3 * torch.randn(2, 1, 16, 16, generator=generator))


def kind(prior):
    return Experts(prior) if isinstance(prior, MixtureSameFamily) else Normals(prior)


@pytest.mark.parametrize("cover", [False, True])
def test_draws_follow_the_density(distribution, generator, cover):
    """E over draws of 1[z in a box] / P(z) is the volume of the box: draws and density are of the same law."""
    noise = kind(distribution)
    z = noise.place(noise.draw(40_000, generator, cover))
    assert z.shape == (40_000, 2, 2)
    centre, sigma = z.mean(dim=0), z.std(dim=0)
    inside = ((z - centre).abs() < 0.5 * sigma).all(dim=-1)
    volume = (inside * torch.exp(-distribution.log_prob(z))).mean(dim=0)
    torch.testing.assert_close(volume, sigma.prod(dim=-1), rtol=0.06, atol=0)


def test_axis_aligned_draws_are_those_of_the_paper():
    gaussian = Independent(Normal(torch.randn(2, 3), torch.rand(2, 3) + 0.1), 1)
    first, second = torch.Generator().manual_seed(1), torch.Generator().manual_seed(1)
    wanted = gaussian.mean + gaussian.stddev * torch.randn((5, 2, 3), generator=second)
    noise = Normals(gaussian)
    assert torch.equal(noise.place(noise.draw(5, first)), wanted)


def test_a_mixture_draws_its_components_as_often_as_its_weights_say(generator):
    normal = Independent(Normal(torch.tensor([[[-9.0], [0.0], [9.0]]]), torch.ones(1, 3, 1)), 1)
    mixture = MixtureSameFamily(Categorical(torch.tensor([[0.2, 0.5, 0.3]])), normal)
    noise = Experts(mixture)
    z = noise.place(noise.draw(10_000, generator))[:, 0, 0]
    shares = [float(s) for s in ((z < -4.5).float().mean(), (z.abs() < 4.5).float().mean(), (z > 4.5).float().mean())]
    assert shares == pytest.approx([0.2, 0.5, 0.3], abs=0.02)


def _kl(posterior, prior, draws: int) -> float:
    noise = torch.randn(draws, 2, generator=torch.Generator().manual_seed(0))
    return float(divergence(posterior, prior, posterior.mean + posterior.stddev * noise).mean())


def test_kl_of_a_full_covariance_is_analytic():
    posterior = Independent(Normal(torch.ones(3, 2), torch.ones(3, 2)), 1)
    diagonal = MultivariateNormal(torch.zeros(3, 2), scale_tril=torch.diag_embed(torch.full((3, 2), 2.0)))
    # per dimension ln 2 + (1 + 1) / 8 - 1/2
    assert _kl(posterior, diagonal, 3) == pytest.approx(2 * (0.693147 + 0.25 - 0.5), abs=1e-5)
    itself = MultivariateNormal(torch.ones(3, 2), scale_tril=torch.eye(2).expand(3, 2, 2))
    assert _kl(posterior, itself, 3) == pytest.approx(0, abs=1e-6)


def test_kl_without_a_formula_is_estimated_without_bias():
    """A mixture of equal components is a Gaussian, for which the formula is known."""
    draws = 20_000
    posterior = Independent(Normal(torch.ones(draws, 2), torch.full((draws, 2), 0.5)), 1)
    components = Independent(Normal(torch.zeros(draws, 4, 2), torch.ones(draws, 4, 2)), 1)
    mixture = MixtureSameFamily(Categorical(torch.full((draws, 4), 0.25)), components)
    known = kl_divergence(posterior, Independent(Normal(torch.zeros(draws, 2), torch.ones(draws, 2)), 1))[0]
    assert _kl(posterior, mixture, draws) == pytest.approx(float(known), abs=0.03)


def test_a_gradient_reaches_every_family_of_prior_through_its_hypotheses(generator):
    image = torch.randn(1, 1, 16, 16, generator=generator)
    for family in FAMILIES:
        model = pu.ProbabilisticUNet(channels=(4, 4), prior_family=family)
        logits, log_weights = model(image).strata(2, generator)
        weights = log_weights.exp().repeat_interleave(2, dim=0)[..., None, None, None]
        (weights * logits.softmax(dim=2)).square().sum().backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.prior.parameters()), family


def test_options_that_contradict_are_refused(monkeypatch):
    with pytest.raises(InputError, match="prior='fixed'"):
        pu.ProbabilisticUNet(channels=(4, 4), prior="fixed", prior_family="full")
    with pytest.raises(InputError, match="is round: Input should be"):
        pu.ProbabilisticUNet(channels=(4, 4), prior_family="round")
    monkeypatch.setitem(sys.modules, "zuko.flows", None)
    with pytest.raises(InputError, match=r"probunet\[flow\]"):
        pu.ProbabilisticUNet(channels=(4, 4), prior_family="flow")
