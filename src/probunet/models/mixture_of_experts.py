"""A mixture of stochastic experts with weights that depend on the image (MoSE: Gao et al. 2023)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast, final

import torch
from torch import nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal
from torch.nn import functional as F

from probunet.core.errors import InputError
from probunet.core.types import IGNORE, Image, Label
from probunet.distributions.base import SegmentationDistribution
from probunet.distributions.experts import Experts
from probunet.distributions.references import check_label
from probunet.models.base import Parts, SegmentationModel, label_shape
from probunet.nets.blocks import block_with
from probunet.nets.combine import Combine, Decoder, Split
from probunet.nets.gaussian import bounded, sigma_of
from probunet.nets.labels import one_hot
from probunet.nets.layers import axes_of, cut, initialise
from probunet.nets.readers import checked_shares
from probunet.nets.receptive_field import ReceptiveField, receptive_field_of
from probunet.nets.scales import Dims, make_scales
from probunet.nets.unet import FeatureUNet
from probunet.objectives.loss import Loss
from probunet.objectives.transport import transport_plan

EXPERTS, LIMIT = 4, 0.5
"""Of the paper, where nothing else is chosen."""
SIGMA, SIGMA_OF_READER = 1 / 8, 1.0
"""Spread of an expert at the start, where the experts' means have a spread of 1 (paper); of a reader, who may doubt."""


@final
class MixtureOfExperts(SegmentationModel):
    """A U-Net, f_comb with a learned normal of z for every expert, and weights from the coarsest scale.

    With ``reader_names`` every expert is a known reader, who learns from the own label maps alone; the weights are the
    readers' shares, whatever the image.

    Args:
        in_channels: channels of the image.
        num_classes: classes K.
        channels: channels of each scale, finest first.
        convolutions: at each scale, 3x3 or 3x3x3.
        experts: how many experts E; 4 (paper) if not given, and one for every reader where they are named.
        latent_dims: dimensions of z (paper: 1).
        draws: hypotheses of every expert in training (paper: 4).
        limit: largest share of an image's readers that is matched to one hypothesis (paper: 0.5, then 1).
        combine_layers: 1x1 convolutions of f_comb.
        combine_channels: channels between the layers of f_comb; those of the finest scale if not given.
        batch_norm: batch normalisation behind every such convolution (paper: none).
        dims: axes of an image: 2, or 3 for volumes.
        spacing: mm between voxels along every axis (D, H, W), which says where an axis is pooled, see
            ``probunet.nets.scales``; as long along all of them if not given.
        reader_names: of the persons who drew the labels, in the order of the store (paper: unknown).
        shares: of the readings that each reader drew; equal ones if not given.

    Raises:
        InputError: fewer than two experts, no draws, a limit outside (0, 1], or a number of experts or a limit beside
            names of readers, who are the experts and are matched to themselves.
    """

    learns_from_readers = True
    reader_parameters, reader_shares = ("mean", "log_sigma"), "shares"

    def __init__(
        self,
        in_channels: int = 1,
        num_classes: int = 2,
        channels: Sequence[int] = (32, 64, 128, 192, 192),
        convolutions: int = 3,
        experts: int | None = None,
        latent_dims: int = 6,
        draws: int = 2,
        limit: float | None = None,
        combine_layers: int = 3,
        combine_channels: int | None = None,
        batch_norm: bool = False,
        dims: Dims = 2,
        spacing: Sequence[float] | None = None,
        reader_names: Sequence[str] = (),
        shares: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        if reader_names and (experts, limit) != (None, None):
            raise InputError("with reader_names every reader is an expert; leave out experts and limit")
        count, limit = len(reader_names) or (EXPERTS if experts is None else experts), LIMIT if limit is None else limit
        if count < 2 - bool(reader_names) or draws < 1 or not 0 < limit <= 1:
            raise InputError(
                f"experts={count}, draws={draws}, limit={limit}: needed are at least 2 experts, at least 1 draw and "
                "a limit above 0 and at most 1"
            )
        self.in_channels, self.num_classes, self.draws, self.limit = in_channels, num_classes, draws, limit
        self.reader_names = tuple(reader_names)
        self.unet = FeatureUNet(in_channels, make_scales(channels, convolutions, dims, spacing, block_with(batch_norm)))
        width = combine_channels or channels[0]
        self.combine = Combine(self.unet.out_channels, latent_dims, num_classes, combine_layers, width)
        self.split = Split(self.unet, self.combine, latent_dims, gaussian=False)
        self.gate: nn.Linear | None = None
        if checked := checked_shares(reader_names, shares):
            self.register_buffer("shares", torch.tensor(checked))
        else:
            self.gate = nn.Linear(channels[-1], count)
            self.gate.apply(initialise)
        self.mean = nn.Parameter(torch.randn(count, latent_dims))
        sigma = SIGMA_OF_READER if reader_names else SIGMA
        self.log_sigma = nn.Parameter(torch.full((count, latent_dims), math.log(sigma)))

    @property
    def receptive_field(self) -> ReceptiveField:
        """See the base class."""
        return receptive_field_of(self.unet.encoder, self.unet.decoder)

    def parts(self, image: Image, corner: tuple[int, ...]) -> Parts:
        """The encoder runs once, for the weights and for the features; see the base class."""
        maps = self.unet.encoder(image)

        def noise() -> Experts:
            if self.gate is None:
                log_weights = cast(torch.Tensor, self.shares).log().expand(len(image), -1)
            else:
                raw = self.gate(maps[-1].mean(dim=axes_of(maps[-1]))).float()
                log_weights = bounded(raw).to(self.mean.dtype)
            shape = (len(image), *self.mean.shape)
            normal = Normal(self.mean.expand(shape), sigma_of(self.log_sigma).expand(shape), validate_args=False)
            choice = Categorical(logits=log_weights, validate_args=False)
            return Experts(MixtureSameFamily(choice, Independent(normal, 1, validate_args=False), validate_args=False))

        def decode() -> Decoder:
            return Decoder(self.combine, self.combine.project(cut(self.unet.expand(maps), image.shape[2:])))

        return Parts(noise, decode)

    def loss_of_readers(self, image: Image, labels: torch.Tensor, generator: torch.Generator | None = None) -> Loss:
        """Transport cost between hypotheses and readers, plus KL(mass that each expert got, weights).

        The cost of a pair is the cross-entropy summed over pixels; all are batch averages. Of known readers it is minus
        the log-likelihood of each reader's label under the own expert. See the base class.
        """
        if labels.shape[1] == 1 and not self.reader_names:
            return self.loss(image, labels[:, 0], generator)
        for label in labels.unbind(dim=1):
            check_label(label, label_shape(image), self.num_classes)
        distribution = self.forward(image)
        hypotheses, log_weights = distribution.strata(self.draws, generator)
        looked = (labels != IGNORE).flatten(2).any(dim=2)
        if self.reader_names:
            own = own_cross_entropy(hypotheses.unflatten(0, (-1, self.draws)), labels)
            each = (math.log(self.draws) - torch.logsumexp(-own, dim=1)) * looked
            total = each.sum(dim=1).div(looked.sum(dim=1).clamp(min=1)).mean()
            return Loss(total, {"reconstruction": total.detach()}, distribution, (hypotheses, log_weights))
        cost = pairwise_cross_entropy(hypotheses, labels)
        plan = transport_plan(cost, looked, self.limit)
        reconstruction = (plan * cost).sum(dim=(1, 2)).mean()
        got = plan.sum(dim=2).unflatten(1, (len(self.mean), self.draws)).sum(dim=2)
        kl = (torch.xlogy(got, got) - got * log_weights.T).sum(dim=1).mean()
        terms = {"reconstruction": reconstruction.detach(), "gate_kl": kl.detach()}
        return Loss(reconstruction + kl, terms, distribution, (hypotheses, log_weights))

    def loss_under(
        self, distribution: SegmentationDistribution, label: Label, generator: torch.Generator | None = None
    ) -> Loss:
        """Minus the log-likelihood of one reader's label, averaged over the batch; see the base class.

        It is the smallest transport cost plus KL(plan, weights) where the whole mass of the readers is one label.
        """
        check_label(label, distribution.shape, self.num_classes)
        hypotheses, weights = distribution.strata(self.draws, generator)
        cost = pairwise_cross_entropy(hypotheses, label[:, None])[..., 0]
        log_weights = weights.T.repeat_interleave(self.draws, dim=1) - math.log(self.draws)
        total = -torch.logsumexp(log_weights - cost, dim=1).mean()
        reconstruction = ((log_weights - cost).softmax(dim=1) * cost).sum(dim=1).mean().detach()
        terms = {"reconstruction": reconstruction, "gate_kl": total.detach() - reconstruction}
        return Loss(total, terms, distribution, (hypotheses, weights))


def pairwise_cross_entropy(hypotheses: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of every hypothesis with every reader, summed over the pixels that the reader does not ignore.

    Args:
        hypotheses: logits (N, B, K, *size).
        labels: (B, R, *size) class ids or ``IGNORE``.

    Returns:
        (B, N, R) nats.
    """
    classes = hypotheses.shape[2]
    readers = one_hot(labels.flatten(0, 1), classes).unflatten(0, labels.shape[:2]).flatten(2)
    with torch.autocast(hypotheses.device.type, enabled=False):
        log_probabilities = F.log_softmax(hypotheses.float(), dim=2).flatten(2).movedim(0, 1)
        return -torch.bmm(log_probabilities, readers.transpose(1, 2))


def own_cross_entropy(hypotheses: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the hypotheses of every reader's expert with that reader; see :func:`pairwise_cross_entropy`.

    Args:
        hypotheses: logits (R, N, B, K, *size), reader by reader.
        labels: (B, R, *size) class ids or ``IGNORE``.

    Returns:
        (B, N, R) nats.
    """
    pairs = zip(hypotheses, labels.split(1, dim=1), strict=True)
    return torch.cat([pairwise_cross_entropy(drawn, label) for drawn, label in pairs], dim=2)
