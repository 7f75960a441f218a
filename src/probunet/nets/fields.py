"""Random numbers for every place of an endless plane: a part of the field is the field of the part."""

from __future__ import annotations

import torch

SIDE = 16
"""Of the blocks that are drawn together, in places."""
_BITS = (1 << 64) - 1


def normal_field(
    seeds: torch.Tensor,
    stream: int,
    channels: int,
    size: tuple[int, int],
    corner: tuple[int, int] = (0, 0),
    side: int = SIDE,
) -> torch.Tensor:
    """Standard normal numbers that depend on seed, stream, channel and place alone.

    The fields of the seeds 2 s and 2 s + 1 are each other's negative.

    Args:
        seeds: (m,) int64, one for each field; on the device where the field is to be.
        stream: which of the fields of a seed.
        channels: numbers at every place.
        size: height and width of the part that is wanted.
        corner: row and column of its first place.
        side: of the blocks that are drawn together; another side is another field.

    Returns:
        (m, channels, height, width) float32.
    """
    (top, left), (height, width) = corner, size
    rows = range(top // side, -(-(top + height) // side))
    columns = range(left // side, -(-(left + width) // side))
    field = torch.empty((len(seeds), channels, len(rows) * side, len(columns) * side), device=seeds.device)
    generator = torch.Generator(seeds.device)
    for own, seed in zip(field, seeds.tolist(), strict=True):
        for i, row in enumerate(rows):
            for j, column in enumerate(columns):
                generator.manual_seed(_mixed(seed >> 1, stream, row, column))
                block = torch.randn((channels, side, side), generator=generator, device=seeds.device)
                own[:, i * side : (i + 1) * side, j * side : (j + 1) * side] = -block if seed & 1 else block
    down, right = top - rows[0] * side, left - columns[0] * side
    return field[..., down : down + height, right : right + width]


def _mixed(*numbers: int) -> int:
    """32 bits that look independent for any two different lists of numbers (SplitMix64, Steele et al. 2014)."""
    state = 0
    for number in numbers:
        state = (state + number + 0x9E3779B97F4A7C15) & _BITS
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _BITS
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _BITS
        state ^= state >> 31
    return state >> 32
