"""PHiSeg: what its levels see and give."""

import pytest
import torch

import probunet as pu
from probunet.models.phiseg import Likelihood
from probunet.nets.scales import make_scales


def test_every_level_adds_to_the_coarser_ones_at_its_own_resolution():
    """Of five scales, three have latents: what they add is constant in squares of 4, 2 and 1 pixels."""
    torch.manual_seed(0)
    likelihood = Likelihood(2, make_scales((4, 5, 6, 7, 8)), (1, 2, 3))
    latents = [torch.randn(1, d, size, size) for d, size in ((1, 2), (2, 4), (3, 8))]
    outputs = likelihood(latents)
    assert [tuple(x.shape) for x in outputs] == [(1, 2, 32, 32)] * 3
    for added, side in ((outputs[0], 4), (outputs[1] - outputs[0], 2)):
        corners = added[..., ::side, ::side].repeat_interleave(side, -1).repeat_interleave(side, -2)
        torch.testing.assert_close(added, corners)
    assert not torch.equal(outputs[2], outputs[1])


def test_the_image_reaches_the_segmentation_through_latents_only():
    torch.manual_seed(0)
    model = pu.PHiSeg(1, 2, channels=(4, 6, 6), latent_dims=(1, 2))
    images = torch.randn(2, 1, 16, 16)
    decode = model.parts(images, (0, 0)).decode()
    fixed = decode(torch.ones(2, 1 * 4 * 4 + 2 * 8 * 8))  # latents of both levels
    torch.testing.assert_close(fixed[0], fixed[1])
    free = decode(torch.zeros(2, dtype=torch.int64))  # the same noise, other means
    assert not torch.allclose(free[0], free[1])


def test_a_coarser_level_counts_four_times_as_much(generator):
    model = pu.PHiSeg(1, 2, channels=(4, 6, 6, 8), latent_dims=(1, 1, 1))
    label = torch.zeros(2, 16, 16, dtype=torch.uint8)
    terms = model.loss(torch.randn(2, 1, 16, 16), label, generator).terms
    levels = [terms[f"kl_level/{i}"].item() for i in range(3)]
    assert terms["kl"].item() == pytest.approx(16 * levels[0] + 4 * levels[1] + levels[2], rel=1e-4)
