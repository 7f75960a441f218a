"""Cores and memory of this machine, and threads that leave the others alone."""

import os
import subprocess
import sys

import pytest

from probunet.core.machine import cores, free_cores, peak_memory_mb


def test_cores_are_those_that_this_process_may_use():
    assert 1 <= cores() <= (os.cpu_count() or 1)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="only Linux binds processes to cores")
def test_a_bound_process_has_fewer_cores():
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
    code += "from probunet.core.machine import cores; print(cores())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "1\n"


@pytest.mark.parametrize(
    ("own", "of_all", "running", "free"), [(2, 2, 0, 2), (2, 2, 2, 1), (4, 64, 30, 4), (8, 8, 5, 3), (1, 2, 9, 1)]
)
def test_threads_have_cores_to_themselves(own, of_all, running, free):
    assert free_cores(own, of_all, running) == free


def test_memory_that_was_used_is_counted():
    code = "from probunet.core.machine import peak_memory_mb as m\nx = b'1' * (200 << 20)\nprint(m())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 200 <= int(done.stdout) < 600
    assert peak_memory_mb() > 0


VARIABLES = ("OMP_WAIT_POLICY", "KMP_BLOCKTIME", "OMP_NUM_THREADS")


@pytest.mark.parametrize(("first", "set_"), [("", False), ("machine.spare_the_others()", True)])
def test_only_commands_and_who_asks_for_it_set_how_threads_wait(first, set_):
    code = f"import os, probunet\nfrom probunet.core import machine\n{first}\nprint(os.environ.get('OMP_WAIT_POLICY'))"
    bare = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    for given_by_the_user in (None, "ACTIVE"):
        variables = bare | ({} if given_by_the_user is None else {"OMP_WAIT_POLICY": given_by_the_user})
        done = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=True)
        assert done.stdout.strip() == (given_by_the_user or ("PASSIVE" if set_ else "None"))
