"""Label maps of any tool on disk: several for each case, as an array or a folder of files."""

from __future__ import annotations

import re
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from probunet.core.errors import InputError
from probunet.core.files import regular_file, shown
from probunet.io.formats import KINDS, ending, is_left_behind, stem
from probunet.io.pictures import Picture, picture_of, read_file

LabelMaps = npt.NDArray[Any]
_RASTER = ("PNG", "TIFF")
"""Kinds of files that do not say in which order their rows and columns are."""
ENDINGS = tuple(known for known, kind in KINDS.items() if kind.name in (*_RASTER, "NIfTI", "NRRD", "MetaImage"))
"""Of files that hold one label map."""
SLICES = "slice-*.png"
"""The slices of one label map of a volume, in a folder of their own, in the order of ``probunet sample``."""
SAMPLES = "samples"
"""Name of the folder in which ``probunet sample`` writes the hypotheses of a case; other files lie beside it."""
BESIDE = f"{SAMPLES}.npy"
"""What ``probunet sample`` writes beside the files of the hypotheses: the same once more."""
_PICTURES = {".bmp", ".gif", ".webp", ".jp2", ".mhd", ".nhdr", ".hdr", ".img", ".mgz"}
"""Endings of pictures that nothing here reads."""


class MapSet(ABC):
    """Cases with names, and several label maps of each."""

    path: Path
    names: list[str]
    has_names: bool
    """Whether the names are the user's own; positions otherwise."""

    @abstractmethod
    def maps(self, name: str) -> LabelMaps:
        """(M, ...) integer label maps of a case.

        Raises:
            InputError: a file cannot be read or does not fit the others, naming it.
        """

    def pictures(self, name: str) -> list[Picture]:
        """The files of a case; none where it is part of an array."""
        return []

    @abstractmethod
    def place(self, name: str) -> str:
        """Where a case lies, for messages."""


def open_maps(path: Path, array: str) -> MapSet:
    """Open a set of label maps.

    - ``.npy``: one array (cases, maps, ...), read case by case from the disk.
    - ``.npz``: such an array under the name ``array``, or the only one; with an optional array ``names`` (cases,).
    - a folder of folders ``case/map`` or ``case/samples/map`` with PNG, TIFF, NIfTI, NRRD or MetaImage files; maps
      are ordered by name, numbers as numbers. A map of a volume may be a folder of its slices, ``slice-0000.png`` and
      so on, as ``probunet sample`` writes them.

    Raises:
        InputError: there is nothing like this at ``path``.
    """
    if path.is_dir():
        return _Folder(path)
    if not path.exists():
        raise InputError(f"{path} does not exist; give a .npy or .npz file or a folder of case/map files")
    regular_file(path)
    if path.suffix.lower() not in (".npy", ".npz"):
        raise InputError(f"{path} is neither .npy nor .npz nor a folder of case/map files ({', '.join(ENDINGS)})")
    try:
        return _Array(path, array)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path} cannot be read: {error}; write it again with numpy.save or savez") from error


class _Array(MapSet):
    def __init__(self, path: Path, array: str) -> None:
        self.path = path
        names: Sequence[Any] | None = None
        self._held: LabelMaps | None = None
        if path.suffix.lower() == ".npz":
            self._held, names = self._read_npz(array)
        shape, dtype = self._all().shape, self._all().dtype
        if dtype.kind not in "bui" or len(shape) not in (4, 5):
            raise InputError(
                f"{path} holds {dtype} of shape {shape}; needed are integers of shape (cases, maps, rows, columns), of "
                "volumes (cases, maps, slices, rows, columns)"
            )
        if names is not None and (len(names) != shape[0] or len(set(names)) < len(names)):
            raise InputError(f"{path} needs {shape[0]} different names, one for each case")
        self.has_names = names is not None
        self.names = [str(name) for name in (range(shape[0]) if names is None else names)]
        self._index = {name: i for i, name in enumerate(self.names)}

    def _read_npz(self, array: str) -> tuple[LabelMaps, Sequence[Any] | None]:
        with np.load(self.path) as held:
            keys = [key for key in held.files if key != "names"]
            chosen = array if array in keys else keys[0] if len(keys) == 1 else None
            if chosen is None:
                raise InputError(f"{self.path} holds the arrays {', '.join(keys)}; name one of them '{array}'")
            if "names" not in held.files:
                return held[chosen], None
            if held["names"].ndim != 1:
                raise InputError(f"{self.path} has names of shape {held['names'].shape}; a list of them is needed")
            return held[chosen], held["names"].tolist()

    def _all(self) -> LabelMaps:
        """The whole array; a .npy file is mapped anew each time, so that the pages read do not stay in memory."""
        return np.load(self.path, mmap_mode="r") if self._held is None else self._held

    def maps(self, name: str) -> LabelMaps:
        return np.array(self._all()[self._index[name]])

    def place(self, name: str) -> str:
        return f"case {name} of {self.path}"


class _Folder(MapSet):
    def __init__(self, path: Path) -> None:
        self.path, self.has_names = path, True
        folders = (folder for folder in path.iterdir() if folder.is_dir() and not is_left_behind(folder.name))
        cases = sorted(folders, key=_natural)
        self._files = {case.name: _maps_in(case) for case in cases}
        self.names = list(self._files)
        if not self.names:
            raise InputError(f"{path} holds no case folders; lay it out as case/map with {', '.join(ENDINGS)} files")

    def pictures(self, name: str) -> list[Picture]:
        files = self._files[name]
        if not files and (self.path / name / "samples.npy").is_file():
            raise InputError(
                f"{self.place(name)} holds samples.npy alone, which does not say where it lies; sample with --format "
                "png, or nifti for volumes"
            )
        if not files:
            raise InputError(f"{self.place(name)} holds no {', '.join(ENDINGS)} file")
        return [_of_slices(file) if file.is_dir() else read_file(file, class_ids=True) for file in files]

    def maps(self, name: str) -> LabelMaps:
        return maps_of_case([self], name)[0]

    def place(self, name: str) -> str:
        return str(self.path / name)


def _maps_in(case: Path) -> list[Path]:
    """The label maps of a case: those in its folder of samples where it has one, as ``probunet sample`` writes it."""
    folder = case / SAMPLES if (case / SAMPLES).is_dir() else case
    files = [file for file in folder.iterdir() if not is_left_behind(file.name)]
    maps = [file for file in files if ending(file) in ENDINGS or (file.is_dir() and any(file.glob(SLICES)))]
    for file in files if maps else ():
        if file not in maps and (ending(file) or file.suffix.lower() in _PICTURES) and file.name != BESIDE:
            raise InputError(
                f"{file} is a picture of a kind that is not read as a label map; save it as PNG, or move it"
            )
    stems: dict[str, Path] = {}
    for file in sorted(maps, key=_natural):
        if (other := stems.setdefault(stem(file), file)) is not file:
            raise InputError(
                f"{shown(other)} and {shown(file)} have one name and would count as two maps; keep one of them"
            )
    return list(stems.values())


def _of_slices(folder: Path) -> Picture:
    """A volume out of the files of its slices.

    Raises:
        InputError: a number that is missing, or a slice that cannot be read or is not like the first.
    """
    files = sorted(folder.glob(SLICES))
    if [file.stem for file in files] != [f"slice-{number:04d}" for number in range(len(files))]:
        raise InputError(f"{folder} lacks a slice: {len(files)} files up to {files[-1].name}; write the map again")
    slices = [read_file(file, class_ids=True).slice(0) for file in files]
    for file, pixels in zip(files, slices, strict=True):
        if pixels.shape != slices[0].shape:
            raise InputError(f"{file} has the shape {pixels.shape[1:]}, but {files[0].name} has {slices[0].shape[1:]}")
    return replace(picture_of(np.stack(slices), folder.name), source=folder, is_labels=True)


def maps_of_case(sets: Sequence[MapSet], name: str) -> list[LabelMaps]:
    """Label maps of one case out of several sets, voxel by voxel at the same place.

    Files that say where they lie are brought to one orientation and must lie on one grid. Where one of them does not
    say it, all are taken as they are stored. An array or a picture (PNG, TIFF) does not say either in which order its
    pixels are: rows and columns as ``probunet sample`` writes them, as files store them, or of an array the first
    index first, as nibabel gives it. Beside it, files are taken in the one of these orders that fits its shape.

    Returns:
        (M, H, W) or (M, slices, H, W) class ids for each set.

    Raises:
        InputError: a file cannot be read, lies elsewhere than the others, or fits what has no order in two ways that
            differ, or in none.
    """
    pictures = [held.pictures(name) for held in sets]
    everything = [picture for of_set in pictures for picture in of_set]
    _refuse_slices_beside_places(everything)
    placed = [picture for picture in everything if picture.affine is not None]
    for picture in placed[1:]:
        if picture.shape == placed[0].shape and not picture.same_grid(placed[0]):
            raise InputError(
                f"{picture.source} and {placed[0].source} have different spacing, origin or directions; resample "
                "one to the other"
            )
    if len({picture.order for picture in placed}) > 1 and len(placed) < len(everything):
        lost = next(picture for picture in everything if picture.affine is None)
        raise InputError(
            f"{shown(lost.source)} does not say where it lies, and files beside it that do are stored in different "
            "orders, so that nobody knows how it is turned; save it with its place"
        )
    arrays = [None if of_set else held.maps(name) for held, of_set in zip(sets, pictures, strict=True)]
    loose = [("array", array.shape[1:]) for array in arrays if array is not None]
    loose += [("picture", picture.shape[1:]) for picture in everything if picture.stored.kind in _RASTER]
    as_stored, beside = bool(loose) or len(placed) < len(everything), loose[0] if loose else None
    return [
        _stacked([_laid(picture, as_stored, beside) for picture in of_set], of_set) if array is None else array
        for array, of_set in zip(arrays, pictures, strict=True)
    ]


def _refuse_slices_beside_places(pictures: Sequence[Picture]) -> None:
    """Slices in files of their own are in the order of ``sample``, a file with a place is not.

    Raises:
        InputError: there are both.
    """
    slices = next((picture for picture in pictures if picture.source.is_dir()), None)
    placed = next((picture for picture in pictures if picture.affine is not None), None)
    if slices is not None and placed is not None:
        raise InputError(
            f"{slices.source} does not say where its slices lie, as {placed.source} does; sample with --format nifti"
        )


def sizes_of_case(sets: Sequence[MapSet], name: str) -> set[tuple[float, ...] | None]:
    """Sizes of a pixel in mm, as the label maps of ``maps_of_case`` say them; ``None`` where one does not.

    Raises:
        InputError: a file cannot be read.
    """
    pictures = [held.pictures(name) for held in sets]
    arrays: set[tuple[float, ...] | None] = set() if all(pictures) else {None}
    return arrays | {picture.sides_mm for of_set in pictures for picture in of_set}


def _stacked(read: Sequence[LabelMaps], pictures: Sequence[Picture]) -> LabelMaps:
    for labels, picture in zip(read, pictures, strict=True):
        if labels.shape != read[0].shape:
            raise InputError(
                f"{picture.source} has the shape {labels.shape}, but {pictures[0].source} has {read[0].shape}"
            )
    return np.stack(read)


def _laid(picture: Picture, as_stored: bool, loose: tuple[str, tuple[int, ...]] | None) -> LabelMaps:
    """The labels of a file in the order of what it is compared with.

    Args:
        picture: the file.
        as_stored: whether something beside it does not say where it lies.
        loose: what does not say either in which order its pixels are, an array or a picture, and its shape.

    Raises:
        InputError: the file fits that in two ways that differ, or does not fit at all.
    """
    canonical = picture.labels()
    if not as_stored:
        return canonical[0] if len(canonical) == 1 else canonical
    stored = picture.native(canonical)
    canonical, stored = (labels[0] if len(labels) == 1 else labels for labels in (canonical, stored))
    if loose is None or (picture.affine is None and picture.stored.kind != "NIfTI"):
        return stored
    what, shape = loose
    orders = [canonical, stored] + ([stored.T] if what == "array" and picture.stored.kind == "NIfTI" else [])
    fitting = [labels for labels in orders if labels.shape == shape]
    if not fitting:
        raise InputError(
            f"{shown(picture.source)} has the shape {canonical.shape}, which does not fit the {what} of shape {shape} "
            "beside it; give both sides as files that say where they lie"
        )
    if any(not np.array_equal(labels, fitting[0]) for labels in fitting[1:]):
        raise InputError(
            f"{shown(picture.source)} fits the {what} beside it in two ways: nobody says whether that is in the order "
            "in which 'probunet sample' writes pixels or in that of the file; give both sides as files that say where "
            "they lie"
        )
    return fitting[0]


def _natural(path: Path) -> list[tuple[int, str]]:
    return [(int(part or 0), "") if part.isdecimal() else (0, part) for part in re.split(r"(\d+)", path.name)]
