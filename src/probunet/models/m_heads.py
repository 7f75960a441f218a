"""M-Heads: one U-Net with M output layers, of which the best one learns (Rupprecht et al. 2017; paper, section 4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import nn

from probunet.core.errors import InputError
from probunet.core.types import Image, Label
from probunet.distributions.mixture import Members
from probunet.distributions.references import check_label, cross_entropy
from probunet.models.base import Parts, SegmentationModel, label_shape
from probunet.nets.blocks import block_with, pointwise
from probunet.nets.decode import MemberMaps
from probunet.nets.layers import initialise
from probunet.nets.receptive_field import ReceptiveField, receptive_field_of
from probunet.nets.scales import Dims, make_scales
from probunet.nets.unet import FeatureUNet
from probunet.objectives.loss import Loss


@final
class MHeads(SegmentationModel):
    """A U-Net with M 1x1 convolutions to class logits; for every image the best head gets most of the gradient.

    Args:
        in_channels: channels of the image.
        num_classes: classes K.
        channels: channels of each scale, finest first.
        convolutions: at each scale, 3x3 or 3x3x3.
        heads: how many heads M (paper: 4, 8, 16).
        epsilon: weight that the heads other than the best share (paper: 0.05); keeps unused heads alive.
        batch_norm: batch normalisation behind every such convolution (paper: none).
        dims: axes of an image: 2, or 3 for volumes.
        spacing: mm between voxels along every axis (D, H, W), which says where an axis is pooled, see
            ``probunet.nets.scales``; as long along all of them if not given.

    Raises:
        InputError: fewer than two heads, or an epsilon outside [0, 1].
    """

    def __init__(
        self,
        in_channels: int = 1,
        num_classes: int = 2,
        channels: Sequence[int] = (32, 64, 128, 192, 192),
        convolutions: int = 3,
        heads: int = 4,
        epsilon: float = 0.05,
        batch_norm: bool = False,
        dims: Dims = 2,
        spacing: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        if heads < 2 or not 0 <= epsilon <= 1:
            raise InputError(
                f"M-Heads needs at least 2 heads and an epsilon from 0 to 1, got {heads} and {epsilon}; "
                "the paper uses 4, 8 or 16 and 0.05"
            )
        self.in_channels, self.num_classes, self.epsilon = in_channels, num_classes, epsilon
        self.unet = FeatureUNet(in_channels, make_scales(channels, convolutions, dims, spacing, block_with(batch_norm)))
        self.heads = nn.ModuleList(pointwise(self.unet.out_channels, num_classes, dims) for _ in range(heads))
        self.heads.apply(initialise)

    @property
    def receptive_field(self) -> ReceptiveField:
        """See the base class."""
        return receptive_field_of(self.unet.encoder, self.unet.decoder)

    def parts(self, image: Image, corner: tuple[int, ...]) -> Parts:
        """The U-Net runs once, and every head on its features; see the base class."""

        def decode() -> MemberMaps:
            features = self.unet(image)
            return MemberMaps(torch.stack([head(features).float() for head in self.heads]))

        return Parts(lambda: Members(len(self.heads), len(image), image.device), decode)

    def loss(self, image: Image, label: Label, generator: torch.Generator | None = None) -> Loss:
        """(1 - epsilon) of the best head's cross-entropy, epsilon / (M - 1) of each other's; see the base class.

        The best head is chosen image by image; cross-entropy is summed over pixels, averaged over the batch.
        """
        check_label(label, label_shape(image), self.num_classes)
        distribution = self.forward(image)
        losses = torch.stack([cross_entropy(logits, label) for logits in distribution.strata()[0]])
        best = losses.min(dim=0).values
        share = self.epsilon / (len(self.heads) - 1)
        total = ((1 - self.epsilon - share) * best + share * losses.sum(dim=0)).mean()
        used = losses.argmin(dim=0).unique().numel()
        terms = {"reconstruction": best.mean().detach(), "heads_used": torch.tensor(float(used))}
        return Loss(total, terms, distribution)
