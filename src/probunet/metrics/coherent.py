"""Shared pixels of large maps with many classes, counted from the places where a row differs from the row above.

Label maps are coherent: most pixels have the label of the pixel above. And some maps are others with classes renamed
(the modes of a scene whose classes flip). So the labels of eight pixels in a row are looked at only where they are not
those of the row above. There a class's bits are packed, as what they change against the row above, and the exclusive or
down the rows gives the whole bit mask. A map that is another one renamed gets its masks from that one's. Where maps
are not coherent, nothing is counted here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.uint8]
Words = npt.NDArray[np.uint64]
Flags = npt.NDArray[np.bool_]

NOTHING = 255
"""Label of pixels that count nowhere."""
_NO_WORD = np.uint64(2**64 - 1)
"""Eight pixels of it."""
_MOST_EDGES = 0.2
"""Share of words that differ from those above, from which on plain counting is faster."""


def count_coherent(
    parts: Sequence[Labels], width: int, classes: Sequence[int], num_classes: int, masked: bool
) -> npt.NDArray[np.int64] | None:
    """(K, M, M) pixels that two maps share in each class; ``None`` where maps are not coherent, or a label is wrong.

    Args:
        parts: (N, P) samples and (R, P) references of one image; M = N + R.
        width: pixels of a row, a multiple of 64.
        classes: that are counted.
        num_classes: labels are below it.
        masked: whether pixels that count nowhere have the label ``NOTHING``.
    """
    edges, sources, tables, maps = [], [], [], 0
    for part in parts:
        words = part.view(np.uint64)
        edge = _edges(words, width // 8)
        if np.count_nonzero(edge) > _MOST_EDGES * edge.size:
            return None
        source, table = _renamed(words, edge, num_classes)
        own, rank = np.unique(source, return_inverse=True)
        edges.append((words[own], edge[own]))
        sources.append(rank + maps)
        tables.append(table)
        maps += len(own)
    bits = _Bits(edges, width // 8)
    wrong = bits.pixels >= num_classes
    if wrong.any() and not (masked and (bits.pixels[wrong] == NOTHING).all()):
        return None
    source, names = np.concatenate(sources), np.concatenate(tables)
    masks, which = zip(*(_masks(bits, source, names == label) for label in classes), strict=True)
    return np.stack([c[w][:, w] for c, w in zip(_count_pairs(masks), which, strict=True)])


def _edges(words: Words, lag: int) -> Flags:
    """Where the words of maps differ from those above; all of the first row do."""
    edge = np.empty(words.shape, bool)
    edge[:, :lag] = True
    np.not_equal(words[:, lag:], words[:, :-lag], out=edge[:, lag:])
    return edge


def _renamed(words: Words, edge: Flags, num_classes: int) -> tuple[npt.NDArray[np.int64], Labels]:
    """Of each map the first of which it is a renaming, and (M, num_classes) the labels into which that one's turn."""
    source = np.arange(len(words))
    table = np.tile(np.arange(num_classes, dtype=np.uint8), (len(words), 1))
    alike: dict[bytes, list[int]] = {}
    for m, places in enumerate(np.packbits(edge, axis=1)):
        alike.setdefault(places.tobytes(), []).append(m)
    for members in alike.values():
        if len(members) > 1:
            rows = np.array(members)
            names, is_renamed = _names(words[rows[:, None], np.flatnonzero(edge[members[0]])], num_classes)
            source[rows[is_renamed]], table[rows[is_renamed]] = members[0], names[is_renamed]
    return source, table


def _names(words: Words, num_classes: int) -> tuple[Labels, Flags]:
    """Of maps (g, words): (g, num_classes) into which label each of the first map's turns, and whether that holds."""
    _, first, inverse = np.unique(words[0], return_index=True, return_inverse=True)
    distinct = np.ascontiguousarray(words[:, first])
    holds = (distinct[:, inverse] == words).all(axis=1)
    pixels = distinct.view(np.uint8)
    labels, first = np.unique(pixels[0], return_index=True)
    names = np.full((len(words), 256), NOTHING, np.uint8)
    names[:, labels] = pixels[:, first]
    holds &= (names[:, pixels[0]] == pixels).all(axis=1)
    return names[:, :num_classes], holds


class _Bits:
    """Bit masks of the classes of all maps that are no renaming of another one.

    Args:
        parts: words (maps, words of a map) and where they differ from those above, of some maps each.
        lag: words of a row.
    """

    def __init__(self, parts: Sequence[tuple[Words, Flags]], lag: int) -> None:
        pixels, above, targets, start = [], [], [], 0
        for words, edge in parts:
            target = np.flatnonzero(edge)
            higher = words.ravel().take(target - lag, mode="wrap")
            higher[target % words.shape[1] < lag] = _NO_WORD
            pixels.append(words.ravel().take(target))
            above.append(higher)
            targets.append(target + start)
            start += words.size
        self.pixels = np.concatenate(pixels).view(np.uint8)
        self._both = np.concatenate(pixels + above).view(np.uint8)
        self._target, self._size = np.concatenate(targets), start
        self._shape = sum(len(words) for words, _ in parts), -1, lag // 8
        self.words = start // 8 // self._shape[0]
        self._held: dict[int, Words] = {}

    def of(self, label: int) -> Words:
        """(maps, words) 1 where a map has the label."""
        if label not in self._held:
            packed = np.packbits(self._both == label)
            changes = np.zeros(self._size, np.uint8)
            changes[self._target] = packed[: len(self._target)] ^ packed[len(self._target) :]
            down = changes.view(np.uint64).reshape(self._shape)
            self._held[label] = np.bitwise_xor.accumulate(down, axis=1, out=down).reshape(len(down), -1)
        return self._held[label]


def _masks(bits: _Bits, source: npt.NDArray[np.int64], turns: Flags) -> tuple[Words, npt.NDArray[np.int64]]:
    """(L, words) the different masks of a class, without words in which none has a pixel, and which each map's is.

    Args:
        bits: of the maps that are no renaming.
        source: (M,) which of these each map is or renames.
        turns: (M, num_classes) the labels there that turn into the class here.
    """
    labels: list[list[int]] = [[] for _ in source]
    for m, label in np.argwhere(turns).tolist():
        labels[m].append(label)
    kinds: dict[tuple[int, ...], int] = {}
    which = [kinds.setdefault((s, *own), len(kinds)) for s, own in zip(source.tolist(), labels, strict=True)]
    masks = np.empty((len(kinds), bits.words), np.uint64)
    for mask, (s, *own) in zip(masks, kinds, strict=True):
        mask[:] = bits.of(own[0])[s] if own else 0
        for label in own[1:]:
            mask |= bits.of(label)[s]
    used = np.bitwise_or.reduce(masks, axis=0) != 0
    used[0] = True  # so that no class is without a word
    return masks.take(np.flatnonzero(used), axis=1), np.array(which)


def _count_pairs(masks: Sequence[Words]) -> npt.NDArray[np.int64]:
    """(K, L, L) pixels that two masks share, for the masks (<= L, words) of each of K classes."""
    ends = np.cumsum([mask.shape[1] for mask in masks])
    side_by_side = np.zeros((max(map(len, masks)), ends[-1]), np.uint64)
    for mask, end in zip(masks, ends, strict=True):
        side_by_side[: len(mask), end - mask.shape[1] : end] = mask
    starts = np.concatenate([[0], ends[:-1]])
    counts = np.zeros((len(side_by_side), len(side_by_side), len(masks)), np.int64)
    for i, row in enumerate(side_by_side):
        shared = np.bitwise_count(row & side_by_side[i:])
        counts[i, i:] = np.add.reduceat(shared, starts, axis=1, dtype=np.uint32)
    return np.maximum(counts, counts.swapaxes(0, 1)).transpose(2, 0, 1)
