"""What can be chosen on the page: cases of a store, files given on the command line, uploads."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from probunet.core.files import shown
from probunet.data.flips import modes as flip_modes
from probunet.data.manifest import Split, is_store
from probunet.data.pictures import picture_of_case, readings_of_case
from probunet.data.store import Store
from probunet.explore.recent import Recent
from probunet.io.pictures import Picture
from probunet.io.search import find_pictures
from probunet.io.uploads import read_upload

UPLOADED_BYTES = 256 * 2**20
MOST_FILES = 50_000
"""Files and folders that are searched for pictures: nobody waits for a page over all of a disk."""
MOST_FLIPS = 8
"""Label-flip modes that are shown as if they were readers."""
_UPLOAD = re.compile(r"upload-[0-9a-f]{16}")


@dataclass(frozen=True)
class Shown:
    """A picture and what readers said of it.

    Attributes:
        picture: raw values.
        readers: (R, slices, H, W) uint8 class ids of those readers who looked; R is possibly 0.
        names: of these readers.
    """

    picture: Picture
    readers: npt.NDArray[np.uint8]
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Case:
    """A name and a way to get the picture."""

    name: str
    load: Callable[[], Shown]


class Cases:
    """Listed cases by their number, uploads by the key they were given. No path ever comes from a client.

    Args:
        listed: the cases that are always there.
    """

    def __init__(self, listed: list[Case]) -> None:
        self.listed = listed
        self._uploads: Recent[Case] = Recent(UPLOADED_BYTES)

    def __getitem__(self, key: str) -> Case:
        """Give a case.

        Raises:
            KeyError: no such case, or an upload that had to make room for later ones.
        """
        if key.isascii() and key.isdigit() and len(key) < 9 and int(key) < len(self.listed):
            return self.listed[int(key)]
        case = self._uploads.get(key) if _UPLOAD.fullmatch(key) else None
        if case is None:
            raise KeyError(key)
        return case

    def add(self, name: str, content: bytes) -> str:
        """Check an uploaded file and keep it.

        Returns:
            Its key.

        Raises:
            InputError: see :func:`probunet.io.uploads.read_upload`.
        """
        picture = read_upload(name, content)
        key = f"upload-{secrets.token_hex(8)}"
        self._uploads.put(key, Case(name, partial(_without_readers, picture)), len(content))
        return key


def cases_of(source: Store | Path | None, split: Split) -> list[Case]:
    """List the cases of a store, a folder of pictures, or one picture.

    Args:
        source: ``None``: none, pictures come by upload.
        split: part of a store.

    Raises:
        InputError: neither, nothing inside, or a folder of more files than are looked at.
    """
    if source is None:
        return []
    if isinstance(source, Path) and is_store(source):
        source = Store(source)
    if isinstance(source, Store):
        return [Case(source.cases[i].name, partial(_from_store, source, int(i))) for i in source.indices(split)]
    pictures = find_pictures([source], most=MOST_FILES)
    return [Case(shown(picture.source.name), partial(_without_readers, picture)) for picture in pictures]


def _without_readers(picture: Picture) -> Shown:
    return Shown(picture, np.zeros((0, *picture.shape), np.uint8))


def _from_store(store: Store, index: int) -> Shown:
    """A case; the values of a volume stay on disk until a slice of them is asked for."""
    picture = picture_of_case(store, index)
    if store.flips:
        modes = flip_modes(np.array(store.labels[index])[0], store.flips)[:MOST_FLIPS]
        return Shown(picture, modes[:, None], tuple(f"mode {i + 1}" for i in range(len(modes))))
    names = tuple(store.reader_labels[column] for column in np.flatnonzero(store.present[index]))
    return Shown(picture, readings_of_case(store, index, picture), names)
