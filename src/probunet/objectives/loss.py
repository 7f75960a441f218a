"""What a training minimises."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from probunet.distributions.base import SegmentationDistribution


@dataclass(frozen=True)
class Loss:
    """What to minimise, and what to log about it.

    Attributes:
        total: scalar, differentiable.
        terms: named scalars for the training log, detached.
        distribution: that the objective was taken of, so that a further term need not run the network again;
            ``None`` where there is none to share.
        strata: draws of every component that the objective decoded, from ``SegmentationDistribution.strata``, likewise.
    """

    total: torch.Tensor
    terms: dict[str, torch.Tensor]
    distribution: SegmentationDistribution | None = None
    strata: tuple[torch.Tensor, torch.Tensor] | None = None
