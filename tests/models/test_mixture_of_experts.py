"""Optimal transport against a linear program, weights of experts against hand-made numbers."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import linprog
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

import probunet as pu
from probunet.core.errors import InputError
from probunet.core.types import IGNORE
from probunet.distributions.base import SegmentationDistribution
from probunet.distributions.experts import Experts
from probunet.distributions.references import cross_entropy
from probunet.models.mixture_of_experts import pairwise_cross_entropy
from probunet.nets.decode import Network
from probunet.objectives.transport import transport_plan


@pytest.mark.parametrize("limit", [0.25, 0.5, 1.0])
def test_the_plan_costs_as_little_as_the_linear_program(limit, generator):
    cost = torch.rand(3, 6, 4, generator=generator)
    looked = torch.ones(3, 4, dtype=torch.bool)
    plan = transport_plan(cost, looked, limit)
    torch.testing.assert_close(plan.sum(dim=1), torch.full((3, 4), 0.25))
    assert plan.sum(dim=2).max() <= limit + 1e-6
    for b in range(3):
        readers = np.kron(np.ones((1, 6)), np.eye(4))  # mass of each reader
        hypotheses = np.kron(np.eye(6), np.ones((1, 4)))  # mass of each hypothesis
        found = linprog(cost[b].flatten().numpy(), hypotheses, np.full(6, limit), readers, np.full(4, 0.25))
        assert float((plan[b] * cost[b]).sum()) == pytest.approx(found.fun, abs=1e-6)


def test_readers_who_did_not_look_have_no_mass_and_few_hypotheses_take_more_than_their_limit():
    cost = torch.tensor([[[0.0, 5.0, 9.0], [1.0, 1.0, 0.0]]] * 2)
    looked = torch.tensor([[True, True, False], [False, False, False]])
    plan = transport_plan(cost, looked, 0.5)
    assert plan[0].tolist() == [[0.5, 0.0, 0.0], [0.0, 0.5, 0.0]]
    assert plan[1].abs().sum() == 0
    three = transport_plan(cost[:1], torch.ones(1, 3, dtype=torch.bool), 0.1)  # 3 readers on 2 hypotheses
    assert three.sum().item() == pytest.approx(1)


def test_pairwise_cross_entropy_is_that_of_every_pair(generator):
    logits = torch.randn(3, 2, 4, 5, 5, generator=generator)
    labels = torch.randint(4, (2, 2, 5, 5), generator=generator).to(torch.uint8)
    labels[:, 0, :2] = IGNORE
    cost = pairwise_cross_entropy(logits, labels)
    for n in range(3):
        for r in range(2):
            torch.testing.assert_close(cost[:, n, r], cross_entropy(logits[n], labels[:, r]))


def _three_classes(weights: list[float]) -> SegmentationDistribution:
    """Expert e gives class e, with logits 0 and 2; one pixel, two images of the same weights."""
    normal = Independent(Normal(2 * torch.eye(3).expand(2, 3, 3), torch.full((2, 3, 3), 1e-4)), 1)
    noise = Experts(MixtureSameFamily(Categorical(torch.tensor([weights, weights])), normal))
    return SegmentationDistribution(noise, [Network(lambda z: z[..., None, None])], 3, (2, 1, 1))


def test_hypotheses_that_cover_come_as_often_as_their_experts_weigh(generator):
    """Of 10, an expert of weight 0.5 gives 5, one of 0.3 gives 3; of 4, weight 0.3 gives 1 or 2."""
    distribution = _three_classes([0.5, 0.3, 0.2])
    for _ in range(5):
        drawn = distribution.sample(10, generator, cover=True)[:, :, 0, 0]
        assert [torch.bincount(column, minlength=3).tolist() for column in drawn.T] == [[5, 3, 2]] * 2
        four = torch.bincount(distribution.sample(4, generator, cover=True)[:, 0, 0, 0], minlength=3)
        assert four[0] == 2
        assert four[1] in (1, 2)
    firsts = torch.stack([distribution.sample(10, generator, cover=True)[0, 0] for _ in range(300)])
    assert (firsts == 0).float().mean().item() == pytest.approx(0.5, abs=0.1)  # in random order


def test_independent_hypotheses_choose_their_experts_independently(generator):
    """Of two draws, both are of the expert of weight 0.5 in a quarter of the cases; systematically in none or all."""
    distribution = _three_classes([0.5, 0.3, 0.2])
    assert distribution.independent
    pairs = torch.stack([distribution.sample(2, generator)[:, 0, 0, 0] for _ in range(1000)])
    assert (pairs == 0).all(dim=1).float().mean().item() == pytest.approx(0.25, abs=0.05)


def test_strata_go_through_the_experts_with_their_weights(generator):
    logits, log_weights = _three_classes([0.5, 0.3, 0.2]).strata(2, generator)
    assert logits[:, 0, :, 0, 0].argmax(dim=1).tolist() == [0, 0, 1, 1, 2, 2]
    torch.testing.assert_close(log_weights.exp(), torch.tensor([[0.5] * 2, [0.3] * 2, [0.2] * 2]))


def test_marginals_and_likelihood_weigh_the_experts(generator):
    distribution = _three_classes([0.5, 0.3, 0.2])
    high, low = math.exp(2) / (math.exp(2) + 2), 1 / (math.exp(2) + 2)
    expected = 0.5 * high + 0.5 * low
    assert distribution.probabilities(samples=3, generator=generator)[0, 0].item() == pytest.approx(expected, abs=1e-3)
    label = torch.zeros(2, 1, 1, dtype=torch.uint8)
    assert distribution.log_prob(label, 3, generator)[0].exp().item() == pytest.approx(expected, abs=1e-3)


def test_the_weights_learn_the_share_of_the_readers(generator):
    """Three of four readers say class 1 everywhere, one says 0: weights of 3/4 and 1/4 follow from the transport."""
    torch.manual_seed(0)
    model = pu.MixtureOfExperts(1, 2, channels=(4, 6), experts=2, draws=2)
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    image = torch.zeros(2, 1, 16, 16)
    labels = torch.ones(2, 4, 16, 16, dtype=torch.uint8)
    labels[:, 3] = 0
    for _ in range(150):
        optimiser.zero_grad()
        model.loss_of_readers(image, labels, generator).total.backward()
        optimiser.step()
    assert model(image).probabilities(samples=16, generator=generator)[0, 1].mean().item() == pytest.approx(
        0.75, abs=0.05
    )
    means = model(image).sample(8, generator, cover=True)[:, 0].float().mean(dim=(1, 2))
    assert sorted(means.round().tolist()) == [0.0] * 2 + [1.0] * 6


def test_one_reader_is_the_likelihood(generator):
    torch.manual_seed(0)
    model, image = pu.MixtureOfExperts(1, 2, channels=(4, 6)), torch.randn(2, 1, 16, 16)
    label = torch.zeros(2, 16, 16, dtype=torch.uint8)
    seeds = [torch.Generator().manual_seed(1) for _ in range(2)]
    losses = model.loss(image, label, seeds[0]).total, model.loss_of_readers(image, label[:, None], seeds[1]).total
    assert torch.equal(*losses)


@pytest.mark.parametrize("wrong", [{"experts": 1}, {"draws": 0}, {"limit": 0.0}, {"limit": 1.5}])
def test_mixtures_without_meaning_are_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        pu.MixtureOfExperts(**wrong)
