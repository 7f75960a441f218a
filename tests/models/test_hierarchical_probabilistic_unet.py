"""Latents of several scales: their KL adds up, scales can be held at their mean; GECO and top-k by hand."""

import math

import pytest
import torch
from torch.distributions import kl_divergence

import probunet as pu
from probunet.errors import InputError
from probunet.models.geco import Geco
from probunet.models.top_k import hardest, top_k_cross_entropy
from probunet.types import IGNORE

SMALL = {"channels": (4, 6, 6, 6), "latent_dims": (2, 1)}


@pytest.fixture
def model() -> pu.HierarchicalProbabilisticUNet:
    torch.manual_seed(0)
    return pu.HierarchicalProbabilisticUNet(1, 2, **SMALL, kappa=None, top_k=1.0)


def test_the_kl_is_the_sum_over_scales_and_positions(model, generator):
    image, label = torch.randn(2, 1, 16, 24, generator=generator), torch.zeros(2, 16, 24, dtype=torch.uint8)
    loss = model.loss(image, label, torch.Generator().manual_seed(1))
    distribution = model(image)
    posteriors, latents = distribution.posterior(label, torch.Generator().manual_seed(1))
    logits, priors = distribution.given(latents)
    assert [z.shape for z in latents] == [(2, 2, 2, 3), (2, 1, 4, 6)]
    wanted = sum(kl_divergence(q.base_dist, p.base_dist).sum() / 2 for q, p in zip(posteriors, priors, strict=True))
    assert float(loss.terms["kl"]) == pytest.approx(wanted.item(), rel=1e-5)
    reconstruction = torch.nn.functional.cross_entropy(logits, label.long(), reduction="sum") / 2
    assert loss.total.item() == pytest.approx((wanted + reconstruction).item(), rel=1e-5)


def test_scales_at_their_mean_do_not_vary(model, generator):
    distribution = model(torch.randn(1, 1, 32, 32, generator=generator))
    free, held = (distribution.logits(generator, at_mean) for at_mean in ((), (0, 1)))
    assert not torch.equal(free, distribution.logits(generator))
    assert torch.equal(held, distribution.logits(generator, (0, 1)))
    fine = [distribution.logits(generator, (0,)) for _ in range(2)]
    assert not torch.equal(*fine)
    assert torch.equal(*distribution.sample(2, generator, at_mean=(0, 1)))


def test_the_latent_of_a_coarser_scale_changes_the_law_of_a_finer_one(model, generator):
    distribution = model(torch.randn(1, 1, 16, 16, generator=generator))
    zero = [torch.zeros(1, 2, 2, 2), torch.zeros(1, 1, 4, 4)]
    _, first = distribution.given(zero)
    _, second = distribution.given([zero[0] + 1, zero[1]])
    assert torch.equal(first[0].mean, second[0].mean)
    assert not torch.allclose(first[1].mean, second[1].mean)


def test_geco_by_hand():
    """The violation is 0.3 - 0.1 nats a pixel; the multiplier grows by exp(0.5 * 0.2) a step while it lasts."""
    geco = Geco(kappa=0.1, rate=0.5, decay=0.5)
    assert float(geco(torch.tensor(3.0), torch.tensor(10.0), torch.tensor(2.0))) == pytest.approx(
        3 * math.exp(0.1) + 2, rel=1e-6
    )
    geco(torch.tensor(0.0), torch.tensor(10.0), torch.tensor(2.0))  # running mean: (0.2 - 0.1) / 2
    assert float(geco.multiplier) == pytest.approx(math.exp(0.1 + 0.5 * 0.05))
    geco.eval()
    geco(torch.tensor(3.0), torch.tensor(10.0), torch.tensor(2.0))
    assert float(geco.multiplier) == pytest.approx(math.exp(0.125))


def test_pixels_are_drawn_in_proportion_to_their_cost(generator):
    costs = torch.tensor([[1.0, 3.0, 0.0, 9.0]]).repeat(20_000, 1)
    counted = torch.tensor([[True, True, True, False]]).repeat(20_000, 1)
    drawn = hardest(costs, counted, 1 / 3, generator)
    assert drawn.sum(dim=1).unique().tolist() == [1]
    assert drawn.mean(dim=0).tolist() == pytest.approx([0.25, 0.75, 0, 0], abs=0.02)
    assert torch.equal(hardest(costs[:2], counted[:2], 1.0, generator), counted[:2].float())
    nothing = torch.zeros(1, 4, dtype=torch.bool)
    assert hardest(costs[:1], nothing, 0.5, generator).sum() == 0


def test_top_k_sums_and_counts_the_drawn_pixels(generator):
    logits = torch.zeros(1, 2, 2, 2)
    label = torch.tensor([[[0, 1], [1, IGNORE]]], dtype=torch.uint8)
    nats, pixels = top_k_cross_entropy(logits, label, 0.5, generator)
    assert (float(nats), float(pixels)) == (pytest.approx(2 * math.log(2)), 2)


def test_both_go_with_the_probabilistic_unet(generator):
    model = pu.ProbabilisticUNet(channels=(4, 6, 6), kappa=0.05, top_k=0.1)
    image, label = torch.randn(2, 1, 16, 16, generator=generator), torch.zeros(2, 16, 16, dtype=torch.uint8)
    loss = model.loss(image, label, generator)
    multiplier = float(model.geco.multiplier)
    assert multiplier > 1
    wanted = multiplier * loss.terms["reconstruction"] + loss.terms["kl"]
    assert float(loss.total.detach()) == pytest.approx(wanted.item(), rel=1e-5)
    assert "geco.multiplier" in model.state_dict()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"latent_dims": ()}, "0 latent scale"),
        ({"latent_dims": (1,) * 4}, "4 latent scale"),
        ({"top_k": 0.0}, "top_k=0.0"),
        ({"kappa": 0.0}, "kappa=0.0"),
    ],
)
def test_what_has_no_meaning_is_refused(change, words):
    with pytest.raises(InputError, match=words):
        pu.HierarchicalProbabilisticUNet(**{**SMALL, **change})
