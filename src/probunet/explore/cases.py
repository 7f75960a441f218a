"""What can be chosen on the page: cases of a store, image files given on the command line, uploads."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from probunet.core.errors import InputError
from probunet.data.flips import modes as flip_modes
from probunet.data.manifest import Split
from probunet.data.store import Store
from probunet.explore.recent import Recent
from probunet.io.pictures import Picture, picture_of, read_picture
from probunet.io.uploads import SUFFIXES, read_upload

UPLOADED_BYTES = 512 * 2**20
_UPLOAD = re.compile(r"upload-[0-9a-f]{16}")


@dataclass(frozen=True)
class Shown:
    """What a person looks at.

    Attributes:
        values: (C, H, W) raw intensities.
        picture: of one slice, from which they are.
        readers: (R, H, W) uint8 class ids, R possibly 0.
    """

    values: npt.NDArray[Any]
    picture: Picture
    readers: npt.NDArray[np.uint8]

    @property
    def spacing(self) -> tuple[float, float] | None:
        """mm between rows and between columns, or ``None``."""
        return None if self.picture.spacing_mm is None else self.picture.spacing_mm[1:]


@dataclass(frozen=True)
class Case:
    """A name and a way to get the picture."""

    name: str
    load: Callable[[], Shown]


class Cases:
    """Given cases by their number, uploads by the key they were given. No path ever comes from a client.

    Args:
        given: the cases that are always there.
    """

    def __init__(self, given: list[Case]) -> None:
        self.given = given
        self._uploads: Recent[Case] = Recent(UPLOADED_BYTES)

    def __getitem__(self, key: str) -> Case:
        """Give a case.

        Raises:
            KeyError: no such case, or an upload that had to make room for later ones.
        """
        if key.isascii() and key.isdigit() and len(key) < 9 and int(key) < len(self.given):
            return self.given[int(key)]
        found = self._uploads.get(key) if _UPLOAD.fullmatch(key) else None
        if found is None:
            raise KeyError(key)
        return found

    def add(self, name: str, content: bytes) -> str:
        """Decode an uploaded file and keep its picture.

        Returns:
            Its key.

        Raises:
            InputError: see :func:`probunet.io.uploads.read_upload`.
        """
        shown = _shown(read_upload(name, content))
        key = f"upload-{secrets.token_hex(8)}"
        self._uploads.put(key, Case(name, lambda: shown), shown.values.nbytes + len(content))
        return key


def cases_of(source: Path | None, split: Split) -> list[Case]:
    """List the cases of a store, a folder of image files, or one image file.

    Args:
        source: ``None``: none, pictures come by upload.
        split: part of a store.

    Raises:
        InputError: neither, or nothing inside.
    """
    if source is None:
        return []
    if (source / "manifest.json").is_file():
        store = Store(source)
        return [Case(store.cases[i].name, partial(_from_store, store, int(i))) for i in store.indices(split)]
    files = sorted(f for f in source.iterdir() if f.suffix.lower() in SUFFIXES) if source.is_dir() else [source]
    if not files or not files[0].is_file():
        raise InputError(f"{source} is no store, no image file and no folder of image files ({', '.join(SUFFIXES)})")
    return [Case(file.name, partial(_from_file, file)) for file in files]


def _from_store(store: Store, index: int) -> Shown:
    labels = np.array(store.labels[index])
    spacing = store.manifest.get("spacing_mm")
    picture = picture_of(
        np.array(store.images[index]),
        store.cases[index].name,
        store.intensity.unit,
        (None, float(spacing[0]), float(spacing[1])) if spacing else None,
    )
    return Shown(picture.slice(0), picture, flip_modes(labels[0], store.flips)[:8] if store.flips else labels)


def _from_file(file: Path) -> Shown:
    return _shown(read_picture(file))


def _shown(picture: Picture) -> Shown:
    """One slice with one or three channels; a .npy of three layers is one.

    Raises:
        InputError: several slices, or other channels.
    """
    if picture.stored.kind == "NPY" and picture.shape[0] == 3:
        picture = picture.layers_as_channels()
    if picture.shape[0] != 1 or picture.channels not in (1, 3):
        depth, height, width = picture.shape
        raise InputError(
            f"{picture.source} has {depth} slice(s) with {picture.channels} channel(s) of {height}x{width} px; "
            "one slice with one or three channels is needed"
        )
    return Shown(picture.slice(0), picture, np.zeros((0, *picture.shape[1:]), np.uint8))
