"""Nothing is half-written, and what killed processes leave behind is removed."""

import itertools
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from small_data import DESCRIPTION, blobs

from probunet.core.errors import InputError
from probunet.core.writing import remove_remains, scratch_folder, writing_file, writing_folder
from probunet.data.prepare import write_store
from probunet.data.store import Store

KILLED_WHILE_PREPARING = """
import os, signal, sys
from functools import partial
from pathlib import Path
sys.path.insert(0, {tests!r})
import numpy as np
from small_data import DESCRIPTION, blob, blobs
from probunet.data.prepare import CaseSource, write_store

def die(index):
    os.kill(os.getpid(), signal.SIGKILL)

items = blobs(80)
items[70] = CaseSource(items[70].case, partial(die, 70))
write_store(Path(sys.argv[1]), items, DESCRIPTION, np.uint8, jobs=1)
"""


KILLED_ON_THE_WAY = """
import os, signal, sys
from pathlib import Path
from probunet.core.writing import scratch_folder

with scratch_folder(sys.argv[1]) as folder:
    (folder / "half").write_bytes(bytes(1000))
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_killed_process_left_on_the_way_is_removed_by_the_next(tmp_path):
    out = tmp_path / "store"
    killed = subprocess.run([sys.executable, "-c", KILLED_ON_THE_WAY, out], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert len(list(tmp_path.iterdir())) == 1
    with scratch_folder(out) as folder:
        assert list(tmp_path.iterdir()) == [folder]
    assert not list(tmp_path.iterdir())


def test_a_killed_prepare_leaves_nothing_after_the_same_command(tmp_path):
    out = tmp_path / "data" / "blobs"
    script = KILLED_WHILE_PREPARING.format(tests=str(Path(__file__).parents[1]))
    killed = subprocess.run([sys.executable, "-c", script, out], stderr=subprocess.DEVNULL, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not out.exists()
    (left,) = out.parent.iterdir()
    assert (left / "images.npy").is_file()
    store = write_store(out, blobs(80), DESCRIPTION, np.uint8, jobs=1)
    store.verify()
    assert [path.name for path in out.parent.iterdir()] == ["blobs"]
    assert len(Store(out).cases) == 80


def test_what_a_running_process_writes_is_left_alone(tmp_path):
    target = tmp_path / "scores.json"
    with writing_file(target) as temporary:
        temporary.write_text("half")
        other = tmp_path / temporary.name.replace(f"-{os.getpid()}-", "-4194304-")  # no process has this number
        other.write_text("left behind")
        (tmp_path / ".scores-elsewhere-1-00.json").write_text("another machine's")
        remove_remains(target)
        assert temporary.read_text() == "half"
        assert not other.exists()
    assert {path.name for path in tmp_path.iterdir()} == {"scores.json", ".scores-elsewhere-1-00.json"}


def test_a_large_folder_is_not_listed_for_every_file_and_remains_are_still_found(tmp_path, monkeypatch):
    for i in range(1100):
        (tmp_path / f"{i}").touch()
    clock, listed, scan = itertools.count(), [], os.scandir
    monkeypatch.setattr("probunet.core.writing.time.monotonic", lambda: next(clock) / 1000)
    monkeypatch.setattr(os, "scandir", lambda folder: listed.append(folder) or scan(folder))
    for i in range(200):
        remove_remains(tmp_path / f"{i}")
    assert 2 <= len(listed) <= 6
    with writing_file(tmp_path / "late.json") as temporary:
        temporary.touch()
        left = tmp_path / temporary.name.replace(f"-{os.getpid()}-", "-4194304-")
    left.touch()
    for _ in range(60):
        remove_remains(tmp_path / "late.json")
    assert not left.exists()


def test_an_error_of_reading_keeps_its_own_truth(tmp_path):
    for writing in (writing_file, writing_folder):
        with pytest.raises(FileNotFoundError, match="source"), writing(tmp_path / "out"):
            (tmp_path / "source").read_bytes()
    with pytest.raises(KeyError), writing_file(tmp_path / "out"):
        raise KeyError("of the program")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "write",
    [
        lambda file: file.write_bytes(bytes(20_000)),
        lambda file: np.save(file, np.zeros(20_000)),
        lambda file: np.zeros(20_000).tofile(file),
    ],
)
def test_a_full_disk_is_one_sentence_and_nothing_is_left(tmp_path, write):
    (tmp_path / "out.npy").write_text("before")
    limits, usual = resource.getrlimit(resource.RLIMIT_FSIZE), signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with (
            pytest.raises(InputError, match=r"cannot write .*nothing was left behind"),
            writing_file(tmp_path / "out.npy") as temporary,
        ):
            write(temporary)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, usual)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("out.npy", "before")]


def test_of_two_processes_on_one_folder_the_first_wins_and_the_second_is_told_so(tmp_path):
    target = tmp_path / "store"
    second = writing_folder(target)
    (second.__enter__() / "file").write_text("second")
    with writing_folder(target) as first:
        (first / "file").write_text("first")
    with pytest.raises(InputError, match="made by another process meanwhile and was kept"):
        second.__exit__(None, None, None)
    assert [path.name for path in tmp_path.iterdir()] == ["store"]
    assert (target / "file").read_text() == "first"
