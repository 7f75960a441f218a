"""Tasks side by side: results, errors of the user, errors of the program, and a clean stop."""

import multiprocessing as mp
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
from copies import Copy
from small_tasks import crash, refuse, wait_for_the_endless, write, write_origin

from probunet.core import processes
from probunet.core.errors import InputError
from probunet.core.processes import Task, run_in_processes


def test_every_task_runs_in_a_process_of_its_own(tmp_path):
    tasks = [Task(f"task {i}", partial(write, tmp_path / str(i))) for i in range(3)]
    run_in_processes("writing", tasks, workers=2)
    processes = {(tmp_path / str(i)).read_text() for i in range(3)}
    assert len(processes) == 3
    assert str(os.getpid()) not in processes


@pytest.mark.skipif("forkserver" not in mp.get_all_start_methods(), reason="every process loads everything anew")
def test_all_are_copies_of_one_process_that_has_loaded_what_they_need(tmp_path):
    run_in_processes("writing", [Task(f"task {i}", partial(write_origin, tmp_path / str(i))) for i in range(2)])
    first, second = ((tmp_path / str(i)).read_text() for i in range(2))
    assert first == second != str(os.getpid())


def test_a_users_mistake_is_one_sentence_and_a_crash_is_none(tmp_path):
    with pytest.raises(InputError, match="bad one: value 7 is too large"):
        run_in_processes("writing", [Task("bad one", refuse)])
    with pytest.raises(RuntimeError, match="ended with exit code 9"):
        run_in_processes("writing", [Task("crashing one", crash)])


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_no_task_outlives_its_parent(tmp_path, number):
    file = tmp_path / "pid"
    parent = Copy(wait_for_the_endless, str(file))
    child = int(_wait_for(lambda: file.is_file() and file.read_text()))
    parent.send(number)
    parent.end(20)
    assert _wait_for(lambda: not _is_running(child))


def _is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.05)
    raise AssertionError("waited too long")


JOBLIB = """
import sys
sys.path[:0] = [{tests!r}]
from joblib import Parallel, delayed
from probunet.core.processes import InWorker
import small_tasks
if __name__ == "__main__":
    Parallel(n_jobs=2)(delayed(InWorker(small_tasks.endless))(sys.argv[1], print) for _ in range(1))
"""


def test_no_worker_of_joblib_outlives_its_parent(tmp_path):
    script, file = tmp_path / "parent.py", tmp_path / "pid"
    script.write_text(JOBLIB.format(tests=str(Path(__file__).parents[1])))
    parent = subprocess.Popen([sys.executable, script, file], stderr=subprocess.DEVNULL)
    child = int(_wait_for(lambda: file.is_file() and file.read_text()))
    assert child != parent.pid
    parent.kill()
    parent.wait(timeout=20)
    assert _wait_for(lambda: not _is_running(child), seconds=5)


def test_no_workers_at_all_are_refused():
    for workers in (0, -1):
        with pytest.raises(InputError, match=f"--workers {workers} is no number of processes"):
            run_in_processes("nothing", [Task("x", refuse)], workers=workers)


@pytest.mark.parametrize(
    ("visible", "gpus", "names"),
    [(None, 2, ["0", "1", "0"]), ("3,5", 2, ["3", "5", "3"]), ("GPU-a, GPU-b", 2, ["GPU-a", "GPU-b", "GPU-a"])],
)
def test_workers_share_the_gpus_that_this_program_may_use(visible, gpus, names, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert [processes._gpu(slot, gpus) for slot in range(3)] == names
