"""The deterministic U-Net: one hypothesis, the baseline of every comparison (paper, section 4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import nn

from probunet.core.types import Image, Label, Logits
from probunet.distributions.mixture import Members
from probunet.models.base import Parts, SegmentationModel
from probunet.nets.decode import MemberMaps
from probunet.nets.tiling import View, view_of
from probunet.nets.unet import FeatureUNet, block_with, initialise
from probunet.objectives.loss import Loss


@final
class UNet(SegmentationModel):
    """A U-Net with a 1x1 convolution to class logits, trained with cross-entropy.

    Args:
        in_channels: channels of the image.
        num_classes: classes K.
        channels: channels of each scale, finest first.
        convolutions: 3x3 convolutions at each scale.
        batch_norm: batch normalisation behind every 3x3 convolution (paper: none).
    """

    def __init__(
        self,
        in_channels: int = 1,
        num_classes: int = 2,
        channels: Sequence[int] = (32, 64, 128, 192, 192),
        convolutions: int = 3,
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        self.in_channels, self.num_classes = in_channels, num_classes
        self.unet = FeatureUNet(in_channels, channels, convolutions, block_with(batch_norm))
        self.head = nn.Conv2d(self.unet.out_channels, num_classes, 1)
        self.head.apply(initialise)

    @property
    def view(self) -> View:
        """See the base class."""
        return view_of(self.unet.encoder, self.unet.decoder)

    def parts(self, image: Image, corner: tuple[int, int] = (0, 0)) -> Parts:
        """A mixture of one; see the base class."""
        return Parts(lambda: Members(1, len(image), image.device), lambda: MemberMaps(self.logits(image)[None]))

    def logits(self, image: Image) -> Logits:
        """Give the logits (B, K, H, W) float32 of images (B, C, H, W)."""
        return self.head(self.unet(image)).float()

    def loss(self, image: Image, label: Label, generator: torch.Generator | None = None) -> Loss:
        """Cross-entropy summed over pixels, averaged over the batch; see the base class."""
        distribution = self.forward(image)
        total = -distribution.log_prob(label).mean()
        return Loss(total, {"reconstruction": total.detach()}, distribution)
