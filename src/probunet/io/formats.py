"""Which decoder reads which file: by its ending, and its first bytes must agree."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from probunet.core.errors import InputError
from probunet.io.arrays import read_array
from probunet.io.content import Content
from probunet.io.dicom import is_dicom
from probunet.io.dicom_pictures import read_dicom
from probunet.io.itk import read_itk
from probunet.io.nifti import read_nifti
from probunet.io.raster import read_raster
from probunet.io.stored import Stored


@dataclass(frozen=True)
class Kind:
    """One kind of file.

    Attributes:
        name: for messages and decoders.
        read: reads the header.
        starts: what the first bytes may be; none where anything may come.
    """

    name: str
    read: Callable[[Content, str], Stored]
    starts: tuple[bytes, ...] = ()


_PNG = Kind("PNG", read_raster, (b"\x89PNG\r\n\x1a\n",))
_JPEG = Kind("JPEG", read_raster, (b"\xff\xd8\xff",))
_TIFF = Kind("TIFF", read_raster, (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"))
_NIFTI = Kind("NIfTI", read_nifti)
_DICOM = Kind("DICOM", read_dicom)
_MHA = Kind("MetaImage", read_itk, (b"ObjectType", b"NDims", b"Comment"))
KINDS = {
    ".png": _PNG,
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".npy": Kind("NPY", read_array, (b"\x93NUMPY",)),
    ".npz": Kind("NPZ", read_array, (b"PK",)),
    ".nii.gz": Kind("NIfTI", read_nifti, (b"\x1f\x8b",)),
    ".nii": _NIFTI,
    ".nrrd": Kind("NRRD", read_itk, (b"NRRD",)),
    ".mha": _MHA,
    ".dcm": _DICOM,
    ".dicom": _DICOM,
    ".ima": _DICOM,
}
"""Kinds of files by their ending, in small letters."""
ENDINGS = tuple(KINDS)
_LEFT_BEHIND = {
    *("thumbs.db", "desktop.ini", "__macosx", "@eadir", "#recycle", "$recycle.bin", "system volume information"),
}
"""What systems leave beside pictures, thumbnails and wastebaskets too; and names that begin with a dot (.DS_Store)."""


def ending(path: Path) -> str:
    """The ending by which a file is read, in small letters, or an empty text."""
    name = path.name.lower()
    return next(filter(name.endswith, KINDS), "")


def stem(path: Path) -> str:
    """The name of a file without the ending by which it is read; other dots belong to the name."""
    length = len(ending(path))
    return path.name[:-length] if length and length < len(path.name) else path.name


def is_left_behind(name: str) -> bool:
    """Whether a system made a file of this name, not a person: dot files, Thumbs.db, what a Mac adds to archives.

    Wastebaskets and folders of thumbnails are such, too.
    """
    return name.startswith(".") or name.lower() in _LEFT_BEHIND


def read_stored(content: Content) -> Stored:
    """Read the header of a file by its ending, or as DICOM by its first bytes.

    Raises:
        InputError: an unknown ending, first bytes that say something else, or what the decoder refuses.
    """
    kind = KINDS.get(ending(content.path))
    if kind is None and content.held is None and is_dicom(content.path):
        kind = _DICOM
    if kind is None:
        raise InputError(f"{content.name} has an ending that is not known; use one of {', '.join(ENDINGS)}")
    check_start(content, kind)
    return kind.read(content, kind.name)


def check_start(content: Content, kind: Kind) -> None:
    """Compare the first bytes of a file with its ending.

    Raises:
        InputError: they say something else.
    """
    with content.open() as file:
        start = file.read(16)
    if kind.starts and not start.startswith(kind.starts):
        what = "is empty" if not start else f"does not begin like a {kind.name} file"
        raise InputError(f"{content.name} {what}; give it the ending of what it is, or fetch it again")
