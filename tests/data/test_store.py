"""The store: what is written is what is read; damage is noticed and named."""

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from small_data import DESCRIPTION, blob, blobs, listen_to_ctrl_c, nothing, refuse

from probunet.core.errors import InputError
from probunet.data.prepare import CaseSource, write_store
from probunet.data.store import VERSION, Case, Store, sha256


@pytest.fixture
def copy(store: Store, tmp_path: Path) -> Path:
    return Path(shutil.copytree(store.path, tmp_path / "copy"))


def test_what_is_written_is_what_is_read(store):
    for i in (0, 7, 23):
        image, labels = blob(i)
        assert np.array_equal(store.images[i], image)
        assert np.array_equal(store.labels[i], labels)
    assert [e.name for e in store.cases] == [f"case-{i:03d}" for i in range(24)]
    assert store.manifest["splits"] == {
        "train": {"cases": 12, "patients": 6},
        "validation": {"cases": 6, "patients": 3},
        "test": {"cases": 6, "patients": 3},
    }
    assert store.manifest["empty_masks_per_case"] == {"1": 24}
    store.verify()


def test_the_same_arguments_give_the_same_bytes(store, tmp_path):
    again = write_store(tmp_path / "again", blobs(24), DESCRIPTION, np.uint8, jobs=2)
    for file in store.path.iterdir():
        assert sha256(file) == sha256(again.path / file.name), file.name


def test_examples_that_no_reader_marked_are_left_out_and_counted(tmp_path):
    items = blobs(6)
    for i in (0, 3, 5):
        items[i] = CaseSource(items[i].case, partial(nothing, i))
    written = write_store(tmp_path / "store", items, DESCRIPTION, np.uint8, jobs=1)
    assert [e.name for e in written.cases] == ["case-001", "case-002", "case-004"]
    assert written.manifest["left_out_no_reader_marked_anything"] == 3
    for row, i in enumerate((1, 2, 4)):
        assert np.array_equal(written.images[row], blob(i)[0])
        assert np.array_equal(written.labels[row], blob(i)[1])


def test_a_store_without_anything_is_refused(tmp_path):
    with pytest.raises(InputError, match="no images were found"):
        write_store(tmp_path / "store", [], DESCRIPTION, np.uint8)
    empty = [CaseSource(Case("a", "a", "test"), partial(nothing, 0))]
    with pytest.raises(InputError, match="no reader marked anything"):
        write_store(tmp_path / "store", empty, DESCRIPTION, np.uint8, jobs=1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["images.npy", "labels.npy", "cases.csv"])
def test_truncated_file(copy, name):
    os.truncate(copy / name, (copy / name).stat().st_size - 1)
    with pytest.raises(InputError, match=rf"{name} has [\d,]+ bytes, its manifest says .* truncated"):
        Store(copy)


def test_missing_file(copy):
    (copy / "labels.npy").unlink()
    with pytest.raises(InputError, match=r"labels\.npy is missing"):
        Store(copy)


def test_wrong_checksum(copy):
    with (copy / "images.npy").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x01")
    with pytest.raises(InputError, match=r"images\.npy does not match its checksum"):
        Store(copy).verify()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m.update(version=VERSION + 1), f"version {VERSION + 1}.*upgrade probunet"),
        (lambda m: m.update(format="other"), "not the manifest of a probunet store"),
        (lambda m: m.pop("files"), "lacks files"),
        (lambda m: m.pop("version"), "not a readable manifest"),
        (lambda m: m.update(intensity={"unit": "HU"}), "not a usable store"),
    ],
)
def test_unusable_manifest(copy, change, words):
    manifest = json.loads((copy / "manifest.json").read_text())
    change(manifest)
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=words):
        Store(copy)


def test_garbage_manifest(copy):
    (copy / "manifest.json").write_bytes(b"\xff{")
    with pytest.raises(InputError, match="not a readable manifest"):
        Store(copy)


def test_not_a_store(tmp_path):
    with pytest.raises(InputError, match=r"no manifest\.json.*probunet prepare"):
        Store(tmp_path)


def test_unknown_split(store):
    with pytest.raises(InputError, match="no split 'val'; choose one of train, validation, test"):
        store.indices("val")


def test_existing_folder_is_not_overwritten(store):
    with pytest.raises(InputError, match="exists already"):
        write_store(store.path, blobs(2), DESCRIPTION, np.uint8, jobs=1)


def test_an_item_that_cannot_be_drawn_leaves_nothing_behind(tmp_path):
    items = [*blobs(3), CaseSource(Case("bad", "bad", "test"), partial(refuse, 3))]
    with pytest.raises(InputError, match="case 3 cannot be read"):
        write_store(tmp_path / "store", items, DESCRIPTION, np.uint8, jobs=2)
    assert not list(tmp_path.iterdir())


def test_full_disk_is_one_sentence_and_leaves_nothing_behind(tmp_path):
    """A limit on the file size stands for a disk that is full: writing fails in the same place."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, before[1]))
    try:
        with pytest.raises(InputError, match=r"cannot write .*store.*free some space"):
            write_store(tmp_path / "store", blobs(24), DESCRIPTION, np.uint8, jobs=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_preparation_leaves_nothing_behind(tmp_path, number, code):
    command = [sys.executable, "-m", "probunet", "prepare", "readers", "--out", str(tmp_path / "store")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, preexec_fn=listen_to_ctrl_c)
    while process.poll() is None and not list(tmp_path.iterdir()):
        time.sleep(0.05)
    time.sleep(0.5)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == code
    assert "nothing half-written is left" in errors
    assert "Traceback" not in errors
    assert not list(tmp_path.iterdir())
