"""The pickled slices: who is which patient, and files that are damaged or hostile."""

import pickle
from pathlib import Path

import numpy as np
import pytest
from community_files import DAMAGE, Evil, damaged, import_or_refuse, pickled_slices, splits_of, write_pickle
from hypothesis import given
from hypothesis import strategies as st
from small_data import blob

from probunet.core.errors import InputError
from probunet.data.lidc_crops.community import prepare_import


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_the_pickle_is_split_by_patient(tmp_path, protocol):
    store = prepare_import(write_pickle(tmp_path / "data_lidc.pickle", pickled_slices(), protocol), tmp_path / "store")
    assert store.images.shape == (20, 1, 32, 32)
    assert store.images.dtype == np.float32
    np.testing.assert_allclose(store.images[2] * 255, blob(2)[0], atol=1e-4)
    np.testing.assert_array_equal(store.labels[2], blob(2)[1])
    assert (store.cases[2].name, store.cases[2].patient) == ("LIDC-IDRI-0002_slice0", "LIDC-IDRI-0002")
    assert [store.manifest["splits"][s]["patients"] for s in ("train", "validation", "test")] == [7, 1, 2]
    assert all(len(parts) == 1 for parts in splits_of(store).values())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data_lidc.pickle", "store"]


def test_patients_are_found_by_series_or_by_key(tmp_path, caplog):
    caplog.set_level("INFO", "probunet")
    slices = pickled_slices(4)
    named = dict(zip("abcdefgh", slices.values(), strict=True))  # a, b: found by their series
    named["LIDC-IDRI-0777_slice1"] = named.pop("c") | {"series_uid": "1.2.3"}
    named["d"]["series_uid"] = "4.5.6"
    store = prepare_import(write_pickle(tmp_path / "p.pickle", named), tmp_path / "store", (1, 0, 0))
    patients = {case.name: case.patient for case in store.cases}
    assert patients["a"] == patients["b"] == "LIDC-IDRI-0001"
    assert patients["LIDC-IDRI-0777_slice1"] == "LIDC-IDRI-0777"
    assert patients["d"] == "4.5.6"
    assert "1 slices are of series that LIDC-IDRI does not have" in caplog.text
    assert store.manifest["notes"] == {"slices_with_known_patient": 7, "slices_split_by_series_only": 1}


KEY = "LIDC-IDRI-0002_slice1"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda s: s[KEY].pop("masks"), f"slice '{KEY}' is not a dict of image, masks and series_uid"),
        (lambda s: s[KEY]["masks"].pop(), f"slice '{KEY}' has 3 masks and an image"),
        (lambda s: s[KEY].update(masks=[np.zeros((31, 32))] * 4), r"mask of shape \(31, 32\) and an image of shape"),
        (lambda s: s[KEY].update(masks=[np.full((32, 32), 0.5)] * 4), r"mask values \[0\.5\]"),
        (lambda s: s[KEY].update(image=s[KEY]["image"] * 255), "grey levels .*; they must be from 0 to 1"),
        (lambda s: s[KEY].update(image=s[KEY]["image"] * np.nan), "grey levels nan to nan"),
        (lambda s: s[KEY].update(image=0.5), "something else than an array"),
        (lambda s: s[KEY].update(masks="four"), "masks that are no list"),
        (lambda s: s[KEY].update(image=np.zeros((8, 8)), masks=[np.zeros((8, 8))] * 4), r"is of \(8, 8\) px where"),
        (lambda s: s.update({7: s[KEY]}), "something else than named slices"),
        (lambda s: s[KEY].update(more=Evil(Path("never"))), "refused: it names 'posix.mkdir'"),
        (lambda s: s.clear(), "holds no slices"),
    ],
)
def test_a_damaged_pickle_is_named_and_nothing_is_left_behind(tmp_path, change, words, monkeypatch):
    monkeypatch.chdir(tmp_path)
    slices = pickled_slices()
    change(slices)
    with pytest.raises(InputError, match=words) as caught:
        prepare_import(write_pickle(tmp_path / "a.pickle", slices), tmp_path / "store")
    assert "a.pickle" in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["a.pickle"]


def test_a_slice_twice_in_the_pickle_is_refused(tmp_path):
    one = {"a": pickled_slices(1)["LIDC-IDRI-0001_slice0"]}
    body = pickle.dumps(one, 2)[3:-2]  # without protocol and empty dict in front, without SETITEM and STOP behind
    body = body[body.index(b"X") :]
    (tmp_path / "a.pickle").write_bytes(b"\x80\x02}" + body + b"s" + body + b"s.")
    with pytest.raises(InputError, match="'a' is there twice"):
        prepare_import(tmp_path / "a.pickle", tmp_path / "store")


SLICES = {name: pickled_slices(2)[name] for name in list(pickled_slices(2))[:3]}


@DAMAGE
@given(data=st.data())
def test_damaged_pickles_of_slices_are_read_or_refused_in_one_sentence(tmp_path, data):
    content = pickle.dumps(SLICES, data.draw(st.integers(0, 5)))
    for _ in range(data.draw(st.integers(1, 3))):
        content = damaged(data, content)
    (tmp_path / "a.pickle").write_bytes(content)
    import_or_refuse(tmp_path / "a.pickle", tmp_path / "store")
