"""Only regular files are read, and nothing of others is replaced."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from probunet.core.errors import InputError
from probunet.core.files import check_out_folder, check_outputs, regular_file
from probunet.core.writing import writing_file, writing_folder

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
