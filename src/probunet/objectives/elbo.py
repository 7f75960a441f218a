"""Eq. 4 of the paper: the evidence lower bound, with one latent space or with latents at several scales."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.distributions import Distribution, Independent, MultivariateNormal, kl_divergence

from probunet.core.types import Label, Latent
from probunet.distributions.hierarchical import HierarchicalSegmentation
from probunet.distributions.latent import LatentSegmentation
from probunet.nets.prior import draw_from
from probunet.objectives.geco import Geco, objective
from probunet.objectives.loss import Loss
from probunet.objectives.top_k import top_k_cross_entropy


def evidence_bound(
    distribution: LatentSegmentation,
    label: Label,
    beta: float,
    generator: torch.Generator | None = None,
    *,
    top_k: float = 1.0,
    geco: Geco | None = None,
) -> Loss:
    """Eq. 4: cross-entropy summed over pixels plus beta KL summed over latents, both batch averages.

    KL is analytic between Gaussians. For a mixture or a flow it is estimated, without bias, as log Q(z) - log P(z)
    at the one draw from the posterior that is decoded.

    Args:
        distribution: of a batch of images.
        label: (B, H, W) class ids or ``IGNORE``.
        beta: weight of the KL term.
        generator: source of the one draw from the posterior, and of the pixels of ``top_k``.
        top_k: share of the pixels that count, see ``top_k_cross_entropy``.
        geco: constraint on the reconstruction, instead of beta.
    """
    posterior = distribution.posterior(label)
    z = draw_from(posterior, 1, generator)[0]
    reconstruction, pixels = top_k_cross_entropy(distribution.logits(z), label, top_k, generator)
    dimensions: dict[str, torch.Tensor] = {}
    if isinstance(distribution.latent, Independent):
        kl_per_dimension = kl_divergence(posterior.base_dist, distribution.latent.base_dist).mean(dim=0)
        kl = kl_per_dimension.sum()
        dimensions = {f"kl_dimension/{i}": value for i, value in enumerate(kl_per_dimension)}
    else:
        kl = _divergence(posterior, distribution.latent, z).mean()
    total, terms = objective(reconstruction, pixels, kl, beta, geco)
    return Loss(total, {name: value.detach() for name, value in (terms | dimensions).items()}, distribution)


def _divergence(posterior: Independent, prior: Distribution, z: Latent) -> torch.Tensor:
    """KL(posterior, prior) of each image (B,): analytic for a Gaussian prior, else estimated at z ~ posterior."""
    with torch.autocast(z.device.type, enabled=False):
        if isinstance(prior, MultivariateNormal):
            factor = torch.diag_embed(posterior.stddev)
            return kl_divergence(MultivariateNormal(posterior.mean, scale_tril=factor, validate_args=False), prior)
        return posterior.log_prob(z) - prior.log_prob(z)


def hierarchical_bound(
    distribution: HierarchicalSegmentation,
    label: Label,
    generator: torch.Generator | None = None,
    *,
    beta: float = 1.0,
    level_weights: Sequence[float] | None = None,
    top_k: float = 1.0,
    geco: Geco | None = None,
) -> Loss:
    """Reconstruction of all that is decoded, and the KL of every level, each summed, both batch averages.

    KL of a level is analytic, given the draw of the coarser ones from the posterior.

    Args:
        distribution: of a batch of images.
        label: (B, H, W) class ids or ``IGNORE``.
        generator: source of the one draw from the posterior, and of the pixels of ``top_k``.
        beta: weight of KL where there is no constraint.
        level_weights: of each level's KL, coarsest first; 1 if not given.
        top_k: share of the pixels that count, see ``top_k_cross_entropy``.
        geco: constraint on the reconstruction.
    """
    logits, _, posterior, prior = distribution.reconstruct(distribution.posterior(label), generator)
    found = [top_k_cross_entropy(output, label, top_k, generator) for output in logits]
    reconstruction, pixels = (torch.stack(part).sum(dim=0) for part in zip(*found, strict=True))
    levels = [kl_divergence(q, p).flatten(1).sum(dim=1).mean() for q, p in zip(posterior, prior, strict=True)]
    kl = torch.stack([w * x for w, x in zip(level_weights or [1.0] * len(levels), levels, strict=True)]).sum()
    total, terms = objective(reconstruction, pixels, kl, beta, geco)
    terms |= {f"kl_level/{level}": value for level, value in enumerate(levels)}
    return Loss(total, {name: value.detach() for name, value in terms.items()}, distribution)
