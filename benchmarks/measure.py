"""What the speed benchmarks share: timing, the machine, and the fastest that it can multiply matrices."""

from __future__ import annotations

import os
import platform
import resource
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch

from probunet.core.devices import wait_for
from probunet.core.memory import keep_freed_memory

keep_freed_memory()  # as every command does

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def alternating(
    works: dict[str, Callable[[], Any]],
    repeats: int,
    warm: int = 2,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, float]:
    """Median seconds of every work; they take turns, so that what else the machine does falls on all of them."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(warm + repeats):
        for name, work in works.items():
            wait_for(DEVICE)
            start = clock()
            work()
            wait_for(DEVICE)
            if turn >= warm:
                times[name].append(clock() - start)
    return {name: statistics.median(found) for name, found in times.items()}


def matrix_product(dtype: torch.dtype = torch.float32, size: int = 2048) -> tuple[Callable[[], Any], float]:
    """A square matrix product and its floating-point operations."""
    a, b = (torch.randn(size, size, device=DEVICE).to(dtype) for _ in range(2))
    out = torch.empty(size, size, device=DEVICE, dtype=dtype)
    return lambda: torch.mm(a, b, out=out), 2.0 * size**3


def peak_memory_mib() -> float:
    """Largest memory so far: of the GPU if there is one, otherwise of this process."""
    if DEVICE == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def machine() -> dict[str, Any]:
    """Where and with what it was measured."""
    return {
        "device": torch.cuda.get_device_name() if DEVICE == "cuda" else "cpu",
        "cores": len(os.sched_getaffinity(0)),
        "threads": torch.get_num_threads(),
        "architecture": platform.machine(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "load_before_start": round(os.getloadavg()[0], 1),
    }
