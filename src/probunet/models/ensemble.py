"""The U-Net Ensemble: independently trained U-Nets, one hypothesis each (Lakshminarayanan et al. 2017; section 4)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import nn

from probunet.core.errors import InputError
from probunet.core.types import Image, Label
from probunet.distributions.mixture import Members
from probunet.models.base import Parts, SegmentationModel
from probunet.models.unet import UNet
from probunet.nets.decode import MemberMaps
from probunet.nets.receptive_field import ReceptiveField
from probunet.nets.scales import Dims
from probunet.objectives.loss import Loss


@final
class Ensemble(SegmentationModel):
    """M U-Nets of the same form, from different initial weights and batches.

    ``probunet train`` trains every member in a run directory of its own and puts them together here, see
    ``probunet.training.members``.

    Args:
        in_channels: channels of the image.
        num_classes: classes K.
        channels: channels of each scale, finest first.
        convolutions: at each scale, 3x3 or 3x3x3.
        members: how many U-Nets M.
        batch_norm: batch normalisation behind every such convolution (paper: none).
        dims: axes of an image: 2, or 3 for volumes.
        spacing: mm between voxels along every axis (D, H, W), which says where an axis is pooled, see
            ``probunet.nets.scales``; as long along all of them if not given.

    Raises:
        InputError: fewer than one member.
    """

    def __init__(
        self,
        in_channels: int = 1,
        num_classes: int = 2,
        channels: Sequence[int] = (32, 64, 128, 192, 192),
        convolutions: int = 3,
        members: int = 4,
        batch_norm: bool = False,
        dims: Dims = 2,
        spacing: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        if members < 1:
            raise InputError(f"an ensemble of {members} members has nothing to say; give at least 1")
        self.in_channels, self.num_classes = in_channels, num_classes
        self.members: Sequence[UNet] = nn.ModuleList(  # type: ignore[assignment]
            UNet(in_channels, num_classes, channels, convolutions, batch_norm, dims, spacing) for _ in range(members)
        )

    @property
    def receptive_field(self) -> ReceptiveField:
        """See the base class."""
        return self.members[0].receptive_field

    def parts(self, image: Image, corner: tuple[int, ...]) -> Parts:
        """Every member runs once; see the base class."""
        return Parts(
            lambda: Members(len(self.members), len(image), image.device),
            lambda: MemberMaps(torch.stack([member.logits(image) for member in self.members])),
        )

    def loss(self, image: Image, label: Label, generator: torch.Generator | None = None) -> Loss:
        """Sum of the members' own losses: no gradient flows between members. See the base class."""
        losses = torch.stack([member.loss(image, label, generator).total for member in self.members])
        return Loss(losses.sum(), {"reconstruction": losses.detach().mean()})
