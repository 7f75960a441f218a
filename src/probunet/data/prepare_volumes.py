"""From any source of volumes to a store of them: each of its own size, in parallel, all or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from joblib import Parallel, delayed
from numpy.lib import format as npy

from probunet.core.console import progress_bar
from probunet.core.errors import InputError
from probunet.core.marks import marked
from probunet.core.processes import InWorker
from probunet.core.types import IGNORE
from probunet.core.writing import writing_folder
from probunet.data.manifest import write_cases, write_manifest
from probunet.data.prepare import Description, Source, facts_of
from probunet.data.store import Store
from probunet.data.volumes import Spacing


@dataclass(frozen=True)
class Volume:
    """A volume with its readings.

    Attributes:
        image: (C, D, H, W) raw values.
        labels: (R, D, H, W) uint8, ``IGNORE`` where nothing is known.
        spacing_mm: of its voxels (slice, row, column); ``None`` where nobody knows.
        affine: (4, 4) from (column, row, slice) to mm in the axes of NIfTI; ``None`` where nobody knows.
    """

    image: npt.NDArray[Any]
    labels: npt.NDArray[np.uint8]
    spacing_mm: Spacing | None = None
    affine: npt.NDArray[np.float64] | None = None


VolumeSource: TypeAlias = Source[Volume]
"""Of a store of volumes."""


def write_volumes(
    out: Path,
    sources: Sequence[VolumeSource],
    description: Description,
    dtype: type[np.generic],
    *,
    jobs: int = -1,
    keep_empty: bool = False,
) -> Store:
    """Draw every volume and write them as a store; see ``write_store`` for what is left out and what is missing.

    Args:
        out: the folder to make.
        sources: where volumes come from.
        description: what the manifest says.
        dtype: of the images on disk.
        jobs: parallel workers, -1 for one per core.
        keep_empty: keep volumes that readers looked at and none marked.

    Raises:
        InputError: ``out`` exists, the disk is full, there is nothing to write, or a volume cannot be drawn.
    """
    if not sources:
        raise InputError(f"there is nothing to write to {out}: no volumes were found")
    with writing_folder(out) as folder:
        kept, places, seen = [], [], []
        with _flat(folder / "images.npy", np.dtype(dtype)) as add, _flat(folder / "labels.npy", np.dtype("u1")) as mark:
            for source, volume in zip(sources, _drawn(sources, jobs, out.name), strict=True):
                looked, shown = (volume.labels != IGNORE).any(axis=(1, 2, 3)), marked(volume.labels, dims=3)
                if looked.any() if keep_empty else shown.any():
                    add(volume.image)
                    mark(volume.labels)
                    kept.append(source.case)
                    places.append((volume.image.shape[1:], volume.spacing_mm, volume.affine))
                    seen.append((looked, shown))
        if not kept:
            raise InputError(f"there is nothing to write to {out}: no reader marked anything anywhere")
        present, shown = (np.stack(part) for part in zip(*seen, strict=True))
        _write_places(folder, places)
        if not present.all():
            np.save(folder / "present.npy", present)
        write_cases(folder / "cases.csv", kept)
        write_manifest(folder, facts_of(folder, description, kept, len(sources) - len(kept), shown, dims=3))
        Store(folder)  # what cannot be opened is not left behind
    return Store(out)


def _drawn(sources: Sequence[VolumeSource], jobs: int, name: str) -> Iterator[Volume]:
    """All volumes in order; a few are ahead in other processes."""
    work = InWorker(_draw)
    workers = Parallel(n_jobs=jobs, return_as="generator", pre_dispatch="n_jobs", batch_size=1)
    with progress_bar() as bar:
        task = bar.add_task(f"preparing {name}", total=len(sources))
        for volume in workers(delayed(work)(source) for source in sources):
            yield volume
            bar.advance(task)


def _draw(source: VolumeSource) -> Volume:
    return source.draw()


@contextmanager
def _flat(file: Path, dtype: np.dtype[Any]) -> Iterator[Callable[[npt.NDArray[Any]], None]]:
    """An array (V, C) that grows by the voxels of volumes (C, D, H, W); its header is written again at the end."""
    with file.open("wb") as handle:
        columns, voxels = 0, 0

        def header() -> None:
            shape = (voxels, columns)
            facts = {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
            npy.write_array_header_1_0(handle, facts)

        def add(volume: npt.NDArray[Any]) -> None:
            nonlocal columns, voxels
            if not columns:
                columns = len(volume)
                header()
            if len(volume) != columns:
                raise InputError(f"a volume has {len(volume)} channels or readers, those before it {columns}")
            values = np.ascontiguousarray(np.moveaxis(volume, 0, -1), dtype)
            handle.write(values.data)
            voxels += values.size // columns

        yield add
        if columns:
            offset = handle.tell() - voxels * columns * dtype.itemsize
            handle.seek(0)
            header()
            if handle.tell() != offset:
                raise RuntimeError(f"the header of {file.name} changed its length")


def _write_places(
    folder: Path, places: Sequence[tuple[tuple[int, ...], Spacing | None, npt.NDArray[np.float64] | None]]
) -> None:
    sizes, spacings, affines = zip(*places, strict=True)
    np.save(folder / "sizes.npy", np.array(sizes, np.int64))
    np.save(folder / "spacings.npy", np.array([(np.nan,) * 3 if s is None else s for s in spacings], np.float64))
    nowhere = np.full((4, 4), np.nan)
    np.save(folder / "affines.npy", np.array([nowhere if a is None else a for a in affines], np.float64))
