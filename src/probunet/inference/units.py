"""From the raw values of a picture to what a model was trained on; what does not fit is refused, never passed on."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from probunet.core.errors import InputError
from probunet.core.intensity import AIR, MOST_HU, RAW

NORMALISED = 8.0
"""Fractions all within this look as if somebody had normalised them already."""
FINEST = 1000
"""What single precision takes from a value may be such a part of the values' range, and no more."""
_OWN_RANGE = re.compile(r"grey level, own range of a (\d+)x(\d+) px crop as 0 to 255$")
_RANGE = re.compile(r"(-?\d+(?:\.\d+)?) to (-?\d+(?:\.\d+)?)$")


Limits: TypeAlias = tuple[float, float]
"""Lowest and highest value."""


def in_units(
    raw: npt.NDArray[Any], unit: str, wanted: str, limits: Callable[[], Limits] | None = None
) -> tuple[npt.NDArray[np.float32], str]:
    """Raw values in the unit that a model was trained on.

    Args:
        raw: values of a picture.
        unit: of the picture; an empty text where nobody knows.
        wanted: unit of the model, likewise.
        limits: gives those of the whole volume, of which these values are a slice; of themselves if not given.

    Returns:
        Values, and what the user should know about them, or an empty text.

    Raises:
        InputError: the values cannot be in the model's unit.
    """
    values = raw.astype(np.float32)
    if wanted == "HU":
        return _in_hounsfield(raw, values, unit)
    if wanted == "grey level":
        return _in_grey_levels(raw, values, unit, limits)
    if unit not in ("", RAW) and wanted and unit != wanted:
        raise InputError(f"the values are in {unit}, the model was trained on {wanted}; convert them first")
    allowed = _RANGE.search(wanted)
    if allowed and not (float(allowed[1]) <= values.min() and values.max() <= float(allowed[2])):
        raise InputError(
            f"the values run from {values.min():g} to {values.max():g}, the model was trained on {wanted}; "
            "convert them first"
        )
    exact = np.can_cast(raw.dtype, np.float32)
    if not exact and np.abs(raw - values.astype(np.float64)).max() > np.ptp(raw.astype(np.float64)) / FINEST:
        raise InputError(
            f"the values run from {raw.min()} to {raw.max()}, which numbers of single precision, that pictures are "
            "computed in, cannot tell apart; subtract the smallest of all pictures, and train the model on such ones"
        )
    return values, ""


def crop_of_range(wanted: str) -> tuple[int, int] | None:
    """Height and width of the crops whose lowest value became 0 and highest 255; ``None`` for any other unit."""
    size = _OWN_RANGE.match(wanted)
    return (int(size[1]), int(size[2])) if size else None


def in_own_range(raw: npt.NDArray[Any], crop: npt.NDArray[Any], unit: str) -> tuple[npt.NDArray[np.float32], str]:
    """Raw values as grey levels: the lowest of a crop is 0, the highest 255.

    Args:
        raw: values of a picture.
        crop: the part of them that defines the range.
        unit: of the picture; an empty text where nobody knows.

    Returns:
        Values, and what the user should know about them, or an empty text.

    Raises:
        InputError: grey levels that somebody scaled in another way, which nobody can undo; or a crop of one value.
    """
    low, high = float(crop.min()), float(crop.max())
    if (unit == "grey level" or raw.dtype == np.uint8) and (low, high) != (0, 255):
        raise InputError(
            f"the crop's grey levels run from {low:g} to {high:g}, the model was trained on crops whose own range was "
            "made 0 to 255; how these were made from raw values is unknown: give the raw ones, in 16 bits or in HU"
        )
    if not high > low:
        raise InputError(f"the crop has a single value ({low:g}); there is nothing to see")
    values = (raw.astype(np.float32) - np.float32(low)) * np.float32(255 / (high - low))
    return values, "" if (low, high) == (0, 255) else f"values {low:g} to {high:g} of the crop are shown as 0 to 255"


def _in_hounsfield(
    raw: npt.NDArray[Any], values: npt.NDArray[np.float32], unit: str
) -> tuple[npt.NDArray[np.float32], str]:
    if unit not in ("", "HU"):
        kind = "no HU, as their file says" if unit == RAW else unit
        raise InputError(f"the model was trained on Hounsfield units, these are {kind}; give the CT in HU")
    if not unit and raw.dtype.kind in "bu":
        kind = "8-bit grey levels" if raw.dtype.itemsize == 1 else "unsigned numbers, which have no place for air"
        raise InputError(f"the model was trained on Hounsfield units, these are {kind}; give DICOM or HU")
    if values.max() > MOST_HU:
        raise InputError(
            f"the values reach {values.max():g}, which no Hounsfield units do; give DICOM or HU, as signed numbers"
        )
    fractions = raw.dtype.kind == "f" and bool((values != np.rint(values)).any())
    if not unit and fractions and np.abs(values).max() <= NORMALISED:
        raise InputError(
            f"the model was trained on Hounsfield units, these run from {values.min():g} to {values.max():g} as if "
            "normalised; give raw HU"
        )
    note = "" if unit else "unit not known; taken to be Hounsfield units, as in the model's training"
    return np.maximum(values, np.float32(AIR)), note


def _in_grey_levels(
    raw: npt.NDArray[Any], values: npt.NDArray[np.float32], unit: str, limits: Callable[[], Limits] | None
) -> tuple[npt.NDArray[np.float32], str]:
    if raw.dtype == np.bool_:
        return values * np.float32(255), ""
    if unit == "grey level" or (not unit and raw.dtype == np.uint8):
        if values.min() < 0 or values.max() > 255:
            raise InputError(
                f"grey levels run from 0 to 255, these from {values.min():g} to {values.max():g}; convert them first"
            )
        return values, ""
    low, high = (float(values.min()), float(values.max())) if limits is None else limits()
    shown = (values - np.float32(low)) * np.float32(255 / max(high - low, 1e-6))
    what = "each slice" if limits is None else "the volume"
    return shown, f"the model was trained on grey levels: {what} is shown with its range as 0 to 255"
