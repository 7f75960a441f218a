"""Eq. 4 of the paper: the evidence lower bound, with one latent space or with latents at several scales."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from probunet.core.errors import InputError
from probunet.core.types import IGNORE, Label
from probunet.distributions.base import SegmentationDistribution
from probunet.objectives.loss import Loss
from probunet.objectives.pixels import Pixels, counted_cross_entropy


@dataclass(frozen=True)
class ELBO:
    """Reconstruction + beta KL.

    Attributes:
        beta: weight of KL, 0 or more (paper: 1).

    Raises:
        InputError: a negative weight.
    """

    beta: float = 1.0

    def __post_init__(self) -> None:
        """Refuse a weight without meaning."""
        if not self.beta >= 0:
            raise InputError(f"ELBO beta={self.beta} is negative; the paper uses 1")

    def module(self) -> nn.Module:
        """Make what puts reconstruction and KL together."""
        return Weighted(self.beta)


class Weighted(nn.Module):
    """Reconstruction + beta KL; without state."""

    def __init__(self, beta: float) -> None:
        super().__init__()
        self.beta = beta

    def forward(self, reconstruction: torch.Tensor, pixels: torch.Tensor, kl: torch.Tensor) -> torch.Tensor:
        """Give the sum; see ``Geco.forward``."""
        return reconstruction + self.beta * kl

    def terms(self) -> dict[str, torch.Tensor]:
        """Nothing to log."""
        return {}


def evidence_bound(
    distribution: SegmentationDistribution,
    label: Label,
    objective: nn.Module,
    pixels: Pixels,
    generator: torch.Generator | None = None,
    level_weights: Sequence[float] | None = None,
) -> Loss:
    """Eq. 4: cross-entropy summed over pixels, KL(Q, P) summed over latents, both batch averages, put together.

    KL is analytic between Gaussians, and of a level given the draws of the coarser ones. For a mixture or a flow it is
    estimated, without bias, at the one draw from the posterior that is decoded.

    Args:
        distribution: of a batch of images.
        label: (B, *size) class ids or ``IGNORE``.
        objective: from ``ELBO.module`` or ``GECO.module``.
        pixels: which the reconstruction counts.
        generator: source of the one draw from the posterior, and of the pixels that count.
        level_weights: of each level's KL, coarsest first; 1 if not given.
    """
    inferred = distribution.reconstruct(label, generator)
    counted = [counted_cross_entropy(output, label, pixels, generator) for output in inferred.outputs]
    reconstruction, count = (torch.stack(part).sum(dim=0) for part in zip(*counted, strict=True))
    parts = inferred.divergence.mean(dim=0)
    kl = (parts * parts.new_tensor(level_weights)).sum() if level_weights else parts.sum()
    total = objective(reconstruction, count, kl)
    terms = {"reconstruction": reconstruction, "kl": kl, **objective.terms()}  # type: ignore[operator]
    if inferred.part != "all":
        terms |= {f"kl_{inferred.part}/{i}": value for i, value in enumerate(parts)}
    return Loss(total, {name: value.detach() for name, value in terms.items()}, distribution)


def evidence_bound_of_readers(
    distribution: SegmentationDistribution,
    labels: torch.Tensor,
    objective: nn.Module,
    pixels: Pixels,
    generator: torch.Generator | None = None,
) -> Loss:
    """Eq. 4, averaged over all readings of every image; U-Net and prior are those of one image, the posterior of each.

    Args:
        distribution: of a batch of images.
        labels: (B, R, *size) class ids or ``IGNORE``; see :func:`those_who_looked`.
        objective: from ``ELBO.module``.
        pixels: which the reconstruction counts.
        generator: see :func:`evidence_bound`.
    """
    readings = those_who_looked(labels).unbind(dim=1)
    bounds = [evidence_bound(distribution, label, objective, pixels, generator) for label in readings]
    terms = {name: torch.stack([bound.terms[name] for bound in bounds]).mean(dim=0) for name in bounds[0].terms}
    return Loss(torch.stack([bound.total for bound in bounds]).mean(dim=0), terms, distribution)


def those_who_looked(labels: torch.Tensor) -> torch.Tensor:
    """Put in place of a reader who did not look at an image (``IGNORE`` alone) those who did, one after the other.

    Args:
        labels: (B, R, *size).

    Returns:
        (B, R, *size): first the readings, then again the first of them.
    """
    looked = (labels != IGNORE).flatten(2).any(dim=2)
    order = (~looked).long().argsort(dim=1, stable=True)
    place = torch.arange(labels.shape[1], device=labels.device) % looked.sum(dim=1, keepdim=True).clamp(min=1)
    return labels[torch.arange(len(labels), device=labels.device)[:, None], order.gather(1, place)]
