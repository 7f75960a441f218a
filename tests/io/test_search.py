"""Finding pictures: folder by folder, in the same order each time, a series in one place, nothing read ahead."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from lidc_download import ct_slice, save, uid

from probunet.core.errors import InputError
from probunet.io.search import Search, find_pictures


def _series(folder: Path, number: int, heights: range) -> None:
    for z in heights:
        save(ct_slice(uid(number), z, (0, 0, z), SliceLocation=None), folder / f"{z}.dcm")


def _names(pictures: Iterator | Search) -> list[str]:
    return [picture.source.name for picture in pictures]


def test_folders_come_by_name_and_a_file_that_cannot_be_read_stops_nothing_before_it(tmp_path):
    _series(tmp_path / "b", 1, range(3))
    _series(tmp_path / "a", 2, range(2))
    (tmp_path / "a" / "crop.png").write_bytes(b"not opened here")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "damaged.dcm").write_bytes(b"DICM")
    search = Search([tmp_path])
    pictures = iter(search)
    assert [next(pictures).source.name for _ in range(3)] == ["a", "crop.png", "b"]
    with pytest.raises(InputError, match=r"damaged\.dcm"):
        next(pictures)
    assert search.count_files() == 7
    (tmp_path / "c" / "damaged.dcm").unlink()
    found = find_pictures([tmp_path])
    assert [picture.files for picture in found] == [2, 1, 3]
    assert _names(search) == _names(search) == ["a", "crop.png", "b"]


@pytest.mark.parametrize("count", [1, 2])
def test_a_series_in_two_folders_is_refused_and_both_are_named(tmp_path, count):
    _series(tmp_path / "first", 1, range(count))
    _series(tmp_path / "second", 1, range(10, 10 + count))
    with pytest.raises(InputError, match=r"first.*second.*put them into one folder"):
        list(Search([tmp_path]))
    with pytest.raises(InputError, match=r"second.*first.*put them into one folder"):
        list(Search([tmp_path / "first", tmp_path / "second" / "10.dcm"]))


def test_what_is_named_twice_is_taken_once(tmp_path):
    _series(tmp_path / "in" / "ct", 1, range(2))
    inputs = [tmp_path / "in", tmp_path / "in" / "ct", tmp_path / "in" / "ct" / "0.dcm"]
    (picture,) = Search(inputs)
    assert picture.files == 2


def test_slices_named_one_by_one_are_a_series(tmp_path):
    _series(tmp_path, 1, range(4))
    (picture,) = Search([tmp_path / "0.dcm", tmp_path / "2.dcm"])
    assert picture.shape[0] == 2


def test_names_that_are_no_pictures_are_told_at_once(tmp_path):
    (tmp_path / "a.txt").write_text("no picture")
    with pytest.raises(InputError, match="does not exist"):
        Search([tmp_path, tmp_path / "missing.png"])
    with pytest.raises(InputError, match="an ending that is not known"):
        Search([tmp_path / "a.txt"])
    with pytest.raises(InputError, match="holds no picture"):
        list(Search([tmp_path]))
