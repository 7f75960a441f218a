"""``probunet doctor``: what is installed, what it runs on, and what is missing for what."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, metadata, requires, version

import torch
from packaging.requirements import Requirement

from probunet.core.devices import chosen_device
from probunet.core.errors import InputError
from probunet.core.machine import cores
from probunet.core.version import VERSION

PURPOSES = {
    "train": "train, compare, report; pages and contact sheets of readers",
    "nifti": "NIfTI volumes",
    "itk": "NRRD and MetaImage volumes, STAPLE",
    "hdf5": "prepare import of HDF5 files",
    "dicom": "sample --format dicomseg",
    "flow": "prior_family: flow",
    "hub": "models on the Hugging Face Hub",
    "explore": "the page of explore",
    "onnx": "export --format onnx",
    "cluster": "--cluster, work on a Dask cluster",
    "completion": "probunet completion, for the shell",
}
"""What every extra is for."""
PARTS = ("torch", "numpy", "scipy", "torchmetrics", "pydicom")


def doctor() -> None:
    """Say what is installed, on what it runs, and what is missing for what.

    Raises:
        InputError: probunet runs from its source, so that nobody wrote down what belongs to it.

    Examples:
        probunet doctor
    """
    print(f"probunet {VERSION}, Python {platform.python_version()}, {platform.system()} {platform.machine()}")
    print("parts: " + ", ".join(f"{part} {version(part)}" for part in PARTS))
    print(f"device: auto is {_device()}")
    threads = os.environ.get("OMP_NUM_THREADS", "as many as cores")
    print(f"processor: {cores()} core(s) for this process, threads of arithmetic: {threads}")
    missing = {}
    for extra, packages in extras().items():
        absent = [package for package in packages if not _is_there(package)]
        print(f"extra {extra:<10} {'missing' if absent else 'there':<8} {PURPOSES.get(extra, '')}")
        if absent:
            missing[extra] = absent
    if missing:
        print(f"missing: pip install 'probunet[{','.join(missing)}]'")
    else:
        print("everything is there")


def extras() -> dict[str, list[str]]:
    """The packages of every extra that is for users, as the installed probunet says.

    Raises:
        InputError: probunet is not installed.
    """
    try:
        names = metadata("probunet").get_all("Provides-Extra") or []
        needed = [Requirement(line) for line in requires("probunet") or ()]
    except PackageNotFoundError as error:
        raise InputError("probunet is not installed, only its source; install it with: pip install .") from error
    return {
        extra: sorted(
            need.name
            for need in needed
            if need.marker is not None and need.marker.evaluate({"extra": extra}) and need.name != "probunet"
        )
        for extra in names
        if extra in PURPOSES
    }


def _is_there(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def _device() -> str:
    device = chosen_device("auto")
    if device == "cpu":
        return "the processor; torch sees no GPU" + (
            "" if torch.backends.cuda.is_built() else ", as it is built without"
        )
    count = torch.cuda.device_count()
    return f"{torch.cuda.get_device_name(0)}, the first of {count} GPU{'s' if count > 1 else ''}"
