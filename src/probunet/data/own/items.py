"""A user's own images and readings, as arrays or as a torch ``Dataset``, as a store."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from numbers import Real
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from probunet.core.errors import InputError
from probunet.core.intensity import FAR, Intensity
from probunet.core.marks import foreground, refuse_unmarked
from probunet.core.names import refuse_alike
from probunet.core.seeds import checked_seed
from probunet.core.types import IGNORE
from probunet.data.manifest import Case
from probunet.data.own.dataset_json import check_background
from probunet.data.prepare import CaseSource, Description, Drawn, write_store
from probunet.data.prepare_volumes import Volume, VolumeSource, write_volumes
from probunet.data.splits import FRACTIONS, patient_of_nobody, split_by_patient
from probunet.data.store import Store
from probunet.data.volumes import Spacing

AS_GIVEN = Intensity("as given", offset=0.0, scale=1.0)


class Dataset(Protocol):
    """What ``torch.utils.data.Dataset`` gives, or a list: numbered items (image, labels), of which any may follow."""

    def __len__(self) -> int:
        """How many items."""
        ...

    def __getitem__(self, index: int, /) -> Any:
        """Image (C, *size) and labels (R, *size) of all readers, or (*size) of one; size is (H, W) or (D, H, W)."""
        ...


Items: TypeAlias = Dataset | tuple[Any, Any]
"""A dataset; or images and labels, each an array, or a list with one for every item: (N, C, *size) and (N, R, *size)
or (N, *size)."""


def make_store(
    data: Items,
    folder: Path | str,
    *,
    patients: Sequence[str] | None = None,
    shares: tuple[float, float, float] = FRACTIONS,
    classes: Sequence[str] = ("background", "lesion"),
    intensity: Intensity | None = None,
    spacing_mm: Spacing | Sequence[Spacing | None] | None = None,
    readers: Sequence[str] | None = None,
    title: str = "own data",
    seed: int = 0,
) -> Store:
    """Write images or volumes and readings as a store, which commands and ``train`` and ``evaluate`` take.

    Images have one size, volumes may differ in theirs. Every item is read once or twice. Where items have differently
    many readers, those that are missing are marked as missing. Labels are class ids, 255 where nothing is known.

    Args:
        data: a dataset or list of (image, labels); or both as arrays, or as a list each; torch tensors are taken as
            well. What has depth, height and width is a volume.
        folder: to make.
        patients: of every item, what must not be divided between splits; every item its own if not given, see
            ``patient_of_nobody``.
        shares: of train, validation and test, of the patients.
        classes: names, background first.
        intensity: from the values of the images to the order of one; none is needed where they are.
        spacing_mm: size of a pixel (row, column), or of a voxel (slice, row, column); of volumes also a list with one
            for every item; ``None`` where nobody knows.
        readers: names of the people, in the order of the labels; ``None`` where they are not always the same.
        title: one line for people.
        seed: of the splits.

    Raises:
        InputError: items that do not fit each other, labels that are no classes, values that are far from the order
            of one without an ``intensity``, or a folder that exists.
    """
    if isinstance(data, tuple):
        data = _Arrays(data) if len(data) == 2 else data
    count = len(data)
    for what, listed in (("classes", classes), ("readers", readers)):
        if listed is not None and not _are_names(listed):
            raise InputError(f"{what}={str(listed)[:60]} must be a list of different names")
        refuse_alike(listed or (), what, "the list")
    checked_seed(seed)
    if patients is not None and (missing := [i for i, patient in enumerate(patients) if _is_nobody(patient)]):
        raise InputError(f"item {missing[0]} has no patient; name one, or a different one for every item")
    names = [f"item-{i}" for i in range(count)] if patients is None else [str(patient) for patient in patients]
    if len(names) != count:
        raise InputError(f"there are {count} items and {len(names)} patients; give one patient for each item")
    refuse_alike(names, "patients", "the list of patients")
    check_background(classes, "the list of classes")
    parts = split_by_patient(names, shares, seed)
    if not count:
        raise InputError("there are no items to make a store of; give at least one for training and one for validation")
    first = _pair(data, 0)[0].shape
    spacings = _spacings(spacing_mm, count, len(first) - 1)
    columns, whose, marks, unknown = 1, list(names), False, False
    for i, name in enumerate(names):
        image, labels = _pair(data, i)
        columns = max(columns, len(labels))
        marks |= bool(foreground(labels).any())
        unknown |= bool((labels == IGNORE).any())
        if patients is None:
            whose[i] = patient_of_nobody(name, image)
    refuse_unmarked(marks, unknown)
    if readers is not None and len(readers) != columns:
        raise InputError(f"readers has {len(readers)} names, but the items have up to {columns} labels; give {columns}")
    cases = [Case(f"item-{i}", whose[i], parts[names[i]]) for i in range(count)]
    draws = [partial(_item, data, first, columns, len(classes), intensity is None, i) for i in range(count)]
    description = Description(
        title=title,
        licence="not given",
        arguments={"command": "make_store", "shares": list(shares), "seed": seed},
        intensity=intensity or AS_GIVEN,
        spacing_mm=spacings[0] if len(set(spacings)) == 1 else None,
        classes=tuple(classes),
        readers=None if readers is None else tuple(readers),
    )
    if len(first) == 4:
        volumes = [
            VolumeSource(case, partial(_volume, draw, spacing))
            for case, draw, spacing in zip(cases, draws, spacings, strict=True)
        ]
        return write_volumes(Path(folder), volumes, description, np.float32, jobs=1, keep_empty=True)
    sources = [CaseSource(case, draw) for case, draw in zip(cases, draws, strict=True)]
    return write_store(Path(folder), sources, description, np.float32, jobs=1, threads=True, keep_empty=True)


def _are_names(listed: Any) -> bool:
    if isinstance(listed, str) or not all(isinstance(name, str) and name.strip() for name in listed):
        return False
    return len(set(listed)) == len(listed)


def _is_nobody(patient: Any) -> bool:
    return patient is None or patient != patient or not str(patient).strip()


def _volume(draw: Callable[[], Drawn], spacing: Spacing | None) -> Volume:
    return Volume(*draw(), spacing)


def _spacings(given: Spacing | Sequence[Spacing | None] | None, count: int, dims: int) -> list[Spacing | None]:
    """That of every item.

    Raises:
        InputError: of other axes or items, or no length.
    """
    sides: Any = [given] * dims if isinstance(given, Real) else given
    numbers = sides is not None and all(isinstance(side, Real) for side in sides)
    every: list[Any] = [sides] * count if sides is None or numbers else list(sides)
    spacings = [None if spacing is None else tuple(map(float, spacing)) for spacing in every]
    axes = "(row, column)" if dims == 2 else "(slice, row, column), or a list with one for every item"
    if len(spacings) != count or any(
        s is not None and not (len(s) == dims and all(0 < mm < np.inf for mm in s)) for s in spacings
    ):
        raise InputError(f"spacing_mm={str(given)[:80]} does not fit {count} items of {dims} axes; give mm {axes}")
    if dims == 2 and len(set(spacings)) > 1:
        raise InputError("images of one store have one pixel size; resample them, and give spacing_mm=(row, column)")
    return spacings


class _Arrays:
    """Two arrays, or two lists of arrays, as a dataset."""

    def __init__(self, data: tuple[Any, Any]) -> None:
        self.images, self.labels = (part if isinstance(part, list | tuple) else np.asanyarray(part) for part in data)
        have = [() if isinstance(part, list | tuple) else part.shape for part in (self.images, self.labels)]
        axes, of_labels = map(len, have)
        fits = axes in (0, 4, 5) and (0 in (axes, of_labels) or of_labels in (axes - 1, axes))
        if not fits or len(self.images) != len(self.labels):
            shapes = [shape or f"{len(part)} in a list" for part, shape in zip(data, have, strict=True)]
            raise InputError(
                f"images {shapes[0]} and labels {shapes[1]}: needed are images (N, C, H, W) and labels (N, R, H, W) of "
                "R readers, or (N, H, W) of one, or volumes, with a depth D before H"
            )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
        return self.images[index], self.labels[index]


def _pair(data: Dataset, index: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Image (C, *size) and labels (R, *size) of an item."""
    item = data[index]
    if not isinstance(item, tuple | list) or len(item) != 2:
        raise InputError(f"item {index} of the data is {type(item).__name__}; needed is the pair (image, labels)")
    image, labels = np.asarray(item[0]), np.asarray(item[1])
    if np.ma.is_masked(item[0]) or np.ma.is_masked(item[1]):
        raise InputError(f"item {index} of the data is a masked array, whose mask would be lost; fill it first")
    if image.dtype.kind not in "biuf" or labels.dtype.kind not in "biuf":
        raise InputError(
            f"item {index} of the data holds {image.dtype} and {labels.dtype}; needed are arrays of numbers"
        )
    if image.ndim not in (3, 4):
        raise InputError(f"item {index} of the data has an image {image.shape}; needed is (C, H, W) or (C, D, H, W)")
    labels = labels[None] if labels.ndim == image.ndim - 1 else labels
    if labels.ndim != image.ndim or not len(labels):
        sides = "H, W" if image.ndim == 3 else "D, H, W"
        raise InputError(f"item {index} of the data has labels {labels.shape}; needed are (R, {sides}) or ({sides})")
    return image, labels


def _item(data: Dataset, first: tuple[int, ...], columns: int, classes: int, as_given: bool, index: int) -> Drawn:
    """Image and labels of an item, checked against the first one; readings that are missing are ``IGNORE``."""
    image, labels = _pair(data, index)
    same = 1 if len(first) == 4 else 3  # axes that all items share: volumes have a size of their own
    like_first = image.ndim == len(first) and image.shape[:same] == first[:same]
    if not like_first or image.shape[1:] != labels.shape[1:] or len(labels) > columns:
        needed = (
            "(C, D, H, W) and (R, D, H, W)" if same == 1 else "(C, H, W) and (R, H, W), of the same size in all items"
        )
        raise InputError(
            f"item {index} of the data has an image {image.shape} and labels {labels.shape}, the first image is "
            f"{first}; needed are {needed}"
        )
    with np.errstate(over="ignore"):  # what single precision cannot hold becomes infinite
        image = image.astype(np.float32)
    if not np.isfinite(image).all():
        raise InputError(
            f"the image of item {index} holds values that are not finite in single precision; leave it out or mend it"
        )
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
    return image, padded
