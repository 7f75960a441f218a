"""``model(image)`` is a probability distribution over segmentations: the interface of every model.

Both classes are abstract; a new model is one file with one class of each kind.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from typing import Any, Protocol, Self, runtime_checkable

import torch
from torch import nn

from probunet.core.errors import InputError
from probunet.core.types import IGNORE, Image, Label
from probunet.distributions.base import SegmentationDistribution
from probunet.nets.unet import MINIMUM_SIZE
from probunet.objectives.loss import Loss


@runtime_checkable
class LearnsFromReaders(Protocol):
    """A model with an objective for all readers of an image together, which is taken where there are several."""

    def loss_of_readers(self, image: Image, labels: torch.Tensor, generator: torch.Generator | None = None) -> Loss:
        """Give the training objective.

        Args:
            image: (B, C, H, W) float32.
            labels: (B, R, H, W) class ids or ``IGNORE``; of a reader who did not look at an image, ``IGNORE`` alone.
            generator: source of randomness, on the device of the model.

        Raises:
            InputError: as of ``SegmentationModel.loss``.
        """
        ...


class SegmentationModel(nn.Module, ABC):
    """A network from images to distributions over segmentations.

    Attributes:
        in_channels: channels of the image.
        num_classes: classes K.
        arguments: what the constructor was called with, so that a saved model can be made again.
    """

    in_channels: int
    num_classes: int
    arguments: dict[str, Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Note the arguments; making the network is left to the class."""
        model = super().__new__(cls)
        bound = inspect.signature(cls.__init__).bind_partial(model, *args, **kwargs)
        object.__setattr__(model, "arguments", dict(list(bound.arguments.items())[1:]))
        return model

    @abstractmethod
    def forward(self, image: Image) -> SegmentationDistribution:
        """Give the distribution over segmentations of every image.

        Args:
            image: (B, C, H, W) float32; any size from 16x16 up.

        Raises:
            InputError: wrong shape or channels, too small, or not finite.
        """

    @abstractmethod
    def loss(self, image: Image, label: Label, generator: torch.Generator | None = None) -> Loss:
        """Give the training objective for one reader's label of every image.

        Args:
            image: (B, C, H, W) float32.
            label: (B, H, W) class ids or ``IGNORE``.
            generator: source of randomness, on the device of the model.

        Raises:
            InputError: as in :meth:`forward`, or a label out of range.
        """


def check_image(image: Image, in_channels: int) -> None:
    """Refuse what cannot be segmented.

    Raises:
        InputError: not (B, C, H, W), wrong number of channels, smaller than 16x16, integer, or not finite.
    """
    if image.ndim != 4 or image.shape[1] != in_channels:
        raise InputError(
            f"an image batch of shape {tuple(image.shape)} does not fit a model with {in_channels} input "
            f"channel(s); give (batch, {in_channels}, height, width)"
        )
    if min(image.shape[-2:]) < MINIMUM_SIZE:
        raise InputError(
            f"an image of {image.shape[-2]}x{image.shape[-1]} px is too small; "
            f"give at least {MINIMUM_SIZE}x{MINIMUM_SIZE} px"
        )
    if not image.is_floating_point():
        raise InputError(f"an image batch of type {image.dtype} is not floating point; convert it first")
    if not torch.isfinite(image).all():
        bad = int((~torch.isfinite(image)).sum())
        raise InputError(f"the image holds {bad} values that are NaN or infinite; clean the image first")


def check_label(label: Label, image: Image, num_classes: int) -> None:
    """Refuse labels that do not fit the image or name a class that does not exist.

    Raises:
        InputError: wrong shape, or a value that is neither a class id nor ``IGNORE``.
    """
    if label.shape != (image.shape[0], *image.shape[-2:]):
        raise InputError(
            f"a label batch of shape {tuple(label.shape)} does not fit an image batch of shape "
            f"{tuple(image.shape)}; give (batch, height, width)"
        )
    wrong = ((label < 0) | (label >= num_classes)) & (label != IGNORE)
    if wrong.any():
        raise InputError(
            f"label value {int(label[wrong][0])} is out of range; use 0 to {num_classes - 1}, "
            f"or {IGNORE} for pixels to ignore"
        )
