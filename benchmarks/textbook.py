"""The Probabilistic U-Net as a tutorial would write it: the reference for the speed of the package.

Same layers, same widths, same arithmetic: eager, float32, NCHW, z tiled over the image, f_comb rerun in full for every
hypothesis. It shares no code with the package.
"""

from __future__ import annotations

import itertools

import torch
from torch import nn
from torch.distributions import Independent, Normal, kl_divergence
from torch.nn import functional as F


def block(before: int, after: int, convolutions: int) -> nn.Sequential:
    layers = []
    for i in range(convolutions):
        layers += [nn.Conv2d(before if i == 0 else after, after, 3, padding=1), nn.ReLU()]
    return nn.Sequential(*layers)


class UNet(nn.Module):
    def __init__(self, channels_in: int, channels: list[int], convolutions: int) -> None:
        super().__init__()
        sizes = [channels_in, *channels]
        self.down = nn.ModuleList(block(a, b, convolutions) for a, b in itertools.pairwise(sizes))
        self.up = nn.ModuleList(
            block(channels[i + 1] + channels[i], channels[i], convolutions) for i in reversed(range(len(channels) - 1))
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        skips = []
        for i, down in enumerate(self.down):
            x = down(F.avg_pool2d(x, 2) if i else x)
            skips.append(x)
        for up, skip in zip(self.up, reversed(skips[:-1]), strict=True):
            x = up(torch.cat([skip, F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)], 1))
        return x


class Gaussian(nn.Module):
    def __init__(self, channels_in: int, channels: list[int], dims: int, convolutions: int) -> None:
        super().__init__()
        sizes = [channels_in, *channels]
        self.down = nn.ModuleList(block(a, b, convolutions) for a, b in itertools.pairwise(sizes))
        self.head = nn.Conv2d(channels[-1], 2 * dims, 1)

    def forward(self, x: torch.Tensor) -> Independent:
        for i, down in enumerate(self.down):
            x = down(F.avg_pool2d(x, 2) if i else x)
        mean, log_sigma = self.head(x.mean((2, 3), keepdim=True)).flatten(1).chunk(2, 1)
        return Independent(Normal(mean, log_sigma.exp()), 1)


class Textbook(nn.Module):
    def __init__(
        self, channels_in: int, classes: int, channels: list[int], dims: int = 6, convolutions: int = 3
    ) -> None:
        super().__init__()
        self.classes = classes
        self.unet = UNet(channels_in, channels, convolutions)
        self.prior = Gaussian(channels_in, channels, dims, convolutions)
        self.posterior = Gaussian(channels_in + classes, channels, dims, convolutions)
        wide = channels[0]
        self.combine = nn.Sequential(
            nn.Conv2d(wide + dims, wide, 1), nn.ReLU(), nn.Conv2d(wide, wide, 1), nn.ReLU(), nn.Conv2d(wide, classes, 1)
        )

    def decode(self, features: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        tiled = z[:, :, None, None].expand(-1, -1, *features.shape[-2:])
        return self.combine(torch.cat([features, tiled], 1))

    def loss(self, image: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        features, prior = self.unet(image), self.prior(image)
        seen = F.one_hot(label.long(), self.classes).permute(0, 3, 1, 2).float() - 0.5
        posterior = self.posterior(torch.cat([image, seen], 1))
        logits = self.decode(features, posterior.rsample())
        reconstruction = F.cross_entropy(logits, label.long(), reduction="none").sum((1, 2)).mean()
        return reconstruction + kl_divergence(posterior, prior).mean()
