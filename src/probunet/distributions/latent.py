"""A distribution over segmentations with a latent space, (paper, Eqs. 1 and 2)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import final

import torch
from torch.distributions import Distribution, Independent

from probunet.core.errors import InputError
from probunet.core.types import Label, Latent, Logits, Samples
from probunet.distributions.base import SegmentationDistribution, cross_entropy, most_probable
from probunet.nets.combine import BLOCK, Decoder
from probunet.nets.prior import draw_from


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
