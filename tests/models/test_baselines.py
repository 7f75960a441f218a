"""Dropout U-Net, Ensemble and M-Heads against hand-made numbers."""

import math

import pytest
import torch

import probunet as pu
from probunet.core.errors import InputError
from probunet.distributions.base import SegmentationDistribution
from probunet.distributions.mixture import Members
from probunet.nets.decode import MemberMaps

LOGITS = [torch.tensor([[[[0.0]], [[math.log(p / (1 - p))]]]]) for p in (0.9, 0.6, 0.2)]
"""Three members' logits of one pixel: its class is 1 with probability .9, .6, .2."""


def mixture_of(logits: list[torch.Tensor]) -> SegmentationDistribution:
    """Of members (B, K, H, W)."""
    maps = torch.stack(logits)
    count, batch, classes, *size = maps.shape
    noise = Members(count, batch, torch.device("cpu"))
    return SegmentationDistribution(noise, [MemberMaps(maps)], classes, (batch, *size))


def test_a_mixture_averages_probabilities_and_likelihoods():
    mixture = mixture_of(LOGITS)
    assert mixture.probabilities()[0, 1].item() == pytest.approx((0.9 + 0.6 + 0.2) / 3)
    assert mixture.log_prob(torch.ones(1, 1, 1)).item() == pytest.approx(math.log(1.7 / 3))
    assert (mixture.distinct, mixture.components, mixture.independent) == (3, 3, False)
    assert mixture_of(LOGITS[:1]).independent


def test_members_are_drawn_without_replacement_and_then_again():
    """Four members that each give another class: 4 draws hold each once, 8 each twice, 2 two different ones."""
    members = [torch.nn.functional.one_hot(torch.full((50, 1, 1), k), 4).movedim(-1, 1).float() for k in range(4)]
    mixture = mixture_of(members)
    for n, times in ((4, 1), (8, 2)):
        samples = mixture.sample(n, torch.Generator().manual_seed(0))[:, :, 0, 0]
        assert all(torch.bincount(column, minlength=4).eq(times).all() for column in samples.T)
    two = mixture.sample(2, torch.Generator().manual_seed(0))[:, :, 0, 0]
    assert (two[0] != two[1]).all()
    assert len(two[0].unique()) == 4  # every image draws for itself


def test_dropout_hits_the_inputs_of_the_innermost_three_blocks_only():
    torch.manual_seed(0)
    model = pu.DropoutUNet(1, 2, channels=(2, 3, 4, 5, 6))
    seen: list[tuple[int, ...]] = []
    keep = model.unet(torch.randn(1, 1, 32, 32), lambda x, block, scale: seen.append((block, scale, *x.shape[1:])) or x)
    assert keep.shape == (1, 2, 32, 32)
    assert [shape for _, _, *shape in seen] == [[3, 8, 8], [4, 4, 4], [5, 2, 2], [11, 4, 4], [9, 8, 8], [7, 16, 16]]
    assert [scale for _, scale, *_ in seen] == [2, 3, 4, 3, 2, 1]
    assert len({block for block, *_ in seen}) == 6


def test_dropout_halves_and_doubles():
    """Half of the values are dropped, the others doubled, and every image has masks of its own."""
    model = pu.DropoutUNet(1, 2, channels=(100, 3))
    dropped: list[torch.Tensor] = []
    finest, inner = model.unet.encoder.blocks
    finest.register_forward_hook(lambda *arguments: torch.ones_like(arguments[2]))
    inner.register_forward_pre_hook(lambda _, inputs: dropped.append(inputs[0]))
    model(torch.zeros(2, 1, 20, 20)).sample(1, torch.Generator().manual_seed(0))
    (x,) = dropped
    assert x.shape == (2, 100, 10, 10)
    assert set(x.unique().tolist()) == {0.0, 2.0}
    assert x.mean().item() == pytest.approx(1, abs=0.05)
    assert not torch.equal(x[0], x[1])


def test_dropout_is_active_whatever_the_mode_and_samples_are_independent():
    torch.manual_seed(1)
    model = pu.DropoutUNet(1, 4, channels=(4, 6, 6)).eval()
    samples = model(torch.randn(1, 1, 32, 32) * 3).sample(3, torch.Generator().manual_seed(0))
    assert not torch.equal(samples[0], samples[1])
    assert not torch.equal(samples[1], samples[2])


def test_the_best_head_gets_all_but_epsilon():
    """Loss = .95 of the smallest cross-entropy + .05/2 of each other's, best head chosen image by image."""
    torch.manual_seed(0)
    model = pu.MHeads(1, 2, channels=(4, 4), heads=3)
    image, label = torch.randn(2, 1, 16, 16), torch.randint(2, (2, 16, 16))
    ce = torch.stack(
        [torch.nn.functional.cross_entropy(o, label, reduction="none").sum((1, 2)) for o in model(image).strata()[0]]
    )
    expected = 0.0
    for column in ce.T.tolist():
        best, *others = sorted(column)
        expected += (0.95 * best + 0.025 * sum(others)) / 2
    assert model.loss(image, label).total.item() == pytest.approx(expected, rel=1e-5)


def test_heads_specialise_where_a_mean_cannot():
    """Two labels, equally often, for one image: two heads learn one each, a deterministic network learns neither."""
    torch.manual_seed(0)
    image = torch.randn(1, 1, 16, 16)
    labels = [torch.zeros(1, 16, 16, dtype=torch.uint8), torch.ones(1, 16, 16, dtype=torch.uint8)]
    model = pu.MHeads(1, 2, channels=(4, 4), heads=2)
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    for step in range(120):
        optimiser.zero_grad()
        model.loss(image, labels[step % 2]).total.backward()
        optimiser.step()
    first, second = model(image).sample(2, torch.Generator().manual_seed(0)).float().mean((1, 2, 3)).sort().values
    assert (first, second) == (0, 1)


def test_members_of_an_ensemble_do_not_touch_each_other():
    torch.manual_seed(0)
    model = pu.Ensemble(1, 2, channels=(4, 4), members=2)
    image, label = torch.randn(1, 1, 16, 16), torch.randint(2, (1, 16, 16))
    model.loss(image, label).total.backward()
    alone = pu.UNet(1, 2, channels=(4, 4))
    alone.load_state_dict(model.members[1].state_dict())
    alone.loss(image, label).total.backward()
    for together, single in zip(model.members[1].parameters(), alone.parameters(), strict=True):
        torch.testing.assert_close(together.grad, single.grad)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: pu.MHeads(heads=1), "at least 2 heads"),
        (lambda: pu.MHeads(epsilon=1.5), "epsilon from 0 to 1"),
        (lambda: pu.DropoutUNet(probability=1.0), r"1.0 is not in \[0, 1\)"),
        (lambda: pu.Ensemble(members=0), "0 members"),
    ],
)
def test_arguments_without_meaning_are_refused(make, words):
    with pytest.raises(InputError, match=words):
        make()
