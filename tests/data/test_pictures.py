"""Images of a store as files: raw, named, and what a model says of them is what it says of the store."""

import numpy as np
import pytest

from probunet.cli import main
from probunet.core.errors import InputError
from probunet.data.pictures import write_pictures


def test_files_hold_the_raw_values_of_their_cases(store, tmp_path, capsys):
    main(["prepare", "pictures", str(store.path), "--out", str(tmp_path / "pictures"), "--n", "2"])
    assert "2 images of the test split" in " ".join(capsys.readouterr().err.split())
    by_name = {case.name: i for i, case in enumerate(store.cases)}
    files = sorted((tmp_path / "pictures").iterdir())
    assert len(files) == 2
    for file in files:
        row = by_name[file.stem]
        assert store.cases[row].split == "test"
        assert np.array_equal(np.load(file), store.images[row])


def test_a_model_samples_them(store, trained, tmp_path):
    (file,) = write_pictures(store, tmp_path / "pictures", "test", 1)
    main(["sample", str(trained / "unet"), str(file), "-n", "2", "--out", str(tmp_path / "out"), "--device", "cpu"])
    drawn = np.load(tmp_path / "out" / file.stem / "samples.npy")
    assert drawn.shape == (2, 1, *store.images.shape[-2:])


def test_what_cannot_be_written_is_one_sentence(store, tmp_path):
    with pytest.raises(InputError, match="n=0 pictures are none"):
        write_pictures(store, tmp_path / "pictures", "test", 0)
    (tmp_path / "there").mkdir()
    with pytest.raises(InputError, match="there"):
        write_pictures(store, tmp_path / "there", "test", 1)
