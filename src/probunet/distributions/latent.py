"""Hypotheses from one latent space (paper, Eqs. 1 and 2): the noise is normal, the variable is z."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import final

import torch
from torch.distributions import Distribution, Independent, MultivariateNormal, TransformedDistribution, kl_divergence

from probunet.core.errors import InputError
from probunet.core.types import Label, Latent
from probunet.distributions.noise import Noise, Reconstruction, Weighted, normals
from probunet.nets.decode import Decode
from probunet.nets.prior import placed


@final
class Normals(Noise):
    """Noise (n, B, D), standard normal; the prior turns it into latents.

    Args:
        prior: P(z | X), batch shape (B,), event shape (D,); of any family of ``probunet.nets.prior`` but the mixture.
        posterior: from a label to Q(z | X, Y), where z can be inferred.
    """

    def __init__(self, prior: Distribution, posterior: Callable[[Label], Independent] | None = None) -> None:
        self.prior: Distribution = prior
        self.posterior = posterior
        self.device = _like(prior).device

    def draw(self, n: int, generator: torch.Generator | None, cover: bool = False) -> torch.Tensor:
        """See the base class."""
        return normals(n, _like(self.prior), generator, cover)

    def place(self, noise: torch.Tensor) -> torch.Tensor:
        """Give z = mu + sigma * noise, or what the family of the prior makes of it; see the base class."""
        return placed(self.prior, noise)

    def strata(self, m: int, generator: torch.Generator | None, cover: bool = False) -> Weighted:
        """A single component; see the base class."""
        z = self.place(self.draw(m, generator, cover))
        return z, z.new_zeros((1, z.shape[1]))

    def propose(self, label: Label, n: int, generator: torch.Generator | None) -> Weighted:
        """Draw from the posterior, with weights P(z | X) / Q(z | X, Y) / n; from the prior where there is none."""
        if self.posterior is None:
            z, log_weights = self.strata(n, generator)
            return z, log_weights.expand(n, -1) - math.log(n)
        return weighted_proposals(self.prior, self.posterior(label), n, generator)

    def reconstruct(self, label: Label, decode: Decode, generator: torch.Generator | None) -> Reconstruction:
        """See the base class."""
        return reconstruction(self.prior, self.posterior, label, decode, generator)


def weighted_proposals(
    prior: Distribution, posterior: Independent, n: int, generator: torch.Generator | None
) -> Weighted:
    """Draw latents (n, B, D) from a posterior, with log P(z | X) / Q(z | X, Y) / n, (n, B) (Burda et al. 2016)."""
    z = placed(posterior, normals(n, posterior.mean, generator))
    return z, prior.log_prob(z) - posterior.log_prob(z) - math.log(n)


def reconstruction(
    prior: Distribution,
    posterior: Callable[[Label], Independent] | None,
    label: Label,
    decode: Decode,
    generator: torch.Generator | None,
) -> Reconstruction:
    """Decode one latent of the posterior; its divergence by dimension where both are axis-aligned.

    Raises:
        InputError: there is no posterior.
    """
    if posterior is None:
        raise InputError("this model has no posterior of its latents, which an evidence bound needs")
    inferred = posterior(label)
    z = placed(inferred, normals(1, inferred.mean, generator))[0]
    if isinstance(prior, Independent):
        by_dimension = kl_divergence(inferred.base_dist, prior.base_dist)
        return Reconstruction([decode(z).float()], by_dimension, "dimension")
    return Reconstruction([decode(z).float()], divergence(inferred, prior, z)[:, None], "all")


def divergence(posterior: Independent, prior: Distribution, z: Latent) -> torch.Tensor:
    """KL(posterior, prior) of each image (B,): analytic between Gaussians, else estimated at z ~ posterior.

    For a mixture or a flow it is log Q(z) - log P(z), without bias.
    """
    with torch.autocast(z.device.type, enabled=False):
        if isinstance(prior, Independent):
            return kl_divergence(posterior, prior)
        if isinstance(prior, MultivariateNormal):
            factor = torch.diag_embed(posterior.stddev)
            return kl_divergence(MultivariateNormal(posterior.mean, scale_tril=factor, validate_args=False), prior)
        return posterior.log_prob(z) - prior.log_prob(z)


def _like(prior: Distribution) -> torch.Tensor:
    """A tensor of the shape (B, D), type and device of its latents; a flow has no formula for its mean."""
    return _like(prior.base_dist) if isinstance(prior, TransformedDistribution) else prior.mean
