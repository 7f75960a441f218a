"""From a folder of your own volumes and readers (``folder.py``) to a store of volumes, each of its own size."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from probunet.core.console import progress_bar
from probunet.core.errors import InputError
from probunet.core.files import shown
from probunet.data.manifest import Case, Split
from probunet.data.own.folder import CaseFiles, Dataset, Declared, open_folder, read_case
from probunet.data.own.survey import Survey, common_spacing, describe, splits_of
from probunet.data.prepare_volumes import Volume, VolumeSource, write_volumes
from probunet.data.resample import counts_at, resample
from probunet.data.splits import FRACTIONS
from probunet.data.store import Store
from probunet.io.geometry import TILTED, tilt_of
from probunet.metrics.consensus import Consensus, consensus_of, needs_itk

log = logging.getLogger(__name__)

LONGEST_SIDE = 1 << 12


def draw_volume(
    case: CaseFiles, declared: Declared, spacing: tuple[float, ...] | None, how: Consensus | None
) -> Volume:
    """Read a volume and its readings, in the canonical orientation.

    Args:
        case: the files.
        declared: of :func:`read_case`.
        spacing: mm (slice, row, column) to which it is resampled; ``None`` for that of the file.
        how: readers become one; ``None`` keeps them all.

    Raises:
        InputError: see :func:`read_case`.
    """
    images, labels = read_case(case, *declared)
    if how is not None:
        looked = [file is not None for file in case.readings]
        labels = consensus_of(labels[:, looked].swapaxes(0, 1), how)[:, None]
    image, readings = np.moveaxis(images.values, 1, 0), np.moveaxis(labels, 1, 0)
    native, affine = _voxel(images.spacing_mm), images.affine
    if spacing is not None and native is not None:
        image, readings = resample(image, readings, native, spacing)
        affine = (
            None if affine is None else _resampled(affine, images.values[:, 0].shape, image.shape[1:], native, spacing)
        )
        native = spacing
    return Volume(image, readings, native, affine)


def prepare_folder_volumes(
    root: Path,
    out: Path,
    spacing: Sequence[float] | None = None,
    fractions: tuple[float, float, float] = FRACTIONS,
    seed: int = 0,
    keep_empty: bool = False,
    how: Consensus | None = None,
    jobs: int = 1,
) -> Store:
    """Prepare your own volumes and readers as they come, without slicing; see ``prepare_folder`` for the folder.

    Args:
        root: folder with dataset.json and the files.
        out: folder of the store to make.
        spacing: mm of the voxels to which all volumes are brought: one number, or slice, row and column.
        fractions: shares of patients for train, validation and test.
        seed: of the split by patient; the same patients as in slices of the same folder.
        keep_empty: keep volumes on which readers looked and marked nothing.
        how: readers become one; all are kept if not given.

    Raises:
        InputError: a file is missing, unreadable or does not fit, or ``out`` cannot be written.
    """
    if how == "staple":
        needs_itk()
    target = _target(spacing)
    read_case.cache_clear()
    dataset = open_folder(root)
    parts = splits_of(dataset, fractions, seed)
    survey = _Survey(dataset, target)
    with progress_bar() as bar:
        for case in bar.track(dataset.cases, description="checking"):
            survey.look(case, parts[case.name])
    survey.tell_tilted()
    survey.tell_unplaced()
    sources = [
        VolumeSource(
            Case(case.name, patient, parts[case.name]), partial(draw_volume, case, dataset.declared, target, how)
        )
        for case, patient in zip(dataset.cases, survey.patients, strict=True)
    ]
    arguments: dict[str, Any] = {"dims": 3, "spacing": target and list(target), "keep_empty": keep_empty}
    arguments |= {"seed": seed, "fractions": list(fractions)} if not dataset.splits else {}
    dtype, known = survey.dtype(), target or common_spacing(survey.spacings)
    intensity = survey.intensity(dtype, dataset.channels)
    description = describe(dataset, root, intensity, known, how, arguments, counts={})
    return write_volumes(out, sources, description, dtype.type, jobs=jobs, keep_empty=keep_empty)


class _Survey(Survey):
    """What the files hold, read and checked once before anything is written.

    Args:
        dataset: the folder.
        target: mm of the voxels to which volumes are brought, if at all.
    """

    def __init__(self, dataset: Dataset, target: tuple[float, ...] | None) -> None:
        super().__init__()
        self.dataset, self.target = dataset, target
        self.spacings: list[tuple[float, ...] | None] = []
        self.slices = self.tilted = 0

    def look(self, case: CaseFiles, split: Split) -> None:
        """Read a case.

        Raises:
            InputError: it cannot be read, or cannot be brought to the size that is asked for.
        """
        images, _ = read_case(case, *self.dataset.declared)
        values, spacing = images.values, _voxel(images.spacing_mm)
        if self.target is not None:
            if spacing is None:
                raise InputError(f"{shown(case.images[0])} does not say how large its voxels are; leave out --spacing")
            if max(counts_at(values[:, 0].shape, spacing, self.target)) > LONGEST_SIDE:
                raise InputError(f"{shown(case.images[0])} would have too many voxels; give a larger --spacing")
        self.slices = max(self.slices, len(values))
        self.tilted += images.affine is not None and tilt_of(images.affine) > TILTED
        self.spacings.append(spacing)
        self.add(case, images, split)

    def tell_tilted(self) -> None:
        """Say how many volumes are sheared, if any are."""
        if self.tilted:
            log.warning(
                f"note: the slices of {self.tilted} volumes lie askew (a tilted gantry); they are kept as if straight "
                "above each other, resample them first where shape matters"
            )

    def dtype(self) -> np.dtype[Any]:
        """The type of the store.

        Raises:
            InputError: none holds all values, or no picture is a volume.
        """
        if self.slices < 2:
            raise InputError(f"{self.dataset.title}: every picture is a single slice; leave out --dims 3")
        return self.store_type(self.dataset.title)


def _voxel(spacing: Sequence[float | None] | None) -> tuple[float, ...] | None:
    """mm of a voxel; ``None`` where that of an axis is not known."""
    known = [mm for mm in spacing or () if mm is not None]
    return tuple(known) if len(known) == 3 else None


def _target(spacing: Sequence[float] | None) -> tuple[float, ...] | None:
    if spacing is None:
        return None
    target = tuple(spacing) * 3 if len(spacing) == 1 else tuple(spacing)
    if len(target) != 3 or not all(1e-7 < mm < 100 for mm in target):
        raise InputError(f"spacing {list(spacing)} is no voxel size in mm; give one number, or slice, row and column")
    return target


def _resampled(
    affine: npt.NDArray[np.float64],
    old: Sequence[int],
    new: Sequence[int],
    native: Sequence[float],
    spacing: Sequence[float],
) -> npt.NDArray[np.float64]:
    """The affine of a volume whose voxels changed around its middle; sizes and spacings are (slice, row, column)."""
    change = np.eye(4)
    for axis in range(3):
        step = spacing[2 - axis] / native[2 - axis]
        change[axis, axis] = step
        change[axis, 3] = (old[2 - axis] - 1) / 2 - (new[2 - axis] - 1) / 2 * step
    return np.asarray(affine @ change)
