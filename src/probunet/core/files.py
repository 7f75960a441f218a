"""Files and folders of a user: only regular ones are read, nothing of others is replaced, nothing is half-written."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import socket
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from probunet.core.errors import InputError
from probunet.core.names import shortened

_HEAD = 4096
"""Bytes of a file in which the mark of its maker is looked for."""
_NO_ROOM = {errno.ENOSPC, errno.EFBIG, errno.EROFS} | ({errno.EDQUOT} if hasattr(errno, "EDQUOT") else set())
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
    kind = _kind(path, follow=True)
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
        _check_target(target)
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
    kind = _kind(folder, follow=True)
    if kind not in (None, stat.S_IFDIR):
        raise InputError(f"{shown(folder)} is {_KINDS.get(kind, 'a file')}, not a folder; choose another --out")
    _check_place(folder / "x")


def _check_target(target: Path) -> None:
    kind = _kind(target, follow=False)
    if kind not in (None, stat.S_IFREG):
        raise InputError(f"{shown(target)} is {_KINDS.get(kind, 'no file')}, not a regular file; choose another --out")


def _check_place(target: Path) -> None:
    """Whether the folder of a file is there, or can be made, and takes it."""
    folder = target.parent
    while (kind := _kind(folder, follow=True)) is None and folder != folder.parent:
        folder = folder.parent
    if kind != stat.S_IFDIR:
        raise InputError(f"cannot write {shown(target)}: {shown(folder)} is not a folder; choose another --out")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise InputError(f"cannot write {shown(target)}: no permission in {shown(folder)}; choose another --out")


def _kind(path: Path, follow: bool) -> int | None:
    """What stands at a path; ``None`` for nothing.

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


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def _renamed_when_complete(target: Path, temporary: Path) -> Iterator[Path]:
    try:
        yield temporary
        _rename(temporary, target)
    except Exception as error:
        _remove(temporary)
        if isinstance(error, InputError) or not _is_of_writing(error, temporary):
            raise
        reason = (isinstance(error, OSError) and error.strerror) or error
        raise InputError(
            f"cannot write {shown(target)}: {reason}; nothing was left behind, free some space or choose another place"
        ) from error
    except BaseException:
        _remove(temporary)
        raise


def _rename(temporary: Path, target: Path) -> None:
    try:
        temporary.replace(target)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR, errno.EISDIR):
            raise InputError(
                f"{shown(target)} was made by another process meanwhile and was kept; "
                "give every process an --out of its own"
            ) from error
        raise


def _is_of_writing(error: Exception, temporary: Path) -> bool:
    """Whether an error came up in writing, not in reading what is written."""
    if isinstance(error, OSError):
        named = [Path(os.fsdecode(name)) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
        inside = any(path == temporary or temporary in path.parents for path in named)
        return inside or error.errno in _NO_ROOM or "requested and" in str(error)  # of numpy, without a number
    return any(words in str(error) for words in (os.strerror(errno.ENOSPC), "PytorchStreamWriter failed"))


@contextmanager
def writing_file(target: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside ``target`` that is renamed to ``target`` when the block ends well.

    The folder of ``target`` is made when it is missing. The temporary name keeps the suffix of ``target``.

    Raises:
        InputError: the file cannot be written (full disk, no permission), or something that is no regular file
            stands there; whatever stood at ``target`` before is untouched. An error of reading in the block keeps
            its own kind.
    """
    target = Path(target)
    _check_target(target)
    _make_folder(target.parent)
    with _renamed_when_complete(target, _temporary_beside(target)) as path:
        yield path


@contextmanager
def writing_folder(target: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary folder beside ``target`` that becomes ``target`` when the block ends well.

    Raises:
        InputError: ``target`` exists already, another process made it meanwhile, or the folder cannot be written
            (full disk, no permission).
    """
    target = Path(target)
    if _kind(target, follow=False) is not None:
        raise InputError(f"{shown(target)} exists already; choose another folder or remove it first")
    remove_remains(target)
    _make_folder(target.parent)
    temporary = _temporary_beside(target)
    try:
        temporary.mkdir()
    except OSError as error:
        raise InputError(f"cannot write {shown(target)}: {error.strerror or error}") from error
    with _renamed_when_complete(target, temporary) as path:
        yield path


@contextmanager
def scratch_folder(target: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a folder beside ``target`` for what is needed on the way to it; it is gone when the block ends.

    What a killed process left of its own is removed by the next one that writes the same target.

    Raises:
        InputError: the folder cannot be written (full disk, no permission).
    """
    target = Path(target)
    remove_remains(target)
    _make_folder(target.parent)
    folder = _temporary_beside(target)
    try:
        folder.mkdir()
        yield folder
    except OSError as error:
        if not _is_of_writing(error, folder):
            raise
        raise InputError(
            f"cannot write beside {shown(target)}: {error.strerror or error}; nothing was left behind"
        ) from error
    finally:
        _remove(folder)


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"cannot make the folder {shown(folder)}: {reason}; choose another place") from error


def _mark(target: Path) -> str:
    """How the temporary names of a file or folder begin that processes on this machine write."""
    return f".{shortened(target.stem, 100)}-{shortened(socket.gethostname(), 64)}-"


def _temporary_beside(target: Path) -> Path:
    return target.parent / f"{_mark(target)}{os.getpid()}-{secrets.token_hex(4)}{shortened(target.suffix, 30)}"


def remove_remains(target: Path) -> None:
    """Remove what processes that were killed on this machine left of ``target``: temporary files or folders."""
    start, suffix = _mark(target), shortened(target.suffix, 30)
    for path in target.parent.iterdir() if target.parent.is_dir() else ():
        if path.name.startswith(start) and path.suffix == suffix:
            number = path.name.removeprefix(start).split("-")[0]
            if number.isdigit() and not _is_running(int(number)):
                _remove(path)


def _is_running(process: int) -> bool:
    if os.name == "nt":  # where no signal asks without harm
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # another user's
        return True
    return True
