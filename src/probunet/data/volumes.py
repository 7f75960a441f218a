"""Volumes of different size in one memory-mapped array, and where each lies in space."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from probunet.core.errors import InputError
from probunet.core.files import shown
from probunet.data.manifest import PLACES

Spacing = tuple[float, ...]
"""mm of a voxel, in the order of the axes."""


class Volumes:
    """N volumes, each of its own size, in an array of all their voxels; taking one loads nothing.

    Args:
        flat: (V, C), the C values of every voxel; the volumes follow each other, each with its last axis fastest.
        sizes: (N, 3) depth, height and width.
    """

    def __init__(self, flat: npt.NDArray[Any], sizes: npt.NDArray[np.int64]) -> None:
        self.flat, self.sizes = flat, sizes
        self.ends = np.cumsum(sizes.prod(axis=1))

    def __len__(self) -> int:
        return len(self.sizes)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return self.flat.dtype

    def __getitem__(self, index: int) -> npt.NDArray[Any]:
        """The volume (C, D, H, W) at a position, as a view of the file.

        Raises:
            IndexError: there is no such position.
        """
        if not 0 <= index < len(self):
            raise IndexError(index)
        size = self.sizes[index]
        end = int(self.ends[index])
        return np.moveaxis(self.flat[end - int(size.prod()) : end].reshape(*size, -1), -1, 0)

    def __iter__(self) -> Iterator[npt.NDArray[Any]]:
        return (self[i] for i in range(len(self)))


def read_places(
    folder: Path, voxels: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Read and check sizes, spacings and affines of a store of volumes; NaN where a place is not known.

    Raises:
        InputError: one of the files is no such array, or they do not fit each other or the number of voxels.
    """
    sizes, spacings, affines = (loaded(folder / name) for name in PLACES)
    count = len(sizes) if sizes.ndim else 0
    shapes = (sizes.shape, spacings.shape, affines.shape) == ((count, 3), (count, 3), (count, 4, 4))
    types = (sizes.dtype, spacings.dtype, affines.dtype) == (np.int64, np.float64, np.float64)
    if not (shapes and types and _are_places(sizes, spacings, affines, voxels)):
        raise InputError(
            f"{', '.join(PLACES)} of {shown(folder)} are not the sizes, spacings and affines of {voxels:,} voxels; "
            "prepare the store again"
        )
    return sizes, spacings, affines


def _are_places(
    sizes: npt.NDArray[np.int64], spacings: npt.NDArray[np.float64], affines: npt.NDArray[np.float64], voxels: int
) -> bool:
    unknown, nowhere = np.isnan(spacings).all(axis=1), np.isnan(affines).all(axis=(1, 2))
    known, somewhere = spacings[~unknown], affines[~nowhere]
    return bool(
        (sizes >= 1).all()
        and sum(map(math.prod, sizes.tolist())) == voxels
        and ((known > 1e-7) & (known < 100)).all()
        and np.isfinite(somewhere).all()
        and (somewhere[:, 3] == (0, 0, 0, 1)).all()
    )


def loaded(file: Path, mmap_mode: Any = None) -> npt.NDArray[Any]:
    """An array of a file, which runs no code.

    Raises:
        InputError: it is no array.
    """
    try:
        return np.asanyarray(np.load(file, mmap_mode=mmap_mode, allow_pickle=False))
    except (ValueError, OSError, EOFError, SyntaxError, OverflowError, MemoryError, TypeError) as error:
        raise InputError(f"{shown(file)} is no array ({str(error)[:80]}); prepare the store again") from error
