"""A model of a user's own, outside of the package."""

from dataclasses import dataclass

import torch

import probunet as pu
from probunet.models.base import Parts
from probunet.nets.receptive_field import ReceptiveField
from probunet.objectives.loss import Loss


@dataclass(frozen=True)
class Shape:
    size: int = 1
    wide: bool = False


class Wrapped(pu.SegmentationModel):
    """A small U-Net under another name."""

    def __init__(self, in_channels: int = 1, num_classes: int = 2, shape: Shape = Shape(4)) -> None:
        super().__init__()
        self.in_channels, self.num_classes, self.shape = in_channels, num_classes, shape
        self.unet = pu.UNet(in_channels, num_classes, (shape.size, shape.size), convolutions=1)

    def parts(self, image: torch.Tensor, corner: tuple[int, ...]) -> Parts:
        return self.unet.parts(image, corner)

    @property
    def receptive_field(self) -> ReceptiveField:
        return self.unet.receptive_field

    def loss(self, image: torch.Tensor, label: torch.Tensor, generator: torch.Generator | None = None) -> Loss:
        return self.unet.loss(image, label, generator)
