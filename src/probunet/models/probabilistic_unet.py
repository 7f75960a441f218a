"""The Probabilistic U-Net (paper, section 2, Eqs. 1 to 4)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import final

import torch
from torch.distributions import Independent, kl_divergence
from torch.nn import functional as F

from probunet.models.base import (
    Loss,
    SegmentationDistribution,
    SegmentationModel,
    check_image,
    check_label,
    cross_entropy,
)
from probunet.nets.combine import Combine
from probunet.nets.gaussian import GaussianNet, draw
from probunet.nets.unet import FeatureUNet
from probunet.types import IGNORE, Image, Label, Latent, Logits, Samples


@final
class LatentSegmentation(SegmentationDistribution):
    """P(Y | X) as an integral over a latent space; every z gives one consistent hypothesis.

    The U-Net and the prior net have run when this object exists; a hypothesis costs one run of f_comb.

    Args:
        projected: (B, F, H, W), the image's part of the first layer of f_comb.
        latent: P(z | X), batch shape (B,), event shape (D,).
        combine: f_comb.
        posterior: from a label to Q(z | X, Y).
    """

    distinct = None

    def __init__(
        self,
        projected: torch.Tensor,
        latent: Independent,
        combine: Combine,
        posterior: Callable[[Label], Independent],
    ) -> None:
        self.latent = latent
        self.posterior = posterior
        self._projected, self._combine = projected, combine

    def logits(self, z: Latent) -> Logits:
        """Decode one latent per image.

        Args:
            z: (B, D).

        Returns:
            (B, K, H, W).
        """
        return self._combine(self._projected, z).float()

    def sample(self, n: int, generator: torch.Generator | None = None) -> Samples:
        """Draw n latents from the prior and take the most probable class of each; see the base class."""
        return torch.stack([self.logits(z).argmax(dim=1) for z in draw(self.latent, n, generator)])

    def probabilities(self, samples: int = 64, generator: torch.Generator | None = None) -> torch.Tensor:
        """Average the softmax over draws from the prior; see the base class."""
        total = torch.zeros(())
        for z in draw(self.latent, samples, generator):
            total = total.to(z.device) + self.logits(z).softmax(dim=1)
        return total / samples

    def log_prob(self, label: Label, samples: int = 64, generator: torch.Generator | None = None) -> torch.Tensor:
        """Importance-weighted bound, proposals from the posterior (Burda et al. 2016, Eq. 8).

        log 1/S sum_i P(Y | X, z_i) P(z_i | X) / Q(z_i | X, Y), z_i ~ Q; tight as S grows. See the base class.
        """
        proposal = self.posterior(label)
        weights = [
            self.latent.log_prob(z) - proposal.log_prob(z) - cross_entropy(self.logits(z), label)
            for z in draw(proposal, samples, generator)
        ]
        return torch.logsumexp(torch.stack(weights), dim=0) - math.log(samples)


@final
class ProbabilisticUNet(SegmentationModel):
    """A U-Net and a conditional VAE: prior net, posterior net and f_comb.

    Args:
        in_channels: channels of the image.
        num_classes: classes K.
        channels: channels of each scale of the U-Net, the prior net and the posterior net, finest first.
        latent_dims: dimensions D of the latent space (paper: 6).
        beta: weight of the KL term (paper: 1).
        convolutions: 3x3 convolutions at each scale.
        combine_layers: 1x1 convolutions of f_comb (paper: 3).
        combine_channels: channels between the layers of f_comb; those of the finest scale if not given.
    """

    def __init__(
        self,
        in_channels: int = 1,
        num_classes: int = 2,
        channels: Sequence[int] = (32, 64, 128, 192, 192),
        latent_dims: int = 6,
        beta: float = 1.0,
        convolutions: int = 3,
        combine_layers: int = 3,
        combine_channels: int | None = None,
    ) -> None:
        super().__init__()
        self.in_channels, self.num_classes, self.beta = in_channels, num_classes, beta
        self.unet = FeatureUNet(in_channels, channels, convolutions)
        self.prior = GaussianNet(in_channels, channels, latent_dims, convolutions)
        self.posterior = GaussianNet(in_channels + num_classes, channels, latent_dims, convolutions)
        self.combine = Combine(
            self.unet.out_channels, latent_dims, num_classes, combine_layers, combine_channels or channels[0]
        )

    def forward(self, image: Image) -> LatentSegmentation:
        """Run U-Net and prior net once; see the base class."""
        check_image(image, self.in_channels)

        def posterior(label: Label) -> Independent:
            check_label(label, image, self.num_classes)
            return self.posterior(torch.cat([image, one_hot(label, self.num_classes) - 0.5], dim=1))

        return LatentSegmentation(self.combine.project(self.unet(image)), self.prior(image), self.combine, posterior)

    def loss(self, image: Image, label: Label, generator: torch.Generator | None = None) -> Loss:
        """Eq. 4: cross-entropy summed over pixels plus beta KL summed over latents, both batch averages.

        See the base class.
        """
        distribution = self(image)
        posterior = distribution.posterior(label)
        reconstruction = cross_entropy(distribution.logits(draw(posterior, 1, generator)[0]), label).mean()
        kl_per_dimension = kl_divergence(posterior.base_dist, distribution.latent.base_dist).mean(dim=0)
        kl = kl_per_dimension.sum()
        terms = {"reconstruction": reconstruction, "kl": kl}
        terms |= {f"kl_dimension/{i}": value for i, value in enumerate(kl_per_dimension)}
        return Loss(reconstruction + self.beta * kl, {name: value.detach() for name, value in terms.items()})


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
