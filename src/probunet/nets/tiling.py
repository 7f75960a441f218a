"""Large images tile by tile: which pixels a tile reads, which it answers for, and how tiles are joined.

A tile reads its own pixels and a margin around them. With a margin that covers the receptive field of the network
the joined result is that of the whole image, exactly: tiles begin where the pooling windows of the whole image
begin, and at the edge of the image a tile ends where the image ends, so that padding is the same too. A smaller
margin is faster; neighbouring tiles then overlap and are faded into each other, so that no seam is seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional as F

from probunet.core.errors import InputError
from probunet.nets.unet import MINIMUM_SIZE, FeatureUNet


def receptive_radius(unet: FeatureUNet) -> int:
    """How far, in pixels, a feature can see, at most over all places of the pooling grid.

    Follows the first and last pixel that a feature depends on backwards along the longest path: a 3x3 convolution
    adds one on each side at its scale, bilinear interpolation looks at two coarse pixels, pooling at two fine ones.
    """
    radius = 0
    for place in range(unet.encoder.multiple):
        low = high = place
        for block in reversed(unet.decoder):  # finest first
            low, high = (low - _convolutions(block) - 1) // 2, (high + _convolutions(block) + 1) // 2
        for block in list(unet.encoder.blocks)[:0:-1]:
            low, high = 2 * (low - _convolutions(block)), 2 * (high + _convolutions(block)) + 1
        reach = _convolutions(unet.encoder.blocks[0])
        radius = max(radius, place - low + reach, high - place + reach)
    return radius


def _convolutions(block: nn.Module) -> int:
    return sum(isinstance(layer, nn.Conv2d) for layer in block.modules())


@dataclass(frozen=True)
class Span:
    """One tile along one axis, in pixels.

    Attributes:
        read: begin and end of what the network sees.
        answer: begin and end of what is kept of its output; neighbours share twice the overlap.
    """

    read: tuple[int, int]
    answer: tuple[int, int]


@dataclass(frozen=True)
class Tiling:
    """How images are cut; all in pixels, all multiples of the U-Net's coarsest pixel.

    Attributes:
        tile: side of what a tile answers for, without overlap.
        margin: what a tile reads beyond what it answers for, on each side.
        overlap: how far a tile answers for its neighbours' pixels, on each side, to be faded into them.
    """

    tile: int
    margin: int
    overlap: int

    def spans(self, length: int) -> list[Span]:
        """Cut an axis; a last tile too short to be faded, or to be an image, is joined to the one before."""
        begins = list(range(0, length, self.tile))
        if len(begins) > 1 and length - begins[-1] < max(2 * self.overlap, MINIMUM_SIZE):
            begins.pop()
        spans = []
        for begin, end in zip(begins, [*begins[1:], length], strict=True):
            answer = max(begin - self.overlap, 0), min(end + self.overlap, length)
            spans.append(Span((max(answer[0] - self.margin, 0), min(answer[1] + self.margin, length)), answer))
        return spans


def make_tiling(unet: FeatureUNet, tile: int = 512, margin: int | None = None) -> Tiling:
    """Choose margin and overlap for a network.

    Args:
        unet: what runs on the tiles.
        tile: side in pixels, rounded up to the U-Net's coarsest pixel.
        margin: in pixels, rounded up likewise; the receptive field if not given, with which the result is exact.
            With less, tiles overlap by as much on each side (at most a quarter of the tile) and are faded.

    Raises:
        InputError: a tile below 16 pixels or a negative margin.
    """
    if tile < MINIMUM_SIZE or (margin is not None and margin < 0):
        raise InputError(
            f"a tile of {tile} px with a margin of {margin} px cannot be cut; give a tile of at least "
            f"{MINIMUM_SIZE} px and a margin of 0 or more"
        )
    coarsest = unet.encoder.multiple
    tile, radius = _round_up(tile, coarsest), receptive_radius(unet)
    if margin is None or margin >= radius:
        return Tiling(tile, _round_up(radius if margin is None else margin, coarsest), 0)
    margin = _round_up(margin, coarsest)
    return Tiling(tile, margin, min(margin, tile // 4 // coarsest * coarsest))


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


def strips(
    network: Callable[[torch.Tensor], torch.Tensor], image: torch.Tensor, tiling: Tiling
) -> Iterator[torch.Tensor]:
    """Run a network tile by tile.

    Args:
        network: from (B, C, h, w) to maps (B, M, h, w).
        image: (B, C, H, W).
        tiling: how to cut.

    Yields:
        The maps from top to bottom, (B, M, rows, W); put together, the rows are those of the image.
    """
    columns = tiling.spans(image.shape[-1])

    def run(row: Span, column: Span) -> torch.Tensor:
        maps = network(image[..., slice(*row.read), slice(*column.read)])
        rows = slice(row.answer[0] - row.read[0], row.answer[1] - row.read[0])
        return maps[..., rows, column.answer[0] - column.read[0] : column.answer[1] - column.read[0]]

    def strip(row: Span) -> torch.Tensor:
        return torch.cat(list(_joined((run(row, column) for column in columns), 2 * tiling.overlap, -1)), dim=-1)

    yield from _joined((strip(row) for row in tiling.spans(image.shape[-2])), 2 * tiling.overlap, -2)


def _joined(pieces: Iterator[torch.Tensor], shared: int, dim: int) -> Iterator[torch.Tensor]:
    """Fade consecutive pieces, which share ``shared`` pixels along ``dim``, into each other."""
    if not shared:
        yield from pieces
        return
    kept: torch.Tensor | None = None
    for piece in pieces:
        if kept is not None:
            weight = (torch.arange(shared, device=piece.device) + 0.5) / shared
            weight = weight.to(piece.dtype).reshape(-1, *[1] * (-1 - dim))
            faded = torch.lerp(kept, piece.narrow(dim, 0, shared), weight)
            piece = torch.cat([faded, piece.narrow(dim, shared, piece.shape[dim] - shared)], dim=dim)
        yield piece.narrow(dim, 0, piece.shape[dim] - shared)
        kept = piece.narrow(dim, piece.shape[dim] - shared, shared)
    if kept is not None:
        yield kept


def reduced(maps: torch.Tensor, size: int) -> torch.Tensor:
    """Average over areas until the longer side is at most ``size`` pixels; smaller ones stay as they are.

    Args:
        maps: (B, C, H, W).
        size: in pixels.
    """
    height, width = maps.shape[-2:]
    if max(height, width) <= size:
        return maps
    scale = size / max(height, width)
    return F.interpolate(maps, (max(round(height * scale), 1), max(round(width * scale), 1)), mode="area")
