"""The Dropout U-Net: hypotheses from dropout that stays active (Kendall et al. 2015; paper, section 4)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import final

import torch

from probunet.core.errors import InputError
from probunet.core.types import Image, Label, Logits
from probunet.distributions.hierarchical import Seeds
from probunet.models.base import Parts, SegmentationModel
from probunet.nets.blocks import block_with, pointwise
from probunet.nets.decode import Network
from probunet.nets.fields import normal_field
from probunet.nets.layers import initialise
from probunet.nets.receptive_field import ReceptiveField, receptive_field_of
from probunet.nets.scales import Dims, make_scales
from probunet.nets.unet import FeatureUNet
from probunet.objectives.loss import Loss


@final
class DropoutUNet(SegmentationModel):
    """A U-Net with dropout at the inputs of the three innermost encoder and decoder blocks.

    Dropout is active in training and in sampling, whatever the mode of the module.

    Args:
        in_channels: channels of the image.
        num_classes: classes K.
        channels: channels of each scale, finest first.
        convolutions: at each scale, 3x3 or 3x3x3.
        probability: of a value to be dropped (paper: 0.5).
        batch_norm: batch normalisation behind every such convolution (paper: none).
        dims: axes of an image: 2, or 3 for volumes.
        spacing: mm between voxels along every axis (D, H, W), which says where an axis is pooled, see
            ``probunet.nets.scales``; as long along all of them if not given.

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
        dims: Dims = 2,
        spacing: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        if not 0 <= probability < 1:
            raise InputError(f"a dropout probability of {probability} is not in [0, 1); the paper uses 0.5")
        self.in_channels, self.num_classes, self.probability = in_channels, num_classes, probability
        self.unet = FeatureUNet(in_channels, make_scales(channels, convolutions, dims, spacing, block_with(batch_norm)))
        self.head = pointwise(self.unet.out_channels, num_classes, dims)
        self.head.apply(initialise)
        self._threshold = NormalDist().inv_cdf(probability) if probability else -math.inf

    @property
    def receptive_field(self) -> ReceptiveField:
        """See the base class."""
        return receptive_field_of(self.unet.encoder, self.unet.decoder)

    def parts(self, image: Image, corner: tuple[int, ...]) -> Parts:
        """A seed is one random field of masks; every hypothesis is one run of the network. See the base class."""

        def decode(seeds: torch.Tensor) -> Logits:
            def drop(x: torch.Tensor, block: int, scale: int) -> torch.Tensor:
                at = self.unet.encoder.scales.place(corner, scale)
                field = normal_field(seeds, block, x.shape[1], x.shape[2:], at)
                return x * (field >= self._threshold) / (1 - self.probability)

            return self.head(self.unet(image, drop)).float()

        return Parts(lambda: Seeds(len(image), image.device), lambda: Network(decode))

    def loss(self, image: Image, label: Label, generator: torch.Generator | None = None) -> Loss:
        """Cross-entropy under one random mask, summed over pixels, averaged over the batch; see the base class."""
        total = -self.forward(image).log_prob(label, 1, generator).mean()
        return Loss(total, {"reconstruction": total.detach()})
