"""f_comb: 1x1 convolutions on [features, z broadcast] give the class logits (paper, Eq. 2).

The first layer is linear, W [f; z] + b = (W_f f + b) + W_z z. The bracket is computed once per image; a
further hypothesis then costs one bias per channel and the small layers behind it.
"""

from __future__ import annotations

from itertools import repeat

import torch
from torch import nn
from torch.nn import functional as F

from probunet.nets.unet import initialise

BLOCK = 2**15
"""Pixels that are decoded together: with fewer, starting the work takes longer than doing it; more leave the cache."""


class Combine(nn.Module):
    """1x1 convolutions with ReLU between them.

    Args:
        feature_channels: channels of the U-Net's feature map.
        latent_dims: dimensions D of the latent space.
        num_classes: classes K.
        layers: how many 1x1 convolutions, at least 2 (with one, z could only shift the logits and all
            hypotheses would be nested).
        channels: channels between the layers.

    Raises:
        ValueError: fewer than 2 layers.
    """

    def __init__(
        self, feature_channels: int, latent_dims: int, num_classes: int, layers: int = 3, channels: int = 32
    ) -> None:
        super().__init__()
        if layers < 2:
            raise ValueError(f"f_comb needs at least 2 layers to be non-linear in z, got {layers}")
        self.from_features = nn.Conv2d(feature_channels, channels, 1)
        self.from_latent = nn.Linear(latent_dims, channels, bias=False)
        sizes = [channels] * (layers - 1) + [num_classes]
        self.rest = nn.ModuleList(nn.Conv2d(channels, size, 1) for size in sizes[1:])
        self.apply(initialise)

    def project(self, features: torch.Tensor) -> torch.Tensor:
        """Compute W_f f + b, the part of the first layer that all hypotheses of an image share.

        Args:
            features: (B, F, H, W).

        Returns:
            (B, channels, H, W).
        """
        return self.from_features(features)

    def forward(self, projected: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """Give the logits of one hypothesis per image; without gradients, in blocks that stay in a core's cache.

        Args:
            projected: (B, channels, H, W), from :meth:`project`; a single image goes with any number of z.
            z: (B, D).

        Returns:
            (B, K, H, W) logits.
        """
        shift = self.from_latent(z.to(projected.dtype))[:, :, None, None]
        if torch.is_grad_enabled() or torch.compiler.is_compiling() or projected.device.type != "cpu":
            return self._behind(projected, shift)
        count, (height, width) = max(len(projected), len(z)), projected.shape[-2:]
        if count * height * width <= BLOCK:
            return self._behind(projected, shift)
        together, rows = max(BLOCK // (height * width), 1), max(BLOCK // width, 1)
        images = projected.split(together) if len(projected) > 1 else repeat(projected)
        shifts = shift.expand(count, -1, -1, -1).split(together)
        logits = [
            torch.cat([self._behind(block, one) for block in some.split(rows, dim=2)], dim=2)
            for some, one in zip(images, shifts, strict=False)
        ]
        return torch.cat(logits)

    def _behind(self, projected: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
        x = projected + shift
        for layer in self.rest:
            x = layer(F.relu(x, inplace=True))  # on a sum or a convolution, which need not remember what they gave
        return x
