"""What a model sees of a picture: field, grid and units; and labels back onto the whole picture."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from probunet.core.errors import InputError
from probunet.core.files import shown
from probunet.core.words import by
from probunet.inference.grid import Grid, Through, weighted
from probunet.inference.units import Limits, crop_of_range, in_own_range, in_units
from probunet.io.pictures import Picture
from probunet.runs.description import TrainedModel

Values = TypeVar("Values", np.uint8, np.float32)
SAME_SPACING = 0.01
"""Relative difference of pixel sizes up to which a picture is taken as it is."""


@dataclass(frozen=True)
class Field:
    """A part of a slice, in its pixels."""

    top: int
    left: int
    height: int
    width: int

    def of(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Cut it out of (..., H, W); a view."""
        return values[..., self.top : self.top + self.height, self.left : self.left + self.width]


class View:
    """How one picture is shown to a trained model.

    Args:
        trained: the trained model.
        picture: what is looked at.
        at: row and column of the middle of the only field to look at, in all slices; for a model of volumes also
            (slice, row, column); ``None`` for the whole picture.
        size: height and width of that field in the model's pixels, or depth, height and width; of the training crops
            if not given.

    Attributes:
        field: what is looked at in a slice.
        slices: that are looked at; background lies beyond those of a model of volumes.
        grid: the pixels of the field and the model's.
        through: these slices and those of a model of volumes.
        notes: what the user should know; more come with every slice.

    Raises:
        InputError: a size that is not the model's, a place outside of the picture, or a slice for a model of volumes.
    """

    def __init__(
        self,
        trained: TrainedModel,
        picture: Picture,
        at: tuple[int, ...] | None = None,
        size: tuple[int, ...] | None = None,
    ) -> None:
        self.trained, self.picture = trained, picture
        self.spacing = None if trained.spacing_mm is None else list(trained.spacing_mm[-2:])
        self.notes: set[str] = set(picture.notes)
        self.crop = trained.sides
        self.volumes = trained.dims == 3
        if self.volumes and picture.shape[0] == 1:
            raise InputError(f"{shown(picture.source)} is a single slice; the model takes volumes")
        if at is not None and len(at) not in ((2, 3) if self.volumes else (2,)):
            places = "row and column, or slice, row and column" if self.volumes else "row and column; it sees slices"
            raise InputError(f"the place {' '.join(map(str, at))} does not fit the model; give {places}")
        if not all(isinstance(pixels, int | np.integer) for pixels in (*(at or ()), *(size or ()))):
            raise InputError(f"a place {at} and a size {size} are not in whole pixels; round them")
        if size is not None and (len(size) not in ((2, 3) if self.volumes else (2,)) or min(size) < 1):
            raise InputError(
                f"the size {' '.join(map(str, size))} is no height and width of the model; give pixels above 0"
            )
        scale, through = self._scale(), self._scale_through() if self.volumes else 1.0
        plane = None if at is None else at[-2:]
        self._range = self._range_field(plane)
        if self._range and plane is None:  # of crops around something, the middle
            plane = (picture.shape[1] // 2, picture.shape[2] // 2)
            self.notes.add(f"only the middle {by(self.crop)} px are looked at, as in the training")
        self.field = self._field(plane, (size or self.crop)[-2:], scale)
        self.slices = range(picture.shape[0])
        if at is not None and len(at) == 3:
            self.slices = self._slices(at[0], size[0] if size and len(size) == 3 else self.crop[0], through)
        self.grid = Grid((self.field.height, self.field.width), scale)
        self.through = Through(len(self.slices), through)
        self._note_on_grid()

    def _scale(self) -> tuple[float, float]:
        if self.picture.spacing_mm is None or not self.spacing:
            return 1.0, 1.0
        row, column = (mine / its for mine, its in zip(self.picture.spacing_mm[1:], self.spacing, strict=True))
        return (1.0, 1.0) if max(abs(row - 1), abs(column - 1)) <= SAME_SPACING else (row, column)

    def _scale_through(self) -> float:
        between = self.picture.step_mm
        if self.trained.spacing_mm is None:
            return 1.0
        if between and self.picture.stored.uneven:
            self.notes.add(f"the model sees slices {between:g} mm apart everywhere, as most are; resample them first")
        its = self.trained.spacing_mm[0]
        if not between:
            self.notes.add(f"distance between slices not known; taken to be the model's {its:g} mm")
            return 1.0
        return 1.0 if abs(between / its - 1) <= SAME_SPACING else between / its

    def _field(self, at: tuple[int, ...] | None, size: tuple[int, ...], scale: tuple[float, float]) -> Field:
        _, height, width = self.picture.shape
        if at is None:
            return Field(0, 0, height, width)
        row, column = at
        if not (0 <= row < height and 0 <= column < width):
            raise InputError(f"row {row}, column {column} is outside the {height}x{width} px; give a place inside")
        rows, columns = (_around(*axis) for axis in zip(at, size, scale, (height, width), strict=True))
        return Field(rows.start, columns.start, len(rows), len(columns))

    def _slices(self, number: int, depth: int, scale: float) -> range:
        """Those around a slice."""
        most = self.picture.shape[0]
        return _around(checked_slice(number, most), depth, scale, most)

    def _range_field(self, at: tuple[int, ...] | None) -> Field | None:
        """The crop whose own range the model sees as 0 to 255; ``None`` for a model of absolute values."""
        crop = crop_of_range(self.trained.intensity.unit)
        _, height, width = self.picture.shape
        if crop is None or (height, width) == crop:
            return None if crop is None else Field(0, 0, height, width)
        if at is None or height < crop[0] or width < crop[1]:
            raise InputError(
                f"{height}x{width} px, but the model was trained on crops of {crop[0]}x{crop[1]} px, each with its own "
                "range of values; give such a crop, or a larger picture of raw values and a place (--at)"
            )
        return self._field(at, crop, (1.0, 1.0))

    def _note_on_grid(self) -> None:
        spacing = self.picture.spacing_mm
        sides = None if spacing is None else (self.picture.step_mm, *spacing[1:])[0 if self.volumes else 1 :]
        mine = None if sides is None else [mm and float(f"{mm:.4g}") for mm in sides]
        if not self.same:
            its = list(self.trained.spacing_mm or ()) if self.volumes else self.spacing
            self.notes.add(f"resampled from {mine} to the model's {its} mm and back")
        elif self.spacing and mine is None:
            self.notes.add(f"pixel size not known; taken to be the model's {self.spacing} mm")
        if any(sees > 1.5 * saw for sees, saw in zip(self.seen, self.crop, strict=True)):
            unit = "voxels" if self.volumes else "px"
            self.notes.add(
                f"the model was trained on {by(self.crop)} {unit} and sees {by(self.seen)} {unit}; if those were "
                "crops around something, choose a place with --at"
            )

    @property
    def same(self) -> bool:
        """Whether the model sees the picture's own pixels and slices."""
        return self.grid.same and self.through.same

    @property
    def seen(self) -> tuple[int, ...]:
        """Size of what the model sees: of a slice, or of the volume."""
        return (self.through.seen, *self.grid.seen) if self.volumes else self.grid.seen

    @cached_property
    def _limits(self) -> Limits:
        """Of the field in all slices that are looked at."""
        low, high = np.inf, -np.inf
        for index in self.slices:
            values = self.field.of(self.picture.slice(index))
            low, high = min(low, float(values.min())), max(high, float(values.max()))
        return low, high

    def image(self, index: int) -> npt.NDArray[np.float32]:
        """What the model sees of a slice of the picture: (C, h, w) on its own grid in the plane, in its own units.

        Raises:
            InputError: units that are not the model's, or a slice that cannot be read.
        """
        intensity = self.trained.intensity
        whole, unit = self.picture.slice(index), self.picture.unit
        if self._range is None:
            limits = (lambda: self._limits) if self.volumes else None
            values, note = in_units(self.field.of(whole), unit, intensity.unit, limits)
        else:
            values, note = in_own_range(self.field.of(whole), self._range.of(whole), unit)
        self.notes |= {note} if note else set()
        if values.min() == values.max():
            what = "the picture has" if self.picture.shape[0] == 1 else "there are slices that have"
            self.notes.add(f"{what} a single value where the model looks; there is nothing to see")
        return intensity.normalise(self.grid.to_model(values))

    def volume(self) -> Iterator[npt.NDArray[np.float32]]:
        """What a model of volumes sees, slice by slice (C, h, w) on its own grid; see :meth:`image`."""
        return map(weighted, self.through.to_model(map(self.image, self.slices)))

    def labels_seen(self, labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Class ids (..., H, W) of the whole picture as (..., h, w) on the model's grid; of volumes its own slices."""
        seen = labels[..., self.slices.start : self.slices.stop, :, :] if self.volumes else labels
        return np.ascontiguousarray(self.grid.labels_to_model(self.field.of(seen)))

    def labels(self, seen: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Class ids (..., h, w) of the model as (..., H, W) of the whole picture; background where nobody looked."""
        return self._on_whole(self.grid.labels_to_picture(seen))

    def volume_labels(self, seen: Iterable[npt.NDArray[np.uint8]]) -> Iterator[npt.NDArray[np.uint8]]:
        """Slices (..., h, w) of class ids of the model, in their order, as those (..., H, W) of the picture."""
        inside = (self._on_whole(self.grid.slices_to_picture(terms)) for terms in self.through.to_picture(seen))
        return self._all_slices(inside)

    def volume_probabilities(self, seen: Iterable[npt.NDArray[np.float32]]) -> Iterator[npt.NDArray[np.float32]]:
        """Slices (K, h, w) of probabilities of the model, in their order, as those (K, H, W) of the picture."""
        return self._all_slices(self.probabilities(weighted(terms)) for terms in self.through.to_picture(seen))

    def _all_slices(self, inside: Iterator[npt.NDArray[Values]]) -> Iterator[npt.NDArray[Values]]:
        """Every slice of the picture, from those that are looked at."""
        first = next(inside)
        beyond = np.zeros_like(first)
        if first.dtype != np.uint8:  # probabilities (K, H, W)
            beyond[0] = 1
        yield from (beyond.copy() for _ in range(self.slices.start))
        yield first
        yield from inside
        yield from (beyond.copy() for _ in range(self.slices.stop, self.picture.shape[0]))

    def _on_whole(self, mine: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        whole = np.zeros((*mine.shape[:-2], *self.picture.shape[1:]), np.uint8)
        self.field.of(whole)[...] = mine
        return whole

    def probabilities(self, seen: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Probabilities (K, h, w) of the model as (K, H, W) of the whole picture; background where nobody looked."""
        whole = np.zeros((len(seen), *self.picture.shape[1:]), np.float32)
        whole[0] = 1
        self.field.of(whole)[...] = self.grid.to_picture(seen)
        return whole


def checked_slice(number: int, most: int) -> int:
    """Give the number of a slice of a picture of so many.

    Raises:
        InputError: there is no slice of this number.
    """
    if not 0 <= number < most:
        raise InputError(f"slice {number} is outside the {most} slices; give one from 0 to {most - 1}")
    return number


def _around(middle: int, wanted: int, scale: float, most: int) -> range:
    """Pixels of a picture around a place, along one axis: as many of them as are so many of the model's."""
    count = max(min(round(wanted / scale), most), 1)
    first = min(max(middle - count // 2, 0), most - count)
    return range(first, first + count)


def with_channels(picture: Picture, channels: int) -> Picture:
    """The picture as the model needs it; a .npy of as many layers as the model has channels is one image.

    Raises:
        InputError: other channels than the model has.
    """
    depth = picture.shape[0]
    if picture.channels == channels:
        return picture
    if picture.channels == 1 and depth == channels and picture.source.suffix.lower() == ".npy":
        return picture.layers_as_channels()
    if channels == 1 and picture.channels == 3 and depth == 1:
        first = picture.slice(0)
        if (first == first[:1]).all():  # grey levels, saved as colours
            return picture.first_channel()
    raise InputError(f"{shown(picture.source)} has {picture.channels} channel(s), the model takes {channels}")
