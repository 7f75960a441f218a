"""Large images tile by tile: which pixels a tile reads, which it answers for, and how tiles are joined.

A tile reads its own pixels and a margin around them. With a margin that covers the receptive field of the network
the joined result is that of the whole image, exactly: tiles begin where the pooling windows of the whole image
begin, and at the edge of the image a tile ends where the image ends, so that padding is the same too. A smaller
margin is faster; neighbouring tiles then overlap and are faded into each other, so that no seam is seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import final

import torch
from torch import nn
from torch.nn import functional as F

from probunet.core.errors import InputError
from probunet.nets.decode import Decode, Network, labels_in_blocks
from probunet.nets.unet import MINIMUM_SIZE, Encoder

TILE = 512
"""Side of a tile in pixels: with the margin of the paper's U-Net, 192 px, a third of what is computed is kept."""

PRIOR_SIZE = 1024
"""Longest side in pixels of what the nets see that look at an image as a whole (prior, posterior, gate)."""


@dataclass(frozen=True)
class View:
    """What a network needs around a pixel.

    Attributes:
        coarsest: side of a pixel of the coarsest scale, in pixels of the image.
        radius: how far, in pixels, a logit can see, at most over all places of the pooling grid.
    """

    coarsest: int
    radius: int


def view_of(encoder: Encoder, decoder: Iterable[nn.Module]) -> View:
    """The view of an encoder and the blocks of an expanding path, coarsest first.

    Follows the first and last pixel that a feature depends on backwards along the longest path: a 3x3 convolution
    adds one on each side at its scale, bilinear interpolation looks at two coarse pixels, pooling at two fine ones.
    """
    up, down = ([convolutions_of(block) for block in blocks] for blocks in (decoder, encoder.blocks))
    scales, radius = len(down), 0
    finest = scales - 1 - len(up)
    for place in range(2 ** len(up)):
        low = high = place
        for count in reversed(up):  # finest first
            low, high = (low - count - 1) // 2, (high + count + 1) // 2
        for count in down[:finest:-1]:
            low, high = 2 * (low - count), 2 * (high + count) + 1
        radius = max(radius, place - low, high - place)
    for count in down[finest:0:-1]:  # an expanding path that ends before the finest scale
        radius = 2 * (radius + count) + 1
    return View(encoder.multiple, radius + down[0])


def convolutions_of(block: nn.Module) -> int:
    """How many convolutions a block has that see their neighbours."""
    return sum(isinstance(layer, nn.Conv2d) and layer.kernel_size[0] > 1 for layer in block.modules())


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


def make_tiling(view: View, tile: int = TILE, margin: int | None = None) -> Tiling:
    """Choose margin and overlap for a network.

    Args:
        view: of what runs on the tiles.
        tile: side in pixels, rounded up to the network's coarsest pixel.
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
    coarsest, radius = view.coarsest, view.radius
    tile = _round_up(tile, coarsest)
    if margin is None or margin >= radius:
        return Tiling(tile, _round_up(radius if margin is None else margin, coarsest), 0)
    margin = _round_up(margin, coarsest)
    return Tiling(tile, margin, min(margin, tile // 4 // coarsest * coarsest))


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


@final
class Tiles:
    """Decodes strips of a large image from top to bottom; the network runs anew whenever it is asked.

    Args:
        decoder: from a part of the image and its corner (row, column) to what decodes it.
        image: (B, C, H, W).
        tiling: how to cut.
    """

    def __init__(
        self, decoder: Callable[[torch.Tensor, tuple[int, int]], Decode], image: torch.Tensor, tiling: Tiling
    ) -> None:
        self._decoder, self._image, self._tiling = decoder, image, tiling

    def __iter__(self) -> Iterator[Decode]:
        """Give what decodes each strip, (B, K, rows, W); put together, the rows are those of the image."""
        shared = 2 * self._tiling.overlap
        spans = self._tiling.spans(self._image.shape[-2])
        above: Decode | None = None
        for number, row in enumerate(spans):
            strip, height = self._strip(row), row.answer[1] - row.answer[0]
            kept = height if number + 1 == len(spans) else height - shared
            yield strip if not shared else _faded(above, strip, shared, kept)
            above = strip.crop(slice(kept, None), slice(None))

    def _strip(self, row: Span) -> Strip:
        tiles = []
        for column in self._tiling.spans(self._image.shape[-1]):
            part = self._image[..., slice(*row.read), slice(*column.read)]
            decode = self._decoder(part, (row.read[0], column.read[0]))
            tiles.append(decode.crop(_within(row), _within(column)))
        return Strip(tiles, 2 * self._tiling.overlap)


@final
class Strip:
    """Tiles beside each other; a ``Decode``.

    Args:
        tiles: from left to right.
        shared: columns that neighbours share, to be faded into each other.
    """

    def __init__(self, tiles: list[Decode], shared: int) -> None:
        self._tiles, self._shared = tiles, shared

    def __call__(self, variables: torch.Tensor) -> torch.Tensor:
        """Decode all tiles; see ``Decode``."""
        pieces = (tile(variables) for tile in self._tiles)
        return torch.cat(list(_joined(pieces, self._shared, -1)), dim=-1)

    def labels(self, variables: torch.Tensor) -> torch.Tensor:
        """See ``Decode``."""
        if self._shared:
            return labels_in_blocks(self, variables)
        return torch.cat([tile.labels(variables) for tile in self._tiles], dim=-1)

    def crop(self, rows: slice, columns: slice) -> Strip:
        """Keep some rows over the whole width; see ``Decode``."""
        if columns != slice(None):
            raise ValueError(f"a strip is cropped to rows only, not to columns {columns}")
        return Strip([tile.crop(rows, columns) for tile in self._tiles], self._shared)


def _within(span: Span) -> slice:
    return slice(span.answer[0] - span.read[0], span.answer[1] - span.read[0])


def _faded(above: Decode | None, strip: Decode, shared: int, kept: int) -> Network:
    """The first ``kept`` rows of a strip, whose first ``shared`` ones are faded into the last rows of that above."""

    def decode(variables: torch.Tensor) -> torch.Tensor:
        logits = strip(variables)[..., :kept, :]
        if above is None:
            return logits
        top = _fade(above(variables), logits[..., :shared, :], -2)
        return torch.cat([top, logits[..., shared:, :]], dim=-2)

    return Network(decode)


def _joined(pieces: Iterator[torch.Tensor], shared: int, dim: int) -> Iterator[torch.Tensor]:
    """Fade consecutive pieces, which share ``shared`` pixels along ``dim``, into each other."""
    if not shared:
        yield from pieces
        return
    kept: torch.Tensor | None = None
    for piece in pieces:
        if kept is not None:
            faded = _fade(kept, piece.narrow(dim, 0, shared), dim)
            piece = torch.cat([faded, piece.narrow(dim, shared, piece.shape[dim] - shared)], dim=dim)
        yield piece.narrow(dim, 0, piece.shape[dim] - shared)
        kept = piece.narrow(dim, piece.shape[dim] - shared, shared)
    if kept is not None:
        yield kept


def _fade(first: torch.Tensor, second: torch.Tensor, dim: int) -> torch.Tensor:
    """Go from the first to the second along ``dim``."""
    length = first.shape[dim]
    weight = (torch.arange(length, device=first.device) + 0.5) / length
    return torch.lerp(first, second, weight.to(first.dtype).reshape(-1, *[1] * (-1 - dim)))


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
