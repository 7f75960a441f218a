"""PHiSeg: latents at several scales, of which alone the segmentation is decoded (Baumgartner et al. 2019)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import partial
from typing import final

import torch
from torch import nn
from torch.distributions import Normal
from torch.nn import functional as F

from probunet.core.types import Image, Label, Logits
from probunet.distributions.hierarchical import Levels, Seeds
from probunet.models.base import Parts, SegmentationModel
from probunet.models.hierarchical_probabilistic_unet import check_levels
from probunet.nets.decode import Network
from probunet.nets.labels import centred
from probunet.nets.latent_decoder import Choose, LatentDecoder, choice
from probunet.nets.tiling import View, convolutions_of, view_of
from probunet.nets.unet import Encoder, initialise, pad_to_multiple, plain_block
from probunet.objectives.elbo import ELBO, evidence_bound
from probunet.objectives.geco import GECO
from probunet.objectives.loss import Loss
from probunet.objectives.pixels import All

CONVOLUTIONS = 2
"""3x3 convolutions between latents, and behind them."""


class LatentLadder(nn.Module):
    """An encoder, and latents at its coarsest scales of which each sees the next coarser one, but not its features.

    Args:
        in_channels: channels of the input (image, or image and one-hot label).
        channels: channels of each scale, finest first.
        latent_dims: channels of the latents, coarsest level first.
        convolutions: 3x3 convolutions at each scale of the encoder.
    """

    def __init__(
        self, in_channels: int, channels: Sequence[int], latent_dims: Sequence[int], convolutions: int
    ) -> None:
        super().__init__()
        self.encoder = Encoder(in_channels, channels, convolutions)
        self.latents = LatentDecoder(channels, latent_dims, CONVOLUTIONS, to_the_end=False, carry_features=False)

    def encode(self, x: torch.Tensor) -> list[torch.Tensor]:
        """Give the feature maps of all scales, finest first, of (B, C, H, W) padded to a multiple."""
        return self.encoder(pad_to_multiple(x, self.encoder.multiple))


class Likelihood(nn.Module):
    """From the latents of all levels to logits: every level adds its own to those of the coarser ones.

    Args:
        num_classes: classes K.
        channels: channels of each scale, finest first.
        latent_dims: channels of the latents, coarsest level first.
    """

    def __init__(self, num_classes: int, channels: Sequence[int], latent_dims: Sequence[int]) -> None:
        super().__init__()
        sizes = list(channels)[: len(latent_dims)][::-1]
        rising = len(channels) - len(latent_dims)
        self.first = nn.ModuleList(
            plain_block(d, size, CONVOLUTIONS) for d, size in zip(latent_dims, sizes, strict=True)
        )
        up = nn.Upsample(scale_factor=2, mode="bilinear")
        self.rise = nn.ModuleList(
            nn.Sequential(*(layer for _ in range(rising) for layer in (up, plain_block(size, size, 1))))
            for size in sizes
        )
        self.merge = nn.ModuleList(
            plain_block(size + coarser, size, CONVOLUTIONS) for coarser, size in itertools.pairwise(sizes)
        )
        self.heads = nn.ModuleList(nn.Conv2d(size, num_classes, 1) for size in sizes)

    @property
    def radius(self) -> int:
        """How far the logits can see beyond a latent, in pixels, at most."""
        reach, furthest = 0, 0
        for i, first in enumerate(self.first):
            fine, rising = (
                len(self.first) - 1 - i,
                sum(isinstance(layer, nn.Upsample) for layer in self.rise[i].children()),
            )
            own = convolutions_of(first) * 2 ** (fine + rising) + sum(3 * 2**s for s in range(fine, fine + rising))
            merged = convolutions_of(self.merge[i - 1]) * 2**fine if i else 0
            reach = max(own, reach + 2 ** (fine + 1)) + merged
            furthest = max(furthest, reach + 2**fine)
        return furthest

    def forward(self, latents: Sequence[torch.Tensor]) -> list[Logits]:
        """Give the logits after every level, coarsest first, all of the size of the padded image."""
        x = latents[0]
        outputs: list[Logits] = []
        for i, z in enumerate(latents):
            own = self.rise[i](self.first[i](z))
            x = self.merge[i - 1](torch.cat([own, _doubled(x)], dim=1)) if i else own
            logits = F.interpolate(self.heads[i](x).float(), scale_factor=2 ** (len(latents) - 1 - i), mode="nearest")
            outputs.append(outputs[-1] + logits if outputs else logits)
        return outputs


@final
class PHiSeg(SegmentationModel):
    """A ladder of latents from the image, one from image and label, and a decoder that sees latents only.

    Args:
        in_channels: channels of the image.
        num_classes: classes K.
        channels: channels of each scale, finest first.
        convolutions: 3x3 convolutions at each scale of the encoders.
        latent_dims: channels of the latents, coarsest scale first (paper: 2 at each of five of seven scales).
        objective: ``ELBO(beta)`` (paper: beta 1), or ``GECO(target)``.

    Raises:
        InputError: no latents, or as many levels as scales.
    """

    def __init__(
        self,
        in_channels: int = 1,
        num_classes: int = 2,
        channels: Sequence[int] = (32, 64, 128, 192, 192, 192, 192),
        convolutions: int = 3,
        latent_dims: Sequence[int] = (2, 2, 2, 2, 2),
        objective: ELBO | GECO = ELBO(),
    ) -> None:
        super().__init__()
        check_levels(latent_dims, len(channels) - 1)
        self.in_channels, self.num_classes = in_channels, num_classes
        self.level_weights = [4.0**level for level in reversed(range(len(latent_dims)))]
        self.prior = LatentLadder(in_channels, channels, latent_dims, convolutions)
        self.posterior = LatentLadder(in_channels + num_classes, channels, latent_dims, convolutions)
        self.likelihood = Likelihood(num_classes, channels, latent_dims)
        self.apply(initialise)
        self.objective = objective.module()

    @property
    def view(self) -> View:
        """That of the ladder, and that of the likelihood beyond it; see the base class."""
        ladder = view_of(self.prior.encoder, self.prior.latents.blocks)
        return View(ladder.coarsest, ladder.radius + self.likelihood.radius)

    def parts(self, image: Image, corner: tuple[int, int] = (0, 0)) -> Parts:
        """The encoder runs once; a hypothesis is a run of the ladder and of the likelihood. See the base class."""
        height, width = image.shape[-2:]
        scales: list[torch.Tensor] = []

        def descend(choose: Choose) -> list[Logits]:
            if not scales:
                scales.extend(self.prior.encode(image))
            latents: list[torch.Tensor] = []

            def keep(level: int, prior: Normal) -> torch.Tensor:
                latents.append(choose(level, prior))
                return latents[-1]

            self.prior.latents(scales, keep)
            outputs = self.likelihood([z.to(scales[0].dtype) for z in latents])
            return [logits[..., :height, :width] for logits in outputs]

        def infer(label: Label) -> Callable[[Choose], torch.Tensor]:
            seen = torch.cat([image, centred(label, self.num_classes, image)], dim=1)
            return partial(self.posterior.latents, self.posterior.encode(seen))

        def decode(variables: torch.Tensor) -> Logits:
            return descend(choice(variables, self.prior.encoder.multiple, corner))[-1]

        levels = Levels(descend, infer)
        return Parts(lambda: Seeds(len(image), image.device, levels), lambda: Network(decode))

    def loss(self, image: Image, label: Label, generator: torch.Generator | None = None) -> Loss:
        """Cross-entropy of the logits after every level, and beta sum_l 4^l KL_l, l = 0 the finest level.

        A level of 4 times fewer latents counts 4 times as much. See the base class.
        """
        distribution = self.forward(image)
        return evidence_bound(distribution, label, self.objective, All(), generator, self.level_weights)


def _doubled(x: torch.Tensor) -> torch.Tensor:
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)
