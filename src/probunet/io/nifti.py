"""NIfTI volumes on the grid of a CT series, for 3D Slicer and ITK-SNAP (``pip install 'probunet[nifti]'``)."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from probunet.core.errors import InputError
from probunet.core.files import writing_file
from probunet.io.ct_series import Series

UNEVEN = 0.05
"""How far a slice may be from where even steps put it, as a part of a step."""


def affine(series: Series) -> npt.NDArray[np.float64]:
    """From (column, row, slice) to (x, y, z) in mm, in the axes of NIfTI.

    DICOM counts x to the patient's left and y to the back, NIfTI to the right and to the front: both change their
    sign (NIfTI-1 standard, section on coordinate systems; DICOM PS3.3, C.7.6.2.1.1). The slices may lie askew, as
    with a tilted gantry. A single slice is as thick as its file says, or else 1 mm.

    Returns:
        (4, 4).

    Raises:
        InputError: slices are missing, there twice, or not in even steps along a line, which NIfTI cannot say.
    """
    first, last = series.slices[0], series.slices[-1]
    row, column = np.array(first.orientation[:3]), np.array(first.orientation[3:])
    positions = np.array([one.position for one in series.slices])
    steps = len(positions) - 1
    if steps:
        step = (positions[-1] - positions[0]) / steps
        expected = positions[0] + np.arange(steps + 1)[:, None] * step
        off = np.linalg.norm(positions - expected, axis=1)
        worst, length = int(off.argmax()), float(np.linalg.norm(step))
        if length == 0 or off[worst] > UNEVEN * length:
            raise InputError(
                f"{series.slices[worst].path} is {off[worst]:.3g} mm from where even steps of {length:.3g} mm from "
                f"{first.path.name} to {last.path.name} put it; NIfTI needs even steps, write DICOM instead"
            )
    else:
        normal = np.cross(row, column)
        step = normal * np.sign(normal[np.abs(normal).argmax()]) * (first.thickness or 1.0)
    lps = np.eye(4)
    lps[:3] = np.column_stack([row * first.spacing[1], column * first.spacing[0], step, positions[0]])
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ lps


def write_nifti(file: Path, volume: npt.NDArray[Any], series: Series) -> None:
    """Write class ids or probabilities of a series.

    Args:
        file: .nii or .nii.gz.
        volume: (S, rows, columns) uint8 or float32, slices by ascending height.
        series: the source, for the place in space.

    Raises:
        InputError: nibabel is not installed, another ending or shape, what :func:`affine` refuses, or a file that
            cannot be written.
    """
    shape = (len(series.slices), *series.slices[0].shape)
    if volume.shape != shape:
        raise InputError(f"{file}: a volume of shape {volume.shape} does not fit the series; {shape} is needed")
    write_volume(file, volume, affine(series))


def write_volume(file: Path, volume: npt.NDArray[Any], place: npt.NDArray[np.float64]) -> None:
    """Write class ids or numbers at a place in space.

    Args:
        file: .nii or .nii.gz.
        volume: (S, rows, columns).
        place: (4, 4) from (column, row, slice) to mm.

    Raises:
        InputError: nibabel is not installed, another ending, or a file that cannot be written.
    """
    try:
        import nibabel
    except ImportError as error:
        raise InputError(f"{file} needs nibabel; install it with: pip install 'probunet[nifti]'") from error
    if not file.name.endswith((".nii", ".nii.gz")):
        raise InputError(f"{file} does not end in .nii or .nii.gz; name it so")
    image = nibabel.Nifti1Image(volume.transpose(2, 1, 0), place)
    image.header.set_xyzt_units("mm")
    image.set_sform(place, code="scanner")
    scaled = place[:3, :3] / np.linalg.norm(place[:3, :3], axis=0)
    straight = np.allclose(scaled.T @ scaled, np.eye(3), atol=1e-4)
    image.set_qform(place, code="scanner" if straight else "unknown")  # a quaternion cannot say askew
    with writing_file(file) as temporary, temporary.open("wb") as raw:
        if file.suffix == ".gz":
            with gzip.GzipFile("", "wb", fileobj=raw, mtime=0) as packed:  # no name, no time: same data, same file
                image.to_stream(packed)
        else:
            image.to_stream(raw)
