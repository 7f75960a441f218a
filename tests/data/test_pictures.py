"""Images of a store as files: raw, named, and what a model says of them is what it says of the store."""

import nibabel
import numpy as np
import pytest
from small_data import VOLUMES

from probunet.cli import main
from probunet.core.errors import InputError
from probunet.data.manifest import Case
from probunet.data.pictures import write_pictures
from probunet.data.prepare_volumes import Volume, VolumeSource, write_volumes
from probunet.io.pictures import read_file


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


def test_a_volume_is_written_where_it_lies_or_says_that_it_lies_nowhere(tmp_path):
    """The first is stored with its rows to the front, the second has two channels and only a voxel size."""
    place = np.array([[0.5, 0, 0, 7], [0, 0.5, 0, -3], [0, 0, 2.0, 5], [0, 0, 0, 1]])
    for case, (channels, affine) in enumerate([(1, place), (2, None)]):
        image = np.arange(channels * 60, dtype=np.int16).reshape(channels, 3, 4, 5)
        labels = np.zeros((1, 3, 4, 5), np.uint8)
        labels[0, 1, 2, 3] = 1
        volume = Volume(image, labels, (2.0, 0.5, 0.5), affine)
        source = VolumeSource(Case("scan", "anna", "test"), lambda volume=volume: volume)
        store = write_volumes(tmp_path / f"store{case}", [source], VOLUMES, np.int16, jobs=1)
        files = write_pictures(store, tmp_path / f"out{case}", "test", 1)
        assert len(files) == channels
        for channel, file in enumerate(files):
            header = nibabel.load(file)
            np.testing.assert_array_equal(np.asarray(header.dataobj).T, image[channel])
            assert int(header.header["sform_code"]) == (affine is not None)
            if affine is not None:
                np.testing.assert_allclose(header.affine, affine)
            assert read_file(file).spacing_mm == (2.0, 0.5, 0.5)


def test_what_cannot_be_written_is_one_sentence(store, tmp_path):
    with pytest.raises(InputError, match="n=0 pictures are none"):
        write_pictures(store, tmp_path / "pictures", "test", 0)
    (tmp_path / "there").mkdir()
    with pytest.raises(InputError, match="there"):
        write_pictures(store, tmp_path / "there", "test", 1)
