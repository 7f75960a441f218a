"""On which device a model runs: one reading of ``--device`` for all commands."""

from __future__ import annotations

import re

import torch

from probunet.core.errors import InputError


def chosen_device(device: str = "auto") -> str:
    """Turn what a user asked for into a device that is there.

    Args:
        device: ``auto`` (the first NVIDIA or AMD GPU, where there is one, and the processor otherwise), ``cpu``,
            ``cuda``, ``cuda:1`` for the second GPU, or ``mps`` for Apple's.

    Raises:
        InputError: another word, or a device that this machine or this build of torch lacks.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        return "cuda" if gpus else "cpu"
    if device == "cpu":
        return device
    if device == "mps":
        if not torch.backends.mps.is_available():
            raise InputError("--device mps: there is no Apple GPU that torch can use here; give auto or cpu")
        return device
    match = re.fullmatch(r"cuda(?::(\d{1,4}))?", device)
    if match is None:
        raise InputError(f"--device {device[:40]!r} is no device; give auto, cpu, cuda, cuda:N or mps")
    if not gpus:
        build = "" if torch.backends.cuda.is_built() else ", and this torch was built without CUDA"
        raise InputError(f"--device {device}: there is no GPU that torch can use here{build}; give auto or cpu")
    if int(match[1] or 0) >= gpus:
        raise InputError(f"--device {device}: the GPUs here are cuda:0 to cuda:{gpus - 1}")
    return device


def wait_for(device: torch.device | str) -> None:
    """Wait until a device has done what it was told, so that a clock counts it; a processor has done it already."""
    kind = torch.device(device).type
    if kind == "cuda":
        torch.cuda.synchronize(device)
    elif kind == "mps":
        torch.mps.synchronize()
