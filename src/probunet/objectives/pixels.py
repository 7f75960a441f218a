"""Which pixels the reconstruction counts: all, or those that are hard (Kohl et al. 2019, Hierarchical Prob. U-Net)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn import functional as F

from probunet.core.draws import drawn
from probunet.core.errors import InputError
from probunet.core.types import IGNORE, Label, Logits


@dataclass(frozen=True)
class All:
    """All pixels that are not ignored."""

    share = 1.0


@dataclass(frozen=True)
class TopK:
    """A share of a batch's pixels, drawn with a probability as their loss.

    Attributes:
        share: of the pixels that are not ignored, above 0 and below 1 (the paper's: 0.02).

    Raises:
        InputError: another share.
    """

    share: float

    def __post_init__(self) -> None:
        """Refuse a share without meaning."""
        if not 0 < self.share < 1:
            raise InputError(f"TopK share={self.share} is not above 0 and below 1; use All() for all pixels")


Pixels = All | TopK


def counted_cross_entropy(
    logits: Logits, label: Label, pixels: Pixels, generator: torch.Generator | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sum the cross-entropy over the pixels of a batch that count.

    They are drawn without replacement, with the Gumbel trick: the largest of log loss + Gumbel noise.

    Args:
        logits: (B, K, *size).
        label: (B, *size) class ids or ``IGNORE``.
        pixels: which count.
        generator: source of the choice.

    Returns:
        The cross-entropy of the pixels of an image in nats, and how many they are; both averaged over the batch.
    """
    losses = F.cross_entropy(logits, label.long(), ignore_index=IGNORE, reduction="none").flatten()
    known = (label != IGNORE).flatten()
    count = known.sum()  # stays on its device: asking for the number would have a GPU's queue of work run empty
    if pixels.share < 1:
        count = (pixels.share * count).ceil()
        uniform = drawn(torch.rand, losses.shape, generator, losses.device)
        tiny = torch.finfo(torch.float32).tiny
        gumbel = -(-(uniform.clamp(min=tiny).log())).clamp(min=tiny).log()
        score = losses.detach().float().clamp(min=tiny).log() + gumbel
        losses = losses[score.masked_fill(~known, -torch.inf).topk(int(count)).indices]
    return losses.sum() / len(label), count.to(losses.dtype) / len(label)
