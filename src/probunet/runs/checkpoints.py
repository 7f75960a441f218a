"""Checkpoints as files: no code runs when one is read, and what is read is what was written, to the bit."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from probunet.core.errors import InputError
from probunet.core.writing import writing_file

CHECKSUM = "sha256"


def write_checkpoint(file: Path, content: Mapping[str, Any], kept: Path | None = None) -> None:
    """Write a checkpoint beside its place, force it to disk and rename it.

    Args:
        file: to write.
        content: tensors and plain values, nested as they like.
        kept: where what stood at ``file`` before goes.

    Raises:
        InputError: it cannot be written; what stood there before is untouched.
    """
    buffer = io.BytesIO()  # torch hides the reason when it cannot write a file itself
    torch.save({**content, CHECKSUM: checksum(content)}, buffer)
    with writing_file(file) as temporary, temporary.open("wb") as handle:
        handle.write(buffer.getbuffer())
        handle.flush()
        os.fsync(handle.fileno())
        if kept is not None and file.exists():
            with writing_file(kept) as before:
                _same_content(file, before)


def _same_content(source: Path, target: Path) -> None:
    """Give a file a second name, or a copy where the disk knows no second names (exFAT, some network disks)."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def read_checkpoint(file: Path) -> dict[str, Any]:
    """Read a checkpoint without running code from it.

    Raises:
        InputError: unreadable, truncated, or not what was written.
    """
    if not file.is_file():
        raise InputError(f"{file} is no file; train the model first, or go on with its training")
    try:
        with warnings.catch_warnings():  # torch warns of pickles that are none of its own; they are refused below
            warnings.simplefilter("ignore", UserWarning)
            content = torch.load(file, map_location="cpu", weights_only=True)
        expected = content.pop(CHECKSUM)
    except OSError as error:
        raise InputError(f"{file} cannot be read ({error.strerror or error})") from error
    except (RuntimeError, EOFError, LookupError, ValueError, TypeError, AttributeError) as error:
        raise InputError(f"{file} cannot be read (it is cut off or damaged); train the model again") from error
    except pickle.UnpicklingError as error:
        raise InputError(f"{file} cannot be read (it holds more than weights and numbers)") from error
    if checksum(content) != expected:
        raise InputError(f"{file} cannot be read (it is not what was written: damaged on disk?); train the model again")
    return content


def checksum(content: Any) -> str:
    """SHA-256 of all values of a checkpoint, in their order."""
    digest = hashlib.sha256()
    _add(digest, content)
    return digest.hexdigest()


def _add(digest: Any, value: Any) -> None:
    if isinstance(value, torch.Tensor):
        digest.update(f"{value.dtype}{tuple(value.shape)}".encode())
        flat = value.detach().cpu().contiguous().as_strided((value.numel(),), (1,))  # one value or none has any stride
        digest.update(flat.view(torch.uint8).numpy())
    elif isinstance(value, Mapping):
        digest.update(f"{{{len(value)}".encode())
        for key, item in value.items():
            _add(digest, key)
            _add(digest, item)
    elif isinstance(value, list | tuple):
        digest.update(f"[{len(value)}".encode())
        for item in value:
            _add(digest, item)
    else:
        digest.update(f"{value!r};".encode())
