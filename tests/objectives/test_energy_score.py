"""The energy score: the metric on hard maps, hand-computed values, and that collapse does not pay."""

from itertools import product
from unittest.mock import Mock

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

import probunet as pu
from probunet.core.errors import InputError
from probunet.core.types import IGNORE
from probunet.distributions.experts import Experts
from probunet.distributions.noise import Noise
from probunet.metrics import FOREGROUND, Convention, energy_distance, pairwise_distance
from probunet.nets.decode import MemberMaps, Network
from probunet.objectives.energy_score import EnergyScore, soft_distances, unbiased_energy_score


def logits_of(labels: torch.Tensor, classes: int) -> torch.Tensor:
    """(..., H, W) labels as certain logits (..., K, H, W)."""
    return torch.nn.functional.one_hot(labels.long(), classes).movedim(-1, -3).float() * 200


class Same(Noise):
    """Gives the same hypotheses whenever it is asked."""

    device = torch.device("cpu")

    def __init__(self, count: int, batch: int) -> None:
        self.chosen = torch.arange(count)[:, None].expand(count, batch)

    def draw(self, n, generator, cover=False):
        return self.chosen[:n]

    def place(self, noise):
        return noise

    def strata(self, m, generator, cover=False):
        return self.chosen[:m], torch.zeros(1, self.chosen.shape[1])

    propose = strata


def fixed(labels: torch.Tensor, classes: int, logits: torch.Tensor | None = None) -> pu.SegmentationDistribution:
    """A distribution of the hypotheses (N, B, H, W) that are given, certain of each if no logits are."""
    maps = logits_of(labels, classes) if logits is None else logits
    return pu.SegmentationDistribution(Same(*labels.shape[:2]), [MemberMaps(maps)], classes, labels.shape[1:])


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 4), st.integers(0, 10**6), st.sampled_from(["zero", "one", "skip"]))
def test_on_hard_maps_it_is_the_metric(classes, seed, empty):
    random = np.random.default_rng(seed)
    present = random.integers(1, classes + 1)
    maps = torch.from_numpy(random.integers(0, present, (3, 2, 2, 2)))  # (N, B, H, W): some maps lack classes
    evaluated = None if classes > 2 else [1]
    expected = pairwise_distance(
        maps.movedim(0, 1), None, Convention(num_classes=classes, classes=evaluated, empty=empty)
    )
    chosen = evaluated or list(range(classes))
    hard = logits_of(maps, classes).softmax(dim=2)[:, :, chosen].flatten(3)
    assert soft_distances(hard, hard, empty).numpy() == pytest.approx(np.nan_to_num(expected), abs=1e-6)


def soft_distance(first, second, empty="zero"):
    """Of two maps (K, P)."""
    return soft_distances(first[None, None], second[None, None], empty).squeeze()


def test_soft_maps_by_hand():
    p, q = torch.tensor([[0.5, 1.0, 0.0]]), torch.tensor([[1.0, 0.5, 0.5]])
    assert float(soft_distance(p, q)) == pytest.approx(1.5 / 2.5)
    assert float(soft_distance(p, p)) == 0
    faint, nothing = torch.tensor([[0.1, 0.2, 0.0]]), torch.zeros(1, 3)
    assert float(soft_distance(faint, nothing)) == pytest.approx(0.2)  # the surest pixel
    assert float(soft_distance(faint, faint + 0.2)) == pytest.approx(0.6 / 0.9 * 0.4)
    assert float(soft_distance(faint, nothing, "one")) == pytest.approx(1.0)
    assert float(soft_distance(p, nothing)) == pytest.approx(1.0)


def test_a_vanishing_hypothesis_has_a_finite_gradient_towards_the_empty_reader():
    p = torch.full((1, 4), 0.01, requires_grad=True)
    soft_distance(p, torch.zeros(1, 4)).sum().backward()
    assert torch.equal(p.grad, torch.full((1, 4), 0.25))


def test_the_score_by_hand():
    samples = torch.tensor([[1.0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 0]])[:, None, None]
    readers = torch.tensor([[1.0, 1, 0, 0], [0, 0, 0, 0]])[:, None, None]
    # to readers: (0 + 1) + (1/2 + 1) + (1 + 0) over 6; pairs: 1/2, 1, 1 over 3
    score = unbiased_energy_score(samples, readers, torch.ones(2, 1))
    assert float(score) == pytest.approx(2 * 3.5 / 6 - 2.5 / 3)


@pytest.mark.parametrize("relaxation", ["soft", "straight_through"])
@pytest.mark.parametrize(("classes", "readers"), [(2, 4), (2, 1), (3, 3)])
def test_on_certain_hypotheses_it_is_the_metrics_unbiased_estimate(relaxation, classes, readers, generator):
    samples = torch.randint(classes, (5, 3, 4, 4), generator=generator)
    labels = torch.randint(classes, (3, readers, 4, 4), generator=generator)
    labels[0, 0, 0] = IGNORE
    weights = [1 / readers] * readers  # so that one reader is allowed
    result = energy_distance(
        samples.movedim(0, 1),
        labels,
        Convention(num_classes=classes, ignore=IGNORE, weights=weights),
        estimator="unbiased",
    )
    wanted = (result.value + result.reader_diversity).mean()
    score = EnergyScore(samples=5, relaxation=relaxation).of(fixed(samples, classes), labels, Convention(classes))
    assert float(score) == pytest.approx(wanted, abs=1e-5)


def test_an_image_without_a_known_pixel_does_not_count(generator):
    samples = torch.randint(2, (2, 2, 4, 4), generator=generator)
    labels = torch.randint(2, (2, 1, 4, 4), generator=generator)
    alone = EnergyScore(samples=2).of(fixed(samples[:, :1], 2), labels[:1], FOREGROUND)
    labels[1] = IGNORE
    assert float(EnergyScore(samples=2).of(fixed(samples, 2), labels, FOREGROUND)) == pytest.approx(float(alone))
    assert float(EnergyScore(samples=2).of(fixed(samples, 2), torch.full_like(labels, IGNORE), FOREGROUND)) == 0


def test_a_reader_who_did_not_look_is_left_out(generator):
    samples = torch.randint(2, (3, 2, 4, 4), generator=generator)
    labels = torch.randint(2, (2, 3, 4, 4), generator=generator)
    labels[0, 1] = IGNORE
    one, two = (
        float(EnergyScore(samples=3).of(fixed(samples[:, i : i + 1], 2), labels[i : i + 1, kept], FOREGROUND))
        for i, kept in ((0, [0, 2]), (1, [0, 1, 2]))
    )
    assert float(EnergyScore(samples=3).of(fixed(samples, 2), labels, FOREGROUND)) == pytest.approx((one + two) / 2)


def _train_two_modes(biased: bool) -> float:
    """Let a coin with a free bias choose between the readers' two maps; give the probability of the first one.

    The expected score of K draws is exact: with m of K draws at the first mode, over the binomial law of m.
    """
    maps = torch.tensor([[1.0, 1, 0, 0], [0, 0, 1, 1]])[:, None, None]
    readers = torch.cat([maps[:1], maps[1:], maps[1:], maps[1:]])  # one in four sees the first
    k, logit = 3, torch.tensor(0.0, requires_grad=True)
    scores = []
    for m in range(k + 1):
        samples = torch.cat([maps[:1].expand(m, -1, -1, -1), maps[1:].expand(k - m, -1, -1, -1)])
        score = unbiased_energy_score(samples, readers, torch.ones(4, 1))
        if biased:  # i = j kept: K squared instead of K (K - 1) pairs
            to_readers = soft_distances(samples, readers).mean(dim=(1, 2))
            repulsion = 2 * to_readers - score
            score = 2 * to_readers - repulsion * (k - 1) / k
        scores.append(score)
    values = torch.cat(scores)
    optimiser = torch.optim.Adam([logit], 0.1)
    for _ in range(300):
        law = torch.distributions.Binomial(k, logits=logit).log_prob(torch.arange(k + 1.0)).exp()
        optimiser.zero_grad()
        (law * values).sum().backward()
        optimiser.step()
    return float(logit.detach().sigmoid())


def test_two_modes_are_found_with_the_readers_frequencies_and_the_biased_form_collapses():
    assert _train_two_modes(biased=False) == pytest.approx(0.25, abs=0.01)
    assert _train_two_modes(biased=True) == pytest.approx(0.125, abs=0.01)  # by hand: 1/2 - (1/2 - 1/4) K / (K - 1)


def test_components_count_by_their_weights():
    """Two certain components of weights w and 1 - w: 2 E d(S, Y) - 2 w (1 - w) d, exactly, whatever is drawn."""
    samples = torch.tensor([[1.0, 1, 0, 0], [0, 0, 1, 1]])[:, None, None]
    readers = samples[:1]
    for w in (0.25, 0.8):
        weights = torch.tensor([[w], [1 - w]])
        score = unbiased_energy_score(samples, readers, torch.ones(1, 1), components=weights)
        assert float(score) == pytest.approx(2 * (1 - w) - 2 * w * (1 - w))


def test_the_score_of_experts_is_the_expectation_over_every_choice_of_them():
    """Three certain experts: all choices of one for a reader and of two for each other, by their weights."""
    random = torch.Generator().manual_seed(0)
    maps = (torch.rand((3, 1, 1, 6), generator=random) < 0.5).float()
    readers = (torch.rand((4, 1, 1, 6), generator=random) < 0.5).float()
    weights = torch.tensor([0.2, 0.5, 0.3])
    expected = 0.0
    for e, f in product(range(3), repeat=2):
        expected -= float(weights[e] * weights[f] * soft_distance(maps[e, 0], maps[f, 0]))
    for e, r in product(range(3), range(4)):
        expected += 2 * float(weights[e] * soft_distance(maps[e, 0], readers[r, 0])) / 4
    for each in (1, 2):  # draws of an expert that are all the same
        samples = maps.repeat_interleave(each, dim=0)
        score = unbiased_energy_score(samples, readers, torch.ones(4, 1), components=weights[:, None])
        assert float(score) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("draws", [1, 2])
def test_hypotheses_of_the_objective_are_taken_where_they_are_enough(draws, monkeypatch):
    torch.manual_seed(0)
    model = pu.MixtureOfExperts(channels=(4, 4), convolutions=1, experts=3, draws=draws)
    labels = torch.randint(0, 2, (2, 4, 16, 16), dtype=torch.uint8)
    loss = model.loss_of_readers(torch.randn(2, 1, 16, 16), labels)
    assert loss.distribution is not None
    monkeypatch.setattr(Experts, "strata", Mock(side_effect=RuntimeError("drawn anew")))
    energy = EnergyScore(samples=6)
    if draws == 1:  # the energy score needs pairs
        with pytest.raises(RuntimeError, match="drawn anew"):
            energy.of(loss.distribution, labels, FOREGROUND, None, loss.strata)
    else:
        assert energy.of(loss.distribution, labels, FOREGROUND, None, loss.strata).requires_grad


def test_several_draws_of_a_component_repel_each_other_without_bias():
    """Component 1 draws a or b, component 2 always c, each pair at distance 1: all four cases on average, by hand."""
    a, b, c = torch.eye(3)[:, None, None]
    readers = torch.eye(3)[:1, None, None]
    w, total = 0.6, 0.0
    for first in (a, b):
        for second in (a, b):  # two independent draws, each pair with probability 1/4
            samples = torch.stack([first, second, c, c])
            weights = torch.tensor([[w], [1 - w]])
            total += float(unbiased_energy_score(samples, readers, torch.ones(1, 1), components=weights)) / 4
    to_reader = w / 2 + (1 - w)
    repulsion = w**2 / 2 + 2 * w * (1 - w)
    assert total == pytest.approx(2 * to_reader - repulsion)


def test_the_score_teaches_experts_their_weights(generator):
    """Three of four readers say class 1, one says 0, as two experts do: their weights follow from the score alone."""
    normal = Independent(Normal(torch.tensor([[[-1.0], [1.0]]]), torch.full((1, 2, 1), 1e-3)), 1)
    decode = Network(lambda z: torch.stack([-50 * z, 50 * z], dim=1)[..., None].expand(-1, 2, 4, 4))
    readers = torch.ones(1, 4, 4, 4, dtype=torch.uint8)
    readers[:, 3] = 0
    raw = torch.zeros(1, 2, requires_grad=True)
    optimiser = torch.optim.Adam([raw], 0.1)
    for _ in range(150):
        optimiser.zero_grad()
        noise = Experts(MixtureSameFamily(Categorical(logits=raw), normal))
        distribution = pu.SegmentationDistribution(noise, [decode], 2, (1, 4, 4))
        EnergyScore(samples=4).of(distribution, readers, FOREGROUND, generator).backward()
        optimiser.step()
    assert raw.softmax(dim=1)[0, 1].item() == pytest.approx(0.75, abs=0.02)


def test_the_score_reaches_the_prior_and_costs_one_pass_of_the_unet(generator):
    model = pu.ProbabilisticUNet(1, 2, channels=(4, 6, 6), latent_dims=3)
    passes = []
    model.unet.register_forward_hook(lambda *_: passes.append(1))
    image, labels = torch.randn(2, 1, 16, 16, generator=generator), torch.zeros(2, 4, 16, 16, dtype=torch.uint8)
    loss = model.loss(image, labels[:, 0], generator)
    model.zero_grad()
    EnergyScore(samples=6).of(loss.distribution, labels, FOREGROUND, generator).backward()
    assert len(passes) == 1
    for part in (model.unet, model.prior, model.combine):
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in part.parameters())


def test_presence_is_learned_from_the_surest_pixel():
    soft = torch.tensor([[0.3, 0.1, 0.05, 0.2]], requires_grad=True)
    soft_distance(soft, torch.zeros(1, 4)).backward()
    assert soft.grad.tolist() == [[1, 0, 0, 0]]


def test_a_low_temperature_takes_faint_probabilities_away():
    """A hundred pixels of probability 1/10 double the union of a lesion of ten, and are nothing to the metric."""
    faint = torch.zeros(2, 1, 2, 10, 11)
    faint[:, :, 0] = torch.tensor(9.0).log()
    faint[..., 0] = torch.tensor([-99.0, 99.0])[:, None]
    lesion = torch.zeros(1, 1, 10, 11, dtype=torch.uint8)
    lesion[..., 0] = 1
    distribution = fixed(torch.zeros(2, 1, 10, 11), 2, faint)
    scores = [float(EnergyScore(samples=2, temperature=t).of(distribution, lesion, FOREGROUND)) for t in (1.0, 0.3)]
    assert scores[0] == pytest.approx(2 * 0.5)
    rest = 100 / (1 + 9 ** (1 / 0.3))
    assert scores[1] == pytest.approx(2 * rest / (10 + rest), rel=1e-4)


def test_warm_in():
    score = EnergyScore(weight=10, warm_in=0.2)
    assert [score.weight_at(p) for p in (0, 0.1, 0.2, 1)] == [0, 5, 10, 10]
    assert EnergyScore(weight=10).weight_at(0) == 10


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"samples": 1}, "at least 2"),
        ({"weight": 0.0}, "not positive"),
        ({"temperature": 0.0}, "temperature=0.0 is not positive"),
        ({"warm_in": 2.0}, "0 to 1"),
        ({"relaxation": "hard"}, "soft, straight_through"),
        ({"models": ("vae",)}, "names 'vae'; the models are unet, pu"),
    ],
)
def test_what_has_no_meaning_is_refused(change, words):
    with pytest.raises(InputError, match=words):
        EnergyScore(**change).check(["unet", "pu"])
