"""The deterministic U-Net: one hypothesis, the baseline of every comparison (paper, section 4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch

from probunet.core.types import Image, Label, Logits
from probunet.distributions.mixture import Members
from probunet.models.base import Parts, SegmentationModel
from probunet.nets.blocks import block_with, pointwise
from probunet.nets.decode import MemberMaps
from probunet.nets.layers import initialise
from probunet.nets.receptive_field import ReceptiveField, receptive_field_of
from probunet.nets.scales import Dims, make_scales
from probunet.nets.unet import FeatureUNet
from probunet.objectives.loss import Loss


@final
class UNet(SegmentationModel):
    """A U-Net with a 1x1 convolution to class logits, trained with cross-entropy.

    Args:
        in_channels: channels of the image.
        num_classes: classes K.
        channels: channels of each scale, finest first.
        convolutions: at each scale, 3x3 or 3x3x3.
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
        convolutions: int = 3,
        batch_norm: bool = False,
        dims: Dims = 2,
        spacing: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        self.in_channels, self.num_classes = in_channels, num_classes
        self.unet = FeatureUNet(in_channels, make_scales(channels, convolutions, dims, spacing, block_with(batch_norm)))
        self.head = pointwise(self.unet.out_channels, num_classes, dims)
        self.head.apply(initialise)

    @property
    def receptive_field(self) -> ReceptiveField:
        """See the base class."""
        return receptive_field_of(self.unet.encoder, self.unet.decoder)

    def parts(self, image: Image, corner: tuple[int, ...]) -> Parts:
        """A mixture of one; see the base class."""
        return Parts(lambda: Members(1, len(image), image.device), lambda: MemberMaps(self.logits(image)[None]))

    def logits(self, image: Image) -> Logits:
        """Give the logits (B, K, *size) float32 of images (B, C, *size)."""
        return self.head(self.unet(image)).float()

    def loss(self, image: Image, label: Label, generator: torch.Generator | None = None) -> Loss:
        """Cross-entropy summed over pixels, averaged over the batch; see the base class."""
        distribution = self.forward(image)
        total = -distribution.log_prob(label).mean()
        return Loss(total, {"reconstruction": total.detach()}, distribution)
