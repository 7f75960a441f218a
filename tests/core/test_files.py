"""Nothing half-written, nothing of others replaced, and what killed processes leave behind is removed."""

import os
import resource
import signal
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from small_data import DESCRIPTION, blobs

from probunet.core.errors import InputError
from probunet.core.files import (
    check_out_folder,
    check_outputs,
    regular_file,
    remove_remains,
    scratch_folder,
    writing_file,
    writing_folder,
)
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
from probunet.core.files import scratch_folder

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


MARK = b'"made_by": "probunet score'


def test_a_result_replaces_only_a_result_of_its_own_command(tmp_path):
    mine, other = tmp_path / "mine.json", tmp_path / "other.json"
    mine.write_bytes(b"{" + MARK + b'"}')
    other.write_text("years of work")
    check_outputs([mine, tmp_path / "new" / "deep.json"], marks=[MARK])
    assert not (tmp_path / "new").exists()  # nothing is made before the work
    with pytest.raises(InputError, match=r"other\.json exists and is no result of this command"):
        check_outputs([mine, other], marks=[MARK])
    with pytest.raises(InputError, match=r"mine\.json exists"):
        check_outputs([mine])


def test_an_output_is_no_input_by_whatever_name(tmp_path):
    source = tmp_path / "patients.csv"
    source.write_bytes(b"set,case")
    (tmp_path / "hard.csv").hardlink_to(source)
    (tmp_path / "sub").mkdir()
    for name in (source, tmp_path / "sub" / ".." / "patients.csv", tmp_path / "hard.csv"):
        with pytest.raises(InputError, match="is an input of this command"):
            check_outputs([tmp_path / "patients.json", name], [source], [b"set,case"])
    with pytest.raises(InputError, match="is an input of this command"):
        check_out_folder(tmp_path / "sub", [tmp_path / "sub" / ".." / "sub"])


def test_two_results_of_one_name_are_refused(tmp_path):
    with pytest.raises(InputError, match="two results"):
        check_outputs([tmp_path / "x.csv", tmp_path / "." / "x.csv"])


def _special(folder):
    """A folder, links, a pipe, a socket and a device."""
    (folder / "folder").mkdir()
    (folder / "file").write_text("precious")
    (folder / "link").symlink_to(folder / "file")
    (folder / "lost").symlink_to(folder / "nowhere")
    os.mkfifo(folder / "pipe")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "socket"))
    kinds = {name: name for name in ("folder", "link", "pipe", "socket")}
    return [*((folder / name, kind) for name, kind in {**kinds, "lost": "link"}.items()), (Path("/dev/null"), "device")]


def test_only_regular_files_are_written_over(tmp_path):
    for path, kind in _special(tmp_path):
        with pytest.raises(InputError, match=f"is a {kind}, not a regular file"):
            check_outputs([path])
        with pytest.raises(InputError, match=f"is a {kind}, not a regular file"), writing_file(path) as temporary:
            temporary.write_text("x")
    assert (tmp_path / "file").read_text() == "precious"


def test_only_regular_files_are_read(tmp_path):
    for path, kind in _special(tmp_path):
        if kind != "link":
            with pytest.raises(InputError, match=f"is a {kind}; a regular file is needed"):
                regular_file(path)
    assert regular_file(tmp_path / "link").read_text() == "precious"
    for missing in (tmp_path / "lost", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match="does not exist"):
            regular_file(missing)


@pytest.mark.parametrize("name", ["x" * 300, "a\0b"])
def test_names_that_no_file_can_have_are_one_sentence(tmp_path, name):
    path = tmp_path / name
    for use in (regular_file, lambda p: check_outputs([p]), check_out_folder):
        with pytest.raises(InputError, match=r"File name too long|null") as refused:
            use(path)
        assert len(str(refused.value)) < 300
    for writing in (writing_file, writing_folder):
        with pytest.raises(InputError, match=r"File name too long|null"), writing(path):
            raise AssertionError("never begun")


def test_a_place_that_takes_no_file_is_refused_before_the_work(tmp_path):
    (tmp_path / "file").write_text("x")
    for use in (lambda p: check_outputs([p]), check_out_folder):
        with pytest.raises(InputError, match="is not a folder"):
            use(tmp_path / "file" / "below" / "out.json")
    with pytest.raises(InputError, match="is a file, not a folder"):
        check_out_folder(tmp_path / "file")
    for writing in (writing_file, writing_folder):
        with pytest.raises(InputError, match="cannot make the folder"), writing(tmp_path / "file" / "x"):
            raise AssertionError("never begun")


AS_AN_ORDINARY_USER = """
import os, sys
from pathlib import Path
from probunet.core.errors import InputError
from probunet.core.files import check_outputs, regular_file
if os.geteuid() == 0:
    os.setgid(65534); os.setuid(65534)
for use, path in ((regular_file, sys.argv[1]), (lambda p: check_outputs([p]), sys.argv[2])):
    try:
        use(Path(path))
    except InputError as error:
        print(error)
"""


def test_missing_permissions_are_one_sentence(tmp_path):
    for folder in (
        tmp_path,
        *(parent for parent in tmp_path.parents if "pytest" in parent.name or "popen" in parent.name),
    ):
        folder.chmod(0o755)
    secret, closed = tmp_path / "secret.json", tmp_path / "closed"
    secret.write_text("{}")
    secret.chmod(0)
    closed.mkdir(mode=0o555)
    words = [sys.executable, "-c", AS_AN_ORDINARY_USER, secret, closed / "out.json"]
    first, second = subprocess.run(words, capture_output=True, text=True, check=True).stdout.splitlines()
    assert "may not be read by this user" in first
    assert "no permission in" in second


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
