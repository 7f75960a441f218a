"""The Dropout U-Net: hypotheses from dropout that stays active (Kendall et al. 2015; paper, section 4)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import final

import torch
from torch import nn

from probunet.core.errors import InputError
from probunet.core.types import Image, Label, Logits, Samples
from probunet.distributions.base import SegmentationDistribution, cross_entropy, most_probable
from probunet.models.base import SegmentationModel, check_image, check_label
from probunet.nets.unet import FeatureUNet, block_with, initialise
from probunet.objectives.loss import Loss


@final
class DropoutSegmentation(SegmentationDistribution):
    """P(Y | X) over random dropout masks; every hypothesis is one run of the network.

    Args:
        decode: from a generator to the logits (B, K, H, W) under fresh masks, different for every image.
    """

    distinct = None

    def __init__(self, decode: Callable[[torch.Generator | None], Logits]) -> None:
        self._decode = decode

    def logits(self, generator: torch.Generator | None = None) -> Logits:
        """Run the network once, under fresh masks: (B, K, H, W)."""
        return self._decode(generator)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Samples:
        """Run the network n times and take the most probable class; see the base class."""
        return torch.stack([most_probable(self._decode(generator)) for _ in range(n)])

    def logits_samples(self, n: int, generator: torch.Generator | None = None) -> torch.Tensor:
        """Run the network n times, (n, B, K, H, W); see ``SupportsLogitsSamples``."""
        return torch.stack([self._decode(generator) for _ in range(n)])

    def probabilities(self, samples: int = 64, generator: torch.Generator | None = None) -> torch.Tensor:
        """Average the softmax over masks; see the base class."""
        total = self._decode(generator).softmax(dim=1)
        for _ in range(samples - 1):
            total = total + self._decode(generator).softmax(dim=1)
        return total / samples

    def log_prob(self, label: Label, samples: int = 64, generator: torch.Generator | None = None) -> torch.Tensor:
        """Give log 1/S sum_i P(Y | X, mask_i), a lower bound in expectation; see the base class."""
        members = torch.stack([-cross_entropy(self._decode(generator), label) for _ in range(samples)])
        return torch.logsumexp(members, dim=0) - math.log(samples)


@final
class DropoutUNet(SegmentationModel):
    """A U-Net with dropout at the inputs of the three innermost encoder and decoder blocks.

    Dropout is active in training and in sampling, whatever the mode of the module.

    Args:
        in_channels: channels of the image.
        num_classes: classes K.
        channels: channels of each scale, finest first.
        convolutions: 3x3 convolutions at each scale.
        probability: of a value to be dropped (paper: 0.5).
        batch_norm: batch normalisation behind every 3x3 convolution (paper: none).

    Raises:
        InputError: a probability outside [0, 1).
    """

    def __init__(
        self,
        in_channels: int = 1,
        num_classes: int = 2,
        channels: Sequence[int] = (32, 64, 128, 192, 192),
        convolutions: int = 3,
        probability: float = 0.5,
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        if not 0 <= probability < 1:
            raise InputError(f"a dropout probability of {probability} is not in [0, 1); the paper uses 0.5")
        self.in_channels, self.num_classes, self.probability = in_channels, num_classes, probability
        self.unet = FeatureUNet(in_channels, channels, convolutions, block_with(batch_norm))
        self.head = nn.Conv2d(self.unet.out_channels, num_classes, 1)
        self.head.apply(initialise)

    def forward(self, image: Image) -> DropoutSegmentation:
        """Give the distribution over dropout masks; nothing runs before it is sampled. See the base class."""
        check_image(image, self.in_channels)

        def decode(generator: torch.Generator | None) -> Logits:
            return self.head(self.unet(image, lambda x: self._drop(x, generator))).float()

        return DropoutSegmentation(decode)

    def loss(self, image: Image, label: Label, generator: torch.Generator | None = None) -> Loss:
        """Cross-entropy under one random mask, summed over pixels, averaged over the batch; see the base class."""
        check_label(label, image, self.num_classes)
        total = -self(image).log_prob(label, 1, generator).mean()
        return Loss(total, {"reconstruction": total.detach()})

    def _drop(self, x: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
        kept = torch.rand(x.shape, generator=generator, device=x.device) >= self.probability
        return x * kept / (1 - self.probability)
