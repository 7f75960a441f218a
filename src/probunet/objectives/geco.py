"""GECO: the divergence is minimised under a constraint on the reconstruction (Rezende and Viola 2018)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from probunet.core.errors import InputError

RATE, MEMORY, RANGE = 0.01, 0.99, 100.0
"""Of the multiplier's logarithm, in one step; of the moving average; largest multiplier, and 1 / the smallest."""


@dataclass(frozen=True)
class GECO:
    """KL under a constraint on the reconstruction.

    Attributes:
        target: nats per counted pixel that the reconstruction is constrained to, above 0 (the hierarchical paper's:
            0.05).

    Raises:
        InputError: a target that is not positive.
    """

    target: float

    def __post_init__(self) -> None:
        """Refuse a target without meaning."""
        if not self.target > 0:
            raise InputError(f"GECO target={self.target} is not positive; give nats per pixel, for example 0.05")

    def module(self) -> nn.Module:
        """Make what puts reconstruction and KL together, with a state of its own."""
        return Geco(self.target)


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

    def terms(self) -> dict[str, torch.Tensor]:
        """The multiplier, for the log."""
        return {"multiplier": self.log_multiplier.exp()}
