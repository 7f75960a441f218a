"""What this machine gives to a process: cores and memory. Needs no torch."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

_OWN = Path("/proc/self/status")
_MEMORY = Path("/proc/meminfo")
_QUOTA, _LOAD = Path("/sys/fs/cgroup/cpu.max"), Path("/proc/loadavg")


def cores() -> int:
    """How many processor cores this process may use: those of its affinity, or of its container where that is less."""
    own = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = _QUOTA.read_text().split()
        return max(min(own, int(quota) // int(period)), 1)
    except (OSError, ValueError):  # no such container, or one without a limit
        return own


def peak_memory_mb() -> int | None:
    """Largest memory that this process had so far, in MB of 2**20 bytes; ``None`` where the system does not say."""
    if _OWN.is_file():  # Linux; what getrusage says there begins with the size of the parent
        peak = next((line for line in _OWN.read_text().splitlines() if line.startswith("VmHWM")), None)
        if peak is not None:
            return round(int(peak.split()[1]) / 2**10)
    try:
        import resource
    except ImportError:  # Windows
        return None
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(size / (2**20 if sys.platform == "darwin" else 2**10))


def spare_the_others() -> None:
    """Set how threads of arithmetic wait and how many there are, where the user has set nothing.

    A thread that waits for the others of its team spins by default, and takes the core from the very thread that it
    waits for where a machine is busy: training is then ten times slower. Commands call this before they load torch,
    as OpenMP reads these variables only once; a Python program calls it itself, or sets them.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("KMP_BLOCKTIME", "0")
    threads = free_cores(cores(), os.cpu_count() or 1, _running())
    if threads < (os.cpu_count() or 1) and "OMP_NUM_THREADS" not in os.environ:
        os.environ["OMP_NUM_THREADS"] = str(threads)


def free_cores(own: int, all_of_them: int, running: int) -> int:
    """How many threads have a core to themselves.

    Args:
        own: cores that this process may use.
        all_of_them: cores of the machine.
        running: threads of other processes that are at work on it.
    """
    return max(min(own, all_of_them - running), 1)


def _running() -> int:
    """Threads of other processes that are at work now; the fewest of several looks, as some last for a moment only."""
    try:
        looks = [int(_LOAD.read_text().split()[3].split("/")[0]) - 1]
        for _ in range(3):
            time.sleep(0.01)
            looks.append(int(_LOAD.read_text().split()[3].split("/")[0]) - 1)
    except (OSError, ValueError, IndexError):  # not Linux
        return 0
    return max(min(looks), 0)


def free_memory_gb() -> float | None:
    """Memory that is free for a new process, in GB of 2**30 bytes; ``None`` where the system does not say."""
    try:
        lines = _MEMORY.read_text().splitlines()
        return int(next(line for line in lines if line.startswith("MemAvailable")).split()[1]) / 2**20
    except (OSError, ValueError, StopIteration):
        return None
