"""How many pixels two label maps share, class by class: the one expensive step of every metric, done on bits.

Each evaluated class of each label map becomes a bit mask, 64 pixels a word; a pair's intersection is the
population count of the bitwise AND, summed as 16-bit numbers. Words in which no map of the block has the
class are dropped first, and equal maps (modes that differ in other classes) are counted once. Blocks are
small enough to stay in a core's cache and images go to several threads, so memory does not grow with the
number of images. Large maps of several classes are counted from their edges where they can (``coherent``). On an
accelerator the same counts come from a matrix product.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from probunet.core.errors import InputError
from probunet.metrics.coherent import NOTHING, count_coherent
from probunet.metrics.convention import Convention

Maps: TypeAlias = npt.NDArray[Any] | torch.Tensor
"""Integer or boolean label maps; the leading axes are stated where it is used."""

_BLOCK_BYTES = 1 << 23  # labels per block: its bits, an eighth, stay within a core's cache
_MANY_CLASSES, _LARGE = 3, 1 << 18
"""From so many evaluated classes, and labels of an image, on, edges are looked for first."""
_BLOCK_PIXELS = 1023 * 64  # a population count over so many pixels cannot overflow 16 bits


@dataclass(frozen=True)
class Overlaps:
    """Shared pixels of all pairs among M label maps of B images, for K evaluated classes."""

    shared: npt.NDArray[np.int64]
    """(B, K, M, M) pixels that both maps give to the class; the diagonal is the area of the class."""
    valid: npt.NDArray[np.int64]
    """(B,) pixels that are not ignored."""


def count_overlaps(
    first: Maps, second: Maps, mask: Maps | None, convention: Convention, width: int | None = None
) -> Overlaps:
    """Count shared pixels among the N + R maps of every image.

    Args:
        first: (B, N, P) samples.
        second: (B, R, P) references; pixels where any of them has the ignore label count nowhere.
        mask: (B, P) True where a pixel is ignored, or None.
        convention: the label's range, the counted classes and the ignore label.
        width: pixels of a row, where they lie in rows.

    Raises:
        InputError: a label outside the range, or a sample that answers "ignore" where the pixel counts.
    """
    if isinstance(first, torch.Tensor) and first.device.type != "cpu":
        return _count_on_device(first, second, mask, convention)
    first, second = as_array(first), as_array(second)
    mask = None if mask is None else as_array(mask)
    images, maps = len(first), first.shape[1] + second.shape[1]
    shared = np.zeros((images, len(convention.evaluated), maps, maps), np.int64)
    valid = np.zeros(images, np.int64)
    if width and len(convention.evaluated) >= _MANY_CLASSES and maps * first.shape[2] >= _LARGE:
        for b in range(images):
            single = (first[b : b + 1], second[b : b + 1], None if mask is None else mask[b : b + 1], convention)
            counted = _count_from_edges(*single, width) or count_overlaps(*single)
            shared[b], valid[b] = counted.shared[0], counted.valid[0]
        return Overlaps(shared, valid)
    scratch = _Scratch()
    for rows, pixels in _blocks(images, maps, first.shape[2]):
        block = first[rows, :, pixels], second[rows, :, pixels]
        keep = _kept_pixels(block[1], None if mask is None else mask[rows, pixels], convention)
        pure = [check_labels(part, keep, convention, name) for part, name in zip(block, _NAMES, strict=True)]
        valid[rows] += block[0].shape[2] if keep is None else np.count_nonzero(keep, axis=1)
        for k, label in enumerate(convention.evaluated):
            is_binary = all(pure) and convention.num_classes == 2 and label == 1
            bits = _pack(block, None if is_binary else label, scratch)
            if keep is not None:
                bits &= _pack_one(keep[:, None])
            shared[rows, k] += _count_pairs(bits, scratch)
    lower = np.tril_indices(maps, -1)
    shared[..., lower[0], lower[1]] = shared[..., lower[1], lower[0]]
    return Overlaps(shared, valid)


_NAMES = ("samples", "references")


def _count_from_edges(
    first: npt.NDArray[Any],
    second: npt.NDArray[Any],
    mask: npt.NDArray[Any] | None,
    convention: Convention,
    width: int,
) -> Overlaps | None:
    """Of a single image; ``None`` where its maps are no bytes, or not coherent."""
    parts = [first[0], second[0]]
    if any(part.dtype != np.uint8 for part in parts) or convention.num_classes > NOTHING:
        return None
    keep, padded = _kept_pixels(second, mask, convention), -width % 64
    if keep is not None or padded:
        for part, name in zip(parts, _NAMES, strict=True):
            check_labels(part[None], keep, convention, name)
    if keep is not None:
        parts = [np.where(keep, part, np.uint8(NOTHING)) for part in parts]
    if padded:
        rows = parts[0].shape[1] // width
        whole = [np.full((len(part), rows, width + padded), NOTHING, np.uint8) for part in parts]
        for wider, part in zip(whole, parts, strict=True):
            wider[..., :width] = part.reshape(len(part), rows, width)
        parts = [wider.reshape(len(wider), rows * (width + padded)) for wider in whole]
    parts, masked = [np.ascontiguousarray(part) for part in parts], keep is not None or padded > 0
    shared = count_coherent(parts, width + padded, convention.evaluated, convention.num_classes, masked)
    if shared is None:
        return None
    return Overlaps(shared[None], np.array([first.shape[2] if keep is None else np.count_nonzero(keep)]))


def as_array(maps: Maps) -> npt.NDArray[Any]:
    """The same label maps as a NumPy array (without a copy where the memory allows it)."""
    return maps.detach().cpu().numpy() if isinstance(maps, torch.Tensor) else np.asarray(maps)


def _blocks(images: int, maps: int, pixels: int) -> Iterator[tuple[slice, slice]]:
    width = min(pixels, _BLOCK_PIXELS, max(64, _BLOCK_BYTES // max(maps, 1) // 64 * 64))
    height = max(1, _BLOCK_BYTES // max(maps * pixels, 1))
    for row in range(0, images, height):
        for pixel in range(0, pixels, max(width, 1)):
            yield slice(row, row + height), slice(pixel, pixel + width)


def _kept_pixels(
    references: npt.NDArray[Any], mask: npt.NDArray[np.bool_] | None, convention: Convention
) -> npt.NDArray[np.bool_] | None:
    ignored = mask
    if convention.ignore is not None:
        by_label = (references == convention.ignore).any(axis=1)
        ignored = by_label if mask is None else by_label | mask
    return None if ignored is None or not ignored.any() else ~ignored


def check_labels(
    labels: npt.NDArray[Any], keep: npt.NDArray[np.bool_] | None, convention: Convention, name: str
) -> bool:
    """Refuse labels that mean nothing; say whether the map holds 0 and 1 alone, as bytes."""
    if labels.size == 0 or labels.dtype == bool:
        return True
    in_range = int(labels.max()) < convention.num_classes
    if labels.dtype.kind == "i":
        in_range &= int(labels.min()) >= 0
    if in_range:
        return labels.dtype == np.uint8
    wrong = (labels < 0) | (labels >= convention.num_classes)
    if keep is not None:
        wrong &= keep[:, None]
    if wrong.any():
        value = int(labels[wrong][0])
        said = (
            f"{name} answer with the ignore label {value} where every reference has a class; "
            "a sample must choose a class for every pixel that counts"
            if value == convention.ignore
            else f"{name} hold the label {value}, but with num_classes={convention.num_classes} labels are "
            f"0 to {convention.num_classes - 1}; correct num_classes or name the ignore label"
        )
        raise InputError(said)
    return False


class _Scratch:
    """Memory that the blocks of one thread use again, because fresh pages cost more than the arithmetic."""

    def __init__(self) -> None:
        self._held: dict[str, npt.NDArray[Any]] = {}

    def take(self, name: str, shape: tuple[int, ...], dtype: Any) -> npt.NDArray[Any]:
        size = math.prod(shape)
        if name not in self._held or self._held[name].size < size:
            self._held[name] = np.empty(size, dtype)
        return self._held[name][:size].reshape(shape)


def _pack_one(maps: npt.NDArray[Any]) -> npt.NDArray[np.uint64]:
    """Bits (M, C, words) of the maps (C, M, pixels), 1 where they are not zero."""
    packed = np.packbits(maps, axis=-1)
    missing = -packed.shape[-1] % 8
    if missing:
        packed = np.pad(packed, ((0, 0), (0, 0), (0, missing)))
    return packed.view(np.uint64).swapaxes(0, 1)


def _pack(parts: tuple[npt.NDArray[Any], ...], label: int | None, scratch: _Scratch) -> npt.NDArray[np.uint64]:
    """Bits (N + R, C, words) of all parts' maps, 1 where the map has the label (None: where it is not 0)."""
    count, (images, _, pixels) = sum(part.shape[1] for part in parts), parts[0].shape
    bits = scratch.take("bits", (count, images, -(-pixels // 64)), np.uint64)
    start = 0
    for part in parts:
        stop = start + part.shape[1]
        if label is not None:
            part = np.equal(part, label, out=scratch.take("equal", part.shape, np.bool_))
        bits[start:stop] = _pack_one(part)
        start = stop
    return bits


def _count_pairs(bits: npt.NDArray[np.uint64], scratch: _Scratch) -> npt.NDArray[np.uint16]:
    """Population counts (C, M, M) of all pairs of maps in ``bits`` (M, C, words): the upper triangle."""
    maps, images, words = bits.shape
    flat = bits.reshape(maps, images * words)
    active = np.bitwise_or.reduce(flat, axis=0).reshape(images, words) != 0
    active[:, 0] = True  # every image keeps a word, so that its sum is not that of the next
    in_use = np.count_nonzero(active, axis=1)
    total = int(in_use.sum())
    if total < 0.9 * active.size:
        flat = flat.take(
            np.flatnonzero(active), axis=1, out=scratch.take("used", (maps, total), np.uint64), mode="clip"
        )
    else:
        total, in_use = images * words, np.full(images, words)
    starts = np.cumsum(in_use) - in_use
    if images > 1:
        return _popcounts(flat, starts, scratch).transpose(2, 0, 1)
    row = flat.view(np.dtype((np.void, flat.shape[1] * 8))).ravel()
    _, first, same = np.unique(row, return_index=True, return_inverse=True)
    counts = _popcounts(flat[first], starts, scratch)[..., 0]
    return np.asarray(np.maximum(counts, counts.T)[same][:, same][None])


def _popcounts(
    flat: npt.NDArray[np.uint64], starts: npt.NDArray[np.int64], scratch: _Scratch
) -> npt.NDArray[np.uint16]:
    """(M, M, C) counts of the bits that two rows of ``flat`` share, in its C segments: the upper triangle."""
    maps = len(flat)
    shared = np.zeros((maps, maps, len(starts)), np.uint16)
    both = scratch.take("both", flat.shape, np.uint64)
    counts = scratch.take("counts", flat.shape, np.uint8)
    for i in range(maps):
        others = maps - i
        np.bitwise_and(flat[i], flat[i:], out=both[:others])
        np.bitwise_count(both[:others], out=counts[:others])
        shared[i, i:] = np.add.reduceat(counts[:others], starts, axis=1, dtype=np.uint16)
    return shared


def _count_on_device(first: torch.Tensor, second: Maps, mask: Maps | None, convention: Convention) -> Overlaps:
    """The same counts by a matrix product of 0/1 masks, exact in float32 below 2^24 pixels a block."""
    both = torch.cat([first, torch.as_tensor(second, device=first.device)], dim=1)
    references = both[:, first.shape[1] :]
    keep = torch.ones(both.shape[0], both.shape[2], dtype=torch.bool, device=both.device)
    if mask is not None:
        keep &= ~torch.as_tensor(mask, device=both.device)
    if convention.ignore is not None:
        keep &= (references != convention.ignore).all(dim=1)
    wrong = ((both < 0) | (both >= convention.num_classes)) & keep[:, None]
    if bool(wrong.any()):
        raise InputError(
            f"samples or references hold the label {int(both[wrong][0])}, but with "
            f"num_classes={convention.num_classes} labels are 0 to {convention.num_classes - 1}"
        )
    images, maps = both.shape[:2]
    shared = torch.zeros(images, len(convention.evaluated), maps, maps, dtype=torch.int64, device=both.device)
    for row in range(images):
        for pixel in range(0, both.shape[2], 1 << 22):
            pixels = slice(pixel, pixel + (1 << 22))
            for k, label in enumerate(convention.evaluated):
                has = ((both[row, :, pixels] == label) & keep[row, pixels]).float()
                shared[row, k] += (has @ has.T).round().to(torch.int64)
    return Overlaps(shared.cpu().numpy(), keep.sum(dim=1).cpu().numpy())
