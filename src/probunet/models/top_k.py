"""Stochastic top-k loss: only the hardest pixels of a label count, drawn by how hard they are (Kohl et al. 2019)."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from probunet.errors import InputError
from probunet.types import IGNORE, Label, Logits


def top_k_cross_entropy(
    logits: Logits, label: Label, share: float, generator: torch.Generator | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Cross-entropy summed over the hardest pixels of every image, averaged over the batch.

    Args:
        logits: (B, K, H, W).
        label: (B, H, W) class ids or ``IGNORE``.
        share: of the pixels that are not ignored; 1: all of them, without a draw.
        generator: see :func:`hardest`.

    Returns:
        Scalars: nats an image, and how many pixels an image they are the sum over.
    """
    costs = F.cross_entropy(logits, label.long(), ignore_index=IGNORE, reduction="none").flatten(1)
    counted = (label != IGNORE).flatten(1)
    chosen = counted.to(costs.dtype) if share == 1 else hardest(costs, counted, share, generator)
    return (costs * chosen).sum(dim=1).mean(), chosen.sum(dim=1).mean()


def check_share(share: float) -> None:
    """Refuse what is no share of the pixels.

    Raises:
        InputError: not in (0, 1].
    """
    if not 0 < share <= 1:
        raise InputError(f"top_k={share} is not a share of the pixels; give above 0 and up to 1")


def hardest(
    costs: torch.Tensor, counted: torch.Tensor, share: float, generator: torch.Generator | None
) -> torch.Tensor:
    """Draw pixels without replacement, with a chance in proportion to their cost.

    Gumbel noise on the logarithm of the costs, then the k largest (Efraimidis and Spirakis 2006 in other words).

    Args:
        costs: (B, P) cross-entropy of every pixel, not negative.
        counted: (B, P) bool, which pixels may be drawn.
        share: of the pixels that are counted, in (0, 1]; at least one is drawn where there is any.
        generator: source of randomness, on the device of the costs.

    Returns:
        (B, P) float, 1 at the drawn pixels.
    """
    uniform = torch.rand(costs.shape, generator=generator, device=costs.device).clamp(1e-9, 1 - 1e-7)
    noise = -torch.log(-torch.log(uniform))
    score = torch.log(costs.detach().float().clamp(min=1e-30)) + noise
    rank = score.masked_fill(~counted, -torch.inf).argsort(dim=1, descending=True).argsort(dim=1)
    k = torch.ceil(share * counted.sum(dim=1, keepdim=True))
    return ((rank < k) & counted).to(costs.dtype)
