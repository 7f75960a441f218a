"""The stochastic top-k loss: cross-entropy of the pixels that are hard (Kohl et al. 2019, Hierarchical Prob. U-Net)."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from probunet.core.types import IGNORE, Label, Logits


def top_k_cross_entropy(
    logits: Logits, label: Label, share: float, generator: torch.Generator | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Sum the cross-entropy over a share of a batch's pixels, which are drawn with probability as their loss.

    They are drawn without replacement, with the Gumbel trick: the largest of log loss + Gumbel noise.

    Args:
        logits: (B, K, H, W).
        label: (B, H, W) class ids or ``IGNORE``.
        share: of the pixels that are not ignored, above 0; 1 takes all of them.
        generator: source of the choice.

    Returns:
        The cross-entropy of the pixels of an image in nats, and how many they are; both averaged over the batch.
    """
    losses = F.cross_entropy(logits, label.long(), ignore_index=IGNORE, reduction="none").flatten()
    known = (label != IGNORE).flatten()
    chosen = int((share * known.sum()).ceil())
    if share < 1:
        uniform = torch.rand(losses.shape, generator=generator, device=losses.device)
        tiny = torch.finfo(torch.float32).tiny
        gumbel = -(-(uniform.clamp(min=tiny).log())).clamp(min=tiny).log()
        score = losses.detach().float().clamp(min=tiny).log() + gumbel
        losses = losses[score.masked_fill(~known, -torch.inf).topk(chosen).indices]
    return losses.sum() / len(label), losses.new_tensor(chosen / len(label))
