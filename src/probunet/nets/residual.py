"""Residual blocks (He et al. 2016), for networks of many scales without normalisation layers."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional as F

from probunet.nets.unet import plain_block

SHARE = 0.2
"""Factor on the convolutions, so that a network of many blocks begins near to a shallow one; the sum is scaled by
sqrt(1/2) as well, so that what it gives begins small. Chosen by the loss of the first hundred steps on real crops."""


class ResidualBlock(nn.Module):
    """3x3 convolutions beside a way around them, a ReLU behind the sum; the arguments are those of ``Block``."""

    def __init__(self, in_channels: int, out_channels: int, convolutions: int) -> None:
        super().__init__()
        inner = [plain_block(in_channels, out_channels, convolutions - 1)] if convolutions > 1 else []
        last = nn.Conv2d(out_channels if inner else in_channels, out_channels, 3, padding=1)
        self.convolutions = nn.Sequential(*inner, last)
        self.around = nn.Identity() if in_channels == out_channels else nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Compute (B, out_channels, H, W) from (B, in_channels, H, W)."""
        return F.relu((self.around(x) + SHARE * self.convolutions(x)) * math.sqrt(0.5))
