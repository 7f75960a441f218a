"""From a folder of your own images and readers (``folder.py``) to a store: checked, one size, split by patient."""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from probunet.core.console import progress_bar
from probunet.core.errors import InputError
from probunet.core.files import shown
from probunet.core.intensity import Intensity
from probunet.core.types import IGNORE
from probunet.data.manifest import Case, Split
from probunet.data.own.folder import CaseFiles, Dataset, Images, open_folder, read_case
from probunet.data.prepare import CaseSource, Description, Drawn, write_store
from probunet.data.resample import resample_plane
from probunet.data.splits import FRACTIONS, empty_split_note, patient_of_nobody, split_by_patient
from probunet.data.store import Store, marked
from probunet.metrics.consensus import Consensus, consensus_of, needs_itk

log = logging.getLogger(__name__)

Size = tuple[int, int]


Arguments = tuple[int, int, int | None]
"""Of :func:`read_case`: channels, classes, value of ignored pixels."""


def draw_slice(
    case: CaseFiles,
    number: int,
    arguments: Arguments,
    size: Size,
    spacing: float | None,
    how: Consensus | None = None,
) -> Drawn:
    """Take one slice of a case, brought to a common pixel size and a common size around its centre.

    Beyond the image its border repeats, and labels are ``IGNORE``.

    Args:
        case: the files.
        number: of the slice.
        arguments: of :func:`read_case`.
        size: (h, w) of the result.
        spacing: mm of the result's pixels; ``None`` for those of the file.
        how: readers become one, in the whole volume; ``None`` keeps them all.

    Returns:
        (C, h, w) raw image and (R, h, w) uint8 labels.

    Raises:
        InputError: see :func:`read_case`.
    """
    images, labels = read_case(case, *arguments) if how is None else _agreed(case, arguments, how)
    image, label = images.values[number], labels[number]
    if spacing is not None and images.spacing_mm is not None:
        image, label = resample_plane(image, label, images.spacing_mm, spacing)
    cut, pad = (..., *_window(image.shape[1:], size)), [(0, 0), *_missing(image.shape[1:], size)]
    return np.pad(image[cut], pad, mode="edge"), np.pad(label[cut], pad, constant_values=IGNORE)


@lru_cache(maxsize=2)  # of all slices at once
def _agreed(case: CaseFiles, arguments: Arguments, how: Consensus) -> tuple[Images, npt.NDArray[np.uint8]]:
    """The image of a case, and the consensus (slices, 1, H, W) of the readers who looked at it."""
    images, labels = read_case(case, *arguments)
    looked = [file is not None for file in case.readings]
    return images, consensus_of(labels[:, looked].swapaxes(0, 1), how)[:, None]


def _window(have: Sequence[int], want: Size) -> tuple[slice, ...]:
    """The central part of an image that is kept."""
    starts = [max(h - w, 0) // 2 for h, w in zip(have, want, strict=True)]
    return tuple(slice(start, start + min(h, w)) for start, h, w in zip(starts, have, want, strict=True))


def _missing(have: Sequence[int], want: Size) -> list[tuple[int, int]]:
    """Pixels to add before and behind, along each axis."""
    missing = [max(w - h, 0) for h, w in zip(have, want, strict=True)]
    return [(pixels // 2, pixels - pixels // 2) for pixels in missing]


def prepare_folder(
    root: Path,
    out: Path,
    size: list[int] | None = None,
    spacing: float | None = None,
    fractions: tuple[float, float, float] = FRACTIONS,
    seed: int = 0,
    keep_empty: bool = False,
    how: Consensus | None = None,
) -> Store:
    """Prepare your own images and readers: nnU-Net's folders, with labelsTr/<case>/<reader>.<ext>.

    dataset.json holds channel_names, labels, file_ending and, where wanted, name, licence, patients (case to patient),
    splits (train, validation, test to lists of cases) and persistent_readers. Volumes are taken slice by slice. Slices
    on which no reader marked anything are left out and counted. The split is written to cases.csv of the store.

    The arguments are those of the command ``probunet prepare folder``, with ``how`` for ``--consensus``.

    Raises:
        InputError: a file is missing, unreadable or does not fit, or ``out`` cannot be written.
    """
    if how == "staple":
        needs_itk()
    read_case.cache_clear()
    _agreed.cache_clear()
    dataset = open_folder(root)
    if size is not None and (len(size) != 2 or not 1 <= min(size) <= max(size) <= 1 << 15):
        raise InputError(f"size {size} is not a height and a width in pixels")
    if spacing is not None and not 1e-7 < spacing < 100:
        raise InputError(f"spacing {spacing} is no pixel size in mm")
    parts = _parts(dataset, fractions, seed)
    survey = _survey(dataset, None if size is None else (size[0], size[1]), spacing, parts)
    read = (len(dataset.channels), len(dataset.classes), dataset.ignore)
    sources = [
        CaseSource(
            Case(f"{case.name}/slice-{k:03d}" if count > 1 else case.name, patient, parts[case.name]),
            partial(draw_slice, case, k, read, survey.size, spacing, how),
        )
        for case, count, patient in zip(dataset.cases, survey.slices, survey.patients, strict=True)
        for k in range(count)
    ]
    arguments: dict[str, Any] = {"command": "prepare folder", "root": root.name.encode("utf-8", "replace").decode()}
    arguments |= {"size": size, "spacing": spacing, "keep_empty": keep_empty}
    arguments |= {"seed": seed, "fractions": list(fractions)} if not dataset.splits else {}
    arguments |= {"consensus": how} if how else {}
    who = f"{len(dataset.readers)} readers" + (f" as one ({how})" if how else "")
    description = Description(
        title=f"{dataset.title}, {who}",
        licence=dataset.licence,
        arguments=arguments,
        intensity=survey.intensity,
        spacing_mm=survey.spacing,
        classes=dataset.classes,
        notes={"channels": list(dataset.channels), "reading_names": list(dataset.readers), **survey.counts},
        readers=dataset.readers if dataset.persistent and how is None else None,
    )
    # one after another: a volume is read once for all its slices
    return write_store(out, sources, description, survey.dtype, jobs=1, keep_empty=keep_empty)


@dataclass(frozen=True)
class _Survey:
    """What the files hold, before anything is written."""

    slices: list[int]
    patients: list[str]
    size: Size
    dtype: type[np.generic]
    spacing: tuple[float, float] | None
    intensity: Intensity
    counts: dict[str, int]


@dataclass
class _Moments:
    """Number, mean and sum of squared deviations of values, merged without loss where the mean is large."""

    number: int = 0
    mean: float = 0.0
    squares: float = 0.0

    def add(self, values: npt.NDArray[Any]) -> None:
        number, mean = values.size, float(values.mean(dtype=np.float64))
        squares = float(np.square(values - mean, dtype=np.float64).sum())
        total, apart = self.number + number, mean - self.mean
        self.squares += squares + apart**2 * self.number * number / total
        self.mean += apart * number / total
        self.number = total


def _survey(dataset: Dataset, size: Size | None, target: float | None, parts: dict[str, Split]) -> _Survey:
    """Read and check everything once, before anything is written."""
    slices: list[int] = []
    patients: list[str] = []
    shapes: list[Size] = []
    spacings: list[tuple[float, float] | None] = []
    train, every = _Moments(), _Moments()
    hidden = largest = 0
    first = dataset.cases[0].images[0]
    types: set[np.dtype[Any]] = set()
    with progress_bar() as bar:
        for case in bar.track(dataset.cases, description="checking"):
            images, labels = read_case(case, len(dataset.channels), len(dataset.classes), dataset.ignore)
            values, spacing = images.values, images.spacing_mm
            types.add(values.dtype)
            if values.dtype.kind in "iu":
                largest = max(largest, int(values.max()), -int(values.min()))
            shape = _target_shape(case.images[0], values.shape[2:], spacing, target)
            if size is None and shapes and shape != shapes[0]:
                raise InputError(
                    f"{shown(case.images[0])} is {shape[0]}x{shape[1]} px, {shown(first)} is {shapes[0][0]}x"
                    f"{shapes[0][1]} px; give --size H W to crop or pad all to one size"
                )
            slices.append(len(values))
            patients.append(patient_of_nobody(case.patient, values) if case.anonymous else case.patient)
            shapes.append(shape)
            spacings.append(spacing)
            hidden += _hidden(labels, shape, size)
            every.add(values)
            if parts[case.name] == "train":
                train.add(values)
    dtype = _store_type(types, largest, dataset.title)
    wanted = size or shapes[0]
    counts = {
        "padded_images": sum(n for n, s in zip(slices, shapes, strict=True) if s[0] < wanted[0] or s[1] < wanted[1]),
        "cropped_images": sum(n for n, s in zip(slices, shapes, strict=True) if s[0] > wanted[0] or s[1] > wanted[1]),
        "images_with_all_marks_outside_of_the_size": hidden,
    }
    if hidden:
        log.warning(
            f"note: on {hidden:,} slices all marks lie outside of the central {wanted[0]}x{wanted[1]} px and are lost; "
            "give a larger --size"
        )
    spacing = _common_spacing(spacings) if target is None else (target, target)
    return _Survey(
        slices, patients, wanted, dtype.type, spacing, _intensity(dtype, train if train.number else every), counts
    )


def _store_type(types: Collection[np.dtype[Any]], largest: int, title: str) -> np.dtype[Any]:
    """The type that holds every value of all files as it is.

    Args:
        types: of the files.
        largest: of the whole numbers among them, without their sign.
        title: of the set, for the message.

    Raises:
        InputError: there is none that a store can have.
    """
    common = np.result_type(*types)
    if len(types) == 1 and (common.kind == "f" or common.itemsize < 8):
        return common
    if common.kind != "f" and common.itemsize == 8:  # of mere whole numbers
        common = np.dtype(np.int32 if largest < 1 << 31 else np.float64)
    elif common == np.float64 and common not in types and largest <= 1 << 24:
        common = np.dtype(np.float32)
    if common == np.float64 and largest > 1 << 53:
        raise InputError(f"{title} holds {largest}, which no store keeps to the digit; rescale the images")
    if len(types) > 1:
        log.warning(
            f"note: images hold {', '.join(sorted(map(str, types)))}; the store holds {common}, every value exact"
        )
    return common


def _target_shape(
    file: Path, shape: Sequence[int], spacing: tuple[float, float] | None, target: float | None
) -> tuple[int, int]:
    """Height and width at the pixel size that is asked for."""
    if target is None:
        return shape[0], shape[1]
    if spacing is None:
        raise InputError(f"{shown(file)} does not say how large its pixels are; leave out --spacing")
    height, width = (max(int(side * mm / target + 1e-6), 1) for side, mm in zip(shape, spacing, strict=True))
    if max(height, width) > 1 << 15:
        raise InputError(f"{shown(file)} would be {height}x{width} px at {target} mm; give a larger --spacing")
    return height, width


def _hidden(labels: npt.NDArray[np.uint8], shape: Size, size: Size | None) -> int:
    """Count the slices (S, R, H, W) whose marks are all outside of what ``size`` keeps of ``shape``."""
    if size is None:
        return 0
    factors = [have / at for have, at in zip(labels.shape[2:], shape, strict=True)]
    window = tuple(
        slice(int(part.start * factor), int(np.ceil(part.stop * factor)))
        for part, factor in zip(_window(shape, size), factors, strict=True)
    )
    return int((marked(labels).any(axis=1) & ~marked(labels[:, :, window[0], window[1]]).any(axis=1)).sum())


def _common_spacing(spacings: Sequence[tuple[float, float] | None]) -> tuple[float, float] | None:
    """The pixel size of all cases, ``None`` where they differ by more than a thousandth, or it is not known."""
    known = [spacing for spacing in spacings if spacing is not None]
    if not known:
        return None
    if len(known) < len(spacings) or not np.allclose(known, known[0], rtol=1e-3, atol=0):
        low, high = np.min(known), np.max(known)
        log.warning(
            f"note: pixel sizes differ between cases ({low:.4g} to {high:.4g} mm, {len(spacings) - len(known)} unknown)"
            "; the store has none. Give --spacing to bring all to one"
        )
        return None
    return known[0]


def _intensity(dtype: np.dtype[Any], moments: _Moments) -> Intensity:
    """Grey levels of pictures as always, all else by mean and standard deviation."""
    if dtype == np.uint8:
        return Intensity("grey level", offset=128, scale=64)
    deviation = float(np.sqrt(moments.squares / moments.number)) or 1.0
    if not (abs(moments.mean) < 1e12 and 1e-12 < deviation < 1e12):
        raise InputError(f"the images have the mean {moments.mean:.3g} and deviation {deviation:.3g}; rescale them")
    return Intensity("raw value", offset=moments.mean, scale=deviation)


def _parts(dataset: Dataset, fractions: Sequence[float], seed: int) -> dict[str, Split]:
    if not dataset.splits:
        patients = split_by_patient([case.patient for case in dataset.cases], fractions, seed)
        if note := empty_split_note(patients, fractions):
            log.warning(note)
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
