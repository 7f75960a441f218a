"""PHiSeg: latents at several scales, of which alone the segmentation is decoded (Baumgartner et al. 2019)."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import final

import torch
from torch import nn
from torch.distributions import Normal
from torch.nn import functional as F

from probunet.core.types import Image, Label, Logits
from probunet.distributions.base import SegmentationDistribution
from probunet.distributions.hierarchical import Levels, fields_of
from probunet.models.base import Parts, SegmentationModel
from probunet.models.hierarchical_probabilistic_unet import check_levels
from probunet.nets.blocks import block_with, kernels_of, pointwise
from probunet.nets.decode import Network
from probunet.nets.labels import centred
from probunet.nets.latent_decoder import Choose, LatentDecoder, choice
from probunet.nets.layers import LINEAR, cut, initialise, upsample
from probunet.nets.readers import persons_of, readers_and_rest
from probunet.nets.receptive_field import ReceptiveField, reach_of, receptive_field_of
from probunet.nets.scales import Dims, Scales, make_scales
from probunet.nets.unet import Encoder
from probunet.objectives.elbo import ELBO, evidence_bound
from probunet.objectives.geco import GECO
from probunet.objectives.loss import Loss
from probunet.objectives.pixels import All

CONVOLUTIONS = 2
"""Convolutions between latents, and behind them."""


class LatentLadder(nn.Module):
    """An encoder, and latents at its coarsest scales of which each sees the next coarser one, but not its features.

    Args:
        in_channels: channels of the input (image, or image and one-hot label).
        scales: form of the encoder.
        latent_dims: channels of the latents, coarsest level first.
    """

    def __init__(self, in_channels: int, scales: Scales, latent_dims: Sequence[int]) -> None:
        super().__init__()
        self.encoder = Encoder(in_channels, scales)
        between = replace(scales, convolutions=CONVOLUTIONS)
        self.latents = LatentDecoder(between, latent_dims, to_the_end=False, carry_features=False)


class Likelihood(nn.Module):
    """From the latents of all levels to logits: every level adds its own to those of the coarser ones.

    Args:
        num_classes: classes K.
        scales: those of the ladder.
        latent_dims: channels of the latents, coarsest level first.
    """

    def __init__(self, num_classes: int, scales: Scales, latent_dims: Sequence[int]) -> None:
        super().__init__()
        self.scales, self.rising = scales, len(scales) - len(latent_dims)
        sizes = scales.channels[: len(latent_dims)][::-1]
        fine = range(len(latent_dims) - 1, -1, -1)  # the scale that a level ends at
        kernels = scales.kernels
        self.first = nn.ModuleList(
            scales.block(d, size, CONVOLUTIONS, kernels[scale + self.rising])
            for d, size, scale in zip(latent_dims, sizes, fine, strict=True)
        )
        self.rise = nn.ModuleList(
            nn.Sequential(*self._rise(size, scale)) for size, scale in zip(sizes, fine, strict=True)
        )
        self.merge = nn.ModuleList(
            scales.block(size + coarser, size, CONVOLUTIONS, kernels[scale])
            for (coarser, size), scale in zip(itertools.pairwise(sizes), fine[1:], strict=True)
        )
        self.heads = nn.ModuleList(pointwise(size, num_classes, scales.dims) for size in sizes)

    def _rise(self, size: int, fine: int) -> Iterator[nn.Module]:
        for scale in range(fine + self.rising - 1, fine - 1, -1):
            yield nn.Upsample(scale_factor=tuple(map(float, self.scales.strides[scale])), mode=LINEAR[self.scales.dims])
            yield self.scales.block(size, size, 1, self.scales.kernels[scale])

    def radius(self, axis: int) -> int:
        """How far the logits can see beyond a latent along an axis, in voxels, at most."""
        reach, furthest = 0, 0
        sides = [self.scales.factor(scale)[axis] for scale in range(len(self.scales))]
        for i, first in enumerate(self.first):
            fine = len(self.first) - 1 - i
            own = reach_of(kernels_of(first), axis) * sides[fine + self.rising]
            own += sum(3 * side for side in sides[fine : fine + self.rising])
            merged = reach_of(kernels_of(self.merge[i - 1]), axis) * sides[fine] if i else 0
            reach = max(own, reach + sides[fine + 1]) + merged
            furthest = max(furthest, reach + sides[fine])
        return furthest

    def forward(self, latents: Sequence[torch.Tensor]) -> list[Logits]:
        """Give the logits after every level, coarsest first, all of the size of the padded image."""
        x = latents[0]
        outputs: list[Logits] = []
        for i, z in enumerate(latents):
            own = self.rise[i](self.first[i](z))
            fine = len(latents) - 1 - i
            x = self.merge[i - 1](torch.cat([own, upsample(x, self.scales.strides[fine])], dim=1)) if i else own
            factor = tuple(map(float, self.scales.factor(fine)))
            logits = F.interpolate(self.heads[i](x).float(), scale_factor=factor, mode="nearest")
            outputs.append(outputs[-1] + logits if outputs else logits)
        return outputs


@final
class PHiSeg(SegmentationModel):
    """A ladder of latents from the image, one from image and label, and a decoder that sees latents only.

    Args:
        in_channels: channels of the image.
        num_classes: classes K.
        channels: channels of each scale, finest first.
        convolutions: at each scale, 3x3 or 3x3x3 of the encoders.
        latent_dims: channels of the latents, coarsest scale first (paper: 2 at each of five of seven scales).
        objective: ``ELBO(beta)`` (paper: beta 1), or ``GECO(target)``.
        batch_norm: batch normalisation behind every such convolution, and those between latents and behind them (the
            authors' code has it, the paper does not say so).
        dims: axes of an image: 2, or 3 for volumes.
        spacing: mm between voxels along every axis (D, H, W), which says where an axis is pooled, see
            ``probunet.nets.scales``; as long along all of them if not given.
        reader_names: of the persons who drew the labels, in the order of the store (paper: unknown). Each of them then
            has a prior of the latents of every level, and P(Y | X) is their mixture.
        shares: of the readings that each reader drew; equal ones if not given.

    Raises:
        InputError: no latents, or as many levels as scales, or shares or names of readers without meaning.
    """

    def __init__(
        self,
        in_channels: int = 1,
        num_classes: int = 2,
        channels: Sequence[int] = (32, 64, 128, 192, 192, 192, 192),
        convolutions: int = 3,
        latent_dims: Sequence[int] = (2, 2, 2, 2, 2),
        objective: ELBO | GECO = ELBO(),
        batch_norm: bool = False,
        dims: Dims = 2,
        spacing: Sequence[float] | None = None,
        reader_names: Sequence[str] = (),
        shares: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        check_levels(latent_dims, len(channels) - 1)
        self.in_channels, self.num_classes = in_channels, num_classes
        scales = make_scales(channels, convolutions, dims, spacing, block_with(batch_norm))
        self.level_weights = [float(math.prod(scales.factor(level))) for level in reversed(range(len(latent_dims)))]
        self.prior = LatentLadder(in_channels, scales, latent_dims)
        self.posterior = LatentLadder(in_channels + num_classes, scales, latent_dims)
        self.likelihood = Likelihood(num_classes, scales, latent_dims)
        self.apply(initialise)
        self.reader_names = tuple(reader_names)
        self.persons = persons_of(reader_names, shares, *self.prior.latents.changed, dims)
        self.objective = objective.module()

    @property
    def receptive_field(self) -> ReceptiveField:
        """That of the ladder, and that of the likelihood beyond it; see the base class."""
        ladder = receptive_field_of(self.prior.encoder, self.prior.latents.blocks)
        beyond = [radius + self.likelihood.radius(axis) for axis, radius in enumerate(ladder.radius)]
        return ReceptiveField(ladder.coarsest, tuple(beyond))

    def parts(self, image: Image, corner: tuple[int, ...]) -> Parts:
        """The encoder runs once; a hypothesis is a run of the ladder and of the likelihood. See the base class."""
        maps: list[torch.Tensor] = []

        def descend(choose: Choose, readers: torch.Tensor | None) -> list[Logits]:
            if not maps:
                maps.extend(self.prior.encoder(image))
            latents: list[torch.Tensor] = []

            def keep(level: int, prior: Normal) -> torch.Tensor:
                latents.append(choose(level, prior))
                return latents[-1]

            self.prior.latents(maps, keep, self.persons.of(readers) if self.persons else None)
            outputs = self.likelihood([z.to(maps[0].dtype) for z in latents])
            return [cut(logits, image.shape[2:]) for logits in outputs]

        def infer(label: Label) -> Callable[[Choose], torch.Tensor]:
            seen = torch.cat([image, centred(label, self.num_classes, image)], dim=1)
            return partial(self.posterior.latents, self.posterior.encoder(seen))

        def decode(variables: torch.Tensor) -> Logits:
            readers, rest = readers_and_rest(variables)
            return descend(choice(rest, self.prior.encoder.scales, corner), readers)[-1]

        return Parts(lambda: fields_of(image, self.persons, Levels(descend, infer)), lambda: Network(decode))

    def loss_under(
        self, distribution: SegmentationDistribution, label: Label, generator: torch.Generator | None = None
    ) -> Loss:
        """Cross-entropy of the logits after every level, and beta sum_l 4^l KL_l, l = 0 the finest level.

        A level of 4 times fewer latents counts 4 times as much, one of 8 times fewer 8 times. See the base class.
        """
        return evidence_bound(distribution, label, self.objective, All(), generator, self.level_weights)
