"""Cases with the persons who read them, one after the other, out of a store or a folder of files."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from probunet.core.errors import InputError
from probunet.core.files import shown
from probunet.core.types import IGNORE
from probunet.data.manifest import is_store
from probunet.data.own.folder import open_folder, read_case
from probunet.data.store import Store

NAMELESS = (
    "nobody knows who gave which reading (a column is not always the same person), so nothing can be said of single "
    "readers; 'probunet prepare inspect' says how much they agree"
)


@dataclass(frozen=True)
class ReadCase:
    """One case with the readers who looked at it.

    Attributes:
        name: of the case.
        patient: whose it is.
        image: (slices, C, H, W), possibly on disk.
        labels: (R, slices, H, W) of all readers; ``IGNORE`` everywhere where one did not look.
    """

    name: str
    patient: str
    image: npt.NDArray[Any]
    labels: npt.NDArray[np.uint8]

    @property
    def present(self) -> npt.NDArray[np.int64]:
        """Numbers of the readers who looked at it."""
        return np.flatnonzero((self.labels != IGNORE).any(axis=(1, 2, 3)))


@dataclass(frozen=True)
class Source:
    """Where cases come from, and what is known of all of them.

    Attributes:
        title: one line for people.
        readers: names.
        classes: names, background first.
        cases: one after the other.
        count: how many.
    """

    title: str
    readers: tuple[str, ...]
    classes: tuple[str, ...]
    cases: Iterator[ReadCase]
    count: int


def open_source(data: Path) -> Source:
    """Open a prepared store, where every case is a picture or a slice, or a folder of whole pictures and volumes.

    Raises:
        InputError: neither of them, or readers who are not persons.
    """
    return _of_store(Store(data)) if is_store(data) else _of_folder(data)


def _of_store(store: Store) -> Source:
    if store.flips or store.reader_names is None:
        raise InputError(f"{shown(store.path)}: {NAMELESS}")
    cases = (
        ReadCase(
            case.name,
            case.patient,
            np.moveaxis(store.images[i], 1, 0) if store.dims == 3 else store.images[i][None],
            np.asarray(store.labels[i]) if store.dims == 3 else np.asarray(store.labels[i])[:, None],
        )
        for i, case in enumerate(store.cases)
    )
    title = str(store.manifest["title"])
    return Source(title, store.reader_names, tuple(store.classes), cases, len(store.cases))


def _of_folder(root: Path) -> Source:
    dataset = open_folder(root)
    if not dataset.persistent:
        raise InputError(f"{shown(root)}: {NAMELESS}")

    def cases() -> Iterator[ReadCase]:
        read_case.cache_clear()
        for case in dataset.cases:
            images, labels = read_case(case, *dataset.declared)
            yield ReadCase(case.name, case.patient, images.values, np.moveaxis(labels, 1, 0))

    return Source(dataset.title, dataset.readers, dataset.classes, cases(), len(dataset.cases))
