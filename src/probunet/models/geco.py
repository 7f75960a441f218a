"""GECO: the weight of the reconstruction is found, not chosen, so that a target is just met (Rezende and Viola 2018).

Minimise KL subject to a mean cross-entropy of at most kappa nats a pixel: the objective is lambda times the
reconstruction plus KL, and lambda grows by itself while the constraint is violated and falls while it is met. It can
replace a fixed beta in any model with latents; a fixed beta is 1 / lambda.
"""

from __future__ import annotations

from typing import final

import torch
from torch import nn

from probunet.errors import InputError


@final
class Geco(nn.Module):
    """The multiplier lambda and the running mean of the violation; both are part of a checkpoint.

    Args:
        kappa: nats a pixel that the reconstruction may cost (Kohl et al. 2019: 0.05).
        rate: of the multiplier's growth with the violation, a step (theirs: 0.01).
        decay: of the running mean, a step (theirs: 0.99).

    Raises:
        InputError: kappa or rate not positive, or decay outside [0, 1).
    """

    multiplier: torch.Tensor
    violation: torch.Tensor

    def __init__(self, kappa: float = 0.05, rate: float = 0.01, decay: float = 0.99) -> None:
        super().__init__()
        if kappa <= 0 or rate <= 0 or not 0 <= decay < 1:
            raise InputError(f"kappa={kappa} and rate={rate} must be positive, decay={decay} from 0 to below 1")
        self.kappa, self.rate, self.decay = kappa, rate, decay
        self.register_buffer("multiplier", torch.ones(()))
        self.register_buffer("violation", torch.full((), torch.nan))

    def forward(self, reconstruction: torch.Tensor, pixels: torch.Tensor, kl: torch.Tensor) -> torch.Tensor:
        """Weigh the objective, and in training move the multiplier first.

        Args:
            reconstruction: scalar, nats an image.
            pixels: scalar, how many pixels an image it is the sum over.
            kl: scalar, nats an image.

        Returns:
            lambda * reconstruction + kl.
        """
        violation = reconstruction.detach().float() / pixels.clamp(min=1) - self.kappa
        if self.training and torch.isfinite(violation):
            before = torch.where(torch.isnan(self.violation), violation, self.violation)
            self.violation.copy_(self.decay * before + (1 - self.decay) * violation)
            self.multiplier.copy_((self.multiplier * (self.rate * self.violation).exp()).clamp(1e-3, 1e3))
        return self.multiplier * reconstruction + kl
