"""Packages that not everybody installs: which extra of probunet brings each, and one sentence where it is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from probunet.core.errors import InputError

EXTRAS = {
    "nibabel": "nifti",
    "SimpleITK": "itk",
    "h5py": "hdf5",
    "highdicom": "dicom",
    "zuko": "flow",
    "huggingface_hub": "hub",
    "fastapi": "explore",
    "uvicorn": "explore",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "onnxscript": "onnx",
    "distributed": "cluster",
    "pytorch_lightning": "train",
    "tensorboard": "train",
    "matplotlib": "train",
    "jinja2": "train",
    "shtab": "completion",
}
"""Name of an importable package, and the extra that installs it."""


@contextmanager
def needed_by(user: str) -> Iterator[None]:
    """What is imported here belongs to an extra, and may be missing.

    Args:
        user: what cannot work without it, for the message.

    Raises:
        InputError: one of ``EXTRAS`` is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRAS:
            raise
        raise InputError(
            f"{user} needs {package}; install it with: pip install 'probunet[{EXTRAS[package]}]'"
        ) from error


def require(package: str, user: str) -> Any:
    """Import a package of an extra.

    Args:
        package: name of its module.
        user: what cannot work without it, for the message.

    Raises:
        InputError: it is not installed.
    """
    with needed_by(user):
        return import_module(package)
