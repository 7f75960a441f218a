"""Files and folders of a user: only regular ones are read, and what others made is never replaced."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path

from probunet.core.errors import InputError

_HEAD = 4096
"""Bytes of a file in which the mark of its maker is looked for."""
_KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFLNK: "a link",
}


def regular_file(path: str | os.PathLike[str]) -> Path:
    """Give the path back of a regular file that this process may read; every reader of files asks here first.

    Raises:
        InputError: it is missing, a folder, a pipe, a device or a socket, or may not be read.
    """
    path = Path(path)
    kind = kind_at(path, follow=True)
    if kind is None:
        raise InputError(f"{shown(path)} does not exist")
    if kind != stat.S_IFREG:
        raise InputError(f"{shown(path)} is {_KINDS.get(kind, 'no file')}; a regular file is needed")
    if not os.access(path, os.R_OK):
        raise InputError(f"{shown(path)} may not be read by this user; change its permissions")
    return path


def shown(path: str | os.PathLike[str]) -> str:
    """A path as it can be printed anywhere: bytes that are no UTF-8 become ``?``, and a long one loses its middle."""
    text = os.fspath(path).encode("utf-8", "replace").decode("utf-8")
    return text if len(text) <= 160 else f"{text[:60]}...{text[-60:]}"


def check_outputs(
    outputs: Iterable[str | os.PathLike[str]],
    inputs: Iterable[str | os.PathLike[str]] = (),
    marks: Iterable[bytes] = (),
) -> None:
    """Refuse files to write before any work is done, where writing them would destroy something or must fail.

    Args:
        outputs: every file that a command is going to write, those with derived names too.
        inputs: files and folders that the command reads.
        marks: bytes that stand in the first 4 KiB of the files of this command; an existing file is replaced only
            where it has one of them.

    Raises:
        InputError: two outputs are one file; an output is an input, a folder, link, pipe or device, or a file that
            this command did not make; or it cannot be written there.
    """
    marks, sources = tuple(marks), [Path(source) for source in inputs]
    seen: set[Path] = set()
    for target in map(Path, outputs):
        place = _resolved(target)
        if place in seen:
            raise InputError(f"{shown(target)} is the name of two results of this command; give --out another name")
        seen.add(place)
        if any(_same(target, source) for source in sources):
            raise InputError(f"{shown(target)} is an input of this command; choose another --out")
        check_target(target)
        if target.exists() and not _is_marked(target, marks):
            raise InputError(
                f"{shown(target)} exists and is no result of this command; remove it or choose another --out"
            )
        _check_place(target)


def check_out_folder(folder: str | os.PathLike[str], inputs: Iterable[str | os.PathLike[str]] = ()) -> None:
    """Refuse a folder for results before any work is done: it is an input, no folder, or cannot be written.

    Raises:
        InputError: with the reason.
    """
    folder = Path(folder)
    if any(_same(folder, Path(source)) for source in inputs):
        raise InputError(f"{shown(folder)} is an input of this command; choose another --out")
    kind = kind_at(folder, follow=True)
    if kind not in (None, stat.S_IFDIR):
        raise InputError(f"{shown(folder)} is {_KINDS.get(kind, 'a file')}, not a folder; choose another --out")
    _check_place(folder / "x")


def check_target(target: Path) -> None:
    """Refuse a file to write where something stands that is no regular file.

    Raises:
        InputError: with the reason.
    """
    kind = kind_at(target, follow=False)
    if kind not in (None, stat.S_IFREG):
        raise InputError(f"{shown(target)} is {_KINDS.get(kind, 'no file')}, not a regular file; choose another --out")


def _check_place(target: Path) -> None:
    """Whether the folder of a file is there, or can be made, and takes it."""
    folder = target.parent
    while (kind := kind_at(folder, follow=True)) is None and folder != folder.parent:
        folder = folder.parent
    if kind != stat.S_IFDIR:
        raise InputError(f"cannot write {shown(target)}: {shown(folder)} is not a folder; choose another --out")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"cannot write {shown(target)}: no permission in {shown(folder)}; choose another --out")


def kind_at(path: Path, follow: bool) -> int | None:
    """What stands at a path, or behind a link there, as ``stat.S_IFMT`` says it; ``None`` for nothing.

    Raises:
        InputError: the path cannot be one, as it is too long or holds a NUL, or its folder may not be entered.
    """
    try:
        return stat.S_IFMT((path.stat() if follow else path.lstat()).st_mode)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{shown(path)} cannot be used: {reason}; give another name") from error


def _resolved(path: Path) -> Path:
    try:
        return path.resolve()
    except (OSError, RuntimeError, ValueError):  # a link to itself, a NUL
        return path.absolute()


def _same(path: Path, other: Path) -> bool:
    try:
        return _resolved(path) == _resolved(other) or path.samefile(other)
    except (OSError, ValueError):
        return False


def _is_marked(file: Path, marks: tuple[bytes, ...]) -> bool:
    with regular_file(file).open("rb") as handle:
        head = handle.read(_HEAD)
    return any(mark in head for mark in marks)


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
