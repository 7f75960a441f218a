"""A picture: what is in a file of any kind, in one orientation, with its unit and its place in space.

:mod:`probunet.io.search` finds pictures on disk, :func:`probunet.io.uploads.read_upload` takes bytes; the decoders are
the same. A header is read when something of it is asked for, and pixels when a slice is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from probunet.core.errors import InputError
from probunet.core.files import regular_file, sha256, shown
from probunet.core.names import safe_name
from probunet.io.content import Content, finite
from probunet.io.formats import read_stored, stem
from probunet.io.geometry import (
    TILTED,
    Affine,
    Order,
    Shape,
    Spacing,
    canonical_order,
    same_grid,
    spacing_of,
    tilt_of,
)
from probunet.io.nifti import write_nifti
from probunet.io.series import Series
from probunet.io.stored import Stored


@dataclass(frozen=True, eq=False)
class Picture:
    """An image or a volume as radiologists look at it, whose slices are read when they are asked for.

    Volumes with a place in space are axial: rows run to the back, columns to the patient's left, slices to the head.
    A single slice keeps its plane, likewise turned. Pictures without a place stay as they are stored.

    Attributes:
        name: of the case; a name of a file, whatever the file says.
        source: file or folder that it was read from; of an upload the name that it was given.
        open: reads the header.
        is_labels: whether the values are class ids, so that places in a table of colours are meant.
        parts: the files that it is read from, where these are several; of a DICOM series one for each slice.
    """

    name: str
    source: Path
    open: Callable[[], Stored] = field(repr=False)
    is_labels: bool = False
    parts: tuple[Path, ...] = field(default=(), repr=False)

    @property
    def files(self) -> int:
        """How many it is read from."""
        return len(self.parts) or 1

    @cached_property
    def checksum(self) -> str:
        """SHA-256 of its file, or of the checksums of its files one after the other.

        Raises:
            InputError: a file is missing, or may not be read.
        """
        each = [sha256(regular_file(file)) for file in self.parts or (self.source,)]
        return each[0] if len(each) == 1 else hashlib.sha256("".join(each).encode()).hexdigest()

    @cached_property
    def stored(self) -> Stored:
        """The picture as its file stores it; the header is read here.

        Raises:
            InputError: the file cannot be read, or is refused.
        """
        stored = self.open()
        if self.is_labels and stored.lossy:
            raise InputError(f"{shown(self.source)} is compressed with loss and keeps no class ids; save it as PNG")
        if stored.colours and not self.is_labels:
            raise InputError(f"{shown(self.source)} is a picture with a colour palette; save it as grey or RGB")
        return stored

    @cached_property
    def order(self) -> Order:
        """How the stored axes become those of this picture."""
        return canonical_order(self.stored.affine, self.stored.shape)

    @property
    def shape(self) -> Shape:
        """Slices, height and width in pixels."""
        return self.order.shape(self.stored.shape)

    @property
    def channels(self) -> int:
        """Channels of a slice."""
        return self.stored.channels

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return self.stored.dtype

    @property
    def unit(self) -> str:
        """``HU`` for CT from DICOM, otherwise an empty text: nobody knows."""
        return self.stored.unit

    @property
    def series(self) -> Series | None:
        """The slices of a DICOM input, in the stored order, or ``None``."""
        return self.stored.series

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know: missing slices, uneven steps, slices that lie askew."""
        if self.stored.uneven:
            return (*self.stored.notes, "volumes are in voxels, because slices are not at the same distance everywhere")
        tilt = 0.0 if self.affine is None or self.shape[0] == 1 else tilt_of(self.affine)
        if tilt <= TILTED:
            return self.stored.notes
        askew = (
            f"slices lie askew by {tilt:.1f} degrees (a tilted gantry): volumes are right, but diameters, and what a "
            "model of volumes sees, are those of slices straight above each other; resample it where shape matters"
        )
        return (*self.stored.notes, askew)

    @cached_property
    def affine(self) -> Affine | None:
        """(4, 4) from (column, row, slice) of this picture to mm in the axes of NIfTI, or ``None``.

        x runs to the patient's right, y to the front, z to the head. Slices in uneven steps have none.
        """
        stored = self.stored
        if stored.affine is None or stored.uneven:
            return None
        return self.order.affine(stored.affine, stored.shape)

    @cached_property
    def spacing_mm(self) -> Spacing | None:
        """mm between slices (``None`` where nobody knows), rows and columns; ``None`` where not even these are known.

        Slices that are not at the same distance everywhere have none that holds of all. The product is the volume of a
        voxel, also where slices lie askew.

        Raises:
            InputError: rows and columns are not at right angles.
        """
        stored = self.stored
        if self.affine is None:
            if stored.spacing is None:
                return None
            between, row, column = (stored.spacing[axis] for axis in self.order.axes)
            return None if row is None or column is None else (None if stored.uneven else between, row, column)
        between, row, column = spacing_of(shown(self.source), self.affine)
        return None if stored.flat else between, row, column

    @property
    def step_mm(self) -> float | None:
        """mm between slices, the usual distance where they differ; ``None`` where nobody knows."""
        if self.stored.uneven and self.stored.spacing is not None:
            return self.stored.spacing[self.order.axes[0]]
        return None if self.spacing_mm is None else self.spacing_mm[0]

    @property
    def sides_mm(self) -> tuple[float, ...] | None:
        """mm of a pixel of a slice (row, column), or of a voxel (slice, row, column); ``None`` if one is unknown.

        Raises:
            InputError: rows and columns are not at right angles.
        """
        if self.spacing_mm is None:
            return None
        between, row, column = self.spacing_mm
        if self.shape[0] == 1:
            return row, column
        return None if between is None else (between, row, column)

    def slice(self, index: int) -> npt.NDArray[Any]:
        """Raw values (C, H, W) of a slice, in the unit of the picture.

        Raises:
            InputError: they cannot be read.
        """
        axis, flipped = self.order.axes[0], self.order.flipped[0]
        if axis:
            return self.order.canonical(self.stored.values())[:, index]
        last = self.stored.shape[0] - 1
        return self.order.plane(self.stored.slice(last - index if flipped else index))

    def values(self) -> npt.NDArray[Any]:
        """All raw values (S, C, H, W).

        Raises:
            InputError: they cannot be read.
        """
        return np.moveaxis(self.order.canonical(self.stored.values()), 0, 1)

    def labels(self) -> npt.NDArray[Any]:
        """All class ids (S, H, W), of an integer type.

        Raises:
            InputError: several channels, numbers that are no whole ones, or what cannot be read.
        """
        values = self.values()
        if values.shape[1] != 1:
            raise InputError(f"{shown(self.source)} has {values.shape[1]} channels; class ids are one channel")
        ids = values[:, 0]
        if ids.dtype.kind == "f":
            if not (ids == np.rint(ids)).all() or np.abs(ids).max() >= 1 << 24:
                raise InputError(f"{shown(self.source)} holds {ids.dtype} that are no whole numbers; write class ids")
            ids = ids.astype(np.int32)  # NIfTI writers often scale; whole numbers are class ids all the same
        return ids

    def native(self, array: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Bring (..., S, H, W) of this picture back to the axes of its file."""
        return self.order.native(array)

    def write_nifti(self, file: Path | str, array: npt.NDArray[Any]) -> None:
        """Write class ids or numbers (S, H, W) or (N, S, H, W) of this picture where its file lies.

        Raises:
            InputError: see :func:`probunet.io.nifti.write_nifti`.
        """
        write_nifti(Path(file), self.native(array), self.stored)

    def same_grid(self, other: Picture) -> bool | None:
        """Whether two pictures of one shape lie at the same place; ``None`` where one lies nowhere."""
        if self.affine is None or other.affine is None:
            return None
        return self.shape == other.shape and same_grid(self.affine, other.affine, self.shape)

    def first_channel(self) -> Picture:
        """The picture of its first channel alone."""
        return replace(self, open=partial(_first_channel, self.stored))

    def layers_as_channels(self) -> Picture:
        """One slice whose channels are the slices of this picture."""
        return replace(self, open=partial(_layers_as_channels, self.stored))


def _first_channel(stored: Stored) -> Stored:
    return replace(stored, channels=1, frame=None, decode=lambda: stored.values()[:1])


def _layers_as_channels(stored: Stored) -> Stored:
    layers, rows, columns = stored.shape

    def decode() -> npt.NDArray[Any]:
        return stored.values()[0][:, None]

    return replace(stored, shape=(1, rows, columns), channels=layers, frame=None, decode=decode)


def picture_of(
    values: npt.NDArray[Any],
    name: str = "array",
    unit: str = "",
    spacing: Spacing | None = None,
    affine: Affine | None = None,
) -> Picture:
    """A picture of an array that is in memory.

    Args:
        values: (C, H, W) of a slice or (S, C, H, W) of a volume.
        name: of the case.
        unit: of the values, ``HU`` or empty.
        spacing: mm between slices, rows and columns.
        affine: (4, 4) from (column, row, slice) to mm in the axes of NIfTI; then the spacing is its own.

    Raises:
        InputError: another shape, or values that are no finite numbers.
    """
    volume = values[None] if values.ndim == 3 else values
    if volume.ndim != 4 or not volume.size:
        raise InputError(f"{name} has the shape {values.shape}; needed is (C, H, W) or (S, C, H, W)")
    finite(name, volume)
    stored = Stored(
        "array",
        (len(volume), *volume.shape[2:]),
        volume.dtype,
        lambda: np.moveaxis(volume, 1, 0),
        channels=volume.shape[1],
        affine=affine,
        spacing=spacing,
        unit=unit,
    )
    return Picture(safe_name(name), Path(name), lambda: stored)


def read_file(path: Path, class_ids: bool = False) -> Picture:
    """Open one file; its header is read when something of it is asked for.

    Args:
        path: of a file of any kind.
        class_ids: whether it is a label map.
    """
    return Picture(safe_name(stem(path)), path, partial(read_stored, Content(path)), class_ids)
