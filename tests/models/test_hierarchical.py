"""Latents at several scales, GECO and stochastic top-k, against hand-made numbers."""

import math

import pytest
import torch
from torch.distributions import Normal

import probunet as pu
from probunet.core.errors import InputError
from probunet.core.types import IGNORE
from probunet.distributions.hierarchical import HierarchicalSegmentation
from probunet.objectives.elbo import hierarchical_bound
from probunet.objectives.geco import Geco
from probunet.objectives.top_k import top_k_cross_entropy


def _two_levels() -> HierarchicalSegmentation:
    """One pixel; z0 ~ N(0, 1), z1 ~ N(z0, 1), logits (0, z0 + z1); Q(z0) = N(1, 1), Q(z1 | z0) = N(z0, 2)."""

    def descend(choose):
        z0 = choose(0, Normal(torch.zeros(1, 1, 1, 1), torch.ones(1, 1, 1, 1)))
        z1 = choose(1, Normal(z0, torch.ones_like(z0)))
        return [torch.cat([torch.zeros_like(z0 + z1), z0 + z1], dim=1)]

    def posterior(label):
        def infer(choose):
            z0 = choose(0, Normal(torch.ones(1, 1, 1, 1), torch.ones(1, 1, 1, 1)))
            choose(1, Normal(z0, 2 * torch.ones_like(z0)))

        return infer

    return HierarchicalSegmentation(descend, posterior)


def test_kl_of_the_levels_sum_up(generator):
    """KL(N(1,1), N(0,1)) = 1/2; KL(N(z,2), N(z,1)) = -ln 2 + 4/2 - 1/2, whatever z0 was drawn."""
    one = torch.ones(1, 1, 1, dtype=torch.uint8)
    levels = [0.5, -math.log(2) + 1.5]
    terms = hierarchical_bound(_two_levels(), one, generator).terms
    assert [terms[f"kl_level/{i}"].item() for i in (0, 1)] == pytest.approx(levels)
    assert terms["kl"].item() == pytest.approx(sum(levels))
    weighted = hierarchical_bound(_two_levels(), one, generator, beta=10, level_weights=[4, 1])
    assert weighted.terms["kl"].item() == pytest.approx(4 * levels[0] + levels[1])
    expected = weighted.terms["reconstruction"].item() + 10 * weighted.terms["kl"].item()
    assert weighted.total.item() == pytest.approx(expected)


def test_the_likelihood_integrates_over_all_levels(generator):
    """z0 + z1 = 2 z0 + e is N(0, 5) under the prior: P(Y = 1) is 1/2 by symmetry, and so says the bound."""
    one = torch.ones(1, 1, 1, dtype=torch.uint8)
    assert _two_levels().log_prob(one, 1000, generator).exp().item() == pytest.approx(0.5, abs=0.06)
    assert _two_levels().probabilities(1000, generator)[0, 1].item() == pytest.approx(0.5, abs=0.06)


def test_fixed_levels_are_at_their_mean(generator):
    """With z0 fixed at 0, z0 + z1 is N(0, 1); with both fixed, every hypothesis is the same."""
    distribution = _two_levels()
    for fixed, variance in (((), 5.0), ((0,), 1.0), ((1,), 4.0), ((0, 1), 0.0)):
        logits = distribution._hypotheses(20_000, generator, fixed)[:, 1]
        assert logits.shape == (20_000, 1, 1)
        assert logits.var().item() == pytest.approx(variance, rel=0.05, abs=1e-9), fixed


def test_the_samples_of_a_model_differ_by_its_free_levels_only():
    torch.manual_seed(0)
    model = pu.HierarchicalProbabilisticUNet(1, 4, channels=(4, 6, 6, 6), latent_dims=(2, 2))
    distribution = model(torch.randn(1, 1, 32, 32))
    distinct = {
        fixed: len(distribution.sample(8, torch.Generator().manual_seed(0), fixed=fixed).unique(dim=0))
        for fixed in ((), (0,), (1,), (0, 1))
    }
    assert distinct[0, 1] == 1
    assert min(distinct[()], distinct[0,], distinct[1,]) > 1


def test_hypotheses_of_one_image_decoded_together_or_one_by_one_are_the_same(monkeypatch):
    torch.manual_seed(0)
    model = pu.HierarchicalProbabilisticUNet(1, 2, channels=(4, 6, 6), latent_dims=(1,))
    distribution = model(torch.randn(1, 1, 32, 32))
    samples = [distribution.sample(9, torch.Generator().manual_seed(1), together=n) for n in (1, 3, 8)]
    assert torch.equal(samples[0], samples[1])
    assert torch.equal(samples[0], samples[2])


@pytest.mark.parametrize("wrong", [(), (1, 1, 1), (0,)])
def test_levels_without_a_scale_are_refused(wrong):
    with pytest.raises(InputError, match=r"latent_dims=.*1 to 2 levels"):
        pu.HierarchicalProbabilisticUNet(channels=(4, 6, 6), latent_dims=wrong)


@pytest.mark.parametrize("wrong", [{"top_k": 0.0}, {"top_k": 1.1}, {"target": 0.0}])
@pytest.mark.parametrize("model", [pu.ProbabilisticUNet, pu.HierarchicalProbabilisticUNet])
def test_objectives_without_meaning_are_refused(model, wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        model(**wrong)


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
    model = pu.ProbabilisticUNet(channels=(4, 6), target=0.5)
    assert model.geco is not None
    model.geco(torch.tensor(0.0), torch.tensor(0.0), torch.tensor(1.0))
    model.geco(torch.tensor(math.inf), torch.tensor(3.0), torch.tensor(1.0))
    assert model.geco.average.isnan()
    assert {"geco.log_multiplier", "geco.average"} <= model.state_dict().keys()


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
    drawn = torch.stack([top_k_cross_entropy(logits, label, 1 / 3, generator)[0] for _ in range(1000)])
    share = torch.stack([(drawn - w).abs() < 1e-4 for w in wanted]).float().mean(dim=1)
    torch.testing.assert_close(share, wanted / wanted.sum(), atol=0.05, rtol=0)
    total, pixels = top_k_cross_entropy(logits, label, 1.0)
    assert total.item() == pytest.approx(2.0)
    assert pixels.item() == 3
    both = top_k_cross_entropy(logits, label, 0.5, generator)  # 1.5 pixels are two
    assert both[1].item() == 2
