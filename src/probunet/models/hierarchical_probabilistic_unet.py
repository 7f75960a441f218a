"""The Hierarchical Probabilistic U-Net: latents at several scales of the decoder (Kohl et al. 2019)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import final

import torch
from torch import nn

from probunet.core.errors import InputError
from probunet.core.types import Image, Label, Logits
from probunet.distributions.hierarchical import Levels, Seeds
from probunet.models.base import Parts, SegmentationModel
from probunet.nets.decode import Network
from probunet.nets.labels import centred
from probunet.nets.latent_decoder import Choose, LatentDecoder, choice
from probunet.nets.residual import ResidualBlock
from probunet.nets.tiling import View, view_of
from probunet.nets.unet import Encoder, initialise, pad_to_multiple
from probunet.objectives.elbo import ELBO, evidence_bound
from probunet.objectives.geco import GECO
from probunet.objectives.loss import Loss
from probunet.objectives.pixels import All, TopK


@final
class HierarchicalProbabilisticUNet(SegmentationModel):
    """A U-Net of residual blocks whose decoder draws latent maps at its coarsest scales, and a posterior of its form.

    Args:
        in_channels: channels of the image.
        num_classes: classes K.
        channels: channels of each scale, finest first.
        convolutions: 3x3 convolutions at each scale.
        latent_dims: channels of the latent maps, coarsest scale first (paper: 1 at each of four scales).
        objective: ``ELBO(beta)``, or ``GECO(target)`` (paper: target 0.05).
        pixels: that the reconstruction counts, ``All()`` or ``TopK(share)`` (paper: 0.02).

    Raises:
        InputError: no latents or as many levels as scales.
    """

    def __init__(
        self,
        in_channels: int = 1,
        num_classes: int = 2,
        channels: Sequence[int] = (32, 64, 128, 192, 192, 192, 192, 192),
        convolutions: int = 3,
        latent_dims: Sequence[int] = (1, 1, 1, 1),
        objective: ELBO | GECO = GECO(0.05),
        pixels: All | TopK = TopK(0.02),
    ) -> None:
        super().__init__()
        check_levels(latent_dims, len(channels) - 1)
        self.in_channels, self.num_classes, self.pixels = in_channels, num_classes, pixels
        form = (channels, latent_dims, convolutions, ResidualBlock)
        self.encoder = Encoder(in_channels, channels, convolutions, ResidualBlock)
        self.decoder = LatentDecoder(*form)
        self.head = nn.Conv2d(channels[0], num_classes, 1)
        self.posterior_encoder = Encoder(in_channels + num_classes, channels, convolutions, ResidualBlock)
        self.posterior_decoder = LatentDecoder(*form, to_the_end=False)
        self.apply(initialise)
        self.objective = objective.module()

    @property
    def view(self) -> View:
        """See the base class."""
        return view_of(self.encoder, self.decoder.blocks)

    def parts(self, image: Image, corner: tuple[int, int] = (0, 0)) -> Parts:
        """The encoder runs once; every hypothesis is a run of the decoder. See the base class."""
        height, width = image.shape[-2:]
        scales: list[torch.Tensor] = []

        def descend(choose: Choose) -> list[Logits]:
            if not scales:
                scales.extend(self.encoder(pad_to_multiple(image, self.encoder.multiple)))
            return [self.head(self.decoder(scales, choose)).float()[..., :height, :width]]

        def infer(label: Label) -> Callable[[Choose], torch.Tensor]:
            seen = torch.cat([image, centred(label, self.num_classes, image)], dim=1)
            return partial(self.posterior_decoder, self.posterior_encoder(pad_to_multiple(seen, self.encoder.multiple)))

        def decode(variables: torch.Tensor) -> Logits:
            return descend(choice(variables, self.encoder.multiple, corner))[-1]

        levels = Levels(descend, infer)
        return Parts(lambda: Seeds(len(image), image.device, levels), lambda: Network(decode))

    def loss(self, image: Image, label: Label, generator: torch.Generator | None = None) -> Loss:
        """Cross-entropy of the pixels that count, under a constraint or beside beta KL; see the base class."""
        return evidence_bound(self.forward(image), label, self.objective, self.pixels, generator)


def check_levels(latent_dims: Sequence[int], most: int) -> None:
    """Refuse latents that have no scale to be at.

    Raises:
        InputError: more than ``most`` levels.
    """
    if len(latent_dims) > most:
        raise InputError(
            f"latent_dims={list(latent_dims)} does not fit the scales; give at most {most} levels, or more channels"
        )
