"""From a folder of your own images and readers (``folder.py``) to a store: checked, one size, split by patient."""

from __future__ import annotations

import logging
from collections.abc import Sequence
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
from probunet.core.marks import marked
from probunet.core.types import IGNORE
from probunet.data.manifest import Case, Split
from probunet.data.own.folder import CaseFiles, Dataset, Declared, Images, open_folder, read_case
from probunet.data.own.survey import Survey, common_spacing, describe, splits_of
from probunet.data.prepare import CaseSource, Drawn, write_store
from probunet.data.resample import counts_at, resample
from probunet.data.splits import FRACTIONS
from probunet.data.store import Store
from probunet.metrics.consensus import Consensus, consensus_of, needs_itk

log = logging.getLogger(__name__)

Size = tuple[int, int]


def draw_slice(
    case: CaseFiles,
    number: int,
    declared: Declared,
    size: Size,
    spacing: float | None,
    how: Consensus | None = None,
) -> Drawn:
    """Take one slice of a case, brought to a common pixel size and a common size around its centre.

    Beyond the image its border repeats, and labels are ``IGNORE``.

    Args:
        case: the files.
        number: of the slice.
        declared: of :func:`read_case`.
        size: (h, w) of the result.
        spacing: mm of the result's pixels; ``None`` for those of the file.
        how: readers become one, in the whole volume; ``None`` keeps them all.

    Returns:
        (C, h, w) raw image and (R, h, w) uint8 labels.

    Raises:
        InputError: see :func:`read_case`.
    """
    images, labels = read_case(case, *declared) if how is None else _agreed(case, declared, how)
    image, label = images.values[number], labels[number]
    if spacing is not None and images.pixel_mm is not None:
        image, label = resample(image, label, images.pixel_mm, (spacing, spacing))
    cut, pad = (..., *_window(image.shape[1:], size)), [(0, 0), *_missing(image.shape[1:], size)]
    return np.pad(image[cut], pad, mode="edge"), np.pad(label[cut], pad, constant_values=IGNORE)


@lru_cache(maxsize=2)  # of all slices at once
def _agreed(case: CaseFiles, declared: Declared, how: Consensus) -> tuple[Images, npt.NDArray[np.uint8]]:
    """The image of a case, and the consensus (slices, 1, H, W) of the readers who looked at it."""
    images, labels = read_case(case, *declared)
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
    jobs: int = 1,
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
    parts = splits_of(dataset, fractions, seed)
    survey = _survey(dataset, None if size is None else (size[0], size[1]), spacing, parts)
    sources = [
        CaseSource(
            Case(f"{case.name}/slice-{k:03d}" if count > 1 else case.name, patient, parts[case.name]),
            partial(draw_slice, case, k, dataset.declared, survey.size, spacing, how),
        )
        for case, count, patient in zip(dataset.cases, survey.slices, survey.patients, strict=True)
        for k in range(count)
    ]
    arguments: dict[str, Any] = {"size": size, "spacing": spacing, "keep_empty": keep_empty}
    arguments |= {"seed": seed, "fractions": list(fractions)} if not dataset.splits else {}
    description = describe(dataset, root, survey.intensity, survey.spacing, how, arguments, survey.counts)
    return write_store(out, sources, description, survey.dtype, jobs=jobs, keep_empty=keep_empty)


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


def _survey(dataset: Dataset, size: Size | None, target: float | None, parts: dict[str, Split]) -> _Survey:
    """Read and check everything once, before anything is written."""
    slices: list[int] = []
    shapes: list[Size] = []
    spacings: list[tuple[float, float] | None] = []
    survey, hidden = Survey(), 0
    first = dataset.cases[0].images[0]
    with progress_bar() as bar:
        for case in bar.track(dataset.cases, description="checking"):
            images, labels = read_case(case, *dataset.declared)
            values, spacing = images.values, images.pixel_mm
            shape = _target_shape(case.images[0], values.shape[2:], spacing, target)
            if size is None and shapes and shape != shapes[0]:
                raise InputError(
                    f"{shown(case.images[0])} is {shape[0]}x{shape[1]} px, {shown(first)} is {shapes[0][0]}x"
                    f"{shapes[0][1]} px; give --size H W to crop or pad all to one size"
                )
            slices.append(len(values))
            shapes.append(shape)
            spacings.append(spacing)
            hidden += _hidden(labels, shape, size)
            survey.add(case, images, parts[case.name])
    dtype = survey.store_type(dataset.title)
    wanted = size or shapes[0]
    counts = {
        "padded_images": sum(n for n, s in zip(slices, shapes, strict=True) if s[0] < wanted[0] or s[1] < wanted[1]),
        "cropped_images": sum(n for n, s in zip(slices, shapes, strict=True) if s[0] > wanted[0] or s[1] > wanted[1]),
        "images_with_all_marks_outside_of_the_size": hidden,
    }
    survey.tell_unplaced()
    if hidden:
        log.warning(
            f"note: on {hidden:,} slices all marks lie outside of the central {wanted[0]}x{wanted[1]} px and are lost; "
            "give a larger --size"
        )
    spacing = common_spacing(spacings) if target is None else (target, target)
    intensity = survey.intensity(dtype, dataset.channels)
    return _Survey(slices, survey.patients, wanted, dtype.type, spacing, intensity, counts)


def _target_shape(
    file: Path, shape: Sequence[int], spacing: tuple[float, float] | None, target: float | None
) -> tuple[int, int]:
    """Height and width at the pixel size that is asked for."""
    if target is None:
        return shape[0], shape[1]
    if spacing is None:
        raise InputError(f"{shown(file)} does not say how large its pixels are; leave out --spacing")
    height, width = counts_at(shape, spacing, (target, target))
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
