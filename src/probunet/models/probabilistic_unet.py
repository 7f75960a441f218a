"""The Probabilistic U-Net (paper, section 2, Eqs. 1 to 4) and its ablations (appendix D)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal, final

import torch
from torch import nn
from torch.distributions import Independent, MixtureSameFamily

from probunet.core.errors import InputError
from probunet.core.types import Image, Label
from probunet.distributions.base import SegmentationDistribution
from probunet.distributions.experts import Experts
from probunet.distributions.latent import Normals
from probunet.distributions.noise import Noise
from probunet.models.base import Parts, SegmentationModel
from probunet.nets.blocks import block_with, pointwise
from probunet.nets.combine import Combine, Decoder, Split
from probunet.nets.decode import Decode, Network
from probunet.nets.gaussian import GaussianNet, standard_normal
from probunet.nets.labels import centred, with_latent
from probunet.nets.layers import initialise
from probunet.nets.prior import PriorFamily, Summary, prior_net
from probunet.nets.readers import CONTEXT, ReadersNet, persons_of
from probunet.nets.receptive_field import ReceptiveField, receptive_field_of
from probunet.nets.scales import Dims, make_scales
from probunet.nets.unet import FeatureUNet
from probunet.objectives.elbo import ELBO, evidence_bound, evidence_bound_of_readers
from probunet.objectives.geco import GECO
from probunet.objectives.loss import Loss
from probunet.objectives.pixels import All, TopK

Prior = Literal["conditional", "fixed"]
Posterior = Literal["image_and_label", "label"]
Inject = Literal["end", "start"]
Readers = Literal["one", "all"]


@final
class ProbabilisticUNet(SegmentationModel):
    """A U-Net and a conditional VAE: prior net, posterior net and f_comb.

    With ``prior="fixed"``, ``posterior="label"`` and ``inject="start"`` together it is the Image2Image VAE.

    Args:
        in_channels: channels of the image.
        num_classes: classes K.
        channels: channels of each scale of the U-Net, the prior net and the posterior net, finest first.
        latent_dims: dimensions D of the latent space (paper: 6).
        convolutions: at each scale, 3x3 or 3x3x3.
        combine_layers: 1x1 convolutions of f_comb (paper: 3).
        combine_channels: channels between the layers of f_comb; those of the finest scale if not given.
        prior: ``conditional`` on the image (paper), or ``fixed`` at N(0, I).
        posterior: sees ``image_and_label`` (paper), or the ``label`` alone.
        inject: z enters f_comb at the ``end`` (paper), or the U-Net with the image at its ``start``, where every
            hypothesis costs a run of the whole U-Net and f_comb is left out.
        prior_family: of a conditional prior: ``axis_aligned`` Gaussian (paper), Gaussian with ``full`` covariance,
            ``mixture`` of four axis-aligned Gaussians, or normalising ``flow`` (needs the extra ``flow``).
        objective: ``ELBO(beta)`` (paper: beta 1), or ``GECO(target)``.
        pixels: that the reconstruction counts, ``All()`` (paper) or ``TopK(share)``.
        readers: whose labels a training step counts: ``one`` random reader of every image (paper), or the average over
            ``all`` of them, for one pass of U-Net and prior net.
        batch_norm: batch normalisation behind every such convolution (paper: none).
        reader_names: of the persons who drew the labels, in the order of the store (paper: unknown). The prior then
            is P(z | X, reader), an axis-aligned Gaussian for each, and P(z | X) their mixture.
        shares: of the readings that each reader drew; equal ones if not given.
        dims: axes of an image: 2, or 3 for volumes.
        spacing: mm between voxels along every axis (D, H, W), which says where an axis is pooled, see
            ``probunet.nets.scales``; as long along all of them if not given.

    Raises:
        InputError: an option that does not exist, channels for an f_comb that is left out, a family for a fixed
            prior, GECO, whose multiplier follows single labels, with all readers, or names of readers for another
            prior than a conditional, axis-aligned one.
    """

    def __init__(
        self,
        in_channels: int = 1,
        num_classes: int = 2,
        channels: Sequence[int] = (32, 64, 128, 192, 192),
        latent_dims: int = 6,
        convolutions: int = 3,
        combine_layers: int = 3,
        combine_channels: int | None = None,
        prior: Prior = "conditional",
        posterior: Posterior = "image_and_label",
        inject: Inject = "end",
        prior_family: PriorFamily = "axis_aligned",
        objective: ELBO | GECO = ELBO(),
        pixels: All | TopK = All(),
        readers: Readers = "one",
        batch_norm: bool = False,
        reader_names: Sequence[str] = (),
        shares: Sequence[float] | None = None,
        dims: Dims = 2,
        spacing: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        if prior == "fixed" and prior_family != "axis_aligned":
            raise InputError(f"prior='fixed' is N(0, I), which leaves no prior_family={prior_family!r}; leave one out")
        if inject == "start" and (combine_channels is not None or combine_layers != 3):
            raise InputError(
                "inject='start' has no f_comb, so combine_layers and combine_channels mean nothing; leave them out"
            )
        if readers == "all" and isinstance(objective, GECO):
            raise InputError("readers='all' averages an ELBO; GECO's multiplier follows single labels, leave one out")
        self.learns_from_readers = readers == "all"
        if reader_names and (prior, prior_family, readers) != ("conditional", "axis_aligned", "one"):
            raise InputError("reader_names need prior='conditional', prior_family='axis_aligned' and readers='one'")
        self.in_channels, self.num_classes, self.reader_names = in_channels, num_classes, tuple(reader_names)
        self.latent_dims, self.prior_family = latent_dims, prior_family
        self.objective, self.pixels = objective.module(), pixels
        self.posterior_sees_image = posterior == "image_and_label"
        seen = num_classes + (in_channels if self.posterior_sees_image else 0)
        scales = make_scales(channels, convolutions, dims, spacing, block_with(batch_norm))
        self.unet = FeatureUNet(in_channels + (latent_dims if inject == "start" else 0), scales)
        self.prior: nn.Module | None = None
        self.persons = persons_of(reader_names, shares, [CONTEXT], [2 * latent_dims], dims=2)  # of images at one pixel
        if self.persons:
            summary = partial(Summary, in_channels, scales)
            self.prior = ReadersNet(latent_dims, summary)
        elif prior == "conditional":
            self.prior = prior_net(prior_family, in_channels, scales, latent_dims)
        self.posterior = GaussianNet(seen, scales, latent_dims)
        self.combine: Combine | None = None
        self.head: nn.Module | None = None
        if inject == "end":
            width = combine_channels or channels[0]
            self.combine = Combine(self.unet.out_channels, latent_dims, num_classes, combine_layers, width)
            gaussian = prior_family == "axis_aligned" and not reader_names
            self.split = Split(self.unet, self.combine, latent_dims, gaussian, self.prior)
        else:
            self.head = pointwise(self.unet.out_channels, num_classes, dims)
            self.head.apply(initialise)

    @property
    def receptive_field(self) -> ReceptiveField:
        """See the base class."""
        return receptive_field_of(self.unet.encoder, self.unet.decoder)

    def parts(self, image: Image, corner: tuple[int, ...]) -> Parts:
        """U-Net and prior net run once; see the base class."""

        def posterior(label: Label) -> Independent:
            seen = centred(label, self.num_classes, image)
            return self.posterior(torch.cat([image, seen], dim=1) if self.posterior_sees_image else seen)

        def noise() -> Noise:
            if self.prior is None:
                return Normals(standard_normal(len(image), self.latent_dims, image.device), posterior)
            prior = self.prior(image, self.persons) if self.persons else self.prior(image)
            mixture = isinstance(prior, MixtureSameFamily)
            return Experts(prior, posterior) if mixture else Normals(prior, posterior)

        return Parts(noise, lambda: self._decoder(image))

    def loss_under(
        self, distribution: SegmentationDistribution, label: Label, generator: torch.Generator | None = None
    ) -> Loss:
        """Eq. 4: cross-entropy summed over pixels plus beta KL summed over latents, both batch averages.

        See the base class.
        """
        return evidence_bound(distribution, label, self.objective, self.pixels, generator)

    def loss_of_readers(self, image: Image, labels: torch.Tensor, generator: torch.Generator | None = None) -> Loss:
        """Eq. 4, averaged over all readings of every image; see the base class."""
        return evidence_bound_of_readers(self.forward(image), labels, self.objective, self.pixels, generator)

    def _decoder(self, image: Image) -> Decode:
        if self.combine is not None:
            return Decoder(self.combine, self.combine.project(self.unet(image)))
        head = self.head
        assert head is not None
        return Network(lambda z: head(self.unet(with_latent(image, z))))
