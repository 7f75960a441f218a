"""What a known person makes of an image: a few numbers for each reader change what a network says of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal
from torch.nn import functional as F

from probunet.core.errors import InputError
from probunet.nets.blocks import pointwise
from probunet.nets.gaussian import sigma_of
from probunet.nets.layers import along
from probunet.nets.prior import Summary

EMBEDDING, CONTEXT, HIDDEN = 8, 16, 32
"""Numbers that stand for a reader, numbers that sum up an image for the readers, and the width of a style's net."""


Change = Callable[[int, torch.Tensor], torch.Tensor]
"""From a place in a network and its features (B, C, *size) to what readers change there, (..., B, numbers, *size)."""


class Style(nn.Module):
    """1x1 convolutions of features and a reader: what the reader changes at every place, seen from that place alone.

    The first layer is linear, W [features; reader] + b, so that its part of the image is computed once for all readers.

    Args:
        channels: of the features.
        out: numbers that change.
        dims: axes of an image.
    """

    def __init__(self, channels: int, out: int, dims: int) -> None:
        super().__init__()
        self.dims = dims
        self.from_features = pointwise(channels, HIDDEN, dims)
        self.from_reader = nn.Linear(EMBEDDING, HIDDEN, bias=False)
        self.rest = pointwise(HIDDEN, out, dims)
        with torch.no_grad():  # both halves of the first layer as one layer that sees features and reader together
            self.from_features.weight.mul_(math.sqrt(channels / (channels + EMBEDDING)))
            self.from_reader.weight.mul_(math.sqrt(EMBEDDING / (channels + EMBEDDING)))

    def forward(self, features: torch.Tensor, readers: torch.Tensor) -> torch.Tensor:
        """Give the changes of readers (..., B, EMBEDDING) on features (B, C, *size): (..., B, out, *size) float32."""
        image = self.from_features(features)
        hidden = F.relu(image + along(self.from_reader(readers), image))
        changes = self.rest(hidden.reshape(-1, *hidden.shape[-1 - self.dims :]))
        return changes.reshape(*hidden.shape[: -1 - self.dims], *changes.shape[1:]).float()


class Persons(nn.Module):
    """The readers of a model: an embedding each, their shares, and one net at each place where they make a difference.

    A reader is an embedding and nothing else, so that a new one can be fitted while all the rest stays as it is.

    Args:
        shares: of the readings that each of the R readers drew; they sum to 1.
        channels: of the features at each place.
        numbers: that a reader changes at each place.
        dims: axes of an image.
    """

    def __init__(self, shares: Sequence[float], channels: Sequence[int], numbers: Sequence[int], dims: int) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.randn(len(shares), EMBEDDING))
        self.register_buffer("shares", torch.tensor(list(shares)))
        self.styles: Sequence[Style] = nn.ModuleList(  # type: ignore[assignment]
            Style(*sizes, dims) for sizes in zip(channels, numbers, strict=True)
        )

    @property
    def log_shares(self) -> torch.Tensor:
        """Logarithms of the shares, (R,)."""
        return cast(torch.Tensor, self.shares).log()

    def forward(self, place: int, features: torch.Tensor, readers: torch.Tensor | None) -> torch.Tensor:
        """Give what readers change.

        Args:
            place: which of the nets.
            features: (B, C, *size), what the net sees of the images; of a single image they go with any number of
                readers.
            readers: (B,) the number of one reader for every image; every reader for every image if not given.

        Returns:
            (B, numbers, *size), or (R, B, numbers, *size) of all readers.
        """
        chosen = self.embedding[:, None] if readers is None else self.embedding[readers]
        return cast(torch.Tensor, self.styles[place](features, chosen))

    def of(self, readers: torch.Tensor | None) -> Change:
        """Give what some readers change, at any place; see :meth:`forward`."""
        return lambda place, features: cast(torch.Tensor, self(place, features, readers))


def moved(mean: torch.Tensor, raw: torch.Tensor, change: torch.Tensor, axis: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Move a normal as readers change it: its mean in units of its own sigma, and what its sigma is made of.

    Where a model spreads its hypotheses over a wide part of the latent space, a reader is as easily learnt as where it
    does not.

    Args:
        mean: of the image alone.
        raw: likewise; see ``probunet.nets.gaussian.sigma_of``.
        change: both behind each other along an axis.
        axis: counted from the last one.
    """
    step, factor = change.chunk(2, dim=axis)
    return mean + sigma_of(raw) * step, raw + factor


class ReadersNet(nn.Module):
    """An axis-aligned Gaussian for every reader: one of the image, moved by what the image says as a whole.

    Args:
        latent_dims: dimensions D of the latent space.
        summary: makes the net that sums up an image in so many numbers.
    """

    def __init__(self, latent_dims: int, summary: Callable[[int], Summary]) -> None:
        super().__init__()
        self.latent_dims = latent_dims
        self.summary = summary(2 * latent_dims + CONTEXT)

    def forward(self, x: torch.Tensor, persons: Persons) -> MixtureSameFamily:
        """Give P(z | X) for images (B, C, *size): a mixture whose component r is P(z | X, reader r).

        Args:
            x: the images.
            persons: with a single place, of ``CONTEXT`` channels at one pixel.
        """
        whole, context = self.summary(x).split([2 * self.latent_dims, CONTEXT], dim=-1)
        features = torch.tanh(context).to(persons.embedding.dtype)[..., None, None]
        change = persons(0, features, None)[..., 0, 0].movedim(0, 1)
        mean, raw = whole[:, None].chunk(2, dim=-1)
        mean, raw = moved(mean, raw, change, -1)
        return MixtureSameFamily(
            Categorical(logits=persons.log_shares.to(mean.dtype).expand(mean.shape[:2]), validate_args=False),
            Independent(Normal(mean, sigma_of(raw), validate_args=False), 1, validate_args=False),
            validate_args=False,
        )


def persons_of(
    names: Sequence[str], shares: Sequence[float] | None, channels: Sequence[int], numbers: Sequence[int], dims: int
) -> Persons | None:
    """Make the readers of a model that knows their names; ``None`` where there are none.

    Raises:
        InputError: see :func:`checked_shares`.
    """
    checked = checked_shares(names, shares)
    return Persons(checked, channels, numbers, dims) if checked else None


def checked_shares(names: Sequence[str], shares: Sequence[float] | None) -> list[float]:
    """Give the shares of the readings that readers drew, equal ones if not given, so that they sum to 1.

    Raises:
        InputError: a name that is empty or comes twice, or shares that are not one positive number a reader.
    """
    if shares is not None and not names:
        raise InputError("shares are those of known readers; give reader_names, or leave shares out")
    if len(set(names)) < len(names) or not all(names):
        raise InputError(f"reader_names={list(names)} must be names of different persons, none of them empty")
    chosen = [1.0] * len(names) if shares is None else list(shares)
    if len(chosen) != len(names) or not all(0 < share < float("inf") for share in chosen):
        raise InputError(f"shares={chosen} must be one positive number for each of the {len(names)} readers")
    return [share / sum(chosen) for share in chosen]


def readers_and_rest(variables: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor]:
    """Tell who draws the hypotheses of some variables, and with what.

    Args:
        variables: (m,) int64 seeds, (m, 2) int64 numbers of readers and seeds, or (m, L) latents, which are the same
            whoever drew them.

    Returns:
        (m,) numbers of readers or ``None``, and seeds or latents.
    """
    if variables.ndim == 1 or variables.is_floating_point():
        return None, variables
    return variables[:, 0], variables[:, 1]
