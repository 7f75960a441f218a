"""What a model sees of a picture: field, grid and units; and labels back onto the picture's grid."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image as PILImage

from probunet.core.errors import InputError
from probunet.inference.streaming import Strip
from probunet.io.pictures import Picture
from probunet.runs.description import TrainedModel

SAME_SPACING = 0.01
"""Relative difference of pixel sizes up to which an image is taken as it is."""


class View:
    """How one picture is shown to a trained model.

    Args:
        run: the trained model.
        device: where it runs.
        picture: with the channels that the model takes.
        at: row and column of the middle of the only field to look at, of the size that the model was trained on;
            ``None`` for the whole picture.

    Attributes:
        field: top, left, rows and columns of what is looked at.
        scale: factors from the picture's grid to that of the model; ``None`` where they are the same or not known.
        notes: what the user should know.

    Raises:
        InputError: a place outside of the picture.
    """

    def __init__(self, run: TrainedModel, device: str, picture: Picture, at: tuple[int, int] | None) -> None:
        self.run, self.device, self.picture = run, device, picture
        self.notes: set[str] = set()
        self.spacing: list[float] | None = run.settings["input"].get("spacing_mm")
        self.scale = self._scale()
        self.field = self._field(at)
        self._note_on_size()

    def _field(self, at: tuple[int, int] | None) -> tuple[int, int, int, int]:
        _, height, width = self.picture.shape
        if at is None:
            return 0, 0, height, width
        row, column = at
        if not (0 <= row < height and 0 <= column < width):
            raise InputError(f"row {row}, column {column} is outside the {height}x{width} px; give a place inside")
        scale = self.scale or (1.0, 1.0)
        rows, columns = (min(round(c / s), m) for c, s, m in zip(self._crop(), scale, (height, width), strict=True))
        top, left = min(max(row - rows // 2, 0), height - rows), min(max(column - columns // 2, 0), width - columns)
        return top, left, rows, columns

    def _scale(self) -> tuple[float, float] | None:
        picture = self.picture
        if picture.spacing_mm is None or not self.spacing:
            return None
        row, column = (mine / its for mine, its in zip(picture.spacing_mm[1:], self.spacing, strict=True))
        return None if max(abs(row - 1), abs(column - 1)) <= SAME_SPACING else (row, column)

    def _note_on_size(self) -> None:
        crop, scale = self._crop(), self.scale or (1.0, 1.0)
        seen = [round(size * s) for size, s in zip(self.field[2:], scale, strict=True)]
        if any(size > 1.5 * trained for size, trained in zip(seen, crop, strict=True)):
            self.notes.add(
                f"the model was trained on {crop[0]}x{crop[1]} px and sees {seen[0]}x{seen[1]} px; if those were crops "
                "around something, choose a place with --at"
            )

    def _crop(self) -> tuple[int, int]:
        return (self.run.crop, self.run.crop) if isinstance(self.run.crop, int) else self.run.crop

    def slice(self, index: int) -> torch.Tensor:
        """What the model sees of a slice: (C, h, w) float32 on its own grid, in its own units.

        Raises:
            InputError: units that are not the model's.
        """
        top, left, rows, columns = self.field
        picture, scale = self.picture, self.scale
        raw = picture.slice(index)[:, top : top + rows, left : left + columns]
        values, shown = in_units(raw, picture.unit, self.run.intensity.unit)
        if shown:
            self.notes.add("the model was trained on grey levels: each slice is shown with its range as 0 to 255")
        if scale is None:
            if self.spacing and picture.spacing_mm is None:
                self.notes.add(f"pixel size not known; taken to be the model's {self.spacing} mm")
        else:
            size = max(round(rows * scale[0]), 1), max(round(columns * scale[1]), 1)
            pieces = [PILImage.fromarray(c).resize(size[::-1], PILImage.Resampling.BILINEAR) for c in values]
            values = np.stack([np.asarray(piece) for piece in pieces])
            self.notes.add(
                f"resampled from {list((picture.spacing_mm or ())[1:])} to the model's {self.spacing} mm and back"
            )
        return torch.from_numpy(self.run.intensity.normalise(values)).to(self.device)

    def back(self, strip: Strip) -> Strip:
        """A whole slice on the picture's own grid, background where nobody looked."""
        top, left, rows, columns = self.field
        _, height, width = self.picture.shape
        labels, probabilities = resized(strip, (rows, columns))
        if (rows, columns) != (height, width):
            around = ((0, 0), (top, height - top - rows), (left, width - left - columns))
            labels, probabilities = np.pad(labels, around), np.pad(probabilities, around)
            probabilities[0] += probabilities.sum(axis=0) == 0
        return Strip(strip.index, 0, labels, probabilities)


def in_units(
    raw: npt.NDArray[Any], unit: str, wanted: str
) -> tuple[npt.NDArray[np.float32], tuple[float, float] | None]:
    """Raw values in the unit that a model was trained on.

    Args:
        raw: values of a picture.
        unit: of the picture, ``HU`` or empty.
        wanted: unit of the model.

    Returns:
        Values, and the range that became 0 to 255 where a model of 8-bit grey levels is shown others.

    Raises:
        InputError: 8-bit grey levels for a model of Hounsfield units.
    """
    values = raw.astype(np.float32)
    if wanted == "HU" and not unit and raw.dtype == np.uint8:
        raise InputError("the model was trained on Hounsfield units, these are 8-bit grey levels; give DICOM or HU")
    if wanted != "grey level" or raw.dtype == np.uint8:
        return values, None
    low, high = float(values.min()), float(values.max())
    return (values - low) * np.float32(255 / max(high - low, 1e-6)), (low, high)


def with_channels(picture: Picture, channels: int) -> Picture:
    """The picture as the model needs it; a .npy of as many layers as the model has channels is one image.

    Raises:
        InputError: other channels than the model has.
    """
    depth = picture.shape[0]
    if picture.channels == channels:
        return picture
    if picture.channels == 1 and depth == channels and picture.source.suffix == ".npy":
        return picture.layers_as_channels()
    first = picture.slice(0)
    if channels == 1 and picture.channels == 3 and depth == 1 and (first == first[:1]).all():
        return picture.first_channel()
    raise InputError(f"{picture.source} has {picture.channels} channel(s), the model takes {channels}")


def resized(strip: Strip, size: tuple[int, int]) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """Labels by the nearest pixel, so that none is made up; probabilities linearly, so that they still add up to 1."""
    if strip.labels.shape[1:] == size:
        return strip.labels, strip.probabilities
    rows, columns = (
        np.floor((np.arange(after) + 0.5) * before / after).astype(np.int64)
        for after, before in zip(size, strip.labels.shape[1:], strict=True)
    )
    shares = [PILImage.fromarray(k).resize(size[::-1], PILImage.Resampling.BILINEAR) for k in strip.probabilities]
    return strip.labels[:, rows[:, None], columns], np.stack([np.asarray(one) for one in shares])
