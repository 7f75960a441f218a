"""The pictures behind files and folders, folder by folder: an archive is never listed or read as a whole.

The DICOM slices of one folder are put together as series by their headers. A series whose slices lie in two folders is
refused and both are named, because its halves would look like two cases; where pictures are worked on as they are
found, that is known when the second folder is reached.
"""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path

from probunet.core.errors import InputError
from probunet.core.files import shown
from probunet.core.names import safe_name
from probunet.io.channels import files_as_pictures
from probunet.io.content import Content
from probunet.io.dicom import Slice, is_dicom, read_slices
from probunet.io.dicom_pictures import stored_series
from probunet.io.formats import ENDINGS, ending, is_left_behind, stem
from probunet.io.pictures import Picture
from probunet.io.series import make_series, split_phases
from probunet.io.stored import Stored

_DICOM = ("", ".dcm", ".dicom", ".ima")


class Search:
    """Pictures, found one after the other while they are asked for, each time in the same order.

    A folder is searched with all folders in it, by name. The headers of a folder's DICOM files are read when it is
    reached; every other file is a picture of its own and is not opened. What systems leave behind (.DS_Store, ._x,
    Thumbs.db) is passed over.

    Args:
        inputs: files of any kind that is read, or folders of these; what lies in another input is taken once.
        without: a folder inside of these that is passed over, as the results of a command are no inputs of it.
        channels: of a picture; see :func:`probunet.io.channels.files_as_pictures`.
        most: files and folders that are looked at; ``None`` for all there are.

    Raises:
        InputError: a file that was named does not exist or has an unknown ending. While pictures are asked for: a
            folder without any, or with more than are looked at. A picture that cannot be read says so when it is
            opened, and so do slices whose series was found in another folder before, see ``parted``.

    Attributes:
        parted: what is said of such series, by their UID, as far as pictures were asked for.
    """

    def __init__(
        self,
        inputs: Iterable[str | os.PathLike[str]],
        without: Path | None = None,
        channels: int = 1,
        most: int | None = None,
    ) -> None:
        self._channels, self._most = channels, most
        self.parted: dict[str, InputError] = {}
        paths = list(dict.fromkeys(map(Path, inputs)))
        self._without = None if without is None else without.resolve()
        self._folders = _outermost([path for path in paths if path.is_dir()])
        inside = {folder.resolve() for folder in self._folders}
        self._named: dict[Path, list[str]] = defaultdict(list)
        for path in paths:
            if not path.is_dir():
                _check_named(path)
                if not _lies_in(path, inside):
                    self._named[path.parent].append(path.name)

    def __iter__(self) -> Iterator[Picture]:
        homes: dict[int, Path] = {}
        others: list[str] = []
        count = 0
        self.parted.clear()
        for folder, names in self._places():
            dicom = [folder / name for name in names if _is_dicom(folder / name)]
            for picture in _cases(folder, dicom, homes, others, self.parted):
                count += 1
                yield picture
            files = [name for name in names if ending(Path(name)) not in _DICOM]
            for picture in files_as_pictures(folder, files, self._channels):
                count += 1
                yield picture
        if others and not count:
            raise InputError(f"{others[0]}; CT, MR and PET images are read")

    def count_files(self) -> int:
        """How many files there are to go through, without looking into them."""
        return sum(len(names) for names in self._named.values()) + sum(
            sum(not is_left_behind(name) for name in names) for top in self._folders for _, names in self._walk(top)
        )

    def _places(self) -> Iterator[tuple[Path, Sequence[str]]]:
        """Folders with names of files that may be pictures; named files first."""
        yield from self._named.items()
        for top in self._folders:
            empty, looked = True, 0
            for folder, names in self._walk(top):
                looked += 1 + len(names)
                if self._most is not None and looked > self._most:
                    raise InputError(
                        f"{shown(top)} holds more than the {self._most:,} files and folders that are looked at; give "
                        "the folder of the pictures"
                    )
                known = [name for name in names if _is_picture(folder / name)]
                empty = empty and not known
                yield folder, known
            if empty:
                raise InputError(f"{shown(top)} holds no picture; known are DICOM and {', '.join(ENDINGS)}")

    def _walk(self, top: Path) -> Iterator[tuple[Path, list[str]]]:
        for place, folders, names in os.walk(top):
            folders[:] = sorted(
                name
                for name in folders
                if not is_left_behind(name) and (self._without is None or Path(place, name).resolve() != self._without)
            )
            yield Path(place), sorted(names)


def find_pictures(
    inputs: Iterable[str | os.PathLike[str]], channels: int = 1, most: int | None = None
) -> list[Picture]:
    """All pictures of a :class:`Search`, which have names of their own.

    Raises:
        InputError: see :class:`Search`; or a series lies in two folders, or two pictures have one name.
    """
    search = Search(inputs, channels=channels, most=most)
    pictures = list(search)
    for refusal in search.parted.values():
        raise refusal
    return _with_names(pictures)


def read_picture(path: str | os.PathLike[str], channels: int = 1) -> Picture:
    """Open one file, or the DICOM series or the channels in a folder.

    Args:
        path: PNG, TIFF, JPEG, .npy, .npz, NIfTI, NRRD, MetaImage or DICOM; or a folder of one DICOM series, or of
            the channels of one picture.
        channels: of the picture.

    Raises:
        InputError: missing, an unknown ending, or several pictures in a folder. What the decoder refuses is raised
            when the header or a slice is asked for.
    """
    pictures = find_pictures([path], channels)
    if len(pictures) != 1:
        raise InputError(f"{shown(path)} holds {len(pictures)} pictures; give one of them")
    return pictures[0]


def _outermost(folders: Sequence[Path]) -> list[Path]:
    """The folders that lie in none of the others."""
    every = {folder.resolve() for folder in folders}
    return [folder for folder in folders if not _lies_in(folder, every)]


def _lies_in(path: Path, folders: set[Path]) -> bool:
    return bool(folders) and not folders.isdisjoint(path.resolve().parents)


def _is_dicom(file: Path) -> bool:
    return ending(file) in _DICOM


def _is_picture(file: Path) -> bool:
    """Whether a file that nobody named may be one; a DICOMDIR is an index of others (DICOM PS3.10, 8.6)."""
    if is_left_behind(file.name) or file.name.upper() == "DICOMDIR":
        return False
    if not file.is_file():
        return bool(ending(file)) and file.is_symlink() and not file.exists()  # which says so when it is opened
    return bool(ending(file) or is_dicom(file))


def _check_named(path: Path) -> None:
    if not path.exists() and not path.is_symlink():
        raise InputError(f"{shown(path)} does not exist")
    if not ending(path) and not is_dicom(path):
        raise InputError(f"{shown(path)} has an ending that is not known; use one of {', '.join(ENDINGS)}, or DICOM")


def _cases(
    folder: Path, files: Sequence[Path], homes: dict[int, Path], others: list[str], parted: dict[str, InputError]
) -> list[Picture]:
    """The pictures of a folder's DICOM files: one for each series, and for each file of many frames.

    Args:
        folder: where they are.
        files: of it.
        homes: folder of every series so far, by a number of its UID; what is new is added.
        others: a sentence on a file of another kind, for the case that there are no others; added here.
        parted: what is said of series that have slices in another folder, too, by their UID; added here.

    Raises:
        InputError: two series of one name. Slices of a series that has others elsewhere are refused when they are
            opened. Where a file cannot be read, nobody knows which series it belongs to: it is refused when it is
            opened, and so are all series of several files in its folder.
    """
    groups: dict[tuple[str, Path | None], list[Slice]] = defaultdict(list)
    damaged: dict[Path, InputError] = {}
    for file in files:
        try:
            slices = read_slices(Content(file))
        except InputError as error:
            damaged[file] = error
            continue
        if isinstance(slices, str):
            others += [] if others else [f"{shown(file)} is no image but {slices}"]
        else:
            groups[slices[0].series, None if slices[0].frame is None else file] += slices
    for series, own in groups:
        if own is None and (home := homes.setdefault(hash(series), folder)) != folder:
            parted[series] = InputError(
                f"{shown(home)} and {shown(folder)} both hold slices of the series {series[-40:]}; put them into "
                "one folder, or remove what is a copy; what was made of the first is not of the whole series"
            )
    damage = next(iter(damaged.values()), None)
    pictures = [
        picture
        for (series, own), slices in groups.items()
        for picture in _phases(slices, damage, None if own else parted.get(series))
    ]
    refused = [Picture(safe_name(stem(file)), file, partial(_refuse, error)) for file, error in damaged.items()]
    return _with_names([*pictures, *refused])


def _phases(slices: Sequence[Slice], damage: InputError | None, own: InputError | None) -> list[Picture]:
    try:
        images = split_phases(slices)
    except InputError as error:
        images, own = [list(slices)], error
    pictures = []
    for number, image in enumerate(images, start=1):
        first, files = image[0], tuple(dict.fromkeys(one.path for one in image))
        count = len(files)
        patient = first.patient if safe_name(first.patient) == first.patient else "series"
        name = stem(first.path) if count == 1 else f"{patient}-{first.series[-8:]}"
        name = name if len(images) == 1 else f"{name}-{number}"
        source = first.path if count == 1 else first.path.parent
        refusal = own or (damage if count > 1 else None)
        read = partial(_stored, image) if refusal is None else partial(_refuse, refusal)
        pictures.append(Picture(safe_name(name), source, read, parts=files))
    return pictures


def _refuse(damage: InputError) -> Stored:
    raise damage


def _stored(slices: Sequence[Slice]) -> Stored:
    return stored_series(make_series(slices))


def _with_names(pictures: list[Picture]) -> list[Picture]:
    """The pictures, if all their names differ."""
    names: dict[str, Picture] = {}
    for picture in pictures:
        if (other := names.setdefault(picture.name.casefold(), picture)) is not picture:
            raise InputError(
                f"{shown(picture.source)} and {shown(other.source)} are both named {picture.name}; take them one by one"
            )
    return pictures
