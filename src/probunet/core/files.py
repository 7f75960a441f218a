"""Nothing half-written: a file or folder appears under its name only when it is complete."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from probunet.core.errors import InputError


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


@contextmanager
def _renamed_when_complete(target: Path, temporary: Path) -> Iterator[Path]:
    try:
        yield temporary
        temporary.replace(target)
    except OSError as error:
        _remove(temporary)
        raise InputError(
            f"cannot write {target}: {error.strerror or error}; nothing was left behind, "
            "free some space or choose another place"
        ) from error
    except BaseException:
        _remove(temporary)
        raise


@contextmanager
def writing_file(target: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside ``target`` that is renamed to ``target`` when the block ends well.

    The folder of ``target`` is made when it is missing. The temporary name keeps the suffix of ``target``.

    Raises:
        InputError: the file cannot be written (full disk, no permission); whatever stood at ``target`` before
            is untouched.
    """
    target = Path(target)
    temporary = _temporary_beside(target)
    with _renamed_when_complete(target, temporary) as path:
        yield path


@contextmanager
def writing_folder(target: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary folder beside ``target`` that becomes ``target`` when the block ends well.

    Raises:
        InputError: ``target`` exists already, or the folder cannot be written (full disk, no permission).
    """
    target = Path(target)
    if target.exists():
        raise InputError(f"{target} exists already; choose another folder or remove it first")
    remove_remains(target)
    temporary = _temporary_beside(target)
    try:
        temporary.mkdir()
    except OSError as error:
        raise InputError(f"cannot write {target}: {error.strerror or error}") from error
    with _renamed_when_complete(target, temporary) as path:
        yield path


def _temporary_beside(target: Path) -> Path:
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"cannot make the folder {target.parent}: {error.strerror or error}") from error
    return target.parent / f".{target.stem}-{socket.gethostname()}-{os.getpid()}-{secrets.token_hex(4)}{target.suffix}"


def remove_remains(target: Path) -> None:
    """Remove what processes that were killed on this machine left of ``target``: temporary files or folders."""
    start = f".{target.stem}-{socket.gethostname()}-"
    for path in target.parent.iterdir() if target.parent.is_dir() else ():
        if path.name.startswith(start) and path.suffix == target.suffix:
            number = path.name.removeprefix(start).split("-")[0]
            if number.isdigit() and not _is_running(int(number)):
                _remove(path)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        return True
    return True
