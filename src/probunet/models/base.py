"""``model(image)`` is a probability distribution over segmentations: the interface of every model.

Both classes are abstract; a new model is one file with one class of each kind.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, Self, runtime_checkable

import torch
from torch import nn
from torch.nn import functional as F

from probunet.errors import InputError
from probunet.types import IGNORE, Image, Label, Logits, Samples

MINIMUM_SIZE = 16
"""Smallest height and width of an image, in pixels."""


class SegmentationDistribution(ABC):
    """P(Y | X) for a batch of B images: what a model says about every plausible segmentation."""

    distinct: int | None
    """How many different hypotheses there are for an image; ``None`` where there is no limit."""

    @abstractmethod
    def sample(self, n: int, generator: torch.Generator | None = None) -> Samples:
        """Draw n hypotheses of every image.

        Args:
            n: how many.
            generator: source of randomness, on the device of the model.

        Returns:
            (n, B, H, W) uint8 class ids.
        """

    @abstractmethod
    def probabilities(self, samples: int = 64, generator: torch.Generator | None = None) -> torch.Tensor:
        """Pixel-wise marginal class probabilities, averaged over ``samples`` draws where they are not exact.

        Returns:
            (B, K, H, W), non-negative, summing to 1 over K.
        """

    @abstractmethod
    def log_prob(self, label: Label, samples: int = 64, generator: torch.Generator | None = None) -> torch.Tensor:
        """log P(Y | X), summed over the pixels whose label is not ignored.

        Args:
            label: (B, H, W) class ids or ``IGNORE``.
            samples: draws of the estimator, where one is needed.

        Returns:
            (B,) nats; exact, or a lower bound in expectation where the model integrates over latents.
        """


@runtime_checkable
class SupportsLogitsSamples(Protocol):
    """A distribution whose hypotheses are differentiable functions of the parameters and of random numbers."""

    def logits_samples(self, n: int, generator: torch.Generator | None = None) -> torch.Tensor:
        """Draw n independent hypotheses of every image, as logits that a gradient flows through.

        Returns:
            (n, B, K, H, W) float32.
        """
        ...


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


@dataclass(frozen=True)
class Loss:
    """What to minimise, and what to log about it.

    Attributes:
        total: scalar, differentiable.
        terms: named scalars for the training log, detached.
        distribution: that the objective was taken of, so that a further term need not run the network again;
            ``None`` where there is none to share.
    """

    total: torch.Tensor
    terms: dict[str, torch.Tensor]
    distribution: SegmentationDistribution | None = None


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

    def save(self, folder: Path | str, **facts: Any) -> None:
        """Write the model as a folder for ``probunet.load``; see :func:`probunet.saved.save`."""
        from probunet.saved import save  # which knows the models

        save(self, folder, **facts)

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


def most_probable(logits: Logits) -> torch.Tensor:
    """The class with the largest logit, the lowest id of several.

    Returns:
        (B, H, W) uint8.
    """
    if logits.shape[1] == 2:  # several times faster than argmax
        return (logits[:, 1] > logits[:, 0]).to(torch.uint8)
    return logits.argmax(dim=1).to(torch.uint8)


def cross_entropy(logits: Logits, label: Label) -> torch.Tensor:
    """Cross-entropy summed over the pixels that are not ignored; not averaged over anything.

    Returns:
        (B,) nats.
    """
    return F.cross_entropy(logits, label.long(), ignore_index=IGNORE, reduction="none").sum(dim=(-2, -1))
