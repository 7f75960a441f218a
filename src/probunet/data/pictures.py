"""Images of a store as files of their own, to try a model on."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from probunet.core.errors import InputError
from probunet.core.files import writing_folder
from probunet.core.names import safe_name
from probunet.data.batches import EvaluationImages
from probunet.data.manifest import Split
from probunet.data.store import Store


def write_pictures(store: Store, out: Path, split: Split, n: int) -> list[Path]:
    """Write some images, in raw values, one .npy file each: (C, H, W), of volumes (slices, C, H, W).

    Args:
        store: where they come from.
        out: folder to make.
        split: part of the store.
        n: how many, spread evenly over the split; all of them where there are fewer.

    Raises:
        InputError: none are asked for, or the folder exists or cannot be written.
    """
    if n < 1:
        raise InputError(f"n={n} pictures are none; give at least 1")
    taken: list[str] = []
    with writing_folder(out) as folder:
        for row in EvaluationImages(store, split, limit=n).indices:
            taken.append(safe_name(store.cases[int(row)].name, taken))
            image = store.images[int(row)]
            np.save(folder / f"{taken[-1]}.npy", np.moveaxis(image, 1, 0) if store.dims == 3 else image)
    return [out / f"{name}.npy" for name in taken]
