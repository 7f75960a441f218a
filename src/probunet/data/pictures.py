"""Cases of a store as pictures, in memory and as files of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from probunet.core.errors import InputError
from probunet.core.names import safe_name
from probunet.core.writing import writing_folder
from probunet.data.batches import EvaluationImages
from probunet.data.manifest import Split
from probunet.data.store import Store
from probunet.io.pictures import Picture, picture_of


def picture_of_case(store: Store, row: int) -> Picture:
    """The picture of a case, in raw values, where it lies; the values of a volume stay on disk."""
    spacing, values, known = store.spacing(row), store.images[row], None
    if store.dims == 3:
        values = np.moveaxis(values, 0, 1)
    if spacing is not None:
        known = spacing[0] if store.dims == 3 else None, spacing[-2], spacing[-1]
    return picture_of(values, store.cases[row].name, store.intensity.unit, known, store.affine(row))


def readings_of_case(store: Store, row: int, picture: Picture) -> npt.NDArray[np.uint8]:
    """(R, slices, H, W) class ids of the readers who looked, on the grid of the case's picture."""
    labels = store.labels[row][store.present[row]]
    return picture.order.canonical(labels) if store.dims == 3 else labels[:, None]


def write_pictures(store: Store, out: Path, split: Split, n: int) -> list[Path]:
    """Write some images, in raw values: one .npy file (C, H, W) each; volumes as NIfTI where they lie, if they do.

    Args:
        store: where they come from.
        out: folder to make.
        split: part of the store.
        n: how many, spread evenly over the split; all of them where there are fewer.

    Raises:
        InputError: none are asked for, nibabel is needed and not installed, or the folder exists or cannot be written.
    """
    if n < 1:
        raise InputError(f"n={n} pictures are none; give at least 1")
    taken: list[str] = []
    files: list[str] = []
    with writing_folder(out) as folder:
        for row in EvaluationImages(store, split, limit=n).indices.tolist():
            taken.append(safe_name(store.cases[row].name, taken))
            if store.dims == 3:
                files += _write_volume(folder, taken[-1], picture_of_case(store, row))
            else:
                files.append(f"{taken[-1]}.npy")
                np.save(folder / files[-1], store.images[row])
    return [out / file for file in files]


def _write_volume(folder: Path, name: str, picture: Picture) -> list[str]:
    """One file of a volume, or one of every channel; give their names."""
    endings = [f"_{channel:04d}" for channel in range(picture.channels)] if picture.channels > 1 else [""]
    files = [f"{name}{ending}.nii.gz" for ending in endings]
    for channel, file in enumerate(files):
        picture.write_nifti(folder / file, picture.values()[:, channel])
    return files
