"""Hypotheses from components of a latent space, each with a weight: a mixture prior, or stochastic experts."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

import torch
from torch.distributions import Independent, MixtureSameFamily, Normal

from probunet.core.draws import drawn
from probunet.core.types import Label
from probunet.distributions.latent import Normals, reconstruction, weighted_proposals
from probunet.distributions.noise import Noise, Reconstruction, Weighted, covering_uniforms, normals, spread, systematic
from probunet.nets.decode import Decode


@final
class Experts(Noise):
    """Noise (n, B, 1 + D): a uniform number that chooses a component by its weight, and standard normal ones.

    The choice has no gradient; :meth:`strata` goes through all components, so that a gradient reaches the weights.

    Args:
        prior: a mixture of axis-aligned normals, batch shape (B,), event shape (D,).
        posterior: from a label to Q(z | X, Y), where z can be inferred.
    """

    def __init__(self, prior: MixtureSameFamily, posterior: Callable[[Label], Independent] | None = None) -> None:
        self.prior: MixtureSameFamily = prior
        self.posterior = posterior
        normal = prior.component_distribution
        self._mean, self._sigma, self.device = normal.mean, normal.stddev, normal.mean.device
        self.log_weights: torch.Tensor = prior.mixture_distribution.logits  # (B, C), normalised by torch
        self.components = self.log_weights.shape[1]

    def draw(self, n: int, generator: torch.Generator | None, cover: bool = False) -> torch.Tensor:
        """Draw; together, an expert of weight w covers n w hypotheses, rounded up or down. See the base class."""
        like = self._mean[:, 0]
        batch = len(like)
        if not cover:
            uniform = drawn(torch.rand, (n, batch, 1), generator, like.device, like.dtype)
            return torch.cat([uniform, normals(n, like, generator)], dim=-1)
        points = covering_uniforms(n, batch, 1 + like.shape[1], generator, like.device)
        first = systematic(points[..., :1], generator)
        return torch.cat([first, torch.special.ndtri(points[..., 1:])], dim=-1).to(like.dtype)

    def place(self, noise: torch.Tensor) -> torch.Tensor:
        """See the base class."""
        uniform, normal = noise[..., :1], noise[..., 1:]
        edges = self.log_weights.exp().cumsum(dim=-1)[:, :-1]
        chosen = (uniform > edges).sum(dim=-1)
        images = torch.arange(len(self._mean), device=self._mean.device)
        return self._mean[images, chosen] + self._sigma[images, chosen] * normal

    def strata(self, m: int, generator: torch.Generator | None, cover: bool = False) -> Weighted:
        """Draw m latents of every component; see the base class."""
        latents = [
            mean + sigma * normals(m, mean, generator, cover)
            for mean, sigma in zip(self._mean.unbind(dim=1), self._sigma.unbind(dim=1), strict=True)
        ]
        return torch.cat(latents), self.log_weights.T

    def component(self, chosen: torch.Tensor) -> Normals:
        """Give the normal of one expert for every image; see the base class."""
        images = torch.arange(len(self._mean), device=self.device)
        normal = Normal(self._mean[images, chosen], self._sigma[images, chosen], validate_args=False)
        return Normals(Independent(normal, 1, validate_args=False), self.posterior)

    def propose(self, label: Label, n: int, generator: torch.Generator | None) -> Weighted:
        """Draw from the posterior; where there is none, from every component as often. See the base class."""
        if self.posterior is None:
            return spread(self, n, generator)
        return weighted_proposals(self.prior, self.posterior(label), n, generator)

    def reconstruct(self, label: Label, decode: Decode, generator: torch.Generator | None) -> Reconstruction:
        """See the base class."""
        return reconstruction(self.prior, self.posterior, label, decode, generator)
