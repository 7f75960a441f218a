"""Hypotheses from random fields: the noise is a seed, of masks, of logits, or of latent maps at several scales."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias, final

import torch
from torch.distributions import Normal, kl_divergence

from probunet.core.draws import drawn
from probunet.core.types import Label, Logits
from probunet.distributions.noise import Noise, Reconstruction, Weighted
from probunet.nets.decode import Decode
from probunet.nets.latent_decoder import Choose

Descend: TypeAlias = Callable[[Choose], list[Logits]]
"""Asks for the latents of every level, coarsest first, and gives logits (B, K, *size): the last are the hypothesis,
those before it what the coarser levels alone make of it."""


@dataclass(frozen=True)
class Levels:
    """Latents z_0, z_1, ... at several scales, each a map that depends on the coarser ones (Kohl et al. 2019).

    Attributes:
        descend: through the levels of P(z_l | z_<l, X) to the logits.
        infer: from a label to the same way through Q(z_l | z_<l, X, Y).
    """

    descend: Descend
    infer: Callable[[Label], Callable[[Choose], object]]


@final
class Seeds(Noise):
    """Noise (n, B) of int64 seeds, each of a random field without end (see ``probunet.nets.fields``).

    Args:
        batch: images B.
        device: of the model.
        levels: the latents that the fields become, where these can be inferred from a label.
    """

    def __init__(self, batch: int, device: torch.device, levels: Levels | None = None) -> None:
        self._batch, self.device, self._levels = batch, device, levels
        self.local = levels is not None

    def draw(self, n: int, generator: torch.Generator | None, cover: bool = False) -> torch.Tensor:
        """Draw seeds; those that cover come in pairs of opposite fields. See the base class."""
        count = -(-n // 2) if cover else n
        seeds = drawn(partial(torch.randint, 2**62), (count, self._batch), generator, self.device)
        return torch.stack([seeds, seeds ^ 1], dim=1).flatten(0, 1)[:n] if cover else seeds

    def place(self, noise: torch.Tensor) -> torch.Tensor:
        """A field is its seed; see the base class."""
        return noise

    def strata(self, m: int, generator: torch.Generator | None, cover: bool = False) -> Weighted:
        """A single component; see the base class."""
        return self.draw(m, generator, cover), torch.zeros((1, self._batch), device=self.device)

    def propose(self, label: Label, n: int, generator: torch.Generator | None) -> Weighted:
        """Draw latents from the posterior, with their weights over all levels; seeds where there is none.

        Latents are laid behind each other, (n, B, L). See the base class.
        """
        if self._levels is None:
            return self.draw(n, generator), torch.full((n, self._batch), -math.log(n), device=self.device)
        infer = self._levels.infer(label)
        latents, log_weights = [], []
        for _ in range(n):
            _, z, posterior, prior = _met(self._levels.descend, infer, generator)
            ratios = [
                (p.log_prob(one) - q.log_prob(one)).flatten(1).sum(dim=1)
                for one, q, p in zip(z, posterior, prior, strict=True)
            ]
            latents.append(torch.cat([one.flatten(1) for one in z], dim=1))
            log_weights.append(torch.stack(ratios).sum(dim=0))
        return torch.stack(latents), torch.stack(log_weights) - math.log(n)

    def reconstruct(self, label: Label, decode: Decode, generator: torch.Generator | None) -> Reconstruction:
        """Draw the latents of all levels from the posterior and decode; KL of every level, given the coarser draws.

        See the base class.
        """
        if self._levels is None:
            return super().reconstruct(label, decode, generator)
        outputs, _, posterior, prior = _met(self._levels.descend, self._levels.infer(label), generator)
        levels = [kl_divergence(q, p).flatten(1).sum(dim=1) for q, p in zip(posterior, prior, strict=True)]
        return Reconstruction(outputs, torch.stack(levels, dim=1), "level")


def _met(
    descend: Descend, infer: Callable[[Choose], object], generator: torch.Generator | None
) -> tuple[list[Logits], list[torch.Tensor], list[Normal], list[Normal]]:
    """Logits, latents drawn from the posterior, and by level the distributions Q and P that they met."""
    latents: list[torch.Tensor] = []
    posterior: list[Normal] = []
    prior: list[Normal] = []

    def draw(level: int, normal: Normal) -> torch.Tensor:
        posterior.append(normal)
        mean = normal.mean
        noise = drawn(torch.randn, mean.shape, generator, mean.device, mean.dtype)
        latents.append(mean + normal.stddev * noise)
        return latents[-1]

    def meet(level: int, normal: Normal) -> torch.Tensor:
        prior.append(normal)
        return latents[level]

    infer(draw)
    return descend(meet), latents, posterior, prior
