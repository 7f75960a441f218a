"""Attributes of a DICOM header: found where they may be, checked, and as plain numbers and text."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pydicom

from probunet.core.errors import InputError
from probunet.io.content import said

Header = pydicom.Dataset | dict[str, Any]
"""Attributes by keyword."""


def groups_of(header: pydicom.Dataset, frame: int | None) -> list[pydicom.Dataset]:
    """The datasets in which attributes of a frame may be: its own groups, the shared ones, the header itself."""
    if frame is None:
        return [header]
    shared = header.get("SharedFunctionalGroupsSequence") or [pydicom.Dataset()]
    found = []
    for group in (header.PerFrameFunctionalGroupsSequence[frame], shared[0]):
        found += [element.value[0] for element in group if element.VR == "SQ" and element.value]
    return [*found, header]


def value_of(groups: Sequence[Header], key: str) -> Any:
    """The value of an attribute in the first of some datasets that has it; ``None`` where none has."""
    return next((g.get(key) for g in groups if g.get(key) not in (None, "")), None)


def text_of(groups: Sequence[Header], key: str) -> str:
    """The value of an attribute as text, empty where there is none; see :func:`value_of`."""
    value = value_of(groups, key)
    return "" if value is None else str(value)


def required(header: Header, key: str, name: str) -> Any:
    """The value of an attribute that every image has.

    Raises:
        InputError: the file of this name lacks it.
    """
    value = header.get(key)
    if value is None or value == "":
        raise InputError(f"{name} lacks {key}, without which it is no image that can be used")
    return value


def numbers_of(groups: Sequence[Header], key: str, count: int, name: str) -> tuple[float, ...]:
    """So many numbers of an attribute that every image has; see :func:`value_of`.

    Raises:
        InputError: the file of this name lacks it, or holds others than ``count`` finite numbers there.
    """
    value = value_of(groups, key)
    if value is None:
        raise InputError(f"{name} lacks {key}, without which it is no image that can be used")
    several = isinstance(value, Sequence) and not isinstance(value, str)
    numbers = tuple(float(number) for number in (value if several else [value]))
    if len(numbers) != count or not all(math.isfinite(number) for number in numbers):
        raise InputError(f"{name} has the {key} {said(value)}; {count} finite numbers are needed")
    return numbers


def number_of(groups: Sequence[Header], key: str) -> float | None:
    """The finite number of an attribute, or ``None``; see :func:`value_of`."""
    value = value_of(groups, key)
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None


def rescale_of(groups: Sequence[Header], needed: bool, name: str) -> tuple[float, float]:
    """Slope and intercept from stored values to those of the modality; 1 and 0 where there are none.

    Args:
        groups: where they may be.
        needed: whether every file has them, as CT does.
        name: of the file.

    Raises:
        InputError: none where one is needed, a slope of 0, or a table in their place.
    """
    if value_of(groups, "ModalityLUTSequence"):
        raise InputError(
            f"{name} gives its values through a table (ModalityLUTSequence); export it with a RescaleSlope"
        )
    if not needed and value_of(groups, "RescaleSlope") is None:
        return 1.0, 0.0
    slope, intercept = (numbers_of(groups, key, 1, name)[0] for key in ("RescaleSlope", "RescaleIntercept"))
    if slope == 0:
        raise InputError(f"{name} has the RescaleSlope 0, which makes all values one; export it again")
    return slope, intercept
