"""PNG files from wherever they come: a folder, tar or zip, read in place and never unpacked."""

from __future__ import annotations

import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt

from probunet.core.errors import InputError
from probunet.core.files import regular_file
from probunet.io.content import Content, Limits
from probunet.io.raster import read_raster

ARCHIVES = (".tar", ".tar.gz", ".tgz", ".tar.xz", ".zip")
CROPS = Limits(pixels=4096 * 4096, bytes=1 << 24)
"""A crop is far smaller, and a PNG's header can claim what no memory holds."""
_BYTES = 1 << 26  # one PNG: far more than a crop needs, far less than a memory


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
        elif zipfile.is_zipfile(regular_file(source)):
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
        InputError: truncated or damaged, colours, 16 bits, or more than 4096x4096 px.
    """
    picture = read_raster(Content(Path(where), content, CROPS), "PNG")
    if picture.channels != 1 or picture.colours or picture.dtype != np.uint8:
        kind = "colours" if picture.channels > 1 or picture.colours else "16 bits"
        raise InputError(f"{where} is a PNG of {kind}; an 8-bit grey one is needed")
    return picture.decode()[0, 0]


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
