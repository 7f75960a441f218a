"""Hierarchical Probabilistic U-Net: latents at several scales of the decoder (Kohl et al. 2019, arXiv:1905.13077).

P(z | X) = prod_i P(z_i | z_<i, X), coarsest scale first, and Q(z | X, Y) likewise. The objective is the ELBO, its
balance found by GECO, its cross-entropy taken over the hardest pixels alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from typing import final

import torch
from torch import nn
from torch.distributions import Independent, kl_divergence

from probunet.errors import InputError
from probunet.models.base import (
    Loss,
    SegmentationDistribution,
    SegmentationModel,
    check_image,
    check_label,
    cross_entropy,
    most_probable,
)
from probunet.models.geco import Geco
from probunet.models.latent import one_hot
from probunet.models.top_k import check_share, top_k_cross_entropy
from probunet.nets.ladder import Choose, Ladder
from probunet.nets.prior import draw_from
from probunet.nets.unet import initialise
from probunet.types import Image, Label, Logits, Samples

Posterior = Callable[[Label, torch.Generator | None], tuple[list[Independent], list[torch.Tensor]]]
"""From a label to the laws of all scales and the latents that were drawn from them."""


@final
class HierarchicalSegmentation(SegmentationDistribution):
    """P(Y | X) as an integral over latents of several scales.

    Args:
        decode: from a way to choose latents to logits (B, K, H, W).
        posterior: see ``Posterior``.
    """

    distinct = None

    def __init__(self, decode: Callable[[Choose], Logits], posterior: Posterior) -> None:
        self._decode, self.posterior = decode, posterior

    def logits(self, generator: torch.Generator | None = None, at_mean: Collection[int] = ()) -> Logits:
        """Draw the latents of every scale from the prior, or take the mean at the scales ``at_mean`` (0: coarsest)."""
        return self._decode(lambda i, law: law.mean if i in at_mean else draw_from(law, 1, generator)[0])

    def given(self, latents: Sequence[torch.Tensor]) -> tuple[Logits, list[Independent]]:
        """Decode given latents; give the logits and the prior's law at every scale."""
        laws: list[Independent] = []

        def choose(i: int, law: Independent) -> torch.Tensor:
            laws.append(law)
            return latents[i]

        return self._decode(choose), laws

    def sample(self, n: int, generator: torch.Generator | None = None, at_mean: Collection[int] = ()) -> Samples:
        """Draw hypotheses; those of scales ``at_mean`` share their latents up to what coarser ones say.

        See the base class.
        """
        return torch.stack([most_probable(self.logits(generator, at_mean)) for _ in range(n)])

    def logits_samples(self, n: int, generator: torch.Generator | None = None) -> torch.Tensor:
        """Draw logits (n, B, K, H, W) that a gradient flows through; see ``SupportsLogitsSamples``."""
        return torch.stack([self.logits(generator) for _ in range(n)])

    def probabilities(self, samples: int = 64, generator: torch.Generator | None = None) -> torch.Tensor:
        """Average the softmax over draws; see the base class."""
        return torch.stack([self.logits(generator).softmax(dim=1) for _ in range(samples)]).mean(dim=0)

    def log_prob(self, label: Label, samples: int = 64, generator: torch.Generator | None = None) -> torch.Tensor:
        """Importance-weighted bound with proposals from the posterior, as for one scale; see the base class."""
        weights = []
        for _ in range(samples):
            proposals, latents = self.posterior(label, generator)
            logits, priors = self.given(latents)
            ratio = [p.log_prob(z) - q.log_prob(z) for p, q, z in zip(priors, proposals, latents, strict=True)]
            weights.append(torch.stack(ratio).sum(dim=0) - cross_entropy(logits, label))
        return torch.logsumexp(torch.stack(weights), dim=0) - math.log(samples)


@final
class HierarchicalProbabilisticUNet(SegmentationModel):
    """A residual U-Net with latents at its coarsest scales, and a second one, without the finer scales, as posterior.

    Args:
        in_channels: channels of the image.
        num_classes: classes K.
        channels: channels of each scale, finest first; with 8 scales the coarsest of 128x128 px is one pixel, so
            that its latent speaks of the whole image (Kohl et al.: 8 scales).
        latent_dims: dimensions of a latent at each position of the coarsest scales, coarsest first (theirs: 4
            scales with 1).
        kappa: nats a pixel that the reconstruction may cost (theirs: 0.05); ``None``: the plain ELBO.
        top_k: share of the pixels that count in training (theirs: 0.02); 1: all.

    Raises:
        InputError: no latents, or as many as scales, or a share outside (0, 1].
    """

    def __init__(
        self,
        in_channels: int = 1,
        num_classes: int = 2,
        channels: Sequence[int] = (24, 48, 96, 192, 192, 192, 192, 192),
        latent_dims: Sequence[int] = (1, 1, 1, 1),
        kappa: float | None = 0.05,
        top_k: float = 0.02,
    ) -> None:
        super().__init__()
        if not 0 < len(latent_dims) < len(channels):
            raise InputError(f"{len(latent_dims)} latent scale(s) do not fit {len(channels)} scales; give fewer")
        check_share(top_k)
        self.in_channels, self.num_classes, self.top_k = in_channels, num_classes, top_k
        self.prior = Ladder(in_channels, channels, latent_dims, complete=True)
        self.posterior = Ladder(in_channels + num_classes, channels, latent_dims, complete=False)
        self.head = nn.Conv2d(channels[0], num_classes, 1)
        initialise(self.head)
        self.geco = None if kappa is None else Geco(kappa)

    def forward(self, image: Image) -> HierarchicalSegmentation:
        """Run the encoder once; every hypothesis costs a run of the decoder. See the base class."""
        check_image(image, self.in_channels)
        scales, (height, width) = self.prior.encode(image), image.shape[-2:]

        def decode(choose: Choose) -> Logits:
            return self.head(self.prior.decode(scales, choose)).float()[..., :height, :width]

        def posterior(label: Label, generator: torch.Generator | None) -> tuple[list[Independent], list[torch.Tensor]]:
            check_label(label, image, self.num_classes)
            laws, latents = list[Independent](), list[torch.Tensor]()

            def choose(i: int, law: Independent) -> torch.Tensor:
                laws.append(law)
                latents.append(draw_from(law, 1, generator)[0])
                return latents[-1]

            seen = torch.cat([image, one_hot(label, self.num_classes).to(image.dtype) - 0.5], dim=1)
            self.posterior.decode(self.posterior.encode(seen), choose)
            return laws, latents

        return HierarchicalSegmentation(decode, posterior)

    def loss(self, image: Image, label: Label, generator: torch.Generator | None = None) -> Loss:
        """ELBO with all scales' KL, each summed over its positions; cross-entropy of the hardest pixels.

        See the base class.
        """
        distribution = self(image)
        posteriors, latents = distribution.posterior(label, generator)
        logits, priors = distribution.given(latents)
        reconstruction, pixels = top_k_cross_entropy(logits, label, self.top_k, generator)
        by_scale = [
            kl_divergence(q.base_dist, p.base_dist).flatten(1).sum(dim=1).mean()
            for q, p in zip(posteriors, priors, strict=True)
        ]
        kl = torch.stack(by_scale).sum()
        total = self.geco(reconstruction, pixels, kl) if self.geco else reconstruction + kl
        terms = {"reconstruction": reconstruction, "kl": kl} | {f"kl_scale/{i}": v for i, v in enumerate(by_scale)}
        if self.geco:
            terms["multiplier"] = self.geco.multiplier.clone()
        return Loss(total, {name: value.detach() for name, value in terms.items()}, distribution)
