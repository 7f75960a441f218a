"""The Stochastic Segmentation Network: a low-rank multivariate normal over all logits (Monteiro et al. 2020)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, final

import torch
from torch import nn

from probunet.core.errors import InputError
from probunet.core.types import Image, Label, Logits, Samples
from probunet.distributions.base import SegmentationDistribution, cross_entropy, most_probable
from probunet.models.base import SegmentationModel, check_image, check_label
from probunet.nets.gaussian import LOG_SIGMA_BOUND
from probunet.nets.unet import FeatureUNet, block_with, initialise
from probunet.objectives.loss import Loss

TOGETHER = 2**18
"""Logits that are drawn together: few enough to stay in the cache, enough that starting the work is no cost."""
START = 0.1
"""Factor on the initial weights of P and sigma: the mean learns first, from draws that are near to it."""


@final
class LowRankNormalSegmentation(SegmentationDistribution):
    """P(Y | X): logits are N(mean, P P' + diag sigma^2) over all pixels and classes together.

    A draw is mean + P e1 + sigma e2 with standard normal e1 (rank numbers, shared by all pixels) and e2 (one per
    logit): no matrix is factorised, so nothing can fail.

    Args:
        mean: (B, K, H, W).
        factor: P, (B, rank, K, H, W).
        sigma: of the independent part, (B, K, H, W).
    """

    distinct = None

    def __init__(self, mean: Logits, factor: torch.Tensor, sigma: torch.Tensor) -> None:
        self.mean, self.factor, self.sigma = mean, factor, sigma

    def sample(self, n: int, generator: torch.Generator | None = None) -> Samples:
        """Draw logits n times and take the most probable class of each; see the base class."""
        return torch.cat([most_probable(z.flatten(0, 1)).unflatten(0, z.shape[:2]) for z in self._draws(n, generator)])

    def logits_samples(self, n: int, generator: torch.Generator | None = None) -> torch.Tensor:
        """Draw logits n times, (n, B, K, H, W); see ``SupportsLogitsSamples``."""
        return torch.cat(list(self._draws(n, generator)))

    def probabilities(self, samples: int = 64, generator: torch.Generator | None = None) -> torch.Tensor:
        """Average the softmax over draws; see the base class."""
        return torch.stack([z.softmax(dim=2).sum(dim=0) for z in self._draws(samples, generator)]).sum(dim=0) / samples

    def log_prob(self, label: Label, samples: int = 64, generator: torch.Generator | None = None) -> torch.Tensor:
        """Give log 1/S sum_i P(Y | logits_i), a lower bound in expectation (their Eq. 8). See the base class."""
        members = [
            -cross_entropy(z.flatten(0, 1), label.repeat(len(z), 1, 1)).unflatten(0, z.shape[:2])
            for z in self._draws(samples, generator)
        ]
        return torch.logsumexp(torch.cat(members), dim=0) - math.log(samples)

    def _draws(self, n: int, generator: torch.Generator | None) -> Iterator[torch.Tensor]:
        """Draw n times in all, several at a time: (some, B, K, H, W)."""
        batch, rank = self.factor.shape[:2]
        options: dict[str, Any] = {"generator": generator, "device": self.mean.device, "dtype": self.mean.dtype}
        together = max(TOGETHER // self.mean.numel(), 1)
        for start in range(0, n, together):
            some = min(together, n - start)
            shared = torch.randn((some, batch, rank), **options)
            own = torch.randn((some, *self.mean.shape), **options)
            with torch.autocast(self.mean.device.type, enabled=False):
                along = torch.bmm(shared.movedim(0, 1), self.factor.flatten(2)).movedim(1, 0)
                yield self.mean + along.unflatten(2, self.mean.shape[1:]) + self.sigma * own


@final
class StochasticSegmentationNetwork(SegmentationModel):
    """A U-Net with three 1x1 convolutions: to mean, low-rank factor and log sigma of the logits.

    Args:
        in_channels: channels of the image.
        num_classes: classes K.
        channels: channels of each scale, finest first.
        convolutions: 3x3 convolutions at each scale.
        rank: columns of the factor (paper: 10).
        draws: of the likelihood's estimate in training (paper: 20).
        batch_norm: batch normalisation behind every 3x3 convolution (paper: none).

    Raises:
        InputError: a rank or a number of draws below 1.
    """

    def __init__(
        self,
        in_channels: int = 1,
        num_classes: int = 2,
        channels: Sequence[int] = (32, 64, 128, 192, 192),
        convolutions: int = 3,
        rank: int = 10,
        draws: int = 20,
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        if min(rank, draws) < 1:
            raise InputError(f"rank={rank} and draws={draws} must be at least 1; the paper uses 10 and 20")
        self.in_channels, self.num_classes, self.rank, self.draws = in_channels, num_classes, rank, draws
        self.unet = FeatureUNet(in_channels, channels, convolutions, block_with(batch_norm))
        self.head = nn.Conv2d(self.unet.out_channels, num_classes * (2 + rank), 1)
        self.head.apply(initialise)
        with torch.no_grad():
            self.head.weight[num_classes:] *= START

    def forward(self, image: Image) -> LowRankNormalSegmentation:
        """Run the U-Net once; see the base class."""
        check_image(image, self.in_channels)
        k = self.num_classes
        out = self.head(self.unet(image)).float().contiguous()
        mean, raw, factor = out.split([k, k, k * self.rank], dim=1)
        sigma = (LOG_SIGMA_BOUND * torch.tanh(raw / LOG_SIGMA_BOUND)).exp()
        return LowRankNormalSegmentation(mean, factor.unflatten(1, (self.rank, k)), sigma)

    def loss(self, image: Image, label: Label, generator: torch.Generator | None = None) -> Loss:
        """Minus the estimated log-likelihood, summed over pixels, averaged over the batch; see the base class."""
        check_label(label, image, self.num_classes)
        distribution = self.forward(image)
        total = -distribution.log_prob(label, self.draws, generator).mean()
        return Loss(total, {"reconstruction": total.detach()}, distribution)
