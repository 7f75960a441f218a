"""A distribution over segmentations with latents at several scales (Kohl et al. 2019)."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import TypeAlias, final

import torch
from torch.distributions import Normal

from probunet.core.types import Label, Logits, Samples
from probunet.distributions.base import SegmentationDistribution, cross_entropy, most_probable
from probunet.nets.combine import BLOCK
from probunet.nets.latent_decoder import Choose

Descend: TypeAlias = Callable[[Choose], list[Logits]]
"""Asks for the latents of every level, coarsest first, and gives logits (B, K, H, W): the last are the hypothesis,
those before it what the coarser levels alone make of it."""


@final
class HierarchicalSegmentation(SegmentationDistribution):
    """P(Y | X) as an integral over latents z_0, z_1, ..., each a map that depends on the coarser ones.

    Args:
        descend: through the levels of P(z_l | z_<l, X) to the logits; a single image goes with any number of latents.
        posterior: from a label to the same way through Q(z_l | z_<l, X, Y).
    """

    distinct = None

    def __init__(self, descend: Descend, posterior: Callable[[Label], Callable[[Choose], object]]) -> None:
        self.descend, self.posterior = descend, posterior

    def sample(
        self, n: int, generator: torch.Generator | None = None, fixed: Collection[int] = (), together: int | None = None
    ) -> Samples:
        """Draw n hypotheses; see the base class.

        Args:
            n: how many.
            generator: source of randomness.
            fixed: levels (0: the coarsest) whose latents are their mean instead of a draw: what is left of the
                variation is that of the other levels.
            together: hypotheses of a single image that are decoded at once; as many as the cache holds if not given.
        """
        first = most_probable(self._hypotheses(1, generator, fixed))
        labels = first.new_empty((n, *first.shape))
        labels[0] = first
        if len(first) > 1:
            together = 1
        elif together is None:
            together = max(BLOCK // first.numel(), 1)
        for i in range(1, n, together):
            logits = self._hypotheses(min(together, n - i), generator, fixed)
            labels[i : i + together] = most_probable(logits).unflatten(0, (-1, len(first)))
        return labels

    def logits_samples(self, n: int, generator: torch.Generator | None = None) -> torch.Tensor:
        """Decode n reparameterised draws of all levels, (n, B, K, H, W); see ``SupportsLogitsSamples``."""
        return torch.stack([self._hypotheses(1, generator) for _ in range(n)])

    def probabilities(self, samples: int = 64, generator: torch.Generator | None = None) -> torch.Tensor:
        """Average the softmax over draws from the prior; see the base class."""
        total = self._hypotheses(1, generator).softmax(dim=1)
        for _ in range(samples - 1):
            total = total + self._hypotheses(1, generator).softmax(dim=1)
        return total / samples

    def log_prob(self, label: Label, samples: int = 64, generator: torch.Generator | None = None) -> torch.Tensor:
        """Importance-weighted bound over all levels, proposals from the posterior (Burda et al. 2016, Eq. 8)."""
        infer = self.posterior(label)
        weights = []
        for _ in range(samples):
            logits, latents, posterior, prior = self.reconstruct(infer, generator)
            ratios = [
                (p.log_prob(z) - q.log_prob(z)).flatten(1).sum(dim=1)
                for z, q, p in zip(latents, posterior, prior, strict=True)
            ]
            weights.append(torch.stack(ratios).sum(dim=0) - cross_entropy(logits[-1], label))
        return torch.logsumexp(torch.stack(weights), dim=0) - math.log(samples)

    def reconstruct(
        self, infer: Callable[[Choose], object], generator: torch.Generator | None = None
    ) -> tuple[list[Logits], list[torch.Tensor], list[Normal], list[Normal]]:
        """Draw the latents of all levels from a posterior and decode them.

        Args:
            infer: what ``posterior`` gives for a label.
            generator: source of the draw.

        Returns:
            Logits as of ``Descend``, latents, and by level the distributions Q and P that they met.
        """
        latents: list[torch.Tensor] = []
        posterior: list[Normal] = []
        prior: list[Normal] = []

        def draw(level: int, distribution: Normal) -> torch.Tensor:
            posterior.append(distribution)
            latents.append(_drawn(distribution, 1, generator))
            return latents[-1]

        def given(level: int, distribution: Normal) -> torch.Tensor:
            prior.append(distribution)
            return latents[level]

        infer(draw)
        return self.descend(given), latents, posterior, prior

    def _hypotheses(self, n: int, generator: torch.Generator | None, fixed: Collection[int] = ()) -> Logits:
        """Logits (B, K, H, W); of n hypotheses (n, K, H, W) where there is a single image."""

        def choose(level: int, prior: Normal) -> torch.Tensor:
            return prior.mean if level in fixed else _drawn(prior, n if len(prior.mean) == 1 else 1, generator)

        logits = self.descend(choose)[-1]
        return logits.expand(n, -1, -1, -1) if len(logits) == 1 else logits  # where all levels are fixed


def _drawn(normal: Normal, n: int, generator: torch.Generator | None) -> torch.Tensor:
    mean = normal.mean
    shape = (len(mean) * n, *mean.shape[1:])
    noise = torch.randn(shape, generator=generator, device=mean.device, dtype=mean.dtype)
    return mean + normal.stddev * noise
