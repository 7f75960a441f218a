"""What a plan depends on: the data as a store holds it, and the machine that will train."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from probunet.core import machine
from probunet.core.devices import chosen_device
from probunet.core.errors import InputError
from probunet.core.marks import box_of, foreground
from probunet.data.store import Store
from probunet.nets.unet import MINIMUM_SIZE

LOOKED_AT = 200
"""Training cases whose marks are looked at, spread evenly."""


@dataclass(frozen=True)
class Traits:
    """A store in numbers.

    Attributes:
        dims: axes of an image.
        size: of an image along each axis, the median of volumes; in pixels.
        spacing: mm along each axis, the median; ``None`` where nobody knows.
        channels: values of a pixel.
        classes: names, background first.
        readers: readings of an image at the most.
        names: of the readers, where a column is always the same person.
        style: how many times as much as the least of them the one who marks most marks; 1 where nobody knows.
        flips: whether labels flip with known probabilities in place of readers.
        training: images to train on.
        validation: images to choose the best state by.
        patients: in training.
        around: sides that a central crop needs to hold all marks of 95 % of the cases; ``None`` without marks.
    """

    dims: int
    size: tuple[int, ...]
    spacing: tuple[float, ...] | None
    channels: int
    classes: tuple[str, ...]
    readers: int
    names: tuple[str, ...]
    style: float
    flips: bool
    training: int
    validation: int
    patients: int
    around: tuple[int, ...] | None

    @classmethod
    def of(cls, store: Store) -> Traits:
        """Read them from a store.

        Raises:
            InputError: no images to train on or to validate on, or images too small for any network here.
        """
        rows, validation = store.indices("train"), store.indices("validation")
        size = tuple(int(side) for side in np.median(store.sizes[rows], axis=0))
        if store.dims == 2 and min(size) < MINIMUM_SIZE:
            raise InputError(
                f"{store.path} has images of {'x'.join(map(str, size))} px; a network needs at least {MINIMUM_SIZE} px "
                "along height and width: prepare them larger, or with a finer spacing"
            )
        chosen = rows[np.linspace(0, len(rows) - 1, min(LOOKED_AT, len(rows))).round().astype(int)]
        known = [spacing for spacing in map(store.spacing, chosen.tolist()) if spacing is not None]
        return cls(
            store.dims,
            size,
            tuple(round(float(mm), 3) for mm in np.median(known, axis=0)) if known else None,
            store.channels,
            tuple(store.classes),
            store.readers,
            store.reader_names or (),
            _style(store, chosen.tolist()),
            bool(store.flips),
            len(rows),
            len(validation),
            len(store.patients("train")),
            _around(store, chosen.tolist()),
        )


@dataclass(frozen=True)
class Machine:
    """What trains: a processor, or a GPU.

    Attributes:
        name: in words.
        gpu: whether it is a GPU.
        memory_gb: free for the training.
    """

    name: str
    gpu: bool
    memory_gb: float

    @classmethod
    def here(cls, device: str = "auto") -> Machine:
        """This machine.

        Raises:
            InputError: no such device.
        """
        chosen = chosen_device(device)
        if chosen.startswith("cuda"):
            free, _ = torch.cuda.mem_get_info(chosen)
            return cls(torch.cuda.get_device_name(chosen), True, free / 2**30)
        memory = machine.free_memory_gb() or 4.0
        if chosen == "mps":
            return cls("Apple GPU", True, memory / 2)
        cores = machine.cores()
        return cls(f"{cores} processor core{'s' if cores > 1 else ''}", False, memory)


def _style(store: Store, rows: list[int]) -> float:
    """Largest over smallest mean of what known readers mark of the same cases."""
    if store.reader_names is None or not store.complete:
        return 1.0
    marks = sum(foreground(store.labels[row]).reshape(store.readers, -1).sum(axis=1) for row in rows)
    return float(np.max(marks) / max(np.min(marks), 1))


def _around(store: Store, rows: list[int]) -> tuple[int, ...] | None:
    """Sides of the central crop that holds all marks of 95 % of some cases."""
    needed = []
    for row in rows:
        if box := box_of(store.labels[row]):
            size = store.size(row)
            needed.append([max(abs(2 * end - side) for end in ends) for ends, side in zip(box, size, strict=True)])
    return tuple(int(side) for side in np.percentile(needed, 95, axis=0).round()) if needed else None
