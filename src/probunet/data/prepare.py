"""From any source of (image, readers' labels) to a store: in parallel, with a bar, all or nothing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt
from joblib import Parallel, delayed
from numpy.lib import format as npy

from probunet.core.console import progress_bar
from probunet.core.errors import InputError
from probunet.core.intensity import Intensity
from probunet.core.marks import marked
from probunet.core.processes import InWorker
from probunet.core.types import IGNORE
from probunet.core.writing import writing_folder
from probunet.data.flips import Flip
from probunet.data.manifest import SPLITS, Case, write_cases, write_manifest
from probunet.data.store import Store

CHUNK = 64


Drawn = tuple[npt.NDArray[Any], npt.NDArray[np.uint8]]
"""A raw image (C, H, W) and its readers' labels (R, H, W)."""


Content = TypeVar("Content")
"""What is drawn: an image with its readings, or a volume with its own."""


@dataclass(frozen=True)
class Source(Generic[Content]):
    """What becomes one case of a store.

    Attributes:
        case: its name, patient and split.
        draw: reads or simulates it; picklable and small, as it travels to another process.
    """

    case: Case
    draw: Callable[[], Content]


CaseSource: TypeAlias = Source[Drawn]
"""Of a store of images."""


@dataclass(frozen=True)
class Description:
    """What the manifest says about a store beyond what is counted.

    Attributes:
        title: one line, for people; says "simulated" where the images are.
        licence: of images and annotations, with attribution.
        arguments: the command and its arguments that matter for the content.
        intensity: how raw values become what a model sees.
        spacing_mm: pixel size (row, column) in mm, of volumes (slice, row, column); ``None`` where unknown, or where
            volumes differ.
        classes: names of the classes, background first.
        simulated: whether the images are simulated.
        notes: further counts and decisions.
        flips: stochastic label flips, drawn in training and enumerated in evaluation.
        readers: name of the person behind each column of readings; ``None`` where a column is not always the same
            person, as in LIDC-IDRI.
    """

    title: str
    licence: str
    arguments: dict[str, Any]
    intensity: Intensity
    spacing_mm: tuple[float, ...] | None
    classes: tuple[str, ...] = ("background", "lesion")
    simulated: bool = False
    notes: dict[str, Any] = field(default_factory=dict)
    flips: tuple[Flip, ...] = ()
    readers: tuple[str, ...] | None = None


def write_store(
    out: Path,
    sources: Sequence[CaseSource],
    description: Description,
    dtype: type[np.generic],
    *,
    jobs: int = -1,
    threads: bool = False,
    keep_empty: bool = False,
) -> Store:
    """Draw every case and write them as a store.

    Cases whose labels are all background for every reader show no lesion and are left out and counted. A reading
    that is ``IGNORE`` everywhere is a missing one, and a case without any reading is left out, too.

    Args:
        out: the folder to make.
        sources: where cases come from.
        description: what the manifest says.
        dtype: of the images on disk.
        jobs: parallel workers, -1 for one per core.
        threads: use threads, for sources that are cheap to read but dear to copy to another process.
        keep_empty: keep cases that readers looked at and none marked.

    Raises:
        InputError: ``out`` exists, the disk is full, there is nothing to write, or a case cannot be drawn.
    """
    count = len(sources)
    if not count:
        raise InputError(f"there is nothing to write to {out}: no images were found")
    with writing_folder(out) as folder:
        image, labels = sources[0].draw()
        files = {"images.npy": (image.shape, np.dtype(dtype)), "labels.npy": (labels.shape, np.dtype("u1"))}
        for name, (shape, kind) in files.items():
            _allocate(folder / name, (count, *shape), kind)
        work = InWorker(_write_chunk)
        chunks = [range(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK)]
        tasks = (delayed(work)(sources[k.start : k.stop], k, folder, keep_empty) for k in chunks)
        workers = Parallel(n_jobs=jobs, return_as="generator_unordered", prefer="threads" if threads else None)
        kept = np.zeros(count, dtype=bool)
        with progress_bar() as bar:
            task = bar.add_task(f"preparing {out.name}", total=count)
            for chunk, chosen in workers(tasks):
                kept[chunk.start : chunk.stop] = chosen
                bar.advance(task, len(chunk))
        if not kept.any():
            raise InputError(f"there is nothing to write to {out}: no reader marked anything anywhere")
        for name in files:
            _keep_rows(folder / name, kept)
        _write_present(folder)
        cases = [sources[i].case for i in np.flatnonzero(kept).tolist()]
        write_cases(folder / "cases.csv", cases)
        labels = np.load(folder / "labels.npy", mmap_mode="r")
        shown = np.stack([marked(readings) for readings in labels])
        write_manifest(folder, facts_of(folder, description, cases, int((~kept).sum()), shown))
        Store(folder)  # what cannot be opened is not left behind
    return Store(out)


def _write_chunk(
    sources: Sequence[CaseSource], chunk: range, folder: Path, keep_empty: bool
) -> tuple[range, npt.NDArray[np.bool_]]:
    images = np.load(folder / "images.npy", mmap_mode="r+")
    labels = np.load(folder / "labels.npy", mmap_mode="r+")
    for i, source in zip(chunk, sources, strict=True):
        images[i], labels[i] = source.draw()
    drawn = labels[chunk.start : chunk.stop]
    return chunk, np.asarray((drawn != IGNORE).any(axis=(1, 2, 3)) if keep_empty else marked(drawn).any(axis=1))


def _write_present(folder: Path) -> None:
    labels = np.load(folder / "labels.npy", mmap_mode="r")
    present = np.stack([(readings != IGNORE).any(axis=(1, 2)) for readings in labels])
    if not present.all():
        np.save(folder / "present.npy", present)


def _allocate(file: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Reserve the whole file on disk, so that a full disk shows here and not as a crash of a mapped write."""
    array = npy.open_memmap(file, mode="w+", dtype=dtype, shape=shape)
    offset = int(array.offset)
    del array
    zeros, left = bytes(1 << 24), int(np.prod(shape)) * dtype.itemsize
    with file.open("r+b") as handle:
        handle.seek(offset)
        while left:
            left -= handle.write(zeros[:left])


def _keep_rows(file: Path, kept: npt.NDArray[np.bool_]) -> None:
    """Move the kept rows together and cut the file; the header of an .npy file has room for a new length."""
    array = np.load(file, mmap_mode="r+")
    for new, old in enumerate(np.flatnonzero(kept)):
        if new != old:
            array[new] = array[old]
    shape, dtype, offset = (int(kept.sum()), *array.shape[1:]), array.dtype, int(array.offset)
    del array
    with file.open("r+b") as handle:
        header = {"descr": npy.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        npy.write_array_header_1_0(handle, header)
        if handle.tell() != offset:
            raise RuntimeError(f"the header of {file.name} changed its length")
        handle.truncate(offset + int(np.prod(shape)) * dtype.itemsize)


def facts_of(
    folder: Path,
    description: Description,
    cases: Sequence[Case],
    left_out: int,
    shown: npt.NDArray[np.bool_],
    dims: int = 2,
) -> dict[str, Any]:
    """What a manifest says beside sizes and checksums.

    Args:
        folder: with the finished arrays.
        description: what is known.
        cases: that are kept.
        left_out: number of those that are not.
        shown: (N, R) whether a reader marked anything.
        dims: axes of an image.
    """
    images = np.load(folder / "images.npy", mmap_mode="r")
    labels = np.load(folder / "labels.npy", mmap_mode="r")
    present = np.load(folder / "present.npy") if (folder / "present.npy").is_file() else np.ones_like(shown)
    empty = Counter(int(n) for n in (present & ~shown).sum(axis=1))
    splits = {}
    for split in SPLITS:
        patients = [case.patient for case in cases if case.split == split]
        splits[split] = {"cases": len(patients), "patients": len(set(patients))}
    return {
        "dims": dims,
        "title": description.title,
        "simulated": description.simulated,
        "licence": description.licence,
        "made_by": description.arguments,
        "classes": list(description.classes),
        "spacing_mm": description.spacing_mm,
        "intensity": asdict(description.intensity),
        "images": {"shape": list(images.shape), "dtype": str(images.dtype)},
        "labels": {"shape": list(labels.shape), "dtype": str(labels.dtype)},
        "readers": None if description.readers is None else list(description.readers),
        "splits": splits,
        "empty_masks_per_case": {str(key): empty[key] for key in sorted(empty)},
        **({} if present.all() else {"missing_readings": int((~present).sum())}),
        "left_out_no_reader_marked_anything": left_out,
        **({"notes": description.notes} if description.notes else {}),
        **({"flips": [asdict(flip) for flip in description.flips]} if description.flips else {}),
    }
