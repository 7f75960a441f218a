"""One file of an image or a reading, of any common format, as slices with their spacing and geometry."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image as PILImage

from probunet.core.errors import InputError

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Volume:
    """The content of a file.

    Attributes:
        values: (slices, channels, H, W); a picture is one slice.
        spacing_mm: pixel size (row, column) in mm; ``None`` where the format does not say.
        geometry: numbers that must agree for two files to lie on the same grid: origin, spacing and directions.
        palette: whether values are places in a table of colours: fine for class ids, no intensities.
    """

    values: npt.NDArray[Any]
    spacing_mm: tuple[float, float] | None = None
    geometry: Floats | None = None
    palette: bool = False


def read_volume(file: Path) -> Volume:
    """Read a file by its ending.

    PNG and TIFF: 8 or 16 bit grey, 32-bit float, RGB. NumPy: (H, W) or (slices, H, W). NIfTI, NRRD and MetaImage:
    2-D or 3-D, slice by slice along the last axis.

    Raises:
        InputError: missing, unreadable, truncated, of an unknown format or shape, not finite, or its package is
            missing.
    """
    suffix = ending(file)
    if not file.is_file():
        broken = "is a broken link" if file.is_symlink() else "is not a file"
        raise InputError(f"{file} {broken}; complete the folder")
    try:
        volume = READERS[suffix](file)
    except InputError:
        raise
    except Exception as error:  # a damaged file can raise anything at all in a decoder
        raise InputError(f"{file} cannot be read as {suffix} ({error}); is it complete?") from error
    if volume.values.dtype.kind not in "buif" or not volume.values.size:
        raise InputError(f"{file} holds {volume.values.dtype} of shape {volume.values.shape}; numbers are needed")
    if volume.values.dtype.kind == "f" and not np.isfinite(volume.values).all():
        raise InputError(f"{file} holds values that are NaN or infinite; clean it first")
    return volume


def ending(file: Path) -> str:
    """The ending by which a file is read, for example ``.nii.gz``.

    Raises:
        InputError: none that can be read.
    """
    found = next((known for known in READERS if file.name.lower().endswith(known)), None)
    if found is None:
        raise InputError(f"{file} has an ending that is not known; use one of {', '.join(READERS)}")
    return found


def _picture(file: Path) -> Volume:
    with PILImage.open(file, formats=["PNG", "TIFF"]) as picture:
        if picture.mode not in ("1", "L", "P", "I", "I;16", "I;16B", "F", "RGB"):
            raise InputError(f"{file} is a {picture.mode} picture; save it as grey or RGB")
        if getattr(picture, "n_frames", 1) > 1:
            raise InputError(f"{file} has {getattr(picture, 'n_frames', 1)} pages; save each as a case of its own")
        array, palette = np.asarray(picture), picture.mode == "P"
    return Volume(np.moveaxis(array, -1, 0)[None] if array.ndim == 3 else array[None, None], palette=palette)


def _numpy(file: Path) -> Volume:
    array = np.load(file, allow_pickle=False)
    if array.ndim not in (2, 3):
        raise InputError(f"{file} has the shape {array.shape}; needed is (H, W) or (slices, H, W)")
    return Volume(array.reshape(-1, 1, *array.shape[-2:]))


def _nifti(file: Path) -> Volume:
    try:
        import nibabel
    except ImportError as error:
        raise InputError(f"{file} needs nibabel; install it with: pip install 'probunet[nifti]'") from error
    image: Any = nibabel.load(file)
    if not all(0 < size < 1 << 15 for size in image.shape) or not 2 <= len(image.shape) <= 3:
        raise InputError(f"{file} has the shape {image.shape}; 2-D or 3-D is needed, one file a channel")
    if file.suffix != ".gz" and file.stat().st_size < np.prod(image.shape) * image.get_data_dtype().itemsize:
        raise InputError(f"{file} is shorter than its header says; is it complete?")
    array = np.asarray(image.dataobj)
    array = array.astype(np.float32) if array.dtype == np.float64 else array
    slices = array.reshape(*array.shape[:2], -1).transpose(2, 1, 0)[:, None]
    zooms = [float(zoom) for zoom in image.header.get_zooms()]
    return Volume(slices, (zooms[1], zooms[0]), np.asarray(image.affine, float).ravel())


def _itk(file: Path) -> Volume:
    try:
        import SimpleITK
    except ImportError as error:
        raise InputError(f"{file} needs SimpleITK; install it with: pip install 'probunet[itk]'") from error
    image = SimpleITK.ReadImage(os.fspath(file))
    if image.GetDimension() not in (2, 3) or image.GetNumberOfComponentsPerPixel() != 1:
        raise InputError(f"{file} has {image.GetDimension()} dimensions; 2-D or 3-D is needed, one file a channel")
    array = SimpleITK.GetArrayFromImage(image)
    spacing = image.GetSpacing()
    geometry = np.concatenate([spacing, image.GetOrigin(), image.GetDirection()])
    return Volume(array.reshape(-1, 1, *array.shape[-2:]), (spacing[1], spacing[0]), geometry)


READERS: dict[str, Callable[[Path], Volume]] = {
    ".png": _picture,
    ".tif": _picture,
    ".tiff": _picture,
    ".npy": _numpy,
    ".nii.gz": _nifti,
    ".nii": _nifti,
    ".nrrd": _itk,
    ".mha": _itk,
}
