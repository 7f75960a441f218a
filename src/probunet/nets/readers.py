"""P(z | X, reader): what a known person would draw, and the mixture over all of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

import torch
from torch import nn
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from probunet.core.errors import InputError
from probunet.nets.gaussian import sigma_of
from probunet.nets.prior import Summary

EMBEDDING, CONTEXT, HIDDEN = 8, 16, 32
"""Numbers that stand for a reader, numbers that the reader's net sees of an image, and its width."""


class ReadersNet(nn.Module):
    """An axis-aligned Gaussian for every reader: one of the image, moved by a small net that sees image and reader.

    A reader is an embedding and nothing else, so that a new one can be fitted while all the rest stays as it is. The
    mean moves in units of the image's own standard deviation: where a model spreads its hypotheses over a wide part of
    the latent space, a reader is as easily learnt as where it does not.

    Args:
        latent_dims: dimensions D of the latent space.
        shares: of the readings that each of the R readers drew; they sum to 1.
        summary: makes the net that sums up an image in so many numbers.
    """

    def __init__(self, latent_dims: int, shares: Sequence[float], summary: Callable[[int], Summary]) -> None:
        super().__init__()
        self.latent_dims = latent_dims
        self.summary = summary(2 * latent_dims + CONTEXT)
        self.embedding = nn.Parameter(torch.randn(len(shares), EMBEDDING))
        self.style = nn.Sequential(
            nn.Linear(CONTEXT + EMBEDDING, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, 2 * latent_dims)
        )
        self.register_buffer("shares", torch.tensor(list(shares)))

    def forward(self, x: torch.Tensor) -> MixtureSameFamily:
        """Give P(z | X) for images (B, C, *size): a mixture whose component r is P(z | X, reader r)."""
        whole, context = self.summary(x).split([2 * self.latent_dims, CONTEXT], dim=-1)
        images, readers = len(x), len(self.embedding)
        seen = torch.cat(
            [
                torch.tanh(context).to(self.embedding.dtype)[:, None].expand(images, readers, CONTEXT),
                self.embedding[None].expand(images, readers, EMBEDDING),
            ],
            dim=-1,
        )
        (mean, raw), (step, factor) = whole[:, None].chunk(2, dim=-1), self.style(seen).float().chunk(2, dim=-1)
        mean, raw = mean + sigma_of(raw) * step, raw + factor
        shares = cast(torch.Tensor, self.shares).to(mean.dtype).expand(images, readers)
        return MixtureSameFamily(
            Categorical(probs=shares, validate_args=False),
            Independent(Normal(mean, sigma_of(raw), validate_args=False), 1, validate_args=False),
            validate_args=False,
        )


def checked_shares(readers: Sequence[str], shares: Sequence[float] | None) -> list[float]:
    """Give the shares of the readings that readers drew, equal ones if not given, so that they sum to 1.

    Raises:
        InputError: a name that is empty or comes twice, or shares that are not one positive number a reader.
    """
    if len(set(readers)) < len(readers) or not all(readers):
        raise InputError(f"reader_names={list(readers)} must be names of different persons, none of them empty")
    chosen = [1.0] * len(readers) if shares is None else list(shares)
    if len(chosen) != len(readers) or not all(0 < share < float("inf") for share in chosen):
        raise InputError(f"shares={chosen} must be one positive number for each of the {len(readers)} readers")
    return [share / sum(chosen) for share in chosen]
