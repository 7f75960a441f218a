"""One folder of a LIDC-IDRI download at a time, each to a finished part on disk.

A part is a folder of ``images.npy``, ``labels.npy`` and ``part.json`` that appears when it is complete. Its name
depends on the files that it was made from and on the settings, so a later run takes what is still valid and makes
the rest: preparing can be killed and started again, and parts can be made by any number of machines that share a
disk.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import Literal

import numpy as np

from probunet.core.descriptions import read_json
from probunet.core.errors import InputError
from probunet.core.writing import writing_folder
from probunet.data.lidc.annotations import AnnotationTable, load_table
from probunet.data.lidc.crops import Crops, crop_scan
from probunet.data.lidc.lesions import ScanLesions, builtin_nodules, find_lesions
from probunet.data.lidc.whole import place_of, whole_lesions
from probunet.data.lidc.xml import Index, Nodule, read_copies
from probunet.data.splits import load_reader_split
from probunet.io.dicom import Slice, is_dicom
from probunet.io.series import Series, make_series, read_headers


@dataclass(frozen=True)
class Settings:
    """What decides about the content of a part.

    Attributes:
        annotations: the readers' XML, or the built-in contours.
        spacing: mm of the pixels.
        size: pixels along either side.
        partial: accept scans of which outlined slices are missing.
        dims: 3 for all slices of a lesion on one grid, and some above and below.
    """

    annotations: Literal["xml", "builtin"]
    spacing: float
    size: int
    partial: bool = False
    dims: Literal[2, 3] = 2


@dataclass(frozen=True)
class Scan:
    """What became of one CT series.

    Attributes:
        series: series instance UID.
        patient: patient id.
        slices: CT slices.
        lesions: their number.
        folded: lesions with more than four annotations.
        names: of the crops, in their order.
        empty_masks: of every crop, 0 to 4.
        left_out: marks of the XML that are no outlines, by kind.
        remarks: sentences about what was found odd.
        affines: of every lesion as a volume, from (column, row, slice) to mm in the axes of NIfTI; ``None`` where it
            lies nowhere.
    """

    series: str
    patient: str
    slices: int
    lesions: int
    folded: int
    names: list[str]
    empty_masks: list[int]
    left_out: dict[str, int]
    remarks: list[str]
    affines: list[list[list[float]] | None]


@dataclass(frozen=True)
class Part:
    """What became of one folder.

    Attributes:
        folder: of the DICOM files.
        path: of the part.
        scans: its CT series, in the order of their crops.
        others: files that are no CT, by modality.
        errors: a sentence for every series that cannot be read.
    """

    folder: str
    path: Path
    scans: list[Scan] = field(default_factory=list)
    others: dict[str, int] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Job:
    """One folder to prepare; small and picklable.

    Attributes:
        folder: of the DICOM files.
        files: the DICOM files in it.
        part: where its part goes.
        settings: what to make.
        xml: reader files by series.
    """

    folder: Path
    files: tuple[Path, ...]
    part: Path
    settings: Settings
    xml: dict[str, tuple[Path, ...]]


def find_jobs(dicom: Path, parts: Path, settings: Settings, index: Index | None) -> list[Job]:
    """Find the folders with DICOM files below ``dicom``, at any depth.

    Raises:
        InputError: the folder or one below it cannot be listed, or there are no DICOM files.
    """

    def refuse(error: OSError) -> None:
        raise InputError(f"{error.filename} cannot be listed ({error.strerror}); check the path and its permissions")

    xml = index.files if index else {}
    common = [repr(settings), *_stamps(path for series in sorted(xml) for path in xml[series])]
    jobs = []
    for folder, _, names in sorted(os.walk(dicom, onerror=refuse)):
        paths = [Path(folder, name) for name in sorted(names) if not name.startswith(".")]
        files = tuple(path for path in paths if is_dicom(path))
        if files:
            digest = hashlib.sha256("\n".join([*common, *_stamps(files)]).encode()).hexdigest()
            jobs.append(Job(Path(folder), files, parts / digest[:32], settings, xml))
    if not jobs:
        raise InputError(f"there are no DICOM files below {dicom}; give the folder of the download (.../LIDC-IDRI)")
    return jobs


def make_part(job: Job) -> Part:
    """Prepare one folder, or take the part that is there already.

    A series that cannot be read is named in ``errors``; a part with errors is made again next time.

    Raises:
        InputError: the part cannot be written.
    """
    if job.part.is_dir():
        part = _read_part(job)
        if not part.errors:
            return part
        shutil.rmtree(job.part)
    scans: list[Scan] = []
    crops: list[Crops] = []
    errors: list[str] = []
    found: dict[str, list[Slice]] = {}
    others: dict[str, int] = {}
    try:
        found, others = read_headers(job.files)
    except InputError as error:
        errors.append(str(error))
    for uid in sorted(found):
        try:
            scan, made = _scan(make_series(found[uid]), job)
        except InputError as error:
            errors.append(str(error))
        else:
            scans.append(scan)
            crops.append(made)
    size = job.settings.size
    none: Crops = (np.empty((0, 1, size, size), np.int16), np.empty((0, 4, size, size), np.uint8))
    part = Part(str(job.folder), job.part, scans, dict(others), errors)
    with writing_folder(job.part) as folder:
        for i, name in enumerate(("images.npy", "labels.npy")):
            np.save(folder / name, np.concatenate([none[i], *(made[i] for made in crops)]))
        (folder / "part.json").write_text(json.dumps({**asdict(part), "path": ""}))
    return part


def _read_part(job: Job) -> Part:
    file = job.part / "part.json"
    try:
        content = read_json(file)
        scans = [Scan(**scan) for scan in content["scans"]]
        return Part(content["folder"], job.part, scans, content["others"], content["errors"])
    except (InputError, KeyError, TypeError) as error:
        raise InputError(f"{file} is damaged; remove {job.part} and give the same command again") from error


def _scan(series: Series, job: Job) -> tuple[Scan, Crops]:
    if series.patient not in load_reader_split():
        raise InputError(
            f"{job.folder}: patient '{series.patient}' is not one of the 1,010 of LIDC-IDRI, so it has no split"
        )
    nodules, left_out = _nodules(series, job)
    lesions = find_lesions(nodules, series, job.settings.partial)
    if job.settings.dims == 3:
        lesions = whole_lesions(lesions, series)
    images, labels = crop_scan(series, lesions, job.settings.spacing, job.settings.size)
    names = [f"{series.patient}_{series.uid[-8:]}_lesion{one.lesion:02d}_z{one.z:+.3f}" for one, _ in lesions.slices]
    scan = Scan(
        series=series.uid,
        patient=series.patient,
        slices=len(series.slices),
        lesions=lesions.lesions,
        folded=lesions.folded,
        names=names,
        empty_masks=(~labels.any(axis=(2, 3))).sum(axis=1).tolist(),
        left_out=left_out,
        remarks=[*series.remarks, *lesions.remarks],
        affines=_affines(lesions, series, job.settings) if job.settings.dims == 3 else [],
    )
    return scan, (images, labels)


def _affines(lesions: ScanLesions, series: Series, settings: Settings) -> list[list[list[float]] | None]:
    """Where every lesion lies, in the order of their crops."""
    by_lesion = groupby(lesions.slices, lambda pair: pair[0].lesion)
    places = [place_of(list(slices), series, settings.spacing, settings.size) for _, slices in by_lesion]
    return [None if place is None else place.tolist() for place in places]


def _nodules(series: Series, job: Job) -> tuple[Sequence[Nodule], dict[str, int]]:
    if job.settings.annotations == "builtin":
        return builtin_nodules(_built_in(), series.uid), {}
    if series.uid not in job.xml:
        raise InputError(
            f"{job.folder}: series {series.uid} of {series.patient} has no reader XML; give its folder with --xml"
        )
    readings = read_copies(job.xml[series.uid])
    left_out = {
        "points": readings.points,
        "non-nodules": readings.non_nodules,
        "single-pixel outlines": readings.one_pixel,
    }
    return readings.nodules, left_out


@cache
def _built_in() -> AnnotationTable:
    return load_table()


def _stamps(paths: Iterable[Path]) -> list[str]:
    """Name, size and time of files: what changes when a file does."""
    facts = ((path, path.stat()) for path in paths)
    return [f"{path}|{fact.st_size}|{fact.st_mtime_ns}" for path, fact in facts]
