"""A distribution of M hypotheses, each as likely as any other and with its own class probabilities at every pixel."""

from __future__ import annotations

import math
from typing import final

import torch

from probunet.core.types import Label, Logits, Samples
from probunet.distributions.base import SegmentationDistribution, cross_entropy, most_probable


@final
class MixtureSegmentation(SegmentationDistribution):
    """M equally likely members; one of them (M = 1) is the distribution of a deterministic network.

    Args:
        logits: of every member, each (B, K, H, W).
    """

    def __init__(self, logits: list[Logits]) -> None:
        self.logits = logits
        self.distinct = len(logits)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Samples:
        """Draw members without replacement, each image for itself, and start over when all M are drawn.

        See the base class.
        """
        labels = torch.stack([most_probable(logits) for logits in self.logits], dim=1)
        batch, members, height, width = labels.shape
        rounds = -(-n // members)
        keys = torch.rand((batch, rounds, members), generator=generator, device=labels.device)
        order = keys.argsort(dim=-1, stable=True).reshape(batch, -1)[:, :n, None, None]
        return labels.gather(1, order.expand(-1, -1, height, width)).movedim(1, 0)

    def logits_samples(self, n: int, generator: torch.Generator | None = None) -> torch.Tensor:
        """Draw members with replacement, so that draws are independent; see ``SupportsLogitsSamples``.

        Returns:
            (n, B, K, H, W).
        """
        members = torch.stack(self.logits)
        device, batch = members.device, members.shape[1]
        chosen = torch.randint(len(members), (n, batch), generator=generator, device=device)
        return members[chosen, torch.arange(batch, device=device)]

    def probabilities(self, samples: int = 64, generator: torch.Generator | None = None) -> torch.Tensor:
        """Average the members' class probabilities, exactly; see the base class."""
        return torch.stack([logits.softmax(dim=1) for logits in self.logits]).mean(dim=0)

    def log_prob(self, label: Label, samples: int = 64, generator: torch.Generator | None = None) -> torch.Tensor:
        """Give log 1/M sum_m P_m(Y | X), exactly; see the base class."""
        members = torch.stack([-cross_entropy(logits, label) for logits in self.logits])
        return torch.logsumexp(members, dim=0) - math.log(len(self.logits))
