"""What this machine gives to a process: cores and memory. Needs no torch."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_QUOTA = Path("/sys/fs/cgroup/cpu.max")


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
    try:
        import resource
    except ImportError:  # Windows
        return None
    size = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(size / (2**20 if sys.platform == "darwin" else 2**10))
