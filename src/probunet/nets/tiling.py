"""Large images tile by tile: which voxels a tile reads, which it answers for, and how tiles are joined.

A tile reads its own voxels and a margin around them. With a margin that covers the receptive field of the network
the joined result is that of the whole image, exactly: tiles begin where the pooling windows of the whole image
begin, and at the edge of the image a tile ends where the image ends, so that padding is the same too. A smaller
margin is faster; neighbouring tiles then overlap and are faded into each other, so that no seam is seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch.nn import functional as F

from probunet.core.errors import InputError
from probunet.nets.decode import Decode, Network, Part, labels_in_blocks
from probunet.nets.layers import cropped
from probunet.nets.receptive_field import ReceptiveField
from probunet.nets.unet import MINIMUM_SIZE

TILE: dict[int, tuple[int, ...]] = {2: (512, 512), 3: (16, 128, 128)}
"""Sides of a tile in voxels, by dims: with the margin of the paper's U-Net, 192 px, a third of what is computed of an
image is kept."""

WHOLE = 1 << 20
"""Most voxels of a volume that a network sees at once; with 32 channels, a map of them takes 128 MiB."""

VOLUME_MARGIN = (8, 16, 16)
"""In voxels. The receptive field of a deep network, far more than 100 voxels on each side, is many times a tile."""

PRIOR_SIZE = {2: 1024, 3: 160}
"""Longest side in voxels, by dims, of what the nets see that look at an image as a whole (prior, posterior, gate)."""


def needs_tiles(size: Sequence[int]) -> bool:
    """Whether an image of a size is too large for a network to see at once."""
    return max(size) > max(TILE[2]) if len(size) == 2 else math.prod(size) > WHOLE


@dataclass(frozen=True)
class Span:
    """One tile along one axis, in voxels.

    Attributes:
        read: begin and end of what the network sees.
        answer: begin and end of what is kept of its output; neighbours share twice the overlap.
    """

    read: tuple[int, int]
    answer: tuple[int, int]


@dataclass(frozen=True)
class Tiling:
    """How images are cut along one axis; all in voxels, all multiples of the U-Net's coarsest voxel.

    Attributes:
        tile: side of what a tile answers for, without overlap.
        margin: what a tile reads beyond what it answers for, on each side.
        overlap: how far a tile answers for its neighbours' voxels, on each side, to be faded into them.
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


def make_tiling(
    field: ReceptiveField, tile: int | Sequence[int], margin: int | Sequence[int] | None = None
) -> tuple[Tiling, ...]:
    """Choose margin and overlap for a network, along every axis.

    Args:
        field: the receptive field of what runs on the tiles.
        tile: sides in voxels, one number for all or one an axis; rounded up to the network's coarsest voxel.
        margin: in voxels, likewise; the receptive field if not given, with which the result is exact. With less, tiles
            overlap by as much on each side (at most a quarter of the tile) and are faded.

    Raises:
        InputError: a tile below 16 voxels or a negative margin.
    """
    axes = len(field.coarsest)
    tiles = [tile] * axes if isinstance(tile, int) else list(tile)
    margins = [margin] * axes if margin is None or isinstance(margin, int) else list(margin)
    if min(tiles) < MINIMUM_SIZE or any(own is not None and own < 0 for own in margins):
        raise InputError(
            f"a tile of {tile} px with a margin of {margin} px cannot be cut; give a tile of at least "
            f"{MINIMUM_SIZE} px and a margin of 0 or more"
        )
    return tuple(_tiling(*axis) for axis in zip(field.coarsest, field.radius, tiles, margins, strict=True))


def _tiling(coarsest: int, radius: int, tile: int, margin: int | None) -> Tiling:
    tile = _round_up(tile, coarsest)
    if margin is None or margin >= radius:
        return Tiling(tile, _round_up(radius if margin is None else margin, coarsest), 0)
    margin = _round_up(margin, coarsest)
    return Tiling(tile, margin, min(margin, tile // 4 // coarsest * coarsest))


def _round_up(value: int, multiple: int) -> int:
    return -(-value // multiple) * multiple


@final
class Tiles:
    """Decodes strips of a large image along its first axis; the network runs anew whenever it is asked.

    A strip of an image are some of its rows, one of a volume some of its slices.

    Args:
        decoder: from a part of the image and its corner to what decodes it.
        image: (B, C, *size).
        tiling: how to cut, along every axis.
    """

    def __init__(
        self, decoder: Callable[[torch.Tensor, tuple[int, ...]], Decode], image: torch.Tensor, tiling: Sequence[Tiling]
    ) -> None:
        self._decoder, self._image, self._tiling = decoder, image, tiling

    def __iter__(self) -> Iterator[Decode]:
        """Give what decodes each strip, (B, K, rows, ...); put together, the rows are those of the image."""
        shared = 2 * self._tiling[0].overlap
        spans = self._tiling[0].spans(self._image.shape[2])
        whole = (slice(None),) * (len(self._tiling) - 1)
        before: Decode | None = None
        for number, span in enumerate(spans):
            strip, length = self._beside((span,)), span.answer[1] - span.answer[0]
            kept = length if number + 1 == len(spans) else length - shared
            yield strip if not shared else _faded(before, strip, shared, kept)
            before = strip.crop((slice(kept, None), *whole)) if shared else None
            del strip  # the next one needs its memory

    def _beside(self, fixed: tuple[Span, ...]) -> Decode:
        """Decode all tiles that lie within spans of the first axes."""
        axis = len(fixed)
        if axis == len(self._tiling):
            part = cropped(self._image, (slice(*span.read) for span in fixed))
            return self._decoder(part, tuple(span.read[0] for span in fixed)).crop(tuple(map(_within, fixed)))
        spans = self._tiling[axis].spans(self._image.shape[2 + axis])
        return Row([self._beside((*fixed, span)) for span in spans], 2 * self._tiling[axis].overlap, axis)


@final
class Row:
    """Tiles, or rows of tiles, one behind the other along an axis; a ``Decode``.

    Args:
        tiles: in their order.
        shared: voxels that neighbours share, to be faded into each other.
        axis: of the image, from 0.
    """

    def __init__(self, tiles: list[Decode], shared: int, axis: int) -> None:
        self._tiles, self._shared, self._axis = tiles, shared, axis

    def __call__(self, variables: torch.Tensor) -> torch.Tensor:
        """Decode all tiles; see ``Decode``."""
        pieces = (tile(variables) for tile in self._tiles)
        return torch.cat(list(_joined(pieces, self._shared, 2 + self._axis)), dim=2 + self._axis)

    def labels(self, variables: torch.Tensor) -> torch.Tensor:
        """See ``Decode``."""
        if self._shared:
            return labels_in_blocks(self, variables)
        return torch.cat([tile.labels(variables) for tile in self._tiles], dim=2 + self._axis)

    def crop(self, part: Part) -> Row:
        """Keep a part that is whole along the axis of the row; see ``Decode``."""
        if part[self._axis] != slice(None):
            raise ValueError(f"a row of tiles along axis {self._axis} is whole along it, not cropped to {part}")
        return Row([tile.crop(part) for tile in self._tiles], self._shared, self._axis)


def _within(span: Span) -> slice:
    return slice(span.answer[0] - span.read[0], span.answer[1] - span.read[0])


def _faded(before: Decode | None, strip: Decode, shared: int, kept: int) -> Network:
    """The first ``kept`` rows of a strip, whose first ``shared`` ones are faded into the last rows of that before."""

    def decode(variables: torch.Tensor) -> torch.Tensor:
        logits = strip(variables)[:, :, :kept]
        if before is None:
            return logits
        first = _fade(before(variables), logits[:, :, :shared], 2)
        return torch.cat([first, logits[:, :, shared:]], dim=2)

    return Network(decode)


def _joined(pieces: Iterator[torch.Tensor], shared: int, dim: int) -> Iterator[torch.Tensor]:
    """Fade consecutive pieces, which share ``shared`` voxels along ``dim``, into each other."""
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
    return torch.lerp(first, second, weight.to(first.dtype).reshape(-1, *[1] * (first.ndim - 1 - dim)))


def reduced(maps: torch.Tensor, size: int) -> torch.Tensor:
    """Average over areas until the longest side is at most ``size`` voxels; smaller ones stay as they are.

    Args:
        maps: (B, C, *size).
        size: in voxels.
    """
    longest = max(maps.shape[2:])
    if longest <= size:
        return maps
    return F.interpolate(maps, [max(round(length * (size / longest)), 1) for length in maps.shape[2:]], mode="area")
