"""P(z | X) and Q(z | X, Y): axis-aligned Gaussians over the latent space (paper, Eqs. 1 and 3)."""

from __future__ import annotations

import torch
from torch import nn
from torch.distributions import Independent, Normal

from probunet.nets.layers import axes_of, initialise
from probunet.nets.scales import Scales
from probunet.nets.unet import Encoder

LOG_SIGMA_BOUND = 5.0
"""log sigma stays within (-5, 5): an unbounded one through exp gives NaN or infinite KL sooner or later."""


class GaussianNet(nn.Module):
    """An encoder, a global average pool and a 1x1 convolution to mean and log sigma.

    Args:
        in_channels: channels of the input (image, or image and one-hot label).
        scales: form of the encoder.
        latent_dims: dimensions D of the latent space.
    """

    def __init__(self, in_channels: int, scales: Scales, latent_dims: int) -> None:
        super().__init__()
        self.encoder = Encoder(in_channels, scales)
        self.head = nn.Linear(scales.channels[-1], 2 * latent_dims)
        self.apply(initialise)

    def forward(self, x: torch.Tensor) -> Independent:
        """Give the distribution of z.

        Args:
            x: (B, C, *size), of any size.

        Returns:
            Batch shape (B,), event shape (D,).
        """
        deepest = self.encoder(x)[-1]
        mean, raw = self.head(deepest.mean(dim=axes_of(deepest))).float().chunk(2, dim=-1)
        return Independent(Normal(mean, sigma_of(raw), validate_args=False), 1, validate_args=False)


def bounded(raw: torch.Tensor) -> torch.Tensor:
    """Keep values within (-5, 5), smoothly: near zero they stay as they are."""
    return LOG_SIGMA_BOUND * torch.tanh(raw / LOG_SIGMA_BOUND)


def sigma_of(raw: torch.Tensor) -> torch.Tensor:
    """The sigma of what a network gives for its logarithm."""
    return bounded(raw).exp()


def standard_normal(batch: int, latent_dims: int, device: torch.device) -> Independent:
    """Give N(0, I) for every image: a prior that has not seen the image.

    Returns:
        Batch shape (B,), event shape (D,).
    """
    zeros = torch.zeros(batch, latent_dims, device=device)
    return Independent(Normal(zeros, torch.ones_like(zeros), validate_args=False), 1, validate_args=False)
