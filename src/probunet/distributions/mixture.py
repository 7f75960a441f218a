"""M hypotheses, each as likely as any other: the members of an ensemble, the heads of a network, or a single map."""

from __future__ import annotations

import math
from typing import final

import torch

from probunet.core.draws import drawn
from probunet.core.types import Label
from probunet.distributions.noise import Noise, Weighted


@final
class Members(Noise):
    """Noise (n, B) of numbers of members: permutations of all M, one round after the other, each image for itself.

    Args:
        count: members M; one is the distribution of a deterministic network.
        batch: images B.
        device: of the model.
    """

    def __init__(self, count: int, batch: int, device: torch.device) -> None:
        self.distinct = self.components = count
        self.independent = count == 1
        self._count, self._batch, self.device = count, batch, device

    def draw(self, n: int, generator: torch.Generator | None, cover: bool = False) -> torch.Tensor:
        """Draw without replacement and start over when all M are drawn, which covers already; see the base class."""
        shape = (self._batch, -(-n // self._count), self._count)
        keys = drawn(torch.rand, shape, generator, self.device)
        return keys.argsort(dim=-1, stable=True).reshape(self._batch, -1)[:, :n].T

    def place(self, noise: torch.Tensor) -> torch.Tensor:
        """A member is its number; see the base class."""
        return noise

    def strata(self, m: int, generator: torch.Generator | None, cover: bool = False) -> Weighted:
        """Give every member once; see the base class."""
        members = torch.arange(self._count, device=self.device)[:, None].expand(-1, self._batch)
        return members, torch.full(members.shape, -math.log(self._count), device=self.device)

    def propose(self, label: Label, n: int, generator: torch.Generator | None) -> Weighted:
        """Give all members, which is exact; see the base class."""
        return self.strata(1, generator)
