"""The Image2Image VAE: z enters with the image, the prior knows nothing of it (Zhu et al. 2017; paper, section 4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import nn
from torch.distributions import Independent

from probunet.core.types import Image, Label
from probunet.distributions.latent import LatentSegmentation
from probunet.models.base import SegmentationModel, check_image, check_label
from probunet.nets.gaussian import GaussianNet, standard_normal
from probunet.nets.labels import one_hot, with_latent
from probunet.nets.unet import FeatureUNet, block_with, initialise
from probunet.objectives.elbo import evidence_bound
from probunet.objectives.loss import Loss


@final
class Image2ImageVAE(SegmentationModel):
    """A U-Net on image and broadcast z, prior N(0, I), posterior on the label alone.

    Every hypothesis costs one run of the whole U-Net.

    Args:
        in_channels: channels of the image.
        num_classes: classes K.
        channels: channels of each scale of the U-Net and the posterior net, finest first.
        latent_dims: dimensions D of the latent space.
        beta: weight of the KL term.
        convolutions: 3x3 convolutions at each scale.
        batch_norm: batch normalisation behind every 3x3 convolution (paper: none).
    """

    def __init__(
        self,
        in_channels: int = 1,
        num_classes: int = 2,
        channels: Sequence[int] = (32, 64, 128, 192, 192),
        latent_dims: int = 6,
        beta: float = 1.0,
        convolutions: int = 3,
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        self.in_channels, self.num_classes = in_channels, num_classes
        self.latent_dims, self.beta = latent_dims, beta
        block = block_with(batch_norm)
        self.unet = FeatureUNet(in_channels + latent_dims, channels, convolutions, block)
        self.head = nn.Conv2d(self.unet.out_channels, num_classes, 1)
        self.head.apply(initialise)
        self.posterior = GaussianNet(num_classes, channels, latent_dims, convolutions, block)

    def forward(self, image: Image) -> LatentSegmentation:
        """Give the distribution; nothing runs before it is sampled. See the base class."""
        check_image(image, self.in_channels)

        def posterior(label: Label) -> Independent:
            check_label(label, image, self.num_classes)
            return self.posterior(one_hot(label, self.num_classes).to(image.dtype) - 0.5)

        prior = standard_normal(len(image), self.latent_dims, image.device)
        return LatentSegmentation(lambda z: self.head(self.unet(with_latent(image, z))), prior, posterior)

    def loss(self, image: Image, label: Label, generator: torch.Generator | None = None) -> Loss:
        """Cross-entropy summed over pixels plus beta KL summed over latents, both batch averages."""
        return evidence_bound(self(image), label, self.beta, generator)
