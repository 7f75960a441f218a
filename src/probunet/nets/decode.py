"""From the variables of hypotheses to logits, straight to labels, or to those of a part of the image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeAlias, final

import torch

from probunet.core.types import Logits
from probunet.nets.layers import cropped

BLOCK = 2**15
"""Pixels that are decoded together: with fewer, starting the work takes longer than doing it; more leave the cache."""


Part: TypeAlias = tuple[slice, ...]
"""Of an image, one slice for each of its axes behind B and C."""


class Decode(Protocol):
    """What one batch of images becomes with the variables of its hypotheses (a latent, a member, a seed)."""

    def __call__(self, variables: torch.Tensor) -> Logits:
        """Give logits (B, K, *size).

        Args:
            variables: (B, ...), those of one hypothesis of every image; a single image goes with any number.
        """
        ...

    def labels(self, variables: torch.Tensor) -> torch.Tensor:
        """Give the most probable class of every pixel, (n, B, *size) uint8, of variables (n, B, ...)."""
        ...

    def crop(self, part: Part) -> Decode:
        """Give what decodes a part of the image only."""
        ...


@final
class Network:
    """Any function from variables to logits.

    Args:
        function: as ``Decode.__call__``.
    """

    def __init__(self, function: Callable[[torch.Tensor], Logits]) -> None:
        self._function = function

    def __call__(self, variables: torch.Tensor) -> Logits:
        """Run the function; see ``Decode``."""
        return self._function(variables)

    def labels(self, variables: torch.Tensor) -> torch.Tensor:
        """See ``Decode``."""
        return labels_in_blocks(self, variables)

    def crop(self, part: Part) -> Network:
        """Run all, and keep a part; see ``Decode``."""
        return Network(lambda variables: cropped(self._function(variables), part))


@final
class MemberMaps:
    """The logits of M members; the variable is the number of a member.

    Args:
        maps: (M, B, K, *size).
    """

    def __init__(self, maps: torch.Tensor) -> None:
        self._maps = maps

    def __call__(self, variables: torch.Tensor) -> Logits:
        """Choose maps; see ``Decode``."""
        images = torch.arange(self._maps.shape[1], device=self._maps.device)
        return self._maps[variables, images]

    def labels(self, variables: torch.Tensor) -> torch.Tensor:
        """Compare the classes of every member once; see ``Decode``."""
        members = torch.stack([most_probable(logits) for logits in self._maps])
        return members[variables, torch.arange(members.shape[1], device=members.device)]

    def crop(self, part: Part) -> MemberMaps:
        """See ``Decode``."""
        return MemberMaps(cropped(self._maps, part).clone())


def most_probable(logits: Logits) -> torch.Tensor:
    """The class with the largest logit, the lowest id of several.

    Returns:
        (B, *size) uint8.
    """
    if logits.shape[1] == 2:  # several times faster than argmax
        return (logits[:, 1] > logits[:, 0]).to(torch.uint8)
    return logits.argmax(dim=1).to(torch.uint8)


@torch.no_grad()
def labels_in_blocks(decode: Callable[[torch.Tensor], Logits], variables: torch.Tensor) -> torch.Tensor:
    """Decode variables (n, B, ...) to labels (n, B, *size); of a single image, as many together as the cache holds."""
    first = most_probable(decode(variables[0]))
    n = len(variables)
    labels = first.new_empty((n, *first.shape))  # a list to be stacked would need the memory twice
    labels[0] = first
    together = max(BLOCK // first.numel(), 1) if len(first) == 1 else 1
    for i in range(1, n, together):
        block = variables[i : i + together].flatten(0, 1)
        labels[i : i + together] = most_probable(decode(block)).unflatten(0, (-1, len(first)))
    return labels
