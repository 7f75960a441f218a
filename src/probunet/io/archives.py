"""PNG files from wherever they come: a folder, tar or zip, read in place and never unpacked."""

from __future__ import annotations

import io
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt
from PIL import Image as PILImage

from probunet.core.errors import InputError

ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".zip")
LARGEST = 4096
"""Pixels along a side: a crop is far smaller, and a PNG's header can claim what no memory holds."""
_DAMAGE = (
    OSError,
    EOFError,
    SyntaxError,  # Pillow's way to say that a chunk is broken
    ValueError,
    OverflowError,
    struct.error,
    zlib.error,
    PILImage.DecompressionBombError,
    Warning,
)
_BYTES = 1 << 26  # one PNG: far more than a crop of LARGEST pixels needs, far less than a memory


def read_pngs(source: Path) -> Iterator[tuple[str, bytes]]:
    """Read the PNG files of a folder or an archive, one at a time.

    Of a folder without PNG files, the archives in it are read one after another.

    Args:
        source: .tar, .tar.gz, .tar.xz, .zip or folder.

    Yields:
        The name with forward slashes, beginning with that of the folder (or archive in a folder), and the content.

    Raises:
        InputError: not there, unreadable or truncated, encrypted, a broken link, or a member that is a link or lies
            outside of the archive.
    """
    try:
        if source.is_dir():
            yield from _folder(source)
        elif zipfile.is_zipfile(source):
            yield from _zip(source)
        else:
            yield from _tar(source)
    except FileNotFoundError as error:
        raise InputError(f"{source} does not exist") from error
    except (
        OSError,
        EOFError,
        RuntimeError,  # zipfile's way to say that a member is encrypted or of an unknown method
        ValueError,
        struct.error,
        tarfile.TarError,
        zipfile.BadZipFile,
        zlib.error,
        lzma.LZMAError,
    ) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{source} cannot be read as tar, zip or folder ({error}); is it complete?") from error


def decode_png(content: bytes, where: str) -> npt.NDArray[np.uint8]:
    """Decode an 8-bit grey PNG file.

    Args:
        content: of the file.
        where: named in messages.

    Returns:
        (H, W) uint8.

    Raises:
        InputError: truncated or damaged, another mode, or larger than ``LARGEST`` pixels along a side.
    """
    size = struct.unpack(">II", content[16:24]) if len(content) >= 24 else (0, 0)
    if max(size) > LARGEST:  # before Pillow sees the file: it warns about some of these and refuses others
        raise InputError(f"{where} has a PNG of {size[1]}x{size[0]} px; crops are at most {LARGEST} px along a side")
    try:
        with PILImage.open(io.BytesIO(content), formats=["PNG"]) as image:
            if image.mode not in ("L", "1"):
                raise InputError(f"{where} has a PNG of mode {image.mode}; an 8-bit grey one is needed")
            return np.asarray(image.convert("L"))
    except InputError:
        raise
    except _DAMAGE as error:
        raise InputError(f"{where} has a PNG that cannot be read ({error}); fetch the archive again") from error


def _folder(folder: Path) -> Iterator[tuple[str, bytes]]:
    pngs = sorted(folder.rglob("*.png"))
    for path in pngs:
        if path.is_symlink() and not path.exists():
            raise InputError(f"{path} is a broken link; repair or remove it")
        if path.is_file():
            yield path.relative_to(folder.parent).as_posix(), path.read_bytes()
    if not pngs:
        for path in sorted(path for path in folder.iterdir() if path.name.endswith(ARCHIVES)):
            for name, content in read_pngs(path):
                yield f"{path.name}/{name}", content


def _zip(archive: Path) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(archive) as file:
        for info in file.infolist():
            if info.filename.endswith(".png"):
                _check_member(archive, info.filename, info.file_size, link=info.external_attr >> 28 == 0xA)
                yield info.filename, file.read(info)


def _tar(archive: Path) -> Iterator[tuple[str, bytes]]:
    with tarfile.open(archive) as file:
        for member in file:
            if member.name.endswith(".png") and not member.isdir():
                _check_member(archive, member.name, member.size, link=not member.isreg())
                content = file.extractfile(member)
                if content is not None:
                    yield member.name, content.read()


def _check_member(archive: Path, name: str, size: int, *, link: bool) -> None:
    if link:
        raise InputError(f"{archive} holds {name} as a link, not as a file; archive the files themselves")
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts:
        raise InputError(f"{archive} holds {name}, which lies outside of the archive; do not trust this file")
    if size > _BYTES:
        raise InputError(f"{archive} holds {name} of {size:,} bytes, far too large for a crop; do not trust this file")
