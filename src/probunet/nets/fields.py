"""Random numbers for every place of an endless grid: a part of the field is the field of the part."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch

from probunet.nets.layers import cropped

SIDE = {2: 16, 3: 8}
"""Of the blocks that are drawn together, in places, by the axes of the grid."""
_BITS = (1 << 64) - 1


def normal_field(
    seeds: torch.Tensor, stream: int, channels: int, size: Sequence[int], corner: Sequence[int], side: int | None = None
) -> torch.Tensor:
    """Standard normal numbers that depend on seed, stream, channel and place alone.

    The fields of the seeds 2 s and 2 s + 1 are each other's negative. They are drawn on the processor, so that they are
    the same on every device, and as a GPU would start a kernel for every small block.

    Args:
        seeds: (m,) int64, one for each field; on the device where the field is to be.
        stream: which of the fields of a seed.
        channels: numbers at every place.
        size: of the part that is wanted, along every axis.
        corner: its first place.
        side: of the blocks that are drawn together, ``SIDE`` if not given; another side is another field.

    Returns:
        (m, channels, *size) float32.
    """
    dims = len(size)
    side = SIDE[dims] if side is None else side
    blocks = [range(at // side, -(-(at + length) // side)) for at, length in zip(corner, size, strict=True)]
    field = torch.empty((len(seeds), channels, *(len(numbers) * side for numbers in blocks)))
    generator = torch.Generator()
    for own, seed in zip(field, seeds.tolist(), strict=True):
        for place in itertools.product(*blocks):
            generator.manual_seed(_mixed(seed >> 1, stream, *place))
            block = torch.randn((channels, *[side] * dims), generator=generator)
            begins = [(at - numbers[0]) * side for at, numbers in zip(place, blocks, strict=True)]
            own[(slice(None), *(slice(b, b + side) for b in begins))] = -block if seed & 1 else block
    begins = [at - numbers[0] * side for at, numbers in zip(corner, blocks, strict=True)]
    part = cropped(field, (slice(b, b + length) for b, length in zip(begins, size, strict=True)))
    return part.to(seeds.device)


def _mixed(*numbers: int) -> int:
    """32 bits that look independent for any two different lists of numbers (SplitMix64, Steele et al. 2014)."""
    state = 0
    for number in numbers:
        state = (state + number + 0x9E3779B97F4A7C15) & _BITS
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _BITS
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _BITS
        state ^= state >> 31
    return state >> 32
