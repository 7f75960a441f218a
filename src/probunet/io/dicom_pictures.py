"""A DICOM series as a picture: its place in space, its slices one by one, and what is odd about it."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt

from probunet.core.errors import InputError
from probunet.io.content import Content
from probunet.io.dicom import Slice, read_slices, read_values
from probunet.io.geometry import LPS, Affine
from probunet.io.series import UNKNOWN_THICKNESS, Series, make_series, split_phases
from probunet.io.stored import Stored

UNEVEN = 0.05
"""How far a slice may be from where even steps put it, as a part of a step."""


def read_dicom(content: Content, kind: str) -> Stored:
    """Read the header of one DICOM file: a slice, or the frames of an enhanced one.

    Args:
        content: of the file.
        kind: ``DICOM``.

    Raises:
        InputError: see :func:`probunet.io.dicom.read_slices`; another modality; or several images in one file.
    """
    images = split_phases(slices_of(content))
    if len(images) > 1:
        raise InputError(f"{content.name} holds {len(images)} images at the same places; export them one by one")
    return stored_series(make_series(images[0]))


def slices_of(content: Content) -> list[Slice]:
    """The slices of a file.

    Raises:
        InputError: see :func:`probunet.io.dicom.read_slices`; or another modality.
    """
    slices = read_slices(content)
    if isinstance(slices, str):
        raise InputError(f"{content.name} is no CT, MR or PET image but {slices}; those are read")
    return slices


def stored_series(series: Series) -> Stored:
    """A series on its own grid, slices by ascending height."""
    first, count = series.slices[0], len(series.slices)
    place, uneven = affine(series)
    return Stored(
        "DICOM",
        (count, *first.shape),
        np.dtype(np.float32),
        partial(_decode, series),
        frame=partial(_frame, series),
        affine=place,
        spacing=(first.thickness if count == 1 else series.slice_spacing, first.spacing[0], first.spacing[1]),
        flat=count == 1 and first.thickness is None,
        unit=first.unit,
        uneven=uneven,
        notes=series.remarks,
        series=series,
    )


def _decode(series: Series) -> npt.NDArray[Any]:
    return np.stack([read_values(one) for one in series.slices])[None]


def _frame(series: Series, index: int) -> npt.NDArray[Any]:
    return read_values(series.slices[index])[None]


def affine(series: Series) -> tuple[Affine, str]:
    """From (column, row, slice) to (x, y, z) in mm, in the axes of NIfTI, and why it is not exact.

    DICOM counts x to the patient's left and y to the back, NIfTI to the right and to the front: both change their
    sign (NIfTI-1 standard, section on coordinate systems; DICOM PS3.3, C.7.6.2.1.1). The slices may lie askew, as
    with a tilted gantry. A single slice is as thick as its file says, or else 1 mm.

    Returns:
        (4, 4), with even steps from the first slice to the last, and a sentence where slices are missing or not in
        even steps along a line (otherwise an empty text).
    """
    first, last = series.slices[0], series.slices[-1]
    row, column = np.array(first.orientation[:3]), np.array(first.orientation[3:])
    positions = np.array([one.position for one in series.slices])
    steps, reason = len(positions) - 1, ""
    if steps:
        step = (positions[-1] - positions[0]) / steps
        expected = positions[0] + np.arange(steps + 1)[:, None] * step
        off = np.linalg.norm(positions - expected, axis=1)
        worst, length = int(off.argmax()), float(np.linalg.norm(step))
        if length == 0 or off[worst] > UNEVEN * length:
            reason = (
                f"{series.slices[worst].path} is {off[worst]:.3g} mm from where even steps of {length:.3g} mm from "
                f"{first.path.name} to {last.path.name} put it"
            )
    else:
        normal = np.cross(row, column)
        step = normal * np.sign(normal[np.abs(normal).argmax()]) * (first.thickness or UNKNOWN_THICKNESS)
    lps = np.eye(4)
    lps[:3] = np.column_stack([row * first.spacing[1], column * first.spacing[0], step, positions[0]])
    return LPS @ lps, reason
