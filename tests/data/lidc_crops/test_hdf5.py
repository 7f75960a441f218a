"""The HDF5 form of the pickled slices."""

import sys

import h5py
import numpy as np
import pytest
from community_files import write_hdf5
from small_data import blob

from probunet.core.errors import InputError
from probunet.data.lidc_crops.community import prepare_import


def test_the_hdf5_form_gives_the_same_slices(tmp_path):
    store = prepare_import(write_hdf5(tmp_path / "data_lidc.hdf5"), tmp_path / "store")
    assert store.images.shape == (20, 1, 32, 32)
    np.testing.assert_allclose((store.images[2] + 0.5) * 255, blob(2)[0], atol=1e-4)
    np.testing.assert_array_equal(store.labels[2], blob(2)[1])
    assert [store.manifest["splits"][s]["patients"] for s in ("train", "validation", "test")] == [8, 1, 1]
    assert (store.cases[16].name, store.cases[16].patient, store.cases[16].split) == (
        "val/00000",
        "series-1008",
        "validation",
    )
    assert store.manifest["notes"] == {"split": "by series, as the file says"}
    anew = prepare_import(tmp_path / "data_lidc.hdf5", tmp_path / "anew", (0, 0, 1))
    assert {case.split for case in anew.cases} == {"test"}


def replaced(group, name, data):
    del group[name]
    group[name] = data


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda f: f.pop("val"), "has no val/images of its own"),
        (lambda f: f["test"].pop("uids"), "has no test/uids of its own"),
        (lambda f: replaced(f["val"], "labels", np.zeros((2, 32, 32, 3), "u1")), r"val has images .*, labels .*3\)"),
        (lambda f: replaced(f["val"], "labels", np.full((2, 32, 32, 4), 7)), r"val, row 0, has label values \[7\]"),
        (lambda f: replaced(f["val"], "images", np.full((2, 32, 32), 200.0)), "val, row 0, has grey levels 200 to 200"),
        (lambda f: replaced(f["val"], "uids", np.array([1000, 1008])), "series 1000 is in train and in validation"),
        (lambda f: replaced(f["val"], "uids", np.array([b"a", b"b"])), "val/uids is not a data set of numbers"),
        (lambda f: replaced(f["val"], "uids", h5py.ExternalLink("/etc/x", "y")), "has no val/uids of its own"),
        (lambda f: replaced(f["val"], "uids", h5py.SoftLink("/test/uids")), "has no val/uids of its own"),
    ],
)
def test_damaged_hdf5_is_named_and_nothing_is_left_behind(tmp_path, change, words):
    file = write_hdf5(tmp_path / "a.hdf5")
    with h5py.File(file, "r+") as opened:
        change(opened)
    with pytest.raises(InputError, match=words) as caught:
        prepare_import(file, tmp_path / "store")
    assert "a.hdf5" in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["a.hdf5"]


def test_truncated_hdf5(tmp_path):
    file = write_hdf5(tmp_path / "a.hdf5")
    file.write_bytes(file.read_bytes()[:-3000])
    with pytest.raises(InputError, match="cannot be read as HDF5"):
        prepare_import(file, tmp_path / "store")


def test_h5py_is_asked_for_by_name(tmp_path, monkeypatch):
    file = write_hdf5(tmp_path / "a.hdf5")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(InputError, match=r"needs h5py; install it with: pip install .probunet\[hdf5\]"):
        prepare_import(file, tmp_path / "store")
