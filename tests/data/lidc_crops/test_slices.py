"""The LIDC-IDRI-slices layout, from every container it comes in."""

import shutil
import zipfile
from pathlib import Path

import numpy as np
import pytest
from small_data import blob, png, slice_files, unpacked, write_tar

from probunet.core.errors import InputError
from probunet.core.files import sha256
from probunet.data.lidc_crops.slices import prepare_slices


def write_zip(path: Path, files: dict[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return path


def test_crops_and_masks_are_read_in_order(slices_store):
    assert slices_store.images.shape == (20, 1, 32, 32)
    assert [e.name for e in slices_store.cases[:3]] == [
        "LIDC-IDRI-0001/nodule-0/slice-0",
        "LIDC-IDRI-0001/nodule-0/slice-1",
        "LIDC-IDRI-0002/nodule-0/slice-0",
    ]
    assert np.array_equal(slices_store.images[2], blob(2)[0])
    assert np.array_equal(slices_store.labels[2], blob(2)[1])
    assert slices_store.manifest["simulated"] is False


def test_splits_are_by_patient(slices_store):
    parts = {}
    for case in slices_store.cases:
        parts.setdefault(case.patient, set()).add(case.split)
    assert all(len(splits) == 1 for splits in parts.values())
    assert [slices_store.manifest["splits"][s]["patients"] for s in ("train", "validation", "test")] == [4, 2, 4]


def test_every_container_gives_the_same_store(slices_archive, slices_store, tmp_path):
    unpacked(slices_archive, tmp_path / "folder")
    zipped = write_zip(tmp_path / "slices.zip", slice_files())
    for source in (tmp_path / "folder", tmp_path / "folder" / "LIDC-IDRI-slices", zipped):
        out = tmp_path / f"store-{source.name}"
        prepare_slices(source, out, (0.4, 0.2, 0.4))
        for name in ("images.npy", "labels.npy", "cases.csv"):
            assert sha256(out / name) == sha256(slices_store.path / name)


def test_everyone_into_test(slices_archive, tmp_path):
    store = prepare_slices(slices_archive, tmp_path / "store", (0, 0, 1))
    assert {e.split for e in store.cases} == {"test"}


def test_crops_without_any_mark_are_left_out(tmp_path):
    files = slice_files(3)
    for reader in range(4):
        files[f"LIDC-IDRI-slices/LIDC-IDRI-0002/nodule-0/mask-{reader}/slice-1.png"] = png(np.zeros((32, 32), "u1"))
    store = prepare_slices(write_tar(tmp_path / "a.tar.gz", files), tmp_path / "store", (0, 0, 1))
    assert len(store.cases) == 5
    assert store.manifest["left_out_no_reader_marked_anything"] == 1


KEY = "LIDC-IDRI-slices/LIDC-IDRI-0002/nodule-0/mask-2/slice-1.png"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: f.pop(KEY), "LIDC-IDRI-0002/nodule-0/slice-1 lacks mask-2"),
        (lambda f: f.update({KEY: f[KEY][:40]}), r"slice-1 \(mask-2\) is damaged, or a PNG"),
        (lambda f: f.update({KEY: b"not a picture"}), r"slice-1 \(mask-2\) is damaged, or a PNG"),
        (lambda f: f.update({KEY: png(np.zeros((31, 32), "u1"))}), "31x32 px where the others have 32x32"),
        (lambda f: f.update({KEY: png(np.arange(1024, dtype="u1").reshape(32, 32))}), "mask values 0, 1, 2"),
        (lambda f: f.update({KEY: png(np.zeros((32, 32, 3), "u1"))}), "a PNG of colours"),
        (lambda f: f.clear(), "holds no crops"),
    ],
)
def test_damage_is_named_and_nothing_is_left_behind(tmp_path, change, words):
    files = slice_files(3)
    change(files)
    archive = write_tar(tmp_path / "a.tar.gz", files)
    with pytest.raises(InputError, match=words) as caught:
        prepare_slices(archive, tmp_path / "store")
    assert "a.tar.gz" in str(caught.value)
    assert [p.name for p in tmp_path.iterdir()] == ["a.tar.gz"]


def test_truncated_archive(slices_archive, tmp_path):
    short = tmp_path / "short.tar.gz"
    shutil.copy(slices_archive, short)
    short.write_bytes(short.read_bytes()[:-2000])
    with pytest.raises(InputError, match=r"short\.tar\.gz cannot be read"):
        prepare_slices(short, tmp_path / "store")


@pytest.mark.parametrize("content", [b"", b"no archive at all"])
def test_not_an_archive(tmp_path, content):
    (tmp_path / "a.zip").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.zip cannot be read as tar, zip or folder"):
        prepare_slices(tmp_path / "a.zip", tmp_path / "store")


def test_missing_archive(tmp_path):
    with pytest.raises(InputError, match="does not exist"):
        prepare_slices(tmp_path / "nowhere.tar.gz", tmp_path / "store")


@pytest.mark.parametrize("fractions", [(0.5, 0.5), (0.5, 0.6, 0.1), (-0.1, 0.6, 0.5)])
def test_fractions_that_are_none(slices_archive, tmp_path, fractions):
    with pytest.raises(InputError, match="sum to 1"):
        prepare_slices(slices_archive, tmp_path / "store", fractions)
