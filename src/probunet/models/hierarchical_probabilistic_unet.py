"""The Hierarchical Probabilistic U-Net: latents at several scales of the decoder (Kohl et al. 2019)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import final

import torch
from torch import nn

from probunet.core.errors import InputError
from probunet.core.types import Image, Label, Logits
from probunet.distributions.hierarchical import HierarchicalSegmentation
from probunet.models.base import SegmentationModel, check_image, check_label
from probunet.nets.labels import one_hot
from probunet.nets.latent_decoder import Choose, LatentDecoder
from probunet.nets.residual import ResidualBlock
from probunet.nets.unet import Encoder, initialise, pad_to_multiple
from probunet.objectives.elbo import hierarchical_bound
from probunet.objectives.geco import Geco, check_objective
from probunet.objectives.loss import Loss


@final
class HierarchicalProbabilisticUNet(SegmentationModel):
    """A U-Net of residual blocks whose decoder draws latent maps at its coarsest scales, and a posterior of its form.

    Args:
        in_channels: channels of the image.
        num_classes: classes K.
        channels: channels of each scale, finest first.
        convolutions: 3x3 convolutions at each scale.
        latent_dims: channels of the latent maps, coarsest scale first (paper: 1 at each of four scales).
        top_k: share of the pixels of a batch, drawn by their loss, that the reconstruction counts (paper: 0.02).
        target: nats per counted pixel that the reconstruction is constrained to (paper: 0.05); ``null`` for no
            constraint, and ``beta`` instead.
        beta: weight of the KL term, without a target.

    Raises:
        InputError: no latents or as many levels as scales, a share outside (0, 1], or a target that is not positive.
    """

    def __init__(
        self,
        in_channels: int = 1,
        num_classes: int = 2,
        channels: Sequence[int] = (32, 64, 128, 192, 192, 192, 192, 192),
        convolutions: int = 3,
        latent_dims: Sequence[int] = (1, 1, 1, 1),
        top_k: float = 0.02,
        target: float | None = 0.05,
        beta: float = 1.0,
    ) -> None:
        super().__init__()
        check_levels(latent_dims, len(channels) - 1)
        check_objective(top_k, target)
        self.in_channels, self.num_classes, self.top_k, self.beta = in_channels, num_classes, top_k, beta
        form = (channels, latent_dims, convolutions, ResidualBlock)
        self.encoder = Encoder(in_channels, channels, convolutions, ResidualBlock)
        self.decoder = LatentDecoder(*form)
        self.head = nn.Conv2d(channels[0], num_classes, 1)
        self.posterior_encoder = Encoder(in_channels + num_classes, channels, convolutions, ResidualBlock)
        self.posterior_decoder = LatentDecoder(*form, to_the_end=False)
        self.apply(initialise)
        self.geco = Geco(target) if target is not None else None

    def forward(self, image: Image) -> HierarchicalSegmentation:
        """Run the encoder once; every hypothesis is a run of the decoder. See the base class."""
        check_image(image, self.in_channels)
        height, width = image.shape[-2:]
        scales = self.encoder(pad_to_multiple(image, self.encoder.multiple))

        def descend(choose: Choose) -> list[Logits]:
            return [self.head(self.decoder(scales, choose)).float()[..., :height, :width]]

        def posterior(label: Label) -> partial[torch.Tensor]:
            check_label(label, image, self.num_classes)
            seen = torch.cat([image, one_hot(label, self.num_classes).to(image.dtype) - 0.5], dim=1)
            return partial(self.posterior_decoder, self.posterior_encoder(pad_to_multiple(seen, self.encoder.multiple)))

        return HierarchicalSegmentation(descend, posterior)

    def loss(self, image: Image, label: Label, generator: torch.Generator | None = None) -> Loss:
        """Cross-entropy of the pixels that count, under a constraint or beside beta KL; see the base class."""
        return hierarchical_bound(
            self.forward(image), label, generator, beta=self.beta, top_k=self.top_k, geco=self.geco
        )


def check_levels(latent_dims: Sequence[int], most: int) -> None:
    """Refuse latents that have no scale to be at.

    Raises:
        InputError: no level, more than ``most`` levels, or a level without channels.
    """
    if not 1 <= len(latent_dims) <= most or min(latent_dims) < 1:
        raise InputError(
            f"latent_dims={list(latent_dims)} does not fit the scales; give 1 to {most} levels with at least 1 "
            "channel each, or more channels"
        )
