"""The HDF5 form of ``data_lidc.pickle`` (``data_lidc.hdf5``), as the authors of PHiSeg write it.

Groups ``train``, ``val`` and ``test`` with ``images`` (N, 128, 128), grey level minus 0.5; ``labels`` (N, 128, 128, 4)
of 0 and 1; and ``uids`` (N), a number for each series. The numbers are Python's salted hashes, so neither series nor
patient can be found again: the split is by series, and a patient with two scans may be on both sides.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from probunet.core.errors import InputError
from probunet.core.intensity import Intensity
from probunet.core.packages import require
from probunet.data.lidc_crops.imported import described
from probunet.data.manifest import Case, Split
from probunet.data.prepare import CaseSource, Drawn, write_store
from probunet.data.splits import split_by_patient
from probunet.data.store import Store

log = logging.getLogger(__name__)

READERS = 4
PARTS: dict[str, Split] = {"train": "train", "val": "validation", "test": "test"}
"""From the file's groups to splits."""


def prepare_hdf5(file: Path, out: Path, fractions: Sequence[float] | None, seed: int) -> Store:
    """Prepare the slices of the HDF5 file.

    Args:
        file: the file.
        out: folder of the store to make.
        fractions: shares of series for a new split; the file's own split unless given.
        seed: of a new split.

    Raises:
        InputError: h5py is not installed, the file is unreadable or of another form, a series is in two splits, or
            ``out`` cannot be written.
    """
    cases, rows = _cases(file)
    if fractions is not None:
        parts = split_by_patient([case.patient for case in cases], fractions, seed)
        cases = [Case(case.name, case.patient, parts[case.patient]) for case in cases]
    sources = [CaseSource(case, partial(_draw, file, *row)) for case, row in zip(cases, rows, strict=True)]
    log.info(
        f"{len(sources):,} slices of {len({case.patient for case in cases}):,} series; split by series: the file does "
        "not say which patient a series is of"
    )
    title, values = "LIDC-IDRI slices of data_lidc.hdf5, four readers", Intensity("grey level, -0.5 to 0.5", 0.0, 0.25)
    split = "by series, as the file says" if fractions is None else "by series, drawn anew"
    description = described(title, file, values, None, split, fractions, seed)
    return write_store(out, sources, description, np.float32, threads=True)


def _cases(file: Path) -> tuple[list[Case], list[tuple[str, int]]]:
    """List the cases, and where each is: part of the file and row."""
    cases: list[Case] = []
    rows: list[tuple[str, int]] = []
    chosen: dict[str, Split] = {}
    shape: tuple[int, ...] | None = None
    with _opened(file) as opened:
        for part, split in PARTS.items():
            images, labels, uids = (_dataset(opened, f"{part}/{name}", file) for name in ("images", "labels", "uids"))
            count = len(uids) if uids.ndim == 1 else -1
            shape = shape or images.shape[1:]
            if images.shape != (count, *shape) or labels.shape != (count, *shape, READERS) or len(shape) != 2:
                raise InputError(
                    f"{file}: {part} has images {images.shape}, labels {labels.shape} and uids {uids.shape}; "
                    "(N, H, W), (N, H, W, 4) and (N) are needed, of one size everywhere"
                )
            for row, uid in enumerate(uids[:].tolist()):
                patient = f"series-{uid}"
                if chosen.setdefault(patient, split) != split:
                    raise InputError(
                        f"{file}: series {uid} is in {chosen[patient]} and in {split}; make the file again"
                    )
                cases.append(Case(f"{part}/{row:05d}", patient, split))
                rows.append((part, row))
    return cases, rows


def _draw(file: Path, part: str, row: int) -> Drawn:
    where = f"{file}: {part}, row {row},"
    with _opened(file) as opened:
        image = np.asarray(opened[part]["images"][row])
        labels = np.asarray(opened[part]["labels"][row])
    if not np.isin(labels, (0, 1)).all():
        raise InputError(f"{where} has label values {np.unique(labels)[:6].tolist()}; only 0 and 1 are possible")
    if not (np.abs(image) <= 0.5).all():
        raise InputError(f"{where} has grey levels {image.min():g} to {image.max():g}; they must be from -0.5 to 0.5")
    return image[None].astype(np.float32), np.moveaxis(labels, -1, 0).astype(np.uint8)


def _dataset(opened: Any, name: str, file: Path) -> npt.NDArray[Any]:
    """Give a data set that lies in this very file, of plain numbers; it is read where it is indexed."""
    import h5py

    part, _, leaf = name.partition("/")
    for holder, key in ((opened, part), (opened.get(part, getlink=False), leaf)):
        link = holder.get(key, getlink=True) if isinstance(holder, h5py.Group) and key in holder else None
        if not isinstance(link, h5py.HardLink):
            raise InputError(
                f"{file} has no {name} of its own; it needs train, val and test, each with images, labels, uids"
            )
    dataset: Any = opened[name]
    if not isinstance(dataset, h5py.Dataset) or dataset.dtype.kind not in "biuf":
        raise InputError(f"{file}: {name} is not a data set of numbers")
    if dataset.is_virtual or dataset.external:
        raise InputError(f"{file}: {name} lies in another file; copy it into this one")
    return dataset


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    h5py = require("h5py", str(file))
    try:
        with h5py.File(file, "r") as opened:
            yield opened
    except InputError:
        raise
    except (OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file} cannot be read as HDF5 ({error}); fetch it again") from error
