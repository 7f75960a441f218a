"""Files and folders that appear whole or not at all: written under a temporary name, renamed when complete."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from probunet.core.errors import InputError
from probunet.core.files import check_target, kind_at, shown
from probunet.core.names import shortened

_NO_ROOM = {errno.ENOSPC, errno.EFBIG, errno.EROFS} | ({errno.EDQUOT} if hasattr(errno, "EDQUOT") else set())
_MANY = 1000
"""Entries of a folder whose list is kept for a while."""
_LISTED: dict[Path, tuple[float, list[Path]]] = {}
"""Of the last large folder: until when its list may be used, and its hidden entries."""


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
    check_target(target)
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
    if kind_at(target, follow=False) is not None:
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
    for path in _hidden_in(target.parent):
        if path.name.startswith(start) and path.suffix == suffix:
            number = path.name.removeprefix(start).split("-")[0]
            if number.isdigit() and not _is_running(int(number)):
                _remove(path)


def _hidden_in(folder: Path) -> list[Path]:
    """The hidden entries of a folder, as all temporary ones are; a large folder is not listed again for every file.

    Listing takes at most a fiftieth of the time, so that the hundred-thousandth result costs what the first did.
    """
    now = time.monotonic()
    until, hidden = _LISTED.get(folder, (now, []))
    if now < until:
        return hidden
    names = [entry.name for entry in os.scandir(folder)] if folder.is_dir() else []
    hidden = [folder / name for name in names if name.startswith(".")]
    ended = time.monotonic()
    _LISTED.clear()  # results come folder by folder
    if len(names) > _MANY:
        _LISTED[folder] = (ended + 50 * (ended - now), hidden)
    return hidden


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
