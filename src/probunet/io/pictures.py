"""A picture: what is in a file of any kind, in one orientation, with its unit and its place in space.

``read_picture`` and ``find_pictures`` open files, :func:`probunet.io.uploads.read_upload` takes bytes; the decoders
are the same. A header is read when something of it is asked for, and pixels when a slice is.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from probunet.core.errors import InputError
from probunet.core.files import shown
from probunet.core.names import safe_name
from probunet.io.content import Content, finite
from probunet.io.dicom import Slice, is_dicom, read_slices
from probunet.io.dicom_pictures import stored_series
from probunet.io.formats import ENDINGS, ending, is_left_behind, read_stored, stem
from probunet.io.geometry import Affine, Order, Shape, Spacing, canonical_order, same_grid, spacing_of
from probunet.io.nifti import write_nifti
from probunet.io.series import Series, make_series, split_phases
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
    """

    name: str
    source: Path
    open: Callable[[], Stored] = field(repr=False)
    is_labels: bool = False

    @cached_property
    def stored(self) -> Stored:
        """The picture as its file stores it; the header is read here.

        Raises:
            InputError: the file cannot be read, or is refused.
        """
        stored = self.open()
        if self.is_labels and stored.kind == "JPEG":
            raise InputError(f"{shown(self.source)} is a JPEG picture, which keeps no class ids; save it as PNG")
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
        """What the user should know: missing slices, uneven steps."""
        return self.stored.notes

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

        The product is the volume of a voxel, also where slices lie askew.

        Raises:
            InputError: rows and columns are not at right angles.
        """
        stored = self.stored
        if self.affine is None:
            if stored.spacing is None:
                return None
            between, row, column = (stored.spacing[axis] for axis in self.order.axes)
            return None if row is None or column is None else (between, row, column)
        between, row, column = spacing_of(shown(self.source), self.affine)
        return None if stored.flat else between, row, column

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

    def write_nifti(self, file: Path, array: npt.NDArray[Any]) -> None:
        """Write class ids or numbers (S, H, W) or (N, S, H, W) of this picture where its file lies.

        Raises:
            InputError: see :func:`probunet.io.nifti.write_nifti`.
        """
        write_nifti(file, self.native(array), self.stored)

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


def read_picture(path: str | os.PathLike[str]) -> Picture:
    """Open one file, or the DICOM series in a folder.

    Args:
        path: PNG, TIFF, JPEG, .npy, .npz, NIfTI, NRRD, MetaImage or DICOM; or a folder of one DICOM series.

    Raises:
        InputError: missing, an unknown ending, or several pictures in a folder. What the decoder refuses is raised
            when the header or a slice is asked for.
    """
    pictures = find_pictures([path])
    if len(pictures) != 1:
        raise InputError(f"{shown(path)} holds {len(pictures)} pictures; give one of them")
    return pictures[0]


def find_pictures(inputs: Iterable[str | os.PathLike[str]], without: Path | None = None) -> list[Picture]:
    """Find the pictures behind files and folders; a folder is searched with all folders in it.

    DICOM slices are put together as series by their headers; every other file is a picture of its own and is not
    opened. What systems leave behind (.DS_Store, ._x, Thumbs.db) is passed over.

    Args:
        inputs: files of any kind that is read, or folders of these.
        without: a folder inside of these that is passed over, as the results of a command are no inputs of it.

    Raises:
        InputError: nothing there, an unknown ending among files that were named, a DICOM file that cannot be read, or
            two pictures with one name.
    """
    pictures: list[Picture] = []
    dicom: dict[Path, None] = {}
    for path in map(Path, inputs):
        if path.is_dir():
            known = [file for file in _inside(path, without) if ending(file) or is_dicom(file)]
            if not known:
                raise InputError(f"{shown(path)} holds no picture; known are DICOM and {', '.join(ENDINGS)}")
        else:
            known = [path]
            _check_named(path)
        for file in known:
            if ending(file) in ("", ".dcm", ".dicom", ".ima"):
                dicom[file] = None
            else:
                pictures.append(read_file(file))
    return _with_names([*_series(list(dicom)), *pictures])


def _inside(folder: Path, without: Path | None) -> list[Path]:
    skipped = None if without is None else without.resolve()
    files: list[str] = []
    for place, folders, names in os.walk(folder):
        folders[:] = [
            name
            for name in folders
            if not is_left_behind(name) and (skipped is None or Path(place, name).resolve() != skipped)
        ]
        files += [f"{place}/{name}" for name in names if not is_left_behind(name)]
    return [file for file in map(Path, sorted(files)) if file.is_file()]  # texts are sorted in a tenth of the time


def _check_named(path: Path) -> None:
    if not path.exists() and not path.is_symlink():
        raise InputError(f"{shown(path)} does not exist")
    if not ending(path) and not is_dicom(path):
        raise InputError(f"{shown(path)} has an ending that is not known; use one of {', '.join(ENDINGS)}, or DICOM")


def _series(files: Sequence[Path]) -> list[Picture]:
    """Put DICOM files together by series; a file of many frames is a picture of its own."""
    groups: dict[tuple[str, Path | None], list[Slice]] = defaultdict(list)
    other: tuple[Path, str] | None = None
    for file in files:
        slices = read_slices(Content(file))
        if isinstance(slices, str):
            other = other or (file, slices)
        else:
            groups[slices[0].series, None if slices[0].frame is None else file] += slices
    if other and not groups:
        raise InputError(f"{shown(other[0])} is no CT, MR or PET image but {other[1]}; those are read")
    return [picture for slices in groups.values() for picture in _phases(slices)]


def _phases(slices: Sequence[Slice]) -> list[Picture]:
    images = split_phases(slices)
    pictures = []
    for number, image in enumerate(images, start=1):
        first = image[0]
        single = len({one.path for one in image}) == 1
        patient = first.patient if safe_name(first.patient) == first.patient else "series"
        name = stem(first.path) if single else f"{patient}-{first.series[-8:]}"
        name = name if len(images) == 1 else f"{name}-{number}"
        source = first.path if single else first.path.parent
        pictures.append(Picture(safe_name(name), source, partial(_stored, image)))
    return pictures


def _stored(slices: Sequence[Slice]) -> Stored:
    return stored_series(make_series(slices))


def _with_names(pictures: list[Picture]) -> list[Picture]:
    """The pictures, if all their names differ."""
    names: dict[str, Picture] = {}
    for picture in pictures:
        if (other := names.setdefault(picture.name.casefold(), picture)) is not picture:
            raise InputError(
                f"{shown(picture.source)} and {shown(other.source)} are both named {picture.name}; take them one by one"
            )
    return pictures
