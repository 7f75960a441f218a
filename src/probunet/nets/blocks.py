"""The convolutions of one scale: plain, with batch normalisation, or residual (He et al. 2016)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from probunet.nets.layers import CONVOLUTIONS, BatchNorm, Conv

Kernel = tuple[int, ...]
"""Voxels that a convolution sees along every axis, odd."""

Block = Callable[[int, int, int, Kernel], nn.Module]
"""Makes the convolutions of one scale, from their channels before and behind, their number and their kernel."""

SHARE = 0.2
"""Factor on the convolutions, so that a network of many blocks begins near to a shallow one; the sum is scaled by
sqrt(1/2) as well, so that what it gives begins small. Chosen by the loss of the first hundred steps on real crops."""


def convolution(in_channels: int, out_channels: int, kernel: Kernel, bias: bool = True) -> nn.Conv2d | nn.Conv3d:
    """Make a convolution, in as many dimensions as the kernel has, that keeps the size."""
    padding = tuple(length // 2 for length in kernel)
    layer: nn.Conv2d | nn.Conv3d = Conv[len(kernel)](in_channels, out_channels, kernel, padding=padding, bias=bias)
    return layer


def pointwise(in_channels: int, out_channels: int, dims: int) -> nn.Conv2d | nn.Conv3d:
    """Make a 1x1 or 1x1x1 convolution."""
    return convolution(in_channels, out_channels, (1,) * dims)


def plain_block(in_channels: int, out_channels: int, convolutions: int, kernel: Kernel) -> nn.Module:
    """Make convolutions with a ReLU behind each."""
    layers: list[nn.Module] = []
    for i in range(convolutions):
        layers += [convolution(in_channels if i == 0 else out_channels, out_channels, kernel), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


def normalised_block(in_channels: int, out_channels: int, convolutions: int, kernel: Kernel) -> nn.Module:
    """Make convolutions with batch normalisation (Ioffe and Szegedy 2015) and a ReLU behind each."""
    layers: list[nn.Module] = []
    for i in range(convolutions):
        layers += [
            convolution(in_channels if i == 0 else out_channels, out_channels, kernel, bias=False),
            BatchNorm[len(kernel)](out_channels),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


def block_with(batch_norm: bool) -> Block:
    """Choose the form of the blocks."""
    return normalised_block if batch_norm else plain_block


def residual_block_with(batch_norm: bool) -> Block:
    """Choose the form of the residual blocks."""
    return partial(ResidualBlock, batch_norm=batch_norm)


class ResidualBlock(nn.Module):
    """Convolutions beside a way around them, a ReLU behind the sum; the arguments are those of ``Block``.

    With batch normalisation there is one behind each of the convolutions.
    """

    def __init__(
        self, in_channels: int, out_channels: int, convolutions: int, kernel: Kernel, batch_norm: bool = False
    ) -> None:
        super().__init__()
        make = block_with(batch_norm)
        inner = [make(in_channels, out_channels, convolutions - 1, kernel)] if convolutions > 1 else []
        last = convolution(out_channels if inner else in_channels, out_channels, kernel, bias=not batch_norm)
        normalisation = [BatchNorm[len(kernel)](out_channels)] if batch_norm else []
        self.convolutions = nn.Sequential(*inner, last, *normalisation)
        same = in_channels == out_channels
        self.around = nn.Identity() if same else pointwise(in_channels, out_channels, len(kernel))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute (B, out_channels, *size) from (B, in_channels, *size)."""
        return F.relu((self.around(x) + SHARE * self.convolutions(x)) * math.sqrt(0.5))


def kernels_of(block: nn.Module) -> Sequence[Kernel]:
    """The kernels of a block's convolutions that see their neighbours."""
    layers = [layer for layer in block.modules() if isinstance(layer, CONVOLUTIONS)]
    return [tuple(layer.kernel_size) for layer in layers if max(layer.kernel_size) > 1]
