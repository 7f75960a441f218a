"""What the C library does with memory that tensors no longer use."""

from __future__ import annotations

import ctypes
import os

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # M_TRIM_THRESHOLD and M_MMAP_THRESHOLD of glibc's malloc.h
_KEPT, _OWN_MAPPING = 2**31 - 1, 2**25  # bytes


def keep_freed_memory() -> bool:
    """Have glibc keep what tensors free for the next tensors, instead of giving it back to the system.

    By default it may return tensors of a few MiB at every step of a network and take them anew page by page, which
    can cost more than the arithmetic on them. The process then stays as large as it ever was; blocks above 32 MiB
    are still returned at once. Does nothing where the user has set ``MALLOC_TRIM_THRESHOLD_``,
    ``MALLOC_MMAP_THRESHOLD_`` or ``GLIBC_TUNABLES``, or where the C library is another one.

    Returns:
        Whether it was set.
    """
    if {"MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"} & set(os.environ):
        return False
    try:
        library = ctypes.CDLL(None)
        library.gnu_get_libc_version  # noqa: B018  # other C libraries have a mallopt too, with other numbers
        return bool(library.mallopt(_TRIM_THRESHOLD, _KEPT)) and bool(library.mallopt(_MMAP_THRESHOLD, _OWN_MAPPING))
    except (AttributeError, OSError, TypeError):  # TypeError: Windows has no library of all libraries
        return False
