"""Freed memory stays with the process."""

import ctypes
import os
import subprocess
import sys

import pytest

FAULTS = """
import resource
{first}
def step():
    blocks = [bytearray(2**24) for _ in range(10)]
for _ in range(5):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""

KEEP = "from probunet.core.memory import keep_freed_memory; keep_freed_memory()"

glibc = pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "gnu_get_libc_version"), reason="only glibc has these settings"
)


def pages(first: str, **variables: str) -> int:
    run = [sys.executable, "-c", FAULTS.format(first=first)]
    return int(subprocess.run(run, env=os.environ | variables, check=True, capture_output=True).stdout)


@glibc
def test_tensors_reuse_freed_memory_where_a_program_asks_for_it() -> None:
    assert pages("import probunet") > 20_000  # an import changes nothing in the process
    assert pages(KEEP) < 1000  # the blocks have 40,960 pages


@glibc
def test_what_the_user_set_stays() -> None:
    assert pages(KEEP, MALLOC_MMAP_THRESHOLD_="131072", MALLOC_TRIM_THRESHOLD_="131072") > 20_000
