"""Label maps of any tool on disk: several for each case, as an array or a folder of PNG or NIfTI files."""

from __future__ import annotations

import re
import zipfile
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from probunet.core.errors import InputError

LabelMaps = npt.NDArray[Any]
SUFFIXES = (".png", ".nii", ".nii.gz")


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

    @abstractmethod
    def place(self, name: str) -> str:
        """Where a case lies, for messages."""


def open_maps(path: Path, array: str) -> MapSet:
    """Open a set of label maps.

    - ``.npy``: one array (cases, maps, ...), read case by case from the disk.
    - ``.npz``: such an array under the name ``array``, or the only one; with an optional array ``names``
    (cases,). - a folder of folders ``case/map.png``, ``.nii`` or ``.nii.gz``; maps are ordered by name,
    numbers as numbers.

    Raises:
        InputError: there is nothing like this at ``path``.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist; give a .npy or .npz file or a folder of case/map files")
    if path.is_dir():
        return _Folder(path)
    if path.suffix not in (".npy", ".npz"):
        raise InputError(f"{path} is neither .npy nor .npz nor a folder of case/map files ({', '.join(SUFFIXES)})")
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
        if path.suffix == ".npz":
            self._held, names = self._read_npz(array)
        shape, dtype = self._all().shape, self._all().dtype
        if dtype.kind not in "bui" or len(shape) < 3:
            raise InputError(f"{path} holds {dtype} of shape {shape}; needed are integers of shape (cases, maps, ...)")
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
            return held[chosen], held["names"].tolist() if "names" in held.files else None

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
        self._files = {
            case.name: sorted((f for f in case.iterdir() if f.name.endswith(SUFFIXES)), key=_natural)
            for case in sorted(path.iterdir(), key=_natural)
            if case.is_dir() and not case.name.startswith(".")
        }
        self.names = list(self._files)
        if not self.names:
            raise InputError(f"{path} holds no case folders; lay it out as case/map with {', '.join(SUFFIXES)} files")

    def maps(self, name: str) -> LabelMaps:
        files = self._files[name]
        if not files:
            raise InputError(f"{self.place(name)} holds no {', '.join(SUFFIXES)} file")
        read = [_read(file) for file in files]
        for file, labels in zip(files, read, strict=True):
            if labels.shape != read[0].shape:
                raise InputError(f"{file} has the shape {labels.shape}, but {files[0]} has {read[0].shape}")
        return np.stack(read)

    def place(self, name: str) -> str:
        return str(self.path / name)


def _read(file: Path) -> LabelMaps:
    try:
        labels = _read_png(file) if file.suffix == ".png" else _read_nifti(file)
    except (OSError, ValueError, EOFError, SyntaxError) as error:
        raise InputError(f"{file} cannot be read: {error}") from error
    if labels.dtype.kind == "f" and (labels == np.rint(labels)).all():
        labels = labels.astype(np.int32)  # NIfTI writers often scale; whole numbers are labels all the same
    if labels.dtype.kind not in "bui":
        raise InputError(f"{file} holds {labels.dtype} that are no whole numbers; write class ids")
    return labels


def _read_png(file: Path) -> LabelMaps:
    from PIL import Image

    with Image.open(file) as image:
        if image.mode not in ("1", "L", "P", "I", "I;16"):
            raise InputError(f"{file} is a {image.mode} image; write class ids as one 8 or 16 bit channel")
        return np.asarray(image)


def _read_nifti(file: Path) -> LabelMaps:
    try:
        import nibabel
    except ImportError as error:
        raise InputError(f"{file} needs nibabel; install it with: pip install 'probunet[nifti]'") from error
    try:
        return np.asarray(nibabel.load(file).dataobj)  # type: ignore[attr-defined]
    except nibabel.filebasedimages.ImageFileError as error:
        raise InputError(f"{file} cannot be read: {error}") from error


def _natural(path: Path) -> list[tuple[int, str]]:
    return [(int(part or 0), "") if part.isdigit() else (0, part) for part in re.split(r"(\d+)", path.name)]
