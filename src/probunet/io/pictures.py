"""Image files of any kind as slices with their place in space: what ``probunet sample`` reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from probunet.core.errors import InputError
from probunet.io.ct_series import Series, make_series, read_headers
from probunet.io.dicom import is_dicom, read_hu
from probunet.io.formats import READERS, read_volume


@dataclass(frozen=True)
class Picture:
    """An image or a volume, whose slices are read when they are asked for.

    Attributes:
        name: of the case, unique among the inputs of a command.
        shape: slices, height and width in pixels.
        channels: of a slice.
        slice: from the number of a slice to its raw values (C, H, W).
        unit: ``HU`` for CT from DICOM, otherwise an empty text: nobody knows.
        spacing_mm: between rows and between columns, or ``None``.
        slice_mm: between slices, or ``None``.
        affine: (4, 4) from (column, row, slice) to mm in the axes of NIfTI, or ``None``.
        series: the source of a DICOM input, or ``None``.
        source: file or folder that it was read from.
    """

    name: str
    shape: tuple[int, int, int]
    channels: int
    slice: Callable[[int], npt.NDArray[Any]]
    unit: str
    spacing_mm: tuple[float, float] | None
    slice_mm: float | None
    affine: npt.NDArray[np.float64] | None
    series: Series | None
    source: Path


def find_pictures(inputs: Sequence[Path]) -> list[Picture]:
    """Find the images behind files and folders; a folder is searched with all folders in it.

    DICOM slices are put together as series; every other file is an image of its own.

    Args:
        inputs: PNG, TIFF, .npy, NIfTI, NRRD or MetaImage files, DICOM files, or folders of any of these.

    Raises:
        InputError: nothing there, an unknown ending among files that were named, a file that cannot be read, or two
            images with one name.
    """
    files: list[Path] = []
    for given in inputs:
        if given.is_dir():
            inside = sorted(f for f in given.rglob("*") if f.is_file() and not f.name.startswith("."))
            known = [f for f in inside if _is_image(f)]
            if not known:
                raise InputError(f"{given} holds no image; known are DICOM and {', '.join(READERS)}")
            files += known
        elif not given.exists():
            raise InputError(f"{given} does not exist")
        else:
            files.append(given)
    slices = [file for file in files if is_dicom(file)]
    series, others = read_headers(slices)
    if slices and not series:
        raise InputError(f"{slices[0]} and {len(slices) - 1} more are no CT images but {', '.join(others)}")
    found = [_of_series(make_series(one)) for one in series.values()]
    found += [_of_file(file) for file in files if file not in set(slices)]
    names: dict[str, Picture] = {}
    for one in found:
        if (other := names.setdefault(one.name, one)) is not one:
            raise InputError(f"{one.source} and {other.source} are both named {one.name}; sample them one by one")
    return found


def _is_image(file: Path) -> bool:
    return file.name.lower().endswith(tuple(READERS)) or is_dicom(file)


def _of_series(series: Series) -> Picture:
    from probunet.io.nifti import affine

    first = series.slices[0]
    single = len(series.slices) == 1
    try:
        place = affine(series)
    except InputError:  # uneven steps, which other formats can say
        place = None
    return Picture(
        first.path.stem if single else f"{series.patient}-{series.uid[-8:]}",
        (len(series.slices), *first.shape),
        1,
        lambda index: read_hu(series.slices[index])[None],
        "HU",
        (first.spacing[0], first.spacing[1]),
        first.thickness if single else series.slice_spacing,
        place,
        series,
        first.path if single else first.path.parent,
    )


def _of_file(file: Path) -> Picture:
    volume = read_volume(file)
    values = volume.values
    if volume.palette:
        raise InputError(f"{file} is a picture with a colour palette; save it as grey or RGB")
    affine, slice_mm = None, None
    if volume.geometry is not None and volume.geometry.size == 16:
        affine = volume.geometry.reshape(4, 4)
        slice_mm = float(np.linalg.norm(affine[:3, 2]))
    name = next(file.name[: -len(known)] for known in READERS if file.name.lower().endswith(known))
    return Picture(
        name,
        (len(values), *values.shape[2:]),
        values.shape[1],
        partial(values.__getitem__),
        "",
        volume.spacing_mm,
        slice_mm,
        affine,
        None,
        file,
    )
