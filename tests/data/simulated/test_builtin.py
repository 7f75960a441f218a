"""The built-in data as a store."""

import numpy as np

from probunet.core.files import sha256
from probunet.data.lidc.readers import load_annotations
from probunet.data.simulated.builtin import prepare_readers
from probunet.data.splits import load_reader_split


def test_the_same_arguments_give_the_same_bytes_and_another_seed_other_images(tmp_path):
    """And the store says that it is simulated, with the splits of the shipped file."""
    stores = [
        prepare_readers(tmp_path / name, spacing=1, size=32, limit=12, seed=seed, jobs=jobs)
        for name, seed, jobs in (("a", 0, 1), ("b", 0, 2), ("c", 1, 1))
    ]
    store = stores[0]
    for file in (tmp_path / "a").iterdir():
        assert sha256(file) == sha256(tmp_path / "b" / file.name), file.name
    assert sha256(tmp_path / "a" / "images.npy") != sha256(tmp_path / "c" / "images.npy")
    assert sha256(tmp_path / "a" / "labels.npy") == sha256(tmp_path / "c" / "labels.npy")
    assert store.manifest["simulated"] is True
    assert "simulated" in store.manifest["title"]
    assert store.intensity.unit == "HU"
    split = load_reader_split()
    assert all(case.split == split[case.patient] for case in store.cases)
    by_name = {one.name: one for one in load_annotations().lesion_slices()}
    assert np.array_equal(store.labels[0], by_name[store.cases[0].name].masks(1, 32))
