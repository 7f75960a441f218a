"""A field on the grids of a picture and of a model, and the way there and back: no shift, exact pixel sizes.

What lies in the plane of a slice is a :class:`Grid`, what lies through it a :class:`Through`; a volume has both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from probunet.core.triangles import triangles


@dataclass(frozen=True)
class Grid:
    """A field of R x C pixels of a picture and its M x N pixels for a model; both have the same middle.

    Along either axis pixel j of one grid lies at ``(j - (J - 1) / 2) * step + (I - 1) / 2`` of the other, where I and J
    are their pixels and ``step`` is the size of a pixel in pixels of the other. Values are averaged by a triangle as
    wide as the coarser of the two pixels: linear interpolation towards finer pixels, antialiased towards coarser ones.

    Attributes:
        size: R and C.
        scale: pixels of the model per pixel of the picture, along rows and columns; 1.0 where they are the same.
    """

    size: tuple[int, int]
    scale: tuple[float, float] = (1.0, 1.0)

    @property
    def same(self) -> bool:
        """Whether the model sees the picture's own pixels."""
        return self.scale == (1.0, 1.0)

    @property
    def seen(self) -> tuple[int, int]:
        """M and N: what the model sees."""
        rows, columns = (max(round(n * s), 1) for n, s in zip(self.size, self.scale, strict=True))
        return rows, columns

    @cached_property
    def _there(self) -> list[csr_array]:
        return [_weights(have, want, 1 / s) for have, want, s in zip(self.size, self.seen, self.scale, strict=True)]

    @cached_property
    def _back(self) -> list[csr_array]:
        return [_weights(have, want, s) for have, want, s in zip(self.seen, self.size, self.scale, strict=True)]

    def to_model(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Values (..., R, C) as (..., M, N)."""
        return values.astype(np.float32, copy=False) if self.same else _averaged(values, *self._there)

    def to_picture(self, values: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Values (..., M, N), such as probabilities, as (..., R, C); what added up to 1 still does."""
        return values if self.same else _averaged(values, *self._back)

    def labels_to_model(self, labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Class ids (..., R, C) as (..., M, N)."""
        return labels if self.same else _most(labels, *self._there)

    def labels_to_picture(self, labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Class ids (..., M, N) as (..., R, C): the class that most of a pixel's surroundings has, never a new one."""
        return labels if self.same else _most(labels, *self._back)

    def slices_to_picture(self, terms: Terms) -> npt.NDArray[np.uint8]:
        """Class ids (..., R, C) between slices (..., M, N) of the model, see :class:`Through`; likewise."""
        if len(terms) == 1:
            return self.labels_to_picture(terms[0][1])

        def share(k: int) -> npt.NDArray[np.float32]:
            return self.to_picture(weighted([(weight, (labels == k).astype(np.float32)) for weight, labels in terms]))

        classes = np.unique(np.concatenate([np.unique(labels) for _, labels in terms]))
        return _largest(classes, share)


Terms: TypeAlias = "list[tuple[float, npt.NDArray[Any]]]"
"""Slices and their weights, which add up to 1."""


@dataclass(frozen=True)
class Through:
    """S slices of a picture and as many of a model as lie within them; the same rule as that of :class:`Grid`.

    Attributes:
        size: S.
        scale: slices of the model per slice of the picture; 1.0 where they are the same.
    """

    size: int
    scale: float = 1.0

    @property
    def same(self) -> bool:
        """Whether the model sees the picture's own slices."""
        return self.scale == 1.0

    @property
    def seen(self) -> int:
        """Slices that the model sees."""
        return max(round(self.size * self.scale), 1)

    def to_model(self, slices: Iterable[npt.NDArray[Any]]) -> Iterator[Terms]:
        """From the slices of the picture, in their order, to what each slice of the model is made of."""
        return _between(slices, None if self.same else _weights(self.size, self.seen, 1 / self.scale))

    def to_picture(self, slices: Iterable[npt.NDArray[Any]]) -> Iterator[Terms]:
        """From the slices of the model, in their order, to what each slice of the picture is made of."""
        return _between(slices, None if self.same else _weights(self.seen, self.size, self.scale))


def weighted(terms: Terms) -> npt.NDArray[np.float32]:
    """Slices put together by their weights; a single one stays as it is."""
    if len(terms) == 1:
        return terms[0][1]
    total = np.zeros(terms[0][1].shape, np.float32)
    for weight, values in terms:
        total += np.float32(weight) * values
    return total


def _between(slices: Iterable[npt.NDArray[Any]], matrix: csr_array | None) -> Iterator[Terms]:
    """Take slices one after the other, and keep those that are still needed."""
    if matrix is None:
        yield from ([(1.0, values)] for values in slices)
        return
    source, kept = enumerate(slices), dict[int, npt.NDArray[Any]]()
    for row in range(matrix.shape[0]):
        inside = slice(matrix.indptr[row], matrix.indptr[row + 1])
        weights = sorted(zip(matrix.indices[inside].tolist(), matrix.data[inside].tolist(), strict=True))
        kept = {index: values for index, values in kept.items() if index >= weights[0][0]}
        while not kept or max(kept) < weights[-1][0]:
            index, values = next(source)
            kept[index] = values
        yield [(weight, kept[index]) for index, weight in weights]


def _weights(before: int, after: int, step: float) -> csr_array:
    """See ``triangles``; float32, as the values that they weigh."""
    return triangles(before, after, step).astype(np.float32)


def _averaged(values: npt.NDArray[Any], rows: csr_array, columns: csr_array) -> npt.NDArray[np.float32]:
    flat = values.reshape(-1, *values.shape[-2:]).astype(np.float32, copy=False)
    resampled = np.stack([(columns @ (rows @ one).T).T for one in flat])
    return np.ascontiguousarray(resampled).reshape(*values.shape[:-2], *resampled.shape[-2:])


def _most(labels: npt.NDArray[np.uint8], rows: csr_array, columns: csr_array) -> npt.NDArray[np.uint8]:
    """The class of the largest share around each target pixel; of equal shares the lowest class."""
    classes = np.unique(labels)
    if len(classes) == 1:
        return np.full((*labels.shape[:-2], rows.shape[0], columns.shape[0]), classes[0], np.uint8)
    return _largest(classes, lambda k: _averaged(labels == k, rows, columns))


def _largest(classes: npt.NDArray[np.uint8], share: Callable[[int], npt.NDArray[np.float32]]) -> npt.NDArray[np.uint8]:
    """The class of the largest share at every place, the lowest of equal ones; one share of two classes says both."""
    most = share(classes[-1])
    chosen = np.full(most.shape, classes[-1], np.uint8)
    if len(classes) <= 2:
        chosen[most <= 0.5 + 1e-6] = classes[0]
        return chosen
    chosen[...], most = classes[0], share(classes[0])
    for k in classes[1:]:
        own = share(k)
        more = own > most + 1e-6
        chosen[more], most[more] = k, own[more]
    return chosen
