"""Latents at several scales, GECO and stochastic top-k, against hand-made numbers."""

import math

import pytest
import torch
from torch.distributions import Normal

import probunet as pu
from probunet.core.errors import InputError
from probunet.core.types import IGNORE
from probunet.distributions.base import SegmentationDistribution
from probunet.distributions.hierarchical import Levels, Seeds
from probunet.nets.decode import Network
from probunet.nets.latent_decoder import choice
from probunet.nets.scales import make_scales
from probunet.objectives.elbo import ELBO, evidence_bound
from probunet.objectives.geco import GECO, Geco
from probunet.objectives.pixels import All, TopK, counted_cross_entropy


def _two_levels() -> SegmentationDistribution:
    """One pixel; z0 ~ N(0, 1), z1 ~ N(z0, 1), logits (0, z0 + z1); Q(z0) = N(1, 1), Q(z1 | z0) = N(z0, 2)."""

    def descend(choose, readers):
        z0 = choose(0, Normal(torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1)))
        z1 = choose(1, Normal(z0, torch.ones_like(z0)))
        return [torch.cat([torch.zeros_like(z0 + z1), z0 + z1], dim=1)]

    def posterior(label):
        def infer(choose):
            z0 = choose(0, Normal(torch.ones(1, 1, 1, 1), torch.ones(1, 1, 1, 1)))
            choose(1, Normal(z0, 2 * torch.ones_like(z0)))

        return infer

    noise = Seeds(1, torch.device("cpu"), Levels(descend, posterior))
    decode = Network(lambda variables: descend(choice(variables, make_scales((1, 1)), (0, 0)), None)[-1])
    return SegmentationDistribution(noise, [decode], 2, (1, 1, 1))


def test_kl_of_the_levels_sum_up(generator):
    """KL(N(1,1), N(0,1)) = 1/2; KL(N(z,2), N(z,1)) = -ln 2 + 4/2 - 1/2, whatever z0 was drawn."""
    one = torch.ones(1, 1, 1, dtype=torch.uint8)
    levels = [0.5, -math.log(2) + 1.5]
    terms = evidence_bound(_two_levels(), one, ELBO().module(), All(), generator).terms
    assert [terms[f"kl_level/{i}"].item() for i in (0, 1)] == pytest.approx(levels)
    assert terms["kl"].item() == pytest.approx(sum(levels))
    weighted = evidence_bound(_two_levels(), one, ELBO(10).module(), All(), generator, [4, 1])
    assert weighted.terms["kl"].item() == pytest.approx(4 * levels[0] + levels[1])
    expected = weighted.terms["reconstruction"].item() + 10 * weighted.terms["kl"].item()
    assert weighted.total.item() == pytest.approx(expected)


def test_the_likelihood_integrates_over_all_levels(generator):
    """z0 + z1 = 2 z0 + e is N(0, 5) under the prior: P(Y = 1) is 1/2 by symmetry, and so says the bound."""
    one = torch.ones(1, 1, 1, dtype=torch.uint8)
    assert _two_levels().log_prob(one, 1000, generator).exp().item() == pytest.approx(0.5, abs=0.06)
    assert _two_levels().probabilities(samples=1000, generator=generator)[0, 1].item() == pytest.approx(0.5, abs=0.06)


def test_hypotheses_are_drawn_from_all_levels(generator):
    """z0 + z1 = 2 z0 + e has the variance 4 + 1; opposite noise gives opposite logits."""
    distribution = _two_levels()
    logits = distribution.logits(distribution.noise(4000, generator))[:, 0, 1, 0, 0]
    assert logits.mean().item() == pytest.approx(0, abs=0.15)
    assert logits.var().item() == pytest.approx(5, rel=0.1)
    pairs = distribution.logits(distribution.noise(6, generator, cover=True))[:, 0, 1, 0, 0].reshape(3, 2)
    torch.testing.assert_close(pairs[:, 0], -pairs[:, 1])
    assert len(pairs[:, 0].abs().unique()) == 3


def test_latents_of_all_levels_can_be_chosen():
    torch.manual_seed(0)
    model = pu.HierarchicalProbabilisticUNet(1, 2, channels=(4, 6, 6, 6), latent_dims=(2, 2))
    decode = model.parts(torch.randn(1, 1, 32, 32), (0, 0)).decode()
    logits = decode(torch.zeros(2, 2 * 4 * 4 + 2 * 8 * 8))
    assert torch.equal(logits[0], logits[1])
    changed = torch.zeros(2, 2 * 4 * 4 + 2 * 8 * 8)
    changed[0, 0], changed[1, -1] = 3, 3
    assert all(not torch.equal(one, logits[0]) for one in decode(changed))


@pytest.mark.parametrize("wrong", [(), (1, 1, 1), (0,)])
def test_levels_without_a_scale_are_refused(wrong):
    with pytest.raises(InputError, match=r"latent_dims=.*(at most 2 levels|at least 1, one or more)"):
        pu.HierarchicalProbabilisticUNet(channels=(4, 6, 6), latent_dims=wrong)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: TopK(0.0), "share=0.0"),
        (lambda: TopK(1.0), r"use All\(\)"),
        (lambda: GECO(0.0), "target=0.0 is not positive"),
        (lambda: ELBO(-1.0), "beta=-1.0 is negative"),
    ],
)
def test_objectives_without_meaning_are_refused(make, words):
    with pytest.raises(InputError, match=words):
        make()


@pytest.mark.parametrize("options", [{"beta": 2.0}, {"target": 0.1}, {"top_k": 0.5}])
def test_an_option_beside_the_objective_cannot_be_given(options):
    with pytest.raises(TypeError, match="unexpected keyword"):
        pu.ProbabilisticUNet(**options)


def test_the_multiplier_of_geco_by_hand():
    """Target 0.5: 0.75 per pixel is 50 % too much, so log multiplier grows by 0.01 * 0.5; far above by 0.01 * 1."""
    geco = Geco(0.5)
    kl, pixels = torch.tensor(2.0), torch.tensor(4.0)
    total = geco(torch.tensor(3.0), pixels, kl)
    assert geco.log_multiplier.item() == pytest.approx(0.005)
    assert total.item() == pytest.approx(math.exp(0.005) * (3 - 2) + 2)
    geco(torch.tensor(400.0), pixels, kl)  # average .99 * .75 + .01 * 100
    assert geco.average.item() == pytest.approx(0.99 * 0.75 + 1.0)
    assert geco.log_multiplier.item() == pytest.approx(0.015)
    geco.eval()(torch.tensor(3.0), pixels, kl)
    assert geco.log_multiplier.item() == pytest.approx(0.015)
    met = Geco(0.5)
    met(torch.tensor(1.0), pixels, kl)  # 0.25 per pixel, half of the target
    assert met.log_multiplier.item() == pytest.approx(-0.005)


def test_geco_passes_over_batches_without_pixels_or_finite_loss_and_is_saved_with_the_weights():
    model = pu.ProbabilisticUNet(channels=(4, 6), objective=GECO(0.5))
    model.objective(torch.tensor(0.0), torch.tensor(0.0), torch.tensor(1.0))
    model.objective(torch.tensor(math.inf), torch.tensor(3.0), torch.tensor(1.0))
    assert model.objective.average.isnan()
    assert {"objective.log_multiplier", "objective.average"} <= model.state_dict().keys()


def test_geco_reaches_its_target():
    """The reconstruction x costs a divergence of 1/x: without constraint x = 1, and under it x = 0.2."""
    geco, x = Geco(0.2), torch.tensor(1.0, requires_grad=True)
    for _ in range(3000):
        (gradient,) = torch.autograd.grad(geco(x, torch.tensor(1.0), 1 / x), x)
        x = (x - 0.002 * gradient).clamp(0.05).detach().requires_grad_()
    assert x.item() == pytest.approx(0.2, rel=0.1)
    assert geco.log_multiplier.exp().item() == pytest.approx(1 / 0.2**2, rel=0.3)


def test_top_k_counts_pixels_as_often_as_their_loss_says():
    """Four pixels, of which one is ignored, a share of a third: one is drawn with probability loss / sum of losses."""
    wanted = torch.tensor([0.2, 0.6, 1.2])
    logits = torch.zeros(1, 2, 1, 4)
    logits[0, 1, 0, :3] = torch.log(torch.expm1(wanted))  # cross-entropy of label 0 is softplus
    logits[0, 1, 0, 3] = 50
    label = torch.tensor([[[0, 0, 0, IGNORE]]], dtype=torch.uint8)
    generator = torch.Generator().manual_seed(0)
    drawn = torch.stack([counted_cross_entropy(logits, label, TopK(1 / 3), generator)[0] for _ in range(1000)])
    share = torch.stack([(drawn - w).abs() < 1e-4 for w in wanted]).float().mean(dim=1)
    torch.testing.assert_close(share, wanted / wanted.sum(), atol=0.05, rtol=0)
    total, pixels = counted_cross_entropy(logits, label, All())
    assert total.item() == pytest.approx(2.0)
    assert pixels.item() == 3
    both = counted_cross_entropy(logits, label, TopK(0.5), generator)  # 1.5 pixels are two
    assert both[1].item() == 2
