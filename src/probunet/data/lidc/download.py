"""Raw LIDC-IDRI, as downloaded, as a source for a store: real CT with the outlines of its readers."""

from __future__ import annotations

import logging
import shutil
import warnings
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Literal

import numpy as np
from joblib import Parallel, delayed

from probunet.core.console import console, progress_bar
from probunet.core.errors import InputError
from probunet.core.files import shown
from probunet.core.intensity import HOUNSFIELD
from probunet.core.processes import InWorker
from probunet.data.lidc.annotations import LICENCE
from probunet.data.lidc.parts import Job, Part, Settings, find_jobs, make_part
from probunet.data.lidc.readers import CROP, SPACING_MM
from probunet.data.lidc.summary import Summary, summarise
from probunet.data.lidc.xml import Index, index_folder
from probunet.data.manifest import Case
from probunet.data.prepare import CaseSource, Description, Drawn, write_store
from probunet.data.prepare_volumes import Volume, VolumeSource, write_volumes
from probunet.data.splits import load_reader_split
from probunet.data.store import Store

log = logging.getLogger(__name__)


def draw_crop(part: Path, row: int) -> Drawn:
    """Read one crop of a part.

    Returns:
        (1, size, size) int16 HU and (4, size, size) uint8 in {0, 1}.
    """
    images, labels = (np.load(part / name, mmap_mode="r") for name in ("images.npy", "labels.npy"))
    return images[row], labels[row]


def prepare_lidc(
    dicom: Path,
    out: Path,
    xml: Path | Index | None = None,
    annotations: Literal["xml", "builtin"] = "xml",
    spacing: float = SPACING_MM,
    size: int = CROP,
    keep_going: bool = False,
    jobs: int = -1,
    dims: Literal[2, 3] = 2,
) -> tuple[Store, Summary]:
    """Prepare the original LIDC-IDRI download: CT around every lesion, with the outlines of up to four readers.

    CT series are found at any depth. Finished scans are kept beside the store until it is complete, so the same command
    goes on after an interruption.

    The arguments are those of the command ``probunet prepare lidc``; ``xml`` may be what :func:`find_xml` gave.

    Returns:
        The store, and what was counted on the way.

    Raises:
        InputError: something is missing, unreadable or contradictory; names the file.
    """
    settings = Settings(annotations, spacing, size, keep_going, dims)
    check_arguments(dicom, out, settings)
    index = None
    if annotations == "xml":
        index = xml if isinstance(xml, Index) else find_xml(xml or dicom, keep_going)
    kept = out.parent / f".{out.name}-scans"
    parts = _make_parts(find_jobs(dicom, kept, settings, index), out, keep_going, jobs)
    description = _description(settings, parts, index)
    if dims == 3:
        store = write_volumes(out, _volume_sources(parts, spacing), description, np.int16, jobs=1)
    else:
        store = write_store(out, _sources(parts), description, np.int16, jobs=jobs, threads=True)
    shutil.rmtree(kept, ignore_errors=True)
    return store, summarise(parts, index, store)


def find_xml(folder: Path, keep_going: bool = False) -> Index:
    """Find the readers' XML of CT scans in a folder.

    Raises:
        InputError: there is none, or (unless ``keep_going``) a file that cannot be read.
    """
    _check_folder(folder)
    with console.status(f"looking for readers' XML in {folder}"):
        index = index_folder(folder)
    if not index.files and not index.broken:
        raise InputError(f"{shown(folder)} holds no readers' XML of a CT scan; give its folder as --xml")
    if index.broken and not keep_going:
        raise InputError(f"{index.broken[0]} (--keep-going leaves it out)")
    return index


def check_arguments(dicom: Path, out: Path, settings: Settings) -> None:
    """Refuse what cannot be prepared, before any work.

    Raises:
        InputError: a setting out of range, no such folder, or ``out`` exists.
    """
    if not 0.1 <= settings.spacing <= 5:
        raise InputError(f"a spacing of {settings.spacing} mm is not between 0.1 and 5 mm; the paper uses 0.5")
    if not 16 <= settings.size <= 1024:
        raise InputError(f"a size of {settings.size} px is not between 16 and 1024; the paper uses 180")
    _check_folder(dicom)
    if out.exists():
        raise InputError(f"{out} exists already; choose another folder or remove it first")


def _check_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder; give the folder of the download")


def _make_parts(tasks: Sequence[Job], out: Path, keep_going: bool, jobs: int) -> list[Part]:
    """Prepare all folders in parallel, through whichever backend joblib is set to."""
    done = sum(task.part.is_dir() for task in tasks)
    if done:
        log.info(f"{done:,} of {len(tasks):,} folders were prepared before; going on with the others")
    parts: list[Part] = []
    where: dict[str, str] = {}
    work = delayed(InWorker(make_part))
    results = Parallel(n_jobs=jobs, return_as="generator_unordered")(work(task) for task in tasks)
    with progress_bar() as bar, _closing(results):
        shown = bar.add_task(f"reading scans for {out.name}", total=len(tasks))
        for part in results:
            if part.errors and not keep_going:
                raise InputError(f"{part.errors[0]} (--keep-going skips what cannot be read)")
            for scan in part.scans:
                other = where.setdefault(scan.series, part.folder)
                if other != part.folder:
                    raise InputError(f"series {scan.series} is in {other} and in {part.folder}; keep one of them")
            parts.append(part)
            bar.advance(shown)
    return sorted(parts, key=lambda part: part.folder)


@contextmanager
def _closing(results: Generator[Part, None, None]) -> Iterator[None]:
    """Stop the workers when the first error ends the loop, without joblib's warning that they were stopped."""
    try:
        yield
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            results.close()


def _sources(parts: Sequence[Part]) -> list[CaseSource]:
    splits = load_reader_split()
    sources = []
    for part in parts:
        row = 0
        for scan in part.scans:
            for name in scan.names:
                case = Case(name, scan.patient, splits[scan.patient])
                sources.append(CaseSource(case, partial(draw_crop, part.path, row)))
                row += 1
    return sorted(sources, key=lambda source: source.case.patient)  # stable: by patient wherever the folders lie


def draw_volume(
    part: Path, first: int, heights: Sequence[float], spacing: float, affine: Sequence[Sequence[float]] | None
) -> Volume:
    """Read the crops of one lesion as a volume.

    Args:
        part: the folder.
        first: row of its lowest slice; the others follow.
        heights: of the slices, ascending.
        spacing: mm of a pixel.
        affine: of the volume; ``None`` where it lies nowhere.
    """
    images, labels = (np.load(part / name, mmap_mode="r") for name in ("images.npy", "labels.npy"))
    rows = slice(first, first + len(heights))
    between = (heights[-1] - heights[0]) / max(len(heights) - 1, 1)
    voxel = (between, spacing, spacing) if between else None
    place = None if affine is None else np.array(affine)
    return Volume(np.moveaxis(images[rows], 1, 0), np.moveaxis(labels[rows], 1, 0), voxel, place)


def _volume_sources(parts: Sequence[Part], spacing: float) -> list[VolumeSource]:
    splits = load_reader_split()
    sources = []
    for part in parts:
        row = 0
        for scan in part.scans:
            lesions = groupby(scan.names, lambda name: name.rpartition("_z")[0])
            for (lesion, names), affine in zip(lesions, scan.affines, strict=True):
                heights = [float(name.rpartition("_z")[2]) for name in names]
                case = Case(lesion, scan.patient, splits[scan.patient])
                sources.append(VolumeSource(case, partial(draw_volume, part.path, row, heights, spacing, affine)))
                row += len(heights)
    return sorted(sources, key=lambda source: source.case.patient)


def _description(settings: Settings, parts: Sequence[Part], index: Index | None) -> Description:
    scans = [scan for part in parts for scan in part.scans]
    notes = {
        "scans": len(scans),
        "lesions": sum(scan.lesions for scan in scans),
        "lesions_with_more_than_four_annotations": sum(scan.folded for scan in scans),
        "left_out": dict(sum((Counter(scan.left_out) for scan in scans), Counter())),
        "files_that_are_no_ct": dict(sum((Counter(part.others) for part in parts), Counter())),
        "remarks": [f"{scan.patient}: {remark}" for scan in scans for remark in scan.remarks],
        "skipped": [error for part in parts for error in part.errors] + list(index.broken if index else ()),
    }
    return Description(
        title=f"LIDC-IDRI, CT around every lesion, {'volumes, ' if settings.dims == 3 else ''}four readers",
        licence=LICENCE,
        arguments={
            "command": "prepare lidc",
            "annotations": settings.annotations,
            "spacing": settings.spacing,
            "size": settings.size,
            **({"dims": 3} if settings.dims == 3 else {}),
        },
        intensity=HOUNSFIELD,
        spacing_mm=None if settings.dims == 3 else (settings.spacing, settings.spacing),
        notes=notes,
    )
