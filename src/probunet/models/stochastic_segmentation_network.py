"""Stochastic segmentation network: logits with a low-rank multivariate normal law (Monteiro et al. 2020).

eta = mu + P eps_1 + sigma eps_2, with eps standard normal, so that Cov(eta) = P P^T + diag(sigma^2): the columns of P
are maps along which all pixels of a hypothesis move together. Drawing it so needs no factorisation that could fail.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import final

import torch
from torch import nn

from probunet.errors import InputError
from probunet.models.base import (
    Loss,
    SegmentationDistribution,
    SegmentationModel,
    check_image,
    check_label,
    cross_entropy,
    most_probable,
)
from probunet.nets.gaussian import LOG_SIGMA_BOUND
from probunet.nets.unet import FeatureUNet, initialise
from probunet.types import Image, Label, Logits, Samples


@final
class LowRankSegmentation(SegmentationDistribution):
    """P(Y | X) = E over eta of prod_pixels softmax(eta); a hypothesis is the most probable class of one eta.

    Args:
        mean: (B, K, H, W).
        factor: (B, R, K, H, W), the R columns of P.
        sigma: (B, K, H, W), above 0.
    """

    distinct = None

    def __init__(self, mean: Logits, factor: torch.Tensor, sigma: torch.Tensor) -> None:
        self.mean, self.factor, self.sigma = mean, factor, sigma

    def draws(self, n: int, generator: torch.Generator | None = None) -> Iterator[Logits]:
        """Draw logits (B, K, H, W), one after the other: n of them would be larger than all else."""
        device, dtype = self.mean.device, self.mean.dtype
        together = torch.randn((n, *self.factor.shape[:2]), generator=generator, device=device, dtype=dtype)
        for eps in together:
            apart = torch.randn(self.mean.shape, generator=generator, device=device, dtype=dtype)
            yield self.mean + torch.einsum("br,brkhw->bkhw", eps, self.factor) + self.sigma * apart

    def sample(self, n: int, generator: torch.Generator | None = None) -> Samples:
        """Draw logits and take their most probable class; see the base class."""
        batch, _, height, width = self.mean.shape
        labels = torch.empty((n, batch, height, width), dtype=torch.uint8, device=self.mean.device)
        for one, logits in zip(labels, self.draws(n, generator), strict=True):
            one.copy_(most_probable(logits))
        return labels

    def logits_samples(self, n: int, generator: torch.Generator | None = None) -> torch.Tensor:
        """Draw logits (n, B, K, H, W) that a gradient flows through; see ``SupportsLogitsSamples``."""
        return torch.stack(list(self.draws(n, generator)))

    def probabilities(self, samples: int = 64, generator: torch.Generator | None = None) -> torch.Tensor:
        """Average the softmax over draws; see the base class."""
        total = torch.zeros_like(self.mean)
        for logits in self.draws(samples, generator):
            total = total + logits.softmax(dim=1)
        return total / samples

    def log_prob(self, label: Label, samples: int = 64, generator: torch.Generator | None = None) -> torch.Tensor:
        """log 1/S sum_i P(Y | eta_i), a lower bound in expectation (Monteiro et al. 2020); see the base class."""
        given = torch.stack([-cross_entropy(logits, label) for logits in self.draws(samples, generator)])
        return torch.logsumexp(given, dim=0) - math.log(samples)


@final
class StochasticSegmentationNetwork(SegmentationModel):
    """A U-Net with three 1x1 convolutions: mean, factor and diagonal of the covariance of all logits.

    Args:
        in_channels: channels of the image.
        num_classes: classes K.
        channels: channels of each scale, finest first.
        convolutions: 3x3 convolutions at each scale.
        rank: of the covariance's factor (Monteiro et al.: 10).
        samples: draws of the likelihood in training (Monteiro et al.: 20).

    Raises:
        InputError: a rank or a number of samples below 1.
    """

    def __init__(
        self,
        in_channels: int = 1,
        num_classes: int = 2,
        channels: Sequence[int] = (32, 64, 128, 192, 192),
        convolutions: int = 3,
        rank: int = 10,
        samples: int = 20,
    ) -> None:
        super().__init__()
        if rank < 1 or samples < 1:
            raise InputError(f"rank={rank} and samples={samples} must be at least 1; the authors use 10 and 20")
        self.in_channels, self.num_classes, self.rank, self.samples = in_channels, num_classes, rank, samples
        self.unet = FeatureUNet(in_channels, channels, convolutions)
        self.mean = nn.Conv2d(self.unet.out_channels, num_classes, 1)
        self.factor = nn.Conv2d(self.unet.out_channels, rank * num_classes, 1)
        self.log_sigma = nn.Conv2d(self.unet.out_channels, num_classes, 1)
        for layer in (self.mean, self.factor, self.log_sigma):
            initialise(layer)

    def forward(self, image: Image) -> LowRankSegmentation:
        """Run the U-Net once; see the base class."""
        check_image(image, self.in_channels)
        features = self.unet(image)
        factor = self.factor(features).float().unflatten(1, (self.rank, self.num_classes)) / math.sqrt(self.rank)
        sigma = (LOG_SIGMA_BOUND * torch.tanh(self.log_sigma(features).float() / LOG_SIGMA_BOUND)).exp()
        return LowRankSegmentation(self.mean(features).float(), factor, sigma)

    def loss(self, image: Image, label: Label, generator: torch.Generator | None = None) -> Loss:
        """Negative log-likelihood by Monte Carlo, summed over pixels, averaged over the batch; see the base class."""
        check_label(label, image, self.num_classes)
        distribution = self(image)
        total = -distribution.log_prob(label, self.samples, generator).mean()
        return Loss(total, {"reconstruction": total.detach()}, distribution)
