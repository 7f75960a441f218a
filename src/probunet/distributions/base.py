"""What ``model(image)`` is: a distribution over segmentations."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Protocol, runtime_checkable

import torch
from torch.nn import functional as F

from probunet.core.types import IGNORE, Label, Logits, Samples


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
