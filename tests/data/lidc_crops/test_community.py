"""Each form in which others pass LIDC-IDRI on is known by its content."""

import pytest
from community_files import Evil, crop_files, pickled_slices, write_hdf5, write_pickle
from small_data import slice_files, write_tar

from probunet.cli import main
from probunet.core.errors import InputError
from probunet.data.lidc_crops.community import prepare_import, recognise
from probunet.data.manifest import SPLITS
from probunet.data.store import Store


def test_each_form_is_known_by_its_content(tmp_path):
    assert recognise(write_hdf5(tmp_path / "a.bin")) == "hdf5"
    for protocol in range(6):
        assert recognise(write_pickle(tmp_path / "b.bin", pickled_slices(1), protocol)) == "pickle"
    assert recognise(write_tar(tmp_path / "c.bin", crop_files())) == "crops"
    assert recognise(write_tar(tmp_path / "d.bin", slice_files(2))) == "slices"


@pytest.mark.parametrize("content", [b"", b"hello", b"\x89PNG\r\n\x1a\n"])
def test_other_files_are_refused(tmp_path, content):
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(InputError, match="a cannot be read as tar, zip or folder"):
        prepare_import(tmp_path / "a", tmp_path / "store")


def test_the_command(tmp_path, failing, capsys):
    source = write_tar(tmp_path / "slices.tar.gz", slice_files())
    main(["prepare", "import", str(source), "--out", str(tmp_path / "store"), "--fractions", "0.4", "0.2", "0.4"])
    store = Store(tmp_path / "store")
    counts = ", ".join(f"{sum(c.split == split for c in store.cases)} {split}" for split in SPLITS)
    said = capsys.readouterr().err
    assert f"{tmp_path / 'store'}: {len(store.cases)} images of " in said
    assert f" patients ({counts})" in said
    assert "does not exist" in failing("prepare", "import", "nowhere", "--out", str(tmp_path / "x"))
    evil = write_pickle(tmp_path / "evil.pickle", {"a": Evil(tmp_path / "made")})
    assert "evil.pickle is refused" in failing("prepare", "import", str(evil), "--out", str(tmp_path / "x"))
    crops = write_tar(tmp_path / "crops.tar.gz", crop_files())
    words = failing("prepare", "import", str(crops), "--out", str(tmp_path / "x"), "--spacing", "1")
    assert "leave out --spacing" in words
    assert not (tmp_path / "made").exists()
    assert not (tmp_path / "x").exists()
