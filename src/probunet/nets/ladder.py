"""A U-Net with residual blocks and a spatial Gaussian latent at each of its coarsest scales (Kohl et al. 2019).

The latents of a scale are drawn, appended to the features and carried on to the next finer scale, whose own latents
therefore depend on them: the coarsest decides what there is, finer ones decide its outline.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.distributions import Independent, Normal
from torch.nn import functional as F

from probunet.nets.gaussian import LOG_SIGMA_BOUND
from probunet.nets.unet import initialise, pad_to_multiple

Choose = Callable[[int, Independent], torch.Tensor]
"""From the number of a latent scale (0: coarsest) and its law to a latent (B, D, h, w)."""


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions added to the input, which a 1x1 convolution brings to the same number of channels."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.second = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.skip = nn.Conv2d(in_channels, out_channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(B, in, H, W) to (B, out, H, W)."""
        return F.relu(self.skip(x) + self.second(F.relu(self.first(x))))


class Ladder(nn.Module):
    """Encoder and decoder; the decoder stops behind its last latent where nothing finer is needed.

    Args:
        in_channels: channels of the input.
        channels: channels of each scale, finest first.
        latent_dims: dimensions of the latent of each of the coarsest scales, coarsest first; fewer than the scales.
        complete: whether the decoder goes on to the finest scale.
    """

    def __init__(self, in_channels: int, channels: Sequence[int], latent_dims: Sequence[int], complete: bool) -> None:
        super().__init__()
        sizes, up = [in_channels, *channels], list(channels)[::-1]
        self.latent_dims, self.multiple = tuple(latent_dims), 2 ** (len(channels) - 1)
        self.encoder = nn.ModuleList(ResidualBlock(a, b) for a, b in itertools.pairwise(sizes))
        self.heads = nn.ModuleList(nn.Conv2d(up[i], 2 * d, 1) for i, d in enumerate(latent_dims))
        steps = len(channels) - 1 if complete else len(latent_dims) - 1
        widths = [*latent_dims, *([0] * len(channels))]
        self.decoder = nn.ModuleList(ResidualBlock(up[i] + widths[i] + up[i + 1], up[i + 1]) for i in range(steps))
        self.apply(initialise)

    def encode(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Features of all scales, finest first, of (B, C, H, W) padded to what the pooling divides by."""
        x, scales = pad_to_multiple(x, self.multiple), list[torch.Tensor]()
        for block in self.encoder:
            scales.append(block(F.avg_pool2d(scales[-1], 2) if scales else x))
        return scales

    def decode(self, scales: list[torch.Tensor], choose: Choose) -> torch.Tensor:
        """Go up from the coarsest scale, asking for a latent where there is one.

        Returns:
            Features of the finest scale that the decoder reaches, padded.
        """
        features = scales[-1]
        for i in range(max(len(self.heads), len(self.decoder))):
            if i < len(self.heads):
                mean, raw = self.heads[i](features).float().chunk(2, dim=1)
                sigma = (LOG_SIGMA_BOUND * torch.tanh(raw / LOG_SIGMA_BOUND)).exp()
                z = choose(i, Independent(Normal(mean, sigma, validate_args=False), 3, validate_args=False))
                features = torch.cat([features, z.to(features.dtype)], dim=1)
            if i < len(self.decoder):
                up = F.interpolate(features, scale_factor=2, mode="bilinear", align_corners=False)
                features = self.decoder[i](torch.cat([up, scales[-2 - i]], dim=1))
        return features
