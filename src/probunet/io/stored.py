"""What every decoder gives: a picture as its file stores it, pixels when they are asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from probunet.io.geometry import Affine, Shape, Spacing
from probunet.io.series import Series


@dataclass(frozen=True, eq=False)
class Stored:
    """A picture on the grid of its file.

    Attributes:
        kind: of the file, for messages: ``PNG``, ``NIfTI``, ``DICOM``, ...
        shape: slices, rows and columns as they are stored.
        dtype: of the values.
        decode: gives all values (C, slices, rows, columns).
        channels: of a slice.
        frame: gives one slice (C, rows, columns) without the others, or ``None`` where all are decoded at once.
        affine: from stored (column, row, slice) to mm in the axes of NIfTI, or ``None``.
        spacing: mm between slices, rows and columns where there is no affine, or ``None``.
        flat: whether the file is two-dimensional, so that nobody knows how thick its slice is.
        uneven: why the affine is not exact: slices that are missing or not in even steps; otherwise empty.
        unit: ``HU`` for CT, otherwise an empty text: nobody knows.
        notes: sentences that the user should read.
        colours: whether values are places in a table of colours: fine for class ids, no intensities.
        lossy: whether its values are no longer those that were saved, as in JPEG: fine for intensities, no class ids.
        series: the DICOM slices behind it, or ``None``.
        nifti: header of a NIfTI file, or ``None``.
    """

    kind: str
    shape: Shape
    dtype: np.dtype[Any]
    decode: Callable[[], npt.NDArray[Any]]
    channels: int = 1
    frame: Callable[[int], npt.NDArray[Any]] | None = None
    affine: Affine | None = None
    spacing: Spacing | None = None
    flat: bool = False
    uneven: str = ""
    unit: str = ""
    notes: tuple[str, ...] = ()
    colours: bool = False
    lossy: bool = False
    series: Series | None = None
    nifti: Any = None

    def values(self) -> npt.NDArray[Any]:
        """All values (C, slices, rows, columns); those of the picture asked last stay in memory."""
        return _last_decoded(self)

    def slice(self, index: int) -> npt.NDArray[Any]:
        """One stored slice (C, rows, columns)."""
        return self.values()[:, index] if self.frame is None else self.frame(index)


@lru_cache(maxsize=1)
def _last_decoded(stored: Stored) -> npt.NDArray[Any]:
    return stored.decode()
