"""Kinds of noise: how hypotheses are drawn, how few of them cover a distribution, and with which weights."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeAlias

import torch
from torch.distributions import Distribution, Independent

from probunet.core.draws import drawn
from probunet.core.errors import InputError
from probunet.core.types import Label, Logits
from probunet.nets.decode import Decode

Weighted: TypeAlias = tuple[torch.Tensor, torch.Tensor]
"""Variables (N, B, ...) and logarithms of weights."""


@dataclass(frozen=True)
class Reconstruction:
    """What one draw from a posterior gives.

    Attributes:
        outputs: logits (B, K, *size); the last are the hypothesis, those before it what coarser levels alone make of
            it.
        divergence: KL(posterior, prior) in nats, (B, parts).
        part: what the parts are.
    """

    outputs: list[Logits]
    divergence: torch.Tensor
    part: Literal["dimension", "level", "all"]


class Noise(ABC):
    """One kind of noise, bound to what a model says of a batch of B images.

    Noise itself knows nothing of the images. Their *variables* (latents, members, seeds) are what a ``Decode`` takes.
    """

    device: torch.device
    """Of the model, and of the noise."""

    distinct: int | None = None
    """How many different hypotheses there are for an image; ``None`` where there is no limit."""

    independent: bool = True
    """Whether several draws are independent of each other."""

    components: int = 1
    """How many components the distribution has, each with a weight of its own."""

    prior: Distribution | None = None
    """P(z | X), batch shape (B,), event shape (D,), where the variable is one latent."""

    posterior: Callable[[Label], Independent] | None = None
    """From a label to Q(z | X, Y), where the variable is one latent that can be inferred."""

    local: bool = False
    """Whether the variables are maps as large as the image, so that a likelihood needs the image whole."""

    @abstractmethod
    def draw(self, n: int, generator: torch.Generator | None, cover: bool = False) -> torch.Tensor:
        """Draw the noise of n hypotheses of every image.

        Args:
            n: how many.
            generator: source of randomness; one on the processor draws the same for a model on any device.
            cover: together they cover the distribution better than independent draws; each is still an exact draw.

        Returns:
            (n, B, ...).
        """

    @abstractmethod
    def place(self, noise: torch.Tensor) -> torch.Tensor:
        """Turn noise (n, B, ...) into variables (n, B, ...) of these images."""

    @abstractmethod
    def strata(self, m: int, generator: torch.Generator | None, cover: bool = False) -> Weighted:
        """Draw from every component of the distribution; a distribution without components is a single one.

        Args:
            m: draws of every component; one where all draws of a component are the same.
            generator: source of randomness.
            cover: see :meth:`draw`.

        Returns:
            Variables (C m, B, ...), component by component, and the logarithms of the components' weights, (C, B).
        """

    @abstractmethod
    def propose(self, label: Label, n: int, generator: torch.Generator | None) -> Weighted:
        """Draw variables to estimate P(Y | X) as sum_i w_i P(Y | X, variables_i): n, or a few more, or all there are.

        Args:
            label: (B, *size) class ids or ``IGNORE``.
            n: how many.
            generator: source of randomness.

        Returns:
            Variables (N, B, ...) and log w, (N, B).
        """

    def component(self, chosen: torch.Tensor) -> Noise:
        """Give one component alone for every image.

        Args:
            chosen: (B,) numbers of the components.

        Raises:
            InputError: this kind of noise has no components.
        """
        raise InputError("this distribution has no components to choose from")

    def reconstruct(self, label: Label, decode: Decode, generator: torch.Generator | None) -> Reconstruction:
        """Draw once from the posterior Q(. | X, Y) and decode.

        Args:
            label: (B, *size) class ids or ``IGNORE``.
            decode: from variables to logits.
            generator: source of randomness.

        Raises:
            InputError: this kind of noise has no posterior.
        """
        raise InputError("this model has no posterior of its hypotheses, which an evidence bound needs")


def spread(noise: Noise, n: int, generator: torch.Generator | None, cover: bool = False) -> Weighted:
    """Divide n draws, or a few more, among the components of a distribution.

    Returns:
        Variables (N, B, ...) and the logarithms of their weights, (N, B), which sum to 1.
    """
    variables, log_weights = noise.strata(-(-n // noise.components), generator, cover)
    each = len(variables) // len(log_weights)
    return variables, log_weights.repeat_interleave(each, dim=0) - math.log(each)


def covering_uniforms(n: int, batch: int, dims: int, generator: torch.Generator | None, device: Any) -> torch.Tensor:
    """Draw points of the unit cube that fill it evenly: a scrambled Sobol sequence, moved at random for every image.

    The shift (Cranley and Patterson 1976) makes each point an exact draw from the uniform distribution.

    Returns:
        (n, B, dims) float64 within (0, 1); the first points of more are fewer.
    """
    if dims == 0:
        return torch.zeros((n, batch, 0), dtype=torch.float64, device=device)
    seed = int(drawn(partial(torch.randint, 2**31), (), generator, device))
    points = torch.quasirandom.SobolEngine(dims, scramble=True, seed=seed).draw(n, dtype=torch.float64).to(device)
    shift = drawn(torch.rand, (batch, dims), generator, device, torch.float64)
    smallest = torch.finfo(torch.float64).eps
    return ((points[:, None] + shift) % 1).clamp(smallest, 1 - smallest)


def normals(n: int, like: torch.Tensor, generator: torch.Generator | None, cover: bool = False) -> torch.Tensor:
    """Draw standard normal numbers (n, B, D) for the means (B, D) of n hypotheses, independent or covering."""
    if not cover:
        return drawn(torch.randn, (n, *like.shape), generator, like.device, like.dtype)
    batch, dims = like.shape
    return torch.special.ndtri(covering_uniforms(n, batch, dims, generator, like.device)).to(like.dtype)


def systematic(points: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
    """Positions (n, B, 1) at equal distances from a random start, in the order of the points, turned at random."""
    n, batch, _ = points.shape
    turn = drawn(partial(torch.randint, n), (batch, 1), generator, points.device)
    start = drawn(torch.rand, (batch, 1), generator, points.device, points.dtype)
    order = points.argsort(dim=0, stable=True)  # pairs are ties, which every device has to break alike
    rank = (order.argsort(dim=0) + turn) % n
    return (rank + start) / n
