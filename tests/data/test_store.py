"""The store: what is written is what is read; damage is noticed and named."""

import json
import os
import shutil
import signal
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from copies import command
from small_data import DESCRIPTION, blob, blobs, full_disk, nothing, refuse

from probunet.core.errors import InputError
from probunet.core.files import sha256
from probunet.core.intensity import Intensity
from probunet.data.identity import Identity
from probunet.data.manifest import VERSION, Case
from probunet.data.prepare import CaseSource, write_store
from probunet.data.store import Store


@pytest.fixture
def copy(store: Store, tmp_path: Path) -> Path:
    return Path(shutil.copytree(store.path, tmp_path / "copy"))


def corrected(index: int) -> tuple[np.ndarray, np.ndarray]:
    image, labels = blob(index)
    labels[0, 0, 0] = 1
    return image, labels


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


def test_cases_whose_splits_were_exchanged_are_noticed_at_once(copy):
    """The file has its length and the manifest its counts."""
    text = (copy / "cases.csv").read_text()
    train, test = "patient-000,train", "patient-003,test"
    text = text.replace(train, "patient-000,test").replace(test, "patient-003,train")
    (copy / "cases.csv").write_text(text)
    with pytest.raises(InputError, match=r"cases\.csv does not match its checksum"):
        Store(copy)


def edit(folder: Path, change) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    change(manifest)
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m.update(version=VERSION + 1), f"version {VERSION + 1}.*upgrade probunet"),
        (lambda m: m.update(format="other"), "not the manifest of a probunet store"),
        (lambda m: m.pop("files"), "lacks 'files'"),
        (lambda m: m.pop("version"), "lacks 'version'"),
        (lambda m: m.update(intensity={"unit": "HU"}), r"lacks 'intensity\.offset'"),
        (lambda m: m["intensity"].update(scale=0), r"unusable 0 in 'intensity\.scale'"),
        (lambda m: m["intensity"].update(offset=1e30), r"unusable 1e\+30 in 'intensity\.offset'"),
        (lambda m: m.update(spacing_mm=[1, 1000]), r"unusable 1000 in 'spacing_mm\.1'"),
        (lambda m: m.update(spacing_mm=[0, 1]), r"unusable 0 in 'spacing_mm\.0'"),
        (lambda m: m.update(spacing_mm=5), "unusable 5 in 'spacing_mm'"),
        (lambda m: m.update(classes=["a"] * 300), "classes"),
        (lambda m: m.update(classes=["a", "a"]), "names a class twice"),
        (lambda m: m.update(classes=["a", "b" * 301]), r"'classes\.1'"),
        (lambda m: m.update(extra=1), "unusable 1 in 'extra'"),
        (lambda m: m.update(flips=[{"class_id": 0, "flipped_id": 1, "probability": 1.5}]), "unusable 1.5 in 'flips"),
        (lambda m: m.update(flips=[{"class_id": 0, "flipped_id": 9, "probability": 0.5}]), "flips has the classes"),
        (lambda m: m.update(flips=[{"class_id": 0, "flipped_id": 1, "probability": 0.5}] * 40), "in 'flips'"),
        (lambda m: m.update(readers=["anna"]), "1 names, there are 4 readings"),
        (lambda m: m.update(readers=["a", "b", "c", "c"]), "names a reader twice"),
        (lambda m: m["images"].update(shape=[1 << 60, 1, 32, 32]), r"'images\.shape\.0'"),
        (lambda m: m["images"].update(shape=[24, 1, 32, 31]), "images and labels do not fit"),
        (lambda m: m["images"].update(dtype="object"), "unusable 'object'"),
        (lambda m: m["images"].update(dtype="int16"), "images.npy is uint8 .* its manifest says int16"),
        (lambda m: m["files"].update({"../../x": m["files"]["images.npy"]}), "files"),
        (lambda m: m["files"].pop("cases.csv"), "files lacks cases.csv"),
        (lambda m: m["files"]["images.npy"].update(bytes="many"), r"unusable 'many' in 'files\.images\.npy\.bytes'"),
        (lambda m: m["splits"]["test"].update(cases=7), "cases.csv has .* its manifest says"),
    ],
)
def test_a_manifest_is_checked_as_a_whole(copy, change, words):
    edit(copy, change)
    with pytest.raises(InputError, match=words) as refused:
        Store(copy)
    assert len(str(refused.value).replace(str(copy), "")) < 300


@pytest.mark.parametrize("content", [b"\xff{", b"", b"[]", b"{}", b"null", b"[" * 100_000, b'{"version": NaN}'])
def test_garbage_manifest(copy, content):
    (copy / "manifest.json").write_bytes(content)
    with pytest.raises(InputError, match=r"manifest\.json"):
        Store(copy)


def rewrite(folder: Path, name: str, content: bytes) -> None:
    """Change a file and what the manifest says of its size."""
    (folder / name).write_bytes(content)
    edit(folder, lambda m: m["files"].update({name: {"bytes": len(content), "sha256": 64 * "0"}}))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.replace("case-001,", "case-000,"), "names the case 'case-000' twice"),
        (lambda t: t.replace("case-001,patient-000,train", "case-001,patient-000,test"), "'patient-000' in the splits"),
        (lambda t: t.replace("case-001,", "," + "x" * 3), "other columns|at least 1 character"),
        (lambda t: t.replace("case-001,", "x" * 301 + ","), "at most 300 characters"),
        (lambda t: t.replace("case-001,patient-000,train", "case-001,patient-000,val"), "unusable 'val' in '1.split'"),
        (lambda t: t.replace("patient", "group", 1), "other columns than name,patient,split"),
        (lambda t: "", "is no table"),
        (lambda t: t.rsplit("\n", 2)[0], "its manifest says"),
    ],
)
def test_a_table_of_cases_is_checked_as_a_whole(copy, change, words):
    rewrite(copy, "cases.csv", change((copy / "cases.csv").read_text()).encode())
    with pytest.raises(InputError, match=words):
        Store(copy)


@pytest.mark.parametrize("name", ["images.npy", "labels.npy"])
@pytest.mark.parametrize("damage", ["shape", "type", "magic", "pickle", "pipe"])
def test_an_array_is_what_the_manifest_says(copy, name, damage):
    content = (copy / name).read_bytes()
    if damage == "pipe":
        (copy / name).unlink()
        os.mkfifo(copy / name)
    else:
        old, new = {
            "shape": (b"(24, ", b"(99, "),
            "type": (b"'|u1'", b"'|i1'"),
            "magic": (b"NUMPY", b"GUMPY"),
            "pickle": (b"'|u1'", b"'|O' "),
        }[damage]
        rewrite(copy, name, content.replace(old, new, 1))
    with pytest.raises(InputError, match=name):
        Store(copy)


def test_readers_who_looked_are_a_table_of_yes_and_no(copy):
    for wrong in (np.ones((24, 4)), np.ones((24, 3), bool), np.zeros((24, 4), bool), np.array([{}], dtype=object)):
        np.save(copy / "present.npy", wrong)
        rewrite(copy, "present.npy", (copy / "present.npy").read_bytes())
        with pytest.raises(InputError, match=r"present\.npy"):
            Store(copy)


def test_values_that_no_picture_holds_are_refused_by_the_name_of_the_case(store):
    rows, raw = np.array([0, 7]), store.images[[0, 7]].astype(np.float64)
    raw[1, 0, 3, 4] = 1e30
    for value in (1e30, -1e30, np.nan, np.inf):
        raw[1, 0, 3, 4] = value
        with pytest.raises(InputError, match="case-007"):
            store.normalised(rows, raw)
    assert np.array_equal(store.normalised(rows), ((store.images[[0, 7]].astype(float) - 100) / 50).astype(np.float32))


def test_a_label_that_is_no_class_is_refused(copy):
    labels = np.load(copy / "labels.npy", mmap_mode="r+")
    labels[5, 2, 0, 0] = 200
    labels.flush()
    with pytest.raises(InputError, match=r"labels\.npy holds the label 200, the manifest has 2 classes"):
        Store(copy).readings(np.array([4, 5])[:, None], np.arange(4)[None])


def test_the_map_of_values_is_exact_where_single_precision_is_not():
    """16,777,217 is the first whole number that float32 does not have."""
    raw = np.array([16_777_217, 16_777_219], np.int32)
    assert Intensity("raw value", 16_777_216, 1).normalise(raw).tolist() == [1, 3]
    assert Intensity("raw value", 1e6 + 0.5, 2**-10).normalise(np.array([1e6 + 0.5 + 2**-9])).tolist() == [2]


def test_identity_is_of_the_content_and_not_of_the_place(store, copy, tmp_path):
    identity = store.identity()
    assert Store(copy).identity() == identity
    assert Identity(**json.loads(json.dumps(identity.as_json()))) == identity
    assert identity.images == sha256(store.path / "images.npy")
    sources = blobs(24)
    moved = [CaseSource(replace(source.case, patient="p" + source.case.name), source.draw) for source in sources]
    split = write_store(tmp_path / "split", moved, DESCRIPTION, np.uint8, jobs=1)
    assert identity.differences(split.identity()) == ["patients and splits"]
    sources[3] = CaseSource(sources[3].case, partial(corrected, 3))
    labels = write_store(tmp_path / "labels", sources, DESCRIPTION, np.uint8, jobs=1)
    assert identity.differences(labels.identity()) == ["readings"]
    classes = replace(DESCRIPTION, classes=("background", "lesion", "other"))
    third = write_store(tmp_path / "third", blobs(24), classes, np.uint8, jobs=1)
    assert identity.differences(third.identity()) == ["convention of the distance"]


def test_patients_of_a_split(store):
    assert store.patients("test") == ["patient-003", "patient-007", "patient-011"]
    assert len(store.patients()) == 12


def test_readers_are_named_where_a_column_is_a_person(store, tmp_path):
    assert store.reader_names is None
    named = replace(DESCRIPTION, readers=("anna", "ben", "carl", "dora"))
    assert write_store(tmp_path / "named", blobs(4), named, np.uint8, jobs=1).reader_names == (
        "anna",
        "ben",
        "carl",
        "dora",
    )
    with pytest.raises(InputError, match="1 names, there are 4"):
        write_store(tmp_path / "wrong", blobs(4), replace(DESCRIPTION, readers=("anna",)), np.uint8, jobs=1)
    assert [path.name for path in tmp_path.iterdir()] == ["named"]


def test_empty_cases_are_kept_where_asked_for(tmp_path):
    sources = blobs(4)
    sources[1] = CaseSource(sources[1].case, partial(nothing, 1))
    kept = write_store(tmp_path / "store", sources, DESCRIPTION, np.uint8, jobs=1, keep_empty=True)
    assert len(kept.cases) == 4
    assert kept.manifest["empty_masks_per_case"] == {"1": 3, "4": 1}


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
    with full_disk(10_000), pytest.raises(InputError, match=r"cannot write .*store.*free some space"):
        write_store(tmp_path / "store", blobs(24), DESCRIPTION, np.uint8, jobs=1)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_preparation_leaves_nothing_behind(tmp_path, number, code):
    preparation = command("prepare", "readers", "--out", tmp_path / "store")
    while preparation.runs() and not list(tmp_path.iterdir()):
        time.sleep(0.05)
    time.sleep(0.5)
    preparation.send(number)
    ended, _, errors = preparation.end()
    assert ended == code
    assert "nothing half-written is left" in errors
    assert "Traceback" not in errors
    assert not list(tmp_path.iterdir())
