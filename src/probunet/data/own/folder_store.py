"""From a folder of your own images and readers (``folder.py``) to a store: checked, one size, split by patient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from probunet.core.console import console, progress_bar
from probunet.core.errors import InputError
from probunet.core.intensity import Intensity
from probunet.core.types import IGNORE
from probunet.data.manifest import Case, Split
from probunet.data.own.folder import CaseFiles, Dataset, open_folder, read_case
from probunet.data.prepare import CaseSource, Description, Drawn, write_store
from probunet.data.splits import split_by_patient
from probunet.data.store import Store

Size = tuple[int, int]


def draw_slice(case: CaseFiles, number: int, arguments: tuple[int, int, int | None], size: Size) -> Drawn:
    """Take one slice of a case, brought to a common size around its centre.

    Beyond the image its border repeats, and labels are ``IGNORE``.

    Args:
        case: the files.
        number: of the slice.
        arguments: of :func:`read_case`.
        size: (h, w) of the result.

    Returns:
        (C, h, w) raw image and (R, h, w) uint8 labels.

    Raises:
        InputError: see :func:`read_case`.
    """
    volume, labels = read_case(case, *arguments)
    image, label = volume.values[number], labels[number]
    pad, window = [(0, 0)], [slice(None)]
    for have, want in zip(image.shape[1:], size, strict=True):
        missing = max(want - have, 0)
        pad.append((missing // 2, missing - missing // 2))
        start = max(have - want, 0) // 2
        window.append(slice(start, start + min(have, want)))
    cut = tuple(window)
    return np.pad(image[cut], pad, mode="edge"), np.pad(label[cut], pad, constant_values=IGNORE)


def prepare_folder(
    root: Path,
    out: Path,
    size: list[int] | None = None,
    fractions: tuple[float, float, float] = (0.7, 0.15, 0.15),
    seed: int = 0,
) -> Store:
    """Prepare your own images and readers: nnU-Net's folders, with labelsTr/<case>/<reader>.<ext>.

    dataset.json holds channel_names, labels, file_ending and, where wanted, name, licence, patients (case to patient)
    and splits (train, validation, test to lists of cases). Volumes are taken slice by slice. Slices on which no
    reader marked anything are left out and counted. The split is written to cases.csv of the store.

    Args:
        root: folder with dataset.json, imagesTr and labelsTr.
        out: folder of the store to make.
        size: height and width to which images are cropped or padded around their centre; needed where they differ.
        fractions: shares of patients for train, validation and test, where dataset.json does not give the splits.
        seed: of the split by patient.

    Raises:
        InputError: a file is missing, unreadable or does not fit, or ``out`` cannot be written.

    Examples:
        probunet prepare folder --root mine --out data/mine
        probunet prepare folder --root mine --out data/mine --size 256 256 --seed 1
    """
    read_case.cache_clear()
    dataset = open_folder(root)
    if size is not None and (len(size) != 2 or min(size) < 1):
        raise InputError(f"size {size} is not a height and a width in pixels")
    parts = _parts(dataset, fractions, seed)
    wanted = None if size is None else (size[0], size[1])
    found = _survey(dataset, wanted, parts)
    read = (len(dataset.channels), len(dataset.classes), dataset.ignore)
    sources = [
        CaseSource(
            Case(f"{case.name}/slice-{k:03d}" if count > 1 else case.name, case.patient, parts[case.name]),
            partial(draw_slice, case, k, read, found.size),
        )
        for case, count in zip(dataset.cases, found.slices, strict=True)
        for k in range(count)
    ]
    arguments: dict[str, Any] = {"command": "prepare folder", "root": root.name, "size": size}
    arguments |= {"seed": seed, "fractions": list(fractions)} if not dataset.splits else {}
    notes = {
        "channels": list(dataset.channels),
        "readers": list(dataset.readers),
        "padded_images": found.padded,
        "cropped_images": found.cropped,
    }
    description = Description(
        title=f"{dataset.title}, {len(dataset.readers)} readers",
        licence=dataset.licence,
        arguments=arguments,
        intensity=found.intensity,
        spacing_mm=found.spacing,
        classes=dataset.classes,
        notes=notes,
    )
    return write_store(out, sources, description, found.dtype, jobs=1)  # one after another: a volume is read once


@dataclass(frozen=True)
class _Survey:
    slices: list[int]
    size: Size
    dtype: type[np.generic]
    spacing: tuple[float, float] | None
    intensity: Intensity
    padded: int
    cropped: int


def _survey(dataset: Dataset, size: Size | None, parts: dict[str, Split]) -> _Survey:
    """Read and check everything once, before anything is written."""
    slices: list[int] = []
    shapes: list[Size] = []
    spacings: set[tuple[float, float] | None] = set()
    sums = np.zeros((2, 3))
    dtype: np.dtype[Any] | None = None
    with progress_bar() as bar:
        for case in bar.track(dataset.cases, description="checking"):
            volume, _ = read_case(case, len(dataset.channels), len(dataset.classes), dataset.ignore)
            values, shape = volume.values, volume.values.shape
            dtype = dtype or values.dtype
            if values.dtype != dtype:
                raise InputError(
                    f"{case.images[0]} holds {values.dtype}, {dataset.cases[0].images[0]} {dtype}; save all alike"
                )
            if size is None and shapes and shape[2:] != shapes[0]:
                raise InputError(
                    f"{case.images[0]} is {shape[2]}x{shape[3]} px, {dataset.cases[0].images[0]} is "
                    f"{shapes[0][0]}x{shapes[0][1]} px; give --size H W to crop or pad all to one size"
                )
            slices.append(shape[0])
            shapes.append((shape[2], shape[3]))
            row, column = volume.spacing_mm or (0, 0)
            spacings.add((round(row, 5), round(column, 5)) if row else None)
            use = int(parts[case.name] == "train")
            sums[use] += values.size, values.sum(dtype=float), np.square(values, dtype=float).sum()
    assert dtype is not None
    target = size or shapes[0]
    padded = sum(n for n, (h, w) in zip(slices, shapes, strict=True) if h < target[0] or w < target[1])
    cropped = sum(n for n, (h, w) in zip(slices, shapes, strict=True) if h > target[0] or w > target[1])
    spacing = spacings.pop() if len(spacings) == 1 else None
    if spacings:
        console.print("note: pixel spacings differ between cases; the store has none. Resample first to have one scale")
    return _Survey(
        slices, target, dtype.type, spacing, _intensity(dtype, sums[1] if sums[1, 0] else sums[0]), padded, cropped
    )


def _intensity(dtype: np.dtype[Any], sums: npt.NDArray[np.float64]) -> Intensity:
    if dtype == np.uint8:
        return Intensity("grey level", offset=128, scale=64)
    mean = sums[1] / sums[0]
    deviation = float(np.sqrt(max(sums[2] / sums[0] - mean**2, 0))) or 1.0
    return Intensity("raw value", offset=float(f"{mean:.4g}"), scale=float(f"{deviation:.4g}"))


def _parts(dataset: Dataset, fractions: Sequence[float], seed: int) -> dict[str, Split]:
    if not dataset.splits:
        patients = split_by_patient([case.patient for case in dataset.cases], fractions, seed)
        return {case.name: patients[case.patient] for case in dataset.cases}
    seen: dict[str, Split] = {}
    for case in dataset.cases:
        split = dataset.splits.get(case.name)
        if split is None:
            raise InputError(f"the case '{case.name}' is in no split of dataset.json; put it into one")
        if seen.setdefault(case.patient, split) != split:
            raise InputError(
                f"the patient '{case.patient}' is in the splits {seen[case.patient]} and {split}; keep it in one"
            )
    return dataset.splits
