"""What is drawn of a case: its image, or the most marked slice of its volume, and what each reader says there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from probunet.core.marks import fullest_slice
from probunet.data.store import Store
from probunet.drawing.pixels import READER, Palette, Pixels, class_palette, paint
from probunet.report.results import Results

LONGEST_NAME = 16
"""Letters of a reader's name above a picture."""


@dataclass(frozen=True)
class Shown:
    """A case as it is drawn.

    Attributes:
        case: its name.
        image: (C, H, W) in the units of the store.
        labels: (R, H, W) readings, or modes of the label flips with the most probable first.
        names: of the readers, or the probabilities of the modes.
        kind: readers or modes.
        slice: its number in the volume; ``None`` for an image.
        where: the slice in words, to stand behind the name of the case; nothing for an image.
    """

    case: str
    image: npt.NDArray[Any]
    labels: npt.NDArray[np.uint8]
    names: list[str]
    kind: str
    slice: int | None
    where: str

    def on(self, maps: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Label maps (n, *size) on the slice that is drawn, (n, H, W)."""
        return maps if self.slice is None else maps[:, self.slice]

    def painted(self, palette: Palette, most: int) -> tuple[list[Pixels], list[str]]:
        """Pictures of the first readings or modes, at most so many, with their names."""
        if self.kind == "readers" and not palette[0].any():
            palette = palette.copy()
            palette[1] = READER
        labels = self.labels[:most]
        names = [
            name + ("" if self.kind == "modes" or label.any() else ": empty")
            for name, label in zip(self.names, labels, strict=False)
        ]
        return [paint(self.image, label, palette) for label in labels], names

    def first_of(self, most: int) -> str:
        """Which readings or modes are drawn where there is room for so many, in words."""
        count = len(self.labels)
        return self.kind if count <= most else f"the first {most} of {count} {self.kind}"


def shown(results: Results, position: int) -> Shown:
    """An image as it is drawn; of a volume the slice that is marked most, the middle one where none is."""
    image, labels = results.raw(position), results.labels(position)
    index, where = None, ""
    if labels.ndim == 4:
        fullest, depth = fullest_slice(labels), labels.shape[1]
        index = depth // 2 if fullest is None else fullest
        where = f", slice {index + 1} of {depth} (the {'middle' if fullest is None else 'most marked'} one)"
        image, labels = image[:, index], labels[:, index]
    kind = "modes" if results.store.flips else "readers"
    return Shown(results.case(position), image, labels, _names(results, position), kind, index, where)


def store_palette(store: Store) -> Palette:
    """Palette of the classes of a store."""
    return class_palette(len(store.classes), store.flips)


def _names(results: Results, position: int) -> list[str]:
    store = results.store
    if store.flips:
        return [f"mode of {weight:.1%}" for weight in np.sort(store.convention().weights or ())[::-1]]
    names = [store.reader_labels[column] for column in results.images[position]["readers"].tolist()]
    return [name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…" for name in names]
