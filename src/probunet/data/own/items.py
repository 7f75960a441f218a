"""A user's own images and readings, as arrays or as a torch ``Dataset``, as a store."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from probunet.core.errors import InputError
from probunet.core.intensity import FAR, Intensity
from probunet.core.types import IGNORE
from probunet.data.manifest import Case
from probunet.data.prepare import CaseSource, Description, Drawn, write_store
from probunet.data.splits import FRACTIONS, patient_of_nobody, split_by_patient
from probunet.data.store import Store

AS_GIVEN = Intensity("as given", offset=0.0, scale=1.0)


class Dataset(Protocol):
    """What ``torch.utils.data.Dataset`` gives: numbered items (image, labels), of which any may follow."""

    def __len__(self) -> int:
        """How many items."""
        ...

    def __getitem__(self, index: int, /) -> Any:
        """Image (C, H, W) and labels (R, H, W) of all readers, or (H, W) of one."""
        ...


Items: TypeAlias = Dataset | tuple[Any, Any]
"""A dataset; or the arrays (N, C, H, W) of images and (N, R, H, W) or (N, H, W) of labels."""


def make_store(
    data: Items,
    folder: Path | str,
    *,
    patients: Sequence[str] | None = None,
    shares: tuple[float, float, float] = FRACTIONS,
    classes: Sequence[str] = ("background", "lesion"),
    intensity: Intensity | None = None,
    spacing_mm: tuple[float, float] | None = None,
    readers: Sequence[str] | None = None,
    title: str = "own data",
    seed: int = 0,
) -> Store:
    """Write images and readings as a store, which commands and ``train`` and ``evaluate`` take.

    Every item is read once or twice. Where items have differently many readers, those that are missing are marked as
    missing. Labels are class ids, 255 where nothing is known.

    Args:
        data: a dataset of (image, labels), or both as arrays; torch tensors are taken as well.
        folder: to make.
        patients: of every item, what must not be divided between splits; every item its own if not given, see
            ``patient_of_nobody``.
        shares: of train, validation and test, of the patients.
        classes: names, background first.
        intensity: from the values of the images to the order of one; none is needed where they are.
        spacing_mm: size of a pixel (row, column); ``None`` where nobody knows.
        readers: names of the people, in the order of the labels; ``None`` where they are not always the same.
        title: one line for people.
        seed: of the splits.

    Raises:
        InputError: items that do not fit each other, labels that are no classes, values that are far from the order
            of one without an ``intensity``, or a folder that exists.
    """
    if isinstance(data, tuple):
        data = _Arrays(*data) if len(data) == 2 else data
    count = len(data)
    names = [f"item-{i}" for i in range(count)] if patients is None else [str(patient) for patient in patients]
    if len(names) != count:
        raise InputError(f"there are {count} items and {len(names)} patients; give one patient for each item")
    parts = split_by_patient(names, shares, seed)
    if not count:
        raise InputError("there are no items to make a store of; give at least one for training and one for validation")
    size = _pair(data, 0)[0].shape
    columns, whose = 1, list(names)
    for i, name in enumerate(names):
        image, labels = _pair(data, i)
        columns = max(columns, len(labels))
        if patients is None:
            whose[i] = patient_of_nobody(name, image)
    draw = partial(_item, data, size, columns, len(classes), intensity is None)
    sources = [CaseSource(Case(f"item-{i}", whose[i], parts[names[i]]), partial(draw, index=i)) for i in range(count)]
    description = Description(
        title=title,
        licence="not given",
        arguments={"command": "make_store", "shares": list(shares), "seed": seed},
        intensity=intensity or AS_GIVEN,
        spacing_mm=spacing_mm,
        classes=tuple(classes),
        readers=None if readers is None else tuple(readers),
    )
    return write_store(Path(folder), sources, description, np.float32, jobs=1, threads=True, keep_empty=True)


class _Arrays:
    """Two arrays as a dataset."""

    def __init__(self, images: Any, labels: Any) -> None:
        self.images, self.labels = np.asarray(images), np.asarray(labels)
        if self.images.ndim != 4 or self.labels.ndim not in (3, 4) or len(self.images) != len(self.labels):
            raise InputError(
                f"images {self.images.shape} and labels {self.labels.shape}: needed are images (N, C, H, W) and labels "
                "(N, R, H, W) of R readers, or (N, H, W) of one"
            )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        return self.images[index], self.labels[index]


def _pair(data: Dataset, index: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Image (C, H, W) and labels (R, H, W) of an item."""
    item = data[index]
    if not isinstance(item, tuple | list) or len(item) != 2:
        raise InputError(f"item {index} of the data is {type(item).__name__}; needed is the pair (image, labels)")
    image, labels = np.asarray(item[0]), np.asarray(item[1])
    if image.dtype.kind not in "biuf" or labels.dtype.kind not in "biuf":
        raise InputError(
            f"item {index} of the data holds {image.dtype} and {labels.dtype}; needed are arrays of numbers"
        )
    labels = labels[None] if labels.ndim == 2 else labels
    if labels.ndim != 3 or not len(labels):
        raise InputError(f"item {index} of the data has labels {labels.shape}; needed are (R, H, W) or (H, W)")
    return image, labels


def _item(data: Dataset, size: tuple[int, ...], columns: int, classes: int, as_given: bool, index: int) -> Drawn:
    """Image and labels of an item, checked; readings that are missing are ``IGNORE``."""
    image, labels = _pair(data, index)
    if image.ndim != 3 or image.shape[1:] != labels.shape[1:] or image.shape != size or len(labels) > columns:
        raise InputError(
            f"item {index} of the data has an image {image.shape} and labels {labels.shape}, the first image is "
            f"{size}; needed are (C, H, W) and (R, H, W), of the same size in all items"
        )
    if not np.isfinite(image).all():
        raise InputError(f"the image of item {index} holds values that are not finite; leave it out or mend it")
    if as_given and np.abs(image).max() > FAR:
        raise InputError(
            f"the image of item {index} has values from {image.min():g} to {image.max():g}, which no network takes as "
            "they are; map them to the order of one, or say how: pu.make_store(..., intensity=pu.Intensity(unit, "
            "offset, scale))"
        )
    wrong = labels[(labels != IGNORE) & ~np.isin(labels, np.arange(classes))]
    if wrong.size:
        raise InputError(
            f"the labels of item {index} hold {wrong[0]:g}; needed are the {classes} classes 0 to {classes - 1}, and "
            f"{IGNORE} where nothing is known"
        )
    padded = np.full((columns, *labels.shape[1:]), IGNORE, np.uint8)
    padded[: len(labels)] = labels
    return image.astype(np.float32), padded
