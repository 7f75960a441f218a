"""A distribution over segmentations with a latent space, and its objective (paper, Eqs. 1 to 4)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import final

import torch
from torch.distributions import Distribution, Independent, MultivariateNormal, kl_divergence
from torch.nn import functional as F

from probunet.errors import InputError
from probunet.models.base import Loss, SegmentationDistribution, cross_entropy, most_probable
from probunet.models.geco import Geco, objective
from probunet.models.top_k import top_k_cross_entropy
from probunet.nets.combine import BLOCK, Decoder
from probunet.nets.prior import draw_from
from probunet.types import IGNORE, Label, Latent, Logits, Samples


@final
class LatentSegmentation(SegmentationDistribution):
    """P(Y | X) as an integral over a latent space; every z gives one consistent hypothesis.

    Args:
        decode: from one latent per image, (B, D), to logits (B, K, H, W); a single image with any number of latents.
        latent: P(z | X), batch shape (B,), event shape (D,); of any family of ``probunet.nets.prior``.
        posterior: from a label to Q(z | X, Y).
    """

    distinct = None

    def __init__(
        self,
        decode: Callable[[Latent], Logits],
        latent: Distribution,
        posterior: Callable[[Label], Independent],
    ) -> None:
        self.latent, self.posterior = latent, posterior
        self._decode = decode

    def logits(self, z: Latent) -> Logits:
        """Decode one latent per image.

        Args:
            z: (B, D).

        Returns:
            (B, K, H, W).
        """
        return self._decode(z).float()

    def sample(self, n: int, generator: torch.Generator | None = None) -> Samples:
        """Draw n latents from the prior and take the most probable class of each; see the base class."""
        return decoded_labels(self._decode, draw_from(self.latent, n, generator))

    def logits_samples(self, n: int, generator: torch.Generator | None = None) -> torch.Tensor:
        """Decode n reparameterised latents of the prior, (n, B, K, H, W); see ``SupportsLogitsSamples``.

        Raises:
            InputError: the prior is a mixture, whose choice of a component has no gradient.
        """
        if not self.latent.has_rsample:
            raise InputError(
                "hypotheses of a mixture prior have no gradient to the weights of its components; "
                "train without energy, or choose another prior_family"
            )
        return torch.stack([self.logits(z) for z in draw_from(self.latent, n, generator)])

    def probabilities(self, samples: int = 64, generator: torch.Generator | None = None) -> torch.Tensor:
        """Average the softmax over draws from the prior; see the base class."""
        total = torch.zeros(())
        for z in draw_from(self.latent, samples, generator):
            total = total.to(z.device) + self.logits(z).softmax(dim=1)
        return total / samples

    def log_prob(self, label: Label, samples: int = 64, generator: torch.Generator | None = None) -> torch.Tensor:
        """Importance-weighted bound, proposals from the posterior (Burda et al. 2016, Eq. 8).

        log 1/S sum_i P(Y | X, z_i) P(z_i | X) / Q(z_i | X, Y), z_i ~ Q; tight as S grows. See the base class.
        """
        proposal = self.posterior(label)
        weights = [
            self.latent.log_prob(z) - proposal.log_prob(z) - cross_entropy(self.logits(z), label)
            for z in draw_from(proposal, samples, generator)
        ]
        return torch.logsumexp(torch.stack(weights), dim=0) - math.log(samples)


@torch.no_grad()
def decoded_labels(decode: Callable[[Latent], Logits], latents: torch.Tensor) -> Samples:
    """Decode latents (n, B, D) and take the most probable class of each; those of a single image several at once."""
    if isinstance(decode, Decoder) and decode.fuses:
        return decode.labels(latents[:, 0])[:, None]
    first = most_probable(decode(latents[0]))
    n = len(latents)
    labels = first.new_empty((n, *first.shape))  # a list to be stacked would need the memory twice
    labels[0] = first
    together = max(BLOCK // first.numel(), 1) if len(first) == 1 else 1
    for i in range(1, n, together):
        z = latents[i : i + together].flatten(0, 1)
        labels[i : i + together] = most_probable(decode(z)).unflatten(0, (-1, len(first)))
    return labels


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


def one_hot(label: Label, num_classes: int) -> torch.Tensor:
    """One channel per class; all zero where the label is ignored.

    Args:
        label: (B, H, W) class ids or ``IGNORE``.

    Returns:
        (B, K, H, W) float32.
    """
    known = (label != IGNORE).unsqueeze(-1)
    ids = torch.where(label == IGNORE, 0, label).long()
    return (F.one_hot(ids, num_classes) * known).movedim(-1, 1).float()


def with_latent(image: torch.Tensor, z: Latent) -> torch.Tensor:
    """Append one constant channel per latent dimension.

    Args:
        image: (B, C, H, W); a single image goes with any number of z.
        z: (B, D).

    Returns:
        (B, C + D, H, W).
    """
    tiled = z.to(image.dtype)[:, :, None, None].expand(-1, -1, *image.shape[-2:])
    return torch.cat([image.expand(len(z), -1, -1, -1), tiled], dim=1)
