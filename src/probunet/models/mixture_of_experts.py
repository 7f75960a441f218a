"""A mixture of stochastic experts with weights that depend on the image (MoSE: Gao et al. 2023)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import final

import torch
from torch import nn
from torch.nn import functional as F

from probunet.core.errors import InputError
from probunet.core.types import IGNORE, Image, Label, Latent, Logits, Samples
from probunet.distributions.base import SegmentationDistribution
from probunet.distributions.base import cross_entropy as cross_entropy_of
from probunet.distributions.latent import decoded_labels
from probunet.models.base import SegmentationModel, check_image, check_label
from probunet.nets.combine import Combine, Decoder
from probunet.nets.gaussian import LOG_SIGMA_BOUND
from probunet.nets.labels import one_hot
from probunet.nets.unet import FeatureUNet, block_with, initialise, pad_to_multiple
from probunet.objectives.loss import Loss
from probunet.objectives.transport import transport_plan

SIGMA = 1 / 8
"""Spread of an expert at the start, where the experts' means have a spread of 1 (paper)."""


@final
class ExpertSegmentation(SegmentationDistribution):
    """P(Y | X) = sum_e w_e(X) P_e(Y | X), where every expert is a normal in the space of z.

    Args:
        decode: from one latent per image, (B, D), to logits (B, K, H, W); a single image with any number of latents.
        log_weights: of the experts, (B, E), normalised.
        mean: of the experts' latents, (E, D).
        sigma: of the experts' latents, (E, D).
    """

    distinct = None

    def __init__(
        self, decode: Callable[[Latent], Logits], log_weights: torch.Tensor, mean: torch.Tensor, sigma: torch.Tensor
    ) -> None:
        self.log_weights, self.mean, self.sigma = log_weights, mean, sigma
        self._decode = decode

    def logits(self, z: Latent) -> Logits:
        """Decode one latent per image, (B, D), to (B, K, H, W)."""
        return self._decode(z).float()

    def sample(self, n: int, generator: torch.Generator | None = None) -> Samples:
        """Draw n hypotheses of equal weight; an expert of weight w gives n w of them, rounded up or down.

        Each is a draw from the mixture; together they cover it better than independent ones. See the base class.
        """
        device, batch = self.mean.device, len(self.log_weights)
        start = torch.rand((batch, 1), generator=generator, device=device)
        positions = (torch.arange(n, device=device) + start) / n
        order = torch.rand((batch, n), generator=generator, device=device).argsort(dim=1, stable=True)
        edges = self.log_weights.exp().cumsum(dim=1)[:, None, :-1]
        expert = (positions[..., None] > edges).sum(dim=-1).gather(1, order).T
        noise = torch.randn((n, batch, self.mean.shape[1]), generator=generator, device=device, dtype=self.mean.dtype)
        return decoded_labels(self._decode, self.mean[expert] + self.sigma[expert] * noise)

    def weighted_samples(
        self, per_expert: int, generator: torch.Generator | None = None
    ) -> tuple[Samples, torch.Tensor]:
        """Draw the same number of hypotheses from every expert, with their probabilities.

        Returns:
            (N, B, H, W) uint8 with N = experts x per_expert, expert by expert, and (B, N) probabilities.
        """
        latents = torch.cat(list(self._by_expert(per_expert, generator)))
        weights = self.log_weights.exp().repeat_interleave(per_expert, dim=1) / per_expert
        return decoded_labels(self._decode, latents), weights

    def probabilities(self, samples: int = 64, generator: torch.Generator | None = None) -> torch.Tensor:
        """Average the softmax over ``samples`` draws, as many of each expert, with its weight. See the base class."""
        weights, each = self.log_weights.exp(), -(-samples // len(self.mean))
        total = torch.zeros((), device=self.mean.device)
        for expert, latents in enumerate(self._by_expert(each, generator)):
            for z in latents:
                total = total + weights[:, expert, None, None, None] * self.logits(z).softmax(dim=1)
        return total / each

    def log_prob(self, label: Label, samples: int = 64, generator: torch.Generator | None = None) -> torch.Tensor:
        """Give log sum_e w_e 1/M sum_m P(Y | X, z_em), a lower bound in expectation. See the base class."""
        each = -(-samples // len(self.mean))
        members = [
            self.log_weights[:, expert] - cross_entropy_of(self.logits(z), label)
            for expert, latents in enumerate(self._by_expert(each, generator))
            for z in latents
        ]
        return torch.logsumexp(torch.stack(members), dim=0) - math.log(each)

    def hypotheses(self, per_expert: int, generator: torch.Generator | None = None) -> torch.Tensor:
        """Draw logits of every expert, (E per_expert, B, K, H, W); a gradient flows to latents and network."""
        return torch.stack([self.logits(z) for latents in self._by_expert(per_expert, generator) for z in latents])

    def _by_expert(self, n: int, generator: torch.Generator | None) -> Iterator[torch.Tensor]:
        shape = (n, len(self.log_weights), self.mean.shape[1])
        for mean, sigma in zip(self.mean, self.sigma, strict=True):
            yield mean + sigma * torch.randn(shape, generator=generator, device=mean.device, dtype=mean.dtype)


@final
class MixtureOfExperts(SegmentationModel):
    """A U-Net, f_comb with a learned normal of z for every expert, and weights from the coarsest scale.

    Args:
        in_channels: channels of the image.
        num_classes: classes K.
        channels: channels of each scale, finest first.
        convolutions: 3x3 convolutions at each scale.
        experts: how many experts E (paper: 4).
        latent_dims: dimensions of z (paper: 1).
        draws: hypotheses of every expert in training (paper: 4).
        limit: largest share of an image's readers that is matched to one hypothesis (paper: 0.5, then 1).
        combine_layers: 1x1 convolutions of f_comb.
        combine_channels: channels between the layers of f_comb; those of the finest scale if not given.
        batch_norm: batch normalisation behind every 3x3 convolution (paper: none).

    Raises:
        InputError: fewer than two experts, no draws, or a limit outside (0, 1].
    """

    def __init__(
        self,
        in_channels: int = 1,
        num_classes: int = 2,
        channels: Sequence[int] = (32, 64, 128, 192, 192),
        convolutions: int = 3,
        experts: int = 4,
        latent_dims: int = 6,
        draws: int = 2,
        limit: float = 0.5,
        combine_layers: int = 3,
        combine_channels: int | None = None,
        batch_norm: bool = False,
    ) -> None:
        super().__init__()
        if experts < 2 or draws < 1 or not 0 < limit <= 1:
            raise InputError(
                f"experts={experts}, draws={draws}, limit={limit}: needed are at least 2 experts, at least 1 draw and "
                "a limit above 0 and at most 1"
            )
        self.in_channels, self.num_classes, self.draws, self.limit = in_channels, num_classes, draws, limit
        self.unet = FeatureUNet(in_channels, channels, convolutions, block_with(batch_norm))
        width = combine_channels or channels[0]
        self.combine = Combine(self.unet.out_channels, latent_dims, num_classes, combine_layers, width)
        self.gate = nn.Linear(channels[-1], experts)
        self.gate.apply(initialise)
        self.mean = nn.Parameter(torch.randn(experts, latent_dims))
        self.log_sigma = nn.Parameter(torch.full((experts, latent_dims), math.log(SIGMA)))

    def forward(self, image: Image) -> ExpertSegmentation:
        """Run the U-Net once; see the base class."""
        check_image(image, self.in_channels)
        height, width = image.shape[-2:]
        scales = self.unet.encoder(pad_to_multiple(image, self.unet.encoder.multiple))
        features = self.unet.expand(scales)[..., :height, :width]
        raw = self.gate(scales[-1].mean(dim=(-2, -1))).float()
        log_weights = (LOG_SIGMA_BOUND * torch.tanh(raw / LOG_SIGMA_BOUND)).log_softmax(dim=1)
        sigma = (LOG_SIGMA_BOUND * torch.tanh(self.log_sigma / LOG_SIGMA_BOUND)).exp()
        return ExpertSegmentation(Decoder(self.combine, features), log_weights, self.mean, sigma)

    def loss(self, image: Image, label: Label, generator: torch.Generator | None = None) -> Loss:
        """Minus the log-likelihood of one reader's label, averaged over the batch; see the base class.

        It is the smallest transport cost plus KL(plan, weights) where the whole mass of the readers is one label.
        """
        check_label(label, image, self.num_classes)
        distribution = self.forward(image)
        cost = pairwise_cross_entropy(distribution.hypotheses(self.draws, generator), label[:, None])[..., 0]
        log_weights = distribution.log_weights.repeat_interleave(self.draws, dim=1) - math.log(self.draws)
        total = -torch.logsumexp(log_weights - cost, dim=1).mean()
        reconstruction = ((log_weights - cost).softmax(dim=1) * cost).sum(dim=1).mean().detach()
        terms = {"reconstruction": reconstruction, "gate_kl": total.detach() - reconstruction}
        return Loss(total, terms, distribution)

    def loss_of_readers(self, image: Image, labels: torch.Tensor, generator: torch.Generator | None = None) -> Loss:
        """Transport cost between hypotheses and readers, plus KL(mass that each expert got, weights).

        The cost of a pair is the cross-entropy summed over pixels; all are batch averages. See ``LearnsFromReaders``.
        """
        if labels.shape[1] == 1:
            return self.loss(image, labels[:, 0], generator)
        for label in labels.unbind(dim=1):
            check_label(label, image, self.num_classes)
        distribution = self.forward(image)
        cost = pairwise_cross_entropy(distribution.hypotheses(self.draws, generator), labels)
        plan = transport_plan(cost, (labels != IGNORE).flatten(2).any(dim=2), self.limit)
        reconstruction = (plan * cost).sum(dim=(1, 2)).mean()
        got = plan.sum(dim=2).unflatten(1, (len(self.mean), self.draws)).sum(dim=2)
        kl = (torch.xlogy(got, got) - got * distribution.log_weights).sum(dim=1).mean()
        terms = {"reconstruction": reconstruction.detach(), "gate_kl": kl.detach()}
        return Loss(reconstruction + kl, terms, distribution)


def pairwise_cross_entropy(hypotheses: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of every hypothesis with every reader, summed over the pixels that the reader does not ignore.

    Args:
        hypotheses: logits (N, B, K, H, W).
        labels: (B, R, H, W) class ids or ``IGNORE``.

    Returns:
        (B, N, R) nats.
    """
    classes = hypotheses.shape[2]
    readers = one_hot(labels.flatten(0, 1), classes).unflatten(0, labels.shape[:2]).flatten(2)
    with torch.autocast(hypotheses.device.type, enabled=False):
        log_probabilities = F.log_softmax(hypotheses.float(), dim=2).flatten(2).movedim(0, 1)
        return -torch.bmm(log_probabilities, readers.transpose(1, 2))
