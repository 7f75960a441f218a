"""The Stochastic Segmentation Network: a low-rank multivariate normal over all logits (Monteiro et al. 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch

from probunet.core.errors import InputError
from probunet.core.types import Image, Label, Logits
from probunet.distributions.base import SegmentationDistribution
from probunet.distributions.hierarchical import fields_of
from probunet.models.base import Parts, SegmentationModel
from probunet.nets.blocks import block_with, pointwise
from probunet.nets.decode import Network
from probunet.nets.fields import normal_field
from probunet.nets.gaussian import sigma_of
from probunet.nets.layers import initialise
from probunet.nets.readers import persons_of
from probunet.nets.receptive_field import ReceptiveField, receptive_field_of
from probunet.nets.scales import Dims, make_scales
from probunet.nets.unet import FeatureUNet
from probunet.objectives.loss import Loss

SIDE = {2: 32, 3: 8}
"""Of the blocks in which the noise of logits is drawn, in voxels, by dims."""
START = 0.1
"""Factor on the initial weights of P and sigma: the mean learns first, from draws that are near to it."""


@dataclass(frozen=True)
class LowRankNormal:
    """Logits that are N(mean, P P' + diag sigma^2) over all pixels and classes together.

    A draw is mean + P e1 + sigma e2 with standard normal e1 (rank numbers, shared by all pixels) and e2 (one per
    logit): no matrix is factorised, so nothing can fail.

    Attributes:
        mean: (B, K, *size).
        factor: P, (B, rank, K, *size).
        sigma: of the independent part, (B, K, *size).
        corner: the first voxel, in voxels of the whole image.
    """

    mean: Logits
    factor: torch.Tensor
    sigma: torch.Tensor
    corner: tuple[int, ...]

    def __call__(self, seeds: torch.Tensor) -> Logits:
        """Draw logits (B, K, *size) of one seed per image, (B,); a single image goes with any number of seeds."""
        (_, rank, classes, *size), dtype = self.factor.shape, self.mean.dtype
        shared = normal_field(seeds, 0, rank, (1, 1), (0, 0), side=1).to(dtype).flatten(1)
        own = normal_field(seeds, 1, classes, size, self.corner, SIDE[len(size)]).to(dtype)
        with torch.autocast(self.mean.device.type, enabled=False):
            if len(self.factor) == 1:
                along = shared @ self.factor[0].flatten(1)
            else:
                along = torch.bmm(shared.expand(len(self.factor), -1)[:, None], self.factor.flatten(2))[:, 0]
            return self.mean + along.unflatten(1, (classes, *size)) + self.sigma * own


@final
class StochasticSegmentationNetwork(SegmentationModel):
    """A U-Net with three 1x1 convolutions: to mean, low-rank factor and log sigma of the logits.

    Args:
        in_channels: channels of the image.
        num_classes: classes K.
        channels: channels of each scale, finest first.
        convolutions: at each scale, 3x3 or 3x3x3.
        rank: columns of the factor (paper: 10).
        draws: of the likelihood's estimate in training (paper: 20).
        batch_norm: batch normalisation behind every such convolution (paper: none).
        dims: axes of an image: 2, or 3 for volumes.
        spacing: mm between voxels along every axis (D, H, W), which says where an axis is pooled, see
            ``probunet.nets.scales``; as long along all of them if not given.
        reader_names: of the persons who drew the labels, in the order of the store (paper: unknown). Each of them then
            has a mean, factor and sigma, and P(Y | X) is the mixture of these normals.
        shares: of the readings that each reader drew; equal ones if not given.

    Raises:
        InputError: a rank or a number of draws below 1, or shares or names of readers without meaning.
    """

    def __init__(
        self,
        in_channels: int = 1,
        num_classes: int = 2,
        channels: Sequence[int] = (32, 64, 128, 192, 192),
        convolutions: int = 3,
        rank: int = 10,
        draws: int = 20,
        batch_norm: bool = False,
        dims: Dims = 2,
        spacing: Sequence[float] | None = None,
        reader_names: Sequence[str] = (),
        shares: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        if min(rank, draws) < 1:
            raise InputError(f"rank={rank} and draws={draws} must be at least 1; the paper uses 10 and 20")
        self.in_channels, self.num_classes, self.rank, self.draws = in_channels, num_classes, rank, draws
        self.unet = FeatureUNet(in_channels, make_scales(channels, convolutions, dims, spacing, block_with(batch_norm)))
        numbers = num_classes * (2 + rank)
        self.head = pointwise(self.unet.out_channels, numbers, dims)
        self.head.apply(initialise)
        self.reader_names = tuple(reader_names)
        self.persons = persons_of(reader_names, shares, [self.unet.out_channels], [numbers], dims)
        styles = self.persons.styles if self.persons else ()
        with torch.no_grad():
            for layer in (self.head, *(style.rest for style in styles)):
                layer.weight[num_classes:] *= START

    @property
    def receptive_field(self) -> ReceptiveField:
        """See the base class."""
        return receptive_field_of(self.unet.encoder, self.unet.decoder)

    def parts(self, image: Image, corner: tuple[int, ...]) -> Parts:
        """The U-Net runs once; see the base class."""

        def decode() -> Network:
            features = self.unet(image)
            whole, persons = self.head(features).float(), self.persons
            if persons is None:
                return Network(self._normal(whole, corner))

            def draw(variables: torch.Tensor) -> Logits:
                readers, seeds = variables.unbind(dim=-1)
                return self._normal(whole + persons(0, features, readers), corner)(seeds)

            return Network(draw)

        return Parts(lambda: fields_of(image, self.persons), decode)

    def _normal(self, numbers: torch.Tensor, corner: tuple[int, ...]) -> LowRankNormal:
        """The normal of what the last layer gives, (B, K (2 + rank), *size)."""
        k = self.num_classes
        mean, raw, factor = numbers.contiguous().split([k, k, k * self.rank], dim=1)
        return LowRankNormal(mean, factor.unflatten(1, (self.rank, k)), sigma_of(raw), corner)

    def loss_under(
        self, distribution: SegmentationDistribution, label: Label, generator: torch.Generator | None = None
    ) -> Loss:
        """Minus the estimated log-likelihood, summed over pixels, averaged over the batch; see the base class."""
        total = -distribution.log_prob(label, self.draws, generator).mean()
        return Loss(total, {"reconstruction": total.detach()}, distribution)
