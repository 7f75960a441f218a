"""Richer families for P(z | X) than the paper's: full covariance, mixture of Gaussians, normalising flow.

Each net gives a ``torch.distributions.Distribution`` of batch shape (B,) and event shape (D,).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, TypeAlias

import torch
from torch import nn
from torch.distributions import (
    Categorical,
    Distribution,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    TransformedDistribution,
)

from probunet.core.errors import InputError
from probunet.core.packages import require
from probunet.nets.gaussian import GaussianNet, bounded, sigma_of, standard_normal
from probunet.nets.layers import axes_of, initialise
from probunet.nets.scales import Scales
from probunet.nets.unet import Encoder

PriorFamily: TypeAlias = Literal["axis_aligned", "full", "mixture", "flow"]
COMPONENTS = 4
"""Gaussians of the mixture."""
CONTEXT, TRANSFORMS, HIDDEN = 16, 2, 32
"""Of the flow: numbers that it sees of an image, autoregressive steps, width of their two hidden layers."""


def prior_net(family: PriorFamily, in_channels: int, scales: Scales, latent_dims: int) -> nn.Module:
    """Make the net of a family; the arguments are those of ``GaussianNet``."""
    if family == "axis_aligned":
        return GaussianNet(in_channels, scales, latent_dims)
    net = {"full": FullCovarianceNet, "mixture": MixtureNet, "flow": FlowNet}[family]
    return net(latent_dims, partial(Summary, in_channels, scales))


class Summary(nn.Module):
    """An encoder, a global average pool and a linear layer: what one image says, as ``size`` numbers.

    The other arguments are those of ``GaussianNet``.
    """

    def __init__(self, in_channels: int, scales: Scales, size: int) -> None:
        super().__init__()
        self.encoder = Encoder(in_channels, scales)
        self.head = nn.Linear(scales.channels[-1], size)
        self.apply(initialise)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Sum up images (B, C, *size) as (B, size) float32."""
        deepest = self.encoder(x)[-1]
        return self.head(deepest.mean(dim=axes_of(deepest))).float()


class FullCovarianceNet(nn.Module):
    """A Gaussian with correlated latents: a mean and a Cholesky factor, so that no factorisation can fail.

    Args:
        latent_dims: dimensions D of the latent space.
        summary: makes the net that sums up an image in so many numbers.
    """

    def __init__(self, latent_dims: int, summary: Callable[[int], Summary]) -> None:
        super().__init__()
        self.latent_dims = latent_dims
        self.below = torch.tril_indices(latent_dims, latent_dims, -1)
        self.summary = summary(2 * latent_dims + self.below.shape[1])

    def forward(self, x: torch.Tensor) -> MultivariateNormal:
        """Give the distribution of z for images (B, C, *size)."""
        d = self.latent_dims
        mean, raw, below = self.summary(x).split([d, d, self.below.shape[1]], dim=-1)
        sigma = sigma_of(raw)
        factor = torch.diag_embed(sigma)
        row, column = self.below.to(x.device)
        # rows scaled by sigma and bounded, so that the factor stays well-conditioned relative to its diagonal
        factor = factor.index_put(
            (torch.arange(len(x), device=x.device)[:, None], row, column), bounded(below) * sigma[:, row]
        )
        return MultivariateNormal(mean, scale_tril=factor, validate_args=False)


class MixtureNet(nn.Module):
    """A mixture of ``COMPONENTS`` axis-aligned Gaussians: separate modes in the latent space.

    Args:
        latent_dims: dimensions D of the latent space.
        summary: makes the net that sums up an image in so many numbers.
    """

    def __init__(self, latent_dims: int, summary: Callable[[int], Summary]) -> None:
        super().__init__()
        self.latent_dims = latent_dims
        self.summary = summary(COMPONENTS * (1 + 2 * latent_dims))
        with torch.no_grad():  # components that begin alike would stay alike
            self.summary.head.bias[COMPONENTS : COMPONENTS * (1 + latent_dims)].normal_()

    def forward(self, x: torch.Tensor) -> MixtureSameFamily:
        """Give the distribution of z for images (B, C, *size)."""
        size = COMPONENTS * self.latent_dims
        weights, mean, raw = self.summary(x).split([COMPONENTS, size, size], dim=-1)
        shape = (len(x), COMPONENTS, self.latent_dims)
        normal = Normal(mean.reshape(shape), sigma_of(raw).reshape(shape), validate_args=False)
        return MixtureSameFamily(
            Categorical(logits=bounded(weights), validate_args=False),
            Independent(normal, 1, validate_args=False),
            validate_args=False,
        )


MOST_DIMS = 256
"""Dimensions of a flow, whose masks grow with their square."""


class FlowNet(nn.Module):
    """A masked autoregressive flow from N(0, I), conditional on the image (Papamakarios et al. 2017).

    Args:
        latent_dims: dimensions D of the latent space.
        summary: makes the net that sums up an image in so many numbers.

    Raises:
        InputError: zuko is not installed, or more dimensions than ``MOST_DIMS``.
    """

    def __init__(self, latent_dims: int, summary: Callable[[int], Summary]) -> None:
        super().__init__()
        if latent_dims > MOST_DIMS:
            raise InputError(f"a flow of {latent_dims} dimensions is too large; prior_family='flow' takes {MOST_DIMS}")
        MAF = require("zuko.flows", "prior_family='flow'").MAF
        self.latent_dims = latent_dims
        self.summary = summary(CONTEXT)
        self.transform = MAF(latent_dims, CONTEXT, transforms=TRANSFORMS, hidden_features=(HIDDEN, HIDDEN)).transform
        for step in self.transform.transforms:
            step.hyper = FullPrecision(step.hyper)

    def forward(self, x: torch.Tensor) -> TransformedDistribution:
        """Give the distribution of z for images (B, C, *size)."""
        to_normal: Any = self.transform(torch.tanh(self.summary(x)))
        base = standard_normal(len(x), self.latent_dims, x.device)
        return TransformedDistribution(base, [to_normal.inv], validate_args=False)


class FullPrecision(nn.Module):
    """Runs a net in the precision of its own weights, also under autocast, and answers in that of its input.

    Args:
        net: a density is a product of its outputs, which half precision would spoil.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Run the net."""
        with torch.autocast(x.device.type, enabled=False):
            return self.net(x.to(next(self.net.parameters()).dtype)).to(x.dtype)


def placed(prior: Distribution, noise: torch.Tensor) -> torch.Tensor:
    """Turn standard normal noise into latents of any family but the mixture.

    Args:
        prior: batch shape (B,), event shape (D,).
        noise: (n, B, D).

    Returns:
        (n, B, D), differentiable in the parameters of the distribution.
    """
    if isinstance(prior, TransformedDistribution):
        z = placed(prior.base_dist, noise)
        for transform in prior.transforms:
            z = transform(z)
        return z
    if isinstance(prior, MultivariateNormal):
        return prior.mean + (prior.scale_tril * noise[..., None, :]).sum(dim=-1)
    return prior.mean + prior.stddev * noise
