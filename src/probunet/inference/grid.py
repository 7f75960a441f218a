"""A field on the grids of a picture and of a model, and the way there and back: no shift, exact pixel sizes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array


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
        return [_triangle(have, want, 1 / s) for have, want, s in zip(self.size, self.seen, self.scale, strict=True)]

    @cached_property
    def _back(self) -> list[csr_array]:
        return [_triangle(have, want, s) for have, want, s in zip(self.seen, self.size, self.scale, strict=True)]

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


def _triangle(before: int, after: int, step: float) -> csr_array:
    """Weights (after, before) of a triangle around every target pixel; they add up to 1, also at the edges."""
    place = (np.arange(after) - (after - 1) / 2) * step + (before - 1) / 2
    place = place.clip(0, before - 1)
    width = max(step, 1.0)
    near = np.floor(place)[:, None] + np.arange(-int(np.ceil(width)), int(np.ceil(width)) + 2)
    weights = (1 - np.abs(near - place[:, None]) / width).clip(0)
    weights[(near < 0) | (near >= before)] = 0
    weights /= weights.sum(axis=1, keepdims=True)
    rows = np.broadcast_to(np.arange(after)[:, None], near.shape)
    kept = weights > 0
    return csr_array(
        (weights[kept].astype(np.float32), (rows[kept], near[kept].astype(np.int64))), shape=(after, before)
    )


def _averaged(values: npt.NDArray[Any], rows: csr_array, columns: csr_array) -> npt.NDArray[np.float32]:
    flat = values.reshape(-1, *values.shape[-2:]).astype(np.float32, copy=False)
    resampled = np.stack([(columns @ (rows @ one).T).T for one in flat])
    return np.ascontiguousarray(resampled).reshape(*values.shape[:-2], *resampled.shape[-2:])


def _most(labels: npt.NDArray[np.uint8], rows: csr_array, columns: csr_array) -> npt.NDArray[np.uint8]:
    """The class of the largest share around each target pixel; of equal shares the lowest class."""
    shape = (*labels.shape[:-2], rows.shape[0], columns.shape[0])
    classes = np.unique(labels)
    chosen, most = np.full(shape, classes[0], np.uint8), np.full(shape, -1.0, np.float32)
    if len(classes) == 1:
        return chosen
    if len(classes) == 2:  # one share says both
        chosen[_averaged(labels == classes[1], rows, columns) > 0.5 + 1e-6] = classes[1]
        return chosen
    for k in classes:
        share = _averaged(labels == k, rows, columns)
        more = share > most + 1e-6
        chosen[more], most[more] = k, share[more]
    return chosen
