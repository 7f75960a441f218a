"""The Hierarchical Probabilistic U-Net: latents at several scales of the decoder (Kohl et al. 2019)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import final

import torch

from probunet.core.errors import InputError
from probunet.core.types import Image, Label, Logits
from probunet.distributions.base import SegmentationDistribution
from probunet.distributions.hierarchical import Levels, fields_of
from probunet.models.base import Parts, SegmentationModel
from probunet.nets.blocks import pointwise, residual_block_with
from probunet.nets.decode import Network
from probunet.nets.labels import centred
from probunet.nets.latent_decoder import Choose, LatentDecoder, choice
from probunet.nets.layers import cut, initialise
from probunet.nets.readers import persons_of, readers_and_rest
from probunet.nets.receptive_field import ReceptiveField, receptive_field_of
from probunet.nets.scales import Dims, make_scales
from probunet.nets.unet import Encoder
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
        convolutions: at each scale, 3x3 or 3x3x3.
        latent_dims: channels of the latent maps, coarsest scale first (paper: 1 at each of four scales).
        objective: ``ELBO(beta)``, or ``GECO(target)`` (paper: target 0.05).
        pixels: that the reconstruction counts, ``All()`` or ``TopK(share)`` (paper: 0.02).
        batch_norm: batch normalisation behind every such convolution (paper: none).
        dims: axes of an image: 2, or 3 for volumes.
        spacing: mm between voxels along every axis (D, H, W), which says where an axis is pooled, see
            ``probunet.nets.scales``; as long along all of them if not given.
        reader_names: of the persons who drew the labels, in the order of the store (paper: unknown). Each of them then
            has a prior of the latents of every level, and P(Y | X) is their mixture.
        shares: of the readings that each reader drew; equal ones if not given.

    Raises:
        InputError: no latents or as many levels as scales, or shares or names of readers without meaning.
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
        batch_norm: bool = False,
        dims: Dims = 2,
        spacing: Sequence[float] | None = None,
        reader_names: Sequence[str] = (),
        shares: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        check_levels(latent_dims, len(channels) - 1)
        self.in_channels, self.num_classes, self.pixels = in_channels, num_classes, pixels
        scales = make_scales(channels, convolutions, dims, spacing, residual_block_with(batch_norm))
        self.encoder = Encoder(in_channels, scales)
        self.decoder = LatentDecoder(scales, latent_dims)
        self.head = pointwise(channels[0], num_classes, dims)
        self.posterior_encoder = Encoder(in_channels + num_classes, scales)
        self.posterior_decoder = LatentDecoder(scales, latent_dims, to_the_end=False)
        self.apply(initialise)
        self.reader_names = tuple(reader_names)
        self.persons = persons_of(reader_names, shares, *self.decoder.changed, dims)
        self.objective = objective.module()

    @property
    def receptive_field(self) -> ReceptiveField:
        """See the base class."""
        return receptive_field_of(self.encoder, self.decoder.blocks)

    def parts(self, image: Image, corner: tuple[int, ...]) -> Parts:
        """The encoder runs once; every hypothesis is a run of the decoder. See the base class."""
        maps: list[torch.Tensor] = []

        def descend(choose: Choose, readers: torch.Tensor | None) -> list[Logits]:
            if not maps:
                maps.extend(self.encoder(image))
            features = self.decoder(maps, choose, self.persons.of(readers) if self.persons else None)
            return [cut(self.head(features).float(), image.shape[2:])]

        def infer(label: Label) -> Callable[[Choose], torch.Tensor]:
            seen = torch.cat([image, centred(label, self.num_classes, image)], dim=1)
            return partial(self.posterior_decoder, self.posterior_encoder(seen))

        def decode(variables: torch.Tensor) -> Logits:
            readers, rest = readers_and_rest(variables)
            return descend(choice(rest, self.encoder.scales, corner), readers)[-1]

        return Parts(lambda: fields_of(image, self.persons, Levels(descend, infer)), lambda: Network(decode))

    def loss_under(
        self, distribution: SegmentationDistribution, label: Label, generator: torch.Generator | None = None
    ) -> Loss:
        """Cross-entropy of the pixels that count, under a constraint or beside beta KL; see the base class."""
        return evidence_bound(distribution, label, self.objective, self.pixels, generator)


def check_levels(latent_dims: Sequence[int], most: int) -> None:
    """Refuse latents that have no scale to be at.

    Raises:
        InputError: more than ``most`` levels.
    """
    if len(latent_dims) > most:
        raise InputError(
            f"latent_dims={list(latent_dims)} does not fit the scales; give at most {most} levels, or more channels"
        )
