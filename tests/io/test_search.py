"""Finding pictures: folder by folder, in the same order each time, a series in one place, nothing read ahead."""

from collections.abc import Iterator
from pathlib import Path

import nibabel
import numpy as np
import pytest
from lidc_download import ct_slice, expected_hu, save, uid
from pydicom.dataset import Dataset
from pydicom.uid import EnhancedCTImageStorage

from probunet.core.errors import InputError
from probunet.io.pictures import read_file
from probunet.io.search import Search, find_pictures


def _series(folder: Path, number: int, heights: range) -> None:
    for z in heights:
        save(ct_slice(uid(number), z, (0, 0, z), SliceLocation=None), folder / f"{z}.dcm")


def _names(pictures: Iterator | Search) -> list[str]:
    return [picture.source.name for picture in pictures]


def test_folders_come_by_name_and_a_file_that_cannot_be_read_stops_nothing(tmp_path):
    _series(tmp_path / "b", 1, range(3))
    _series(tmp_path / "a", 2, range(2))
    (tmp_path / "a" / "crop.png").write_bytes(b"not opened here")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "damaged.dcm").write_bytes(b"DICM")
    search = Search([tmp_path])
    pictures = iter(search)
    assert [next(pictures).source.name for _ in range(3)] == ["a", "crop.png", "b"]
    damaged = next(pictures)
    assert not list(pictures)
    with pytest.raises(InputError, match=r"damaged\.dcm"):
        _ = damaged.shape
    assert search.count_files() == 7
    (tmp_path / "c" / "damaged.dcm").unlink()
    found = find_pictures([tmp_path])
    assert [picture.files for picture in found] == [2, 1, 3]
    assert _names(search) == _names(search) == ["a", "crop.png", "b"]


@pytest.mark.parametrize("count", [1, 2])
def test_a_series_in_two_folders_is_refused_and_both_are_named(tmp_path, count):
    _series(tmp_path / "first", 1, range(count))
    _series(tmp_path / "second", 1, range(10, 10 + count))
    inputs = [tmp_path / "first", tmp_path / "second" / "10.dcm"]
    for asked, both in (([tmp_path], "first.*second"), (inputs, "second.*first")):
        with pytest.raises(InputError, match=rf"{both}.*put them into one folder"):
            find_pictures(asked)
        search = Search(asked)  # which goes on: others behind them are no worse for it
        whole, rest = search
        assert whole.shape[0] in (1, count)
        with pytest.raises(InputError, match=rf"{both}.*put them into one folder"):
            _ = rest.shape
        assert len(search.parted) == 1


def test_a_link_to_nothing_is_named_as_any_file_that_cannot_be_read(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((8, 8)))
    (tmp_path / "broken.npy").symlink_to(tmp_path / "nowhere.npy")
    first, broken = Search([tmp_path])
    assert first.shape == (1, 8, 8)
    with pytest.raises(InputError, match=r"broken\.npy"):
        _ = broken.shape


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


def test_a_damaged_file_takes_its_neighbours_of_several_files_along(tmp_path):
    """It may be a slice of either; a slice of its own and other folders are as they were."""
    _series(tmp_path / "a", 1, range(3))
    save(ct_slice(uid(2), 7, (0, 0, 7)), tmp_path / "a" / "alone.dcm")
    (tmp_path / "a" / "damaged.dcm").write_bytes(b"DICM")
    _series(tmp_path / "b", 3, range(2))
    series, alone, damaged, other = Search([tmp_path])
    for picture in (series, damaged):
        with pytest.raises(InputError, match=r"damaged\.dcm"):
            _ = picture.shape
    assert (alone.shape[0], other.shape[0]) == (1, 2)


def test_two_slices_at_one_place_are_refused_alone(tmp_path):
    for i in range(2):
        save(ct_slice(uid(6), i, (0, 0, 0)), tmp_path / "same" / f"{i}.dcm")
    _series(tmp_path / "whole", 1, range(2))
    same, whole = Search([tmp_path])
    with pytest.raises(InputError, match="are at the same place, and nothing tells two images apart"):
        _ = same.shape
    assert whole.shape[0] == 2


def _frames(file: Path, heights: list[int], times: list[int]) -> None:
    """An enhanced CT file of a frame for each height."""
    groups = []
    for height, time in zip(heights, times, strict=True):
        place, content, group = Dataset(), Dataset(), Dataset()
        place.ImagePositionPatient, content.TemporalPositionIndex = [0, 0, height], time
        group.PlanePositionSequence, group.FrameContentSequence = [place], [content]
        groups.append(group)
    one = ct_slice(uid(7), 0, (0, 0, 0), SOPClassUID=EnhancedCTImageStorage, NumberOfFrames=len(groups))
    one.PerFrameFunctionalGroupsSequence = groups
    one.PixelData = b"".join(ct_slice(uid(7), i, (0, 0, 0)).PixelData for i in range(len(groups)))
    save(one, file)


def test_frames_of_one_file_at_one_place_are_told_apart_or_refused_also_in_a_folder(tmp_path):
    _frames(tmp_path / "a.dcm", [0, 1, 0, 1], [1, 1, 1, 1])
    (picture,) = find_pictures([tmp_path])
    for one in (picture, read_file(tmp_path / "a.dcm")):
        with pytest.raises(InputError, match="are at the same place, and nothing tells two images apart"):
            _ = one.shape
    _frames(tmp_path / "a.dcm", [0, 1, 0, 1], [1, 1, 2, 2])
    first, second = find_pictures([tmp_path])
    np.testing.assert_array_equal(first.values()[:, 0], [expected_hu(0), expected_hu(1)])
    np.testing.assert_array_equal(second.values()[:, 0], [expected_hu(2), expected_hu(3)])


def test_an_index_of_files_is_passed_over_whatever_it_holds(tmp_path):
    _series(tmp_path, 1, range(2))
    (tmp_path / "DICOMDIR").write_bytes(bytes(128) + b"DICM" + bytes(99))
    (picture,) = Search([tmp_path])
    assert picture.shape[0] == 2


def _channel(
    file: Path, value: float, kind: type = np.int16, shift: float = 0, order: tuple[int, int] = (1, 1)
) -> None:
    """Voxels 10 x + z + value for x to the right, stored in either direction of x and y."""
    x, _, z = np.meshgrid(np.arange(4), np.arange(5), np.arange(2), indexing="ij")
    image = nibabel.Nifti1Image((10 * x + z + value).astype(kind), np.diag([1.0, 1, 2, 1]) + shift * np.eye(4, k=3))
    flips = [[axis, sign] for axis, sign in enumerate((*order, 1))]
    nibabel.save(image.as_reoriented(np.array(flips, float)), file)


def test_channels_in_two_files_are_one_picture_in_whatever_order_they_are_stored(tmp_path):
    _channel(tmp_path / "case_0000.nii.gz", 0)
    _channel(tmp_path / "case_0001.nii.gz", 0.5, np.float32, order=(-1, -1))
    _channel(tmp_path / "other_0000.nii.gz", 0)
    assert len(list(Search([tmp_path]))) == 3
    case, other = Search([tmp_path], channels=2)
    assert (case.name, case.files, case.channels, case.dtype) == ("case", 2, 2, np.float32)
    first, second = case.values()[:, 0], case.values()[:, 1]
    np.testing.assert_array_equal(second, first + 0.5)
    np.testing.assert_array_equal(first[1, 0], [31, 21, 11, 1])  # columns run to the left
    assert case.affine is not None
    assert other.channels == 1


@pytest.mark.parametrize(
    ("numbers", "shift", "message"),
    [
        ((0, 2), 0, r"has the channels \[0, 2\], the model takes 0 to 1"),
        ((0, 1), 0.25, "differ in size, spacing, origin"),
    ],
)
def test_channels_that_are_no_picture_are_refused(tmp_path, numbers, shift, message):
    for i, number in enumerate(numbers):
        _channel(tmp_path / f"case_{number:04d}.nii.gz", 0, shift=i * shift)
    (case,) = Search([tmp_path], channels=2)
    with pytest.raises(InputError, match=message):
        _ = case.shape


def test_a_search_that_may_not_go_on_for_ever_says_how_much_it_looked_at(tmp_path):
    for name in ("a/1.png", "a/2.txt", "b/3.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    assert len(find_pictures([tmp_path], most=6)) == 2
    with pytest.raises(InputError, match="holds more than the 5 files and folders that are looked at; give the folder"):
        find_pictures([tmp_path], most=5)
