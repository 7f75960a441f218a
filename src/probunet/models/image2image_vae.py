"""The Image2Image VAE: z enters with the image, the prior knows nothing of it (Zhu et al. 2017; paper, section 4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch.distributions import Independent

from probunet.core.types import Image, Label
from probunet.distributions.latent import Normals
from probunet.models.base import Parts, SegmentationModel
from probunet.nets.blocks import block_with, pointwise
from probunet.nets.decode import Network
from probunet.nets.gaussian import GaussianNet, standard_normal
from probunet.nets.labels import centred, with_latent
from probunet.nets.layers import initialise
from probunet.nets.receptive_field import ReceptiveField, receptive_field_of
from probunet.nets.scales import Dims, make_scales
from probunet.nets.unet import FeatureUNet
from probunet.objectives.elbo import ELBO, evidence_bound
from probunet.objectives.geco import GECO
from probunet.objectives.loss import Loss
from probunet.objectives.pixels import All


@final
class Image2ImageVAE(SegmentationModel):
    """A U-Net on image and broadcast z, prior N(0, I), posterior on the label alone.

    Every hypothesis costs one run of the whole U-Net.

    Args:
        in_channels: channels of the image.
        num_classes: classes K.
        channels: channels of each scale of the U-Net and the posterior net, finest first.
        latent_dims: dimensions D of the latent space.
        convolutions: at each scale, 3x3 or 3x3x3.
        objective: ``ELBO(beta)`` (paper: beta 1), or ``GECO(target)``.
        batch_norm: batch normalisation behind every such convolution (paper: none).
        dims: axes of an image: 2, or 3 for volumes.
        spacing: mm between voxels along every axis (D, H, W), which says where an axis is pooled, see
            ``probunet.nets.scales``; as long along all of them if not given.
    """

    def __init__(
        self,
        in_channels: int = 1,
        num_classes: int = 2,
        channels: Sequence[int] = (32, 64, 128, 192, 192),
        latent_dims: int = 6,
        convolutions: int = 3,
        objective: ELBO | GECO = ELBO(),
        batch_norm: bool = False,
        dims: Dims = 2,
        spacing: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.in_channels, self.num_classes = in_channels, num_classes
        self.latent_dims, self.objective = latent_dims, objective.module()
        scales = make_scales(channels, convolutions, dims, spacing, block_with(batch_norm))
        self.unet = FeatureUNet(in_channels + latent_dims, scales)
        self.head = pointwise(self.unet.out_channels, num_classes, dims)
        self.head.apply(initialise)
        self.posterior = GaussianNet(num_classes, scales, latent_dims)

    @property
    def receptive_field(self) -> ReceptiveField:
        """See the base class."""
        return receptive_field_of(self.unet.encoder, self.unet.decoder)

    def parts(self, image: Image, corner: tuple[int, ...]) -> Parts:
        """Nothing runs before it is sampled; see the base class."""

        def posterior(label: Label) -> Independent:
            return self.posterior(centred(label, self.num_classes, image))

        return Parts(
            lambda: Normals(standard_normal(len(image), self.latent_dims, image.device), posterior),
            lambda: Network(lambda z: self.head(self.unet(with_latent(image, z)))),
        )

    def loss(self, image: Image, label: Label, generator: torch.Generator | None = None) -> Loss:
        """Cross-entropy summed over pixels plus beta KL summed over latents, both batch averages."""
        return evidence_bound(self.forward(image), label, self.objective, All(), generator)
