"""The residual block by hand."""

import math

import torch

from probunet.nets.blocks import SHARE, ResidualBlock


def test_the_way_around_and_the_convolutions_add_up():
    block, x = ResidualBlock(2, 2, 3, (3, 3)), torch.rand(1, 2, 5, 5)
    for parameter in block.parameters():
        torch.nn.init.zeros_(parameter)
    torch.testing.assert_close(block(x), x * math.sqrt(0.5))
    torch.nn.init.ones_(block.convolutions[-1].bias)
    torch.testing.assert_close(block(x), (x + SHARE) * math.sqrt(0.5))
    assert (block(-x - 1) == 0).all()
    assert ResidualBlock(2, 3, 1, (3, 3))(x).shape == (1, 3, 5, 5)
