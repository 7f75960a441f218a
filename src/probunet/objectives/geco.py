"""GECO: the divergence is minimised under a constraint on the reconstruction (Rezende and Viola 2018)."""

from __future__ import annotations

import math

import torch
from torch import nn

from probunet.core.errors import InputError

RATE, MEMORY, RANGE = 0.01, 0.99, 100.0
"""Of the multiplier's logarithm, in one step; of the moving average; largest multiplier, and 1 / the smallest."""


class Geco(nn.Module):
    """A multiplier of the reconstruction that grows while the reconstruction is worse than a target.

    log multiplier += RATE * (average / target - 1), with the moving average of the reconstruction, and the bracket
    within (-1, 1): the first steps, where the reconstruction is many times the target, do not decide.

    Args:
        target: nats per pixel that counts.
    """

    log_multiplier: torch.Tensor
    average: torch.Tensor

    def __init__(self, target: float) -> None:
        super().__init__()
        self.target = target
        self.register_buffer("log_multiplier", torch.zeros(()))
        self.register_buffer("average", torch.full((), torch.nan))

    def update(self, per_pixel: torch.Tensor) -> None:
        """Take the reconstruction of one batch, in nats per pixel, into the average and the multiplier."""
        before = torch.where(self.average.isnan(), per_pixel, self.average)
        average = MEMORY * before + (1 - MEMORY) * per_pixel
        excess = (average / self.target - 1).clamp(-1, 1)
        self.average.copy_(average)
        self.log_multiplier.add_(RATE * excess).clamp_(-math.log(RANGE), math.log(RANGE))

    def forward(self, reconstruction: torch.Tensor, pixels: torch.Tensor, kl: torch.Tensor) -> torch.Tensor:
        """Give multiplier * (reconstruction - target * pixels) + KL; in training, the multiplier follows.

        Args:
            reconstruction: nats, summed over the pixels that count.
            pixels: how many these are.
            kl: nats.
        """
        if self.training and bool(pixels > 0):
            value = (reconstruction / pixels).detach().to(self.average)
            if bool(value.isfinite()):
                self.update(value)
        return self.log_multiplier.exp() * (reconstruction - self.target * pixels) + kl


def objective(
    reconstruction: torch.Tensor, pixels: torch.Tensor, kl: torch.Tensor, beta: float, geco: Geco | None
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """Put reconstruction and KL together, with the fixed weight beta on KL, or under a constraint.

    Returns:
        What to minimise, and the terms for the log.
    """
    terms = {"reconstruction": reconstruction, "kl": kl}
    if geco is None:
        return reconstruction + beta * kl, terms
    total = geco(reconstruction, pixels, kl)
    return total, terms | {"multiplier": geco.log_multiplier.exp()}


def check_objective(top_k: float, target: float | None) -> None:
    """Refuse an objective without meaning.

    Raises:
        InputError: a share outside (0, 1], or a target that is not positive.
    """
    if not 0 < top_k <= 1:
        raise InputError(f"top_k={top_k} is not a share of the pixels; give more than 0 and at most 1")
    if target is not None and not target > 0:
        raise InputError(f"target={target} is not positive; give nats per pixel, for example 0.05, or null for none")
