"""f_comb: 1x1 convolutions on [features, z broadcast] give the class logits (paper, Eq. 2).

The first layer is linear, W [f; z] + b = (W_f f + b) + W_z z. The bracket is computed once per image; a
further hypothesis then costs one bias per channel and the small layers behind it.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from probunet.nets.unet import initialise


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
        """Give the logits of one hypothesis per image.

        Args:
            projected: (B, channels, H, W), from :meth:`project`; a single image goes with any number of z.
            z: (B, D).

        Returns:
            (B, K, H, W) logits.
        """
        x = projected + self.from_latent(z.to(projected.dtype))[:, :, None, None]
        for layer in self.rest:
            x = layer(F.relu(x, inplace=True))  # on a sum or a convolution, which need not remember what they gave
        return x
