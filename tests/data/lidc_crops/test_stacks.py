"""The crops of a lesion as a volume: in the order of the slices, on one grey scale as far as neighbours tell it."""

from functools import partial

import numpy as np
import pytest
from small_data import blob, slice_files, write_tar

from probunet.core.errors import InputError
from probunet.data.lidc_crops import stacks
from probunet.data.lidc_crops.grey import linear_map, matched_slices
from probunet.data.lidc_crops.slices import prepare_slices
from probunet.data.lidc_crops.spacing import _sizes_by_scan, match_voxels


def test_the_crops_of_a_lesion_are_a_volume_of_the_same_patients(slices_archive, tmp_path, monkeypatch, annotations):
    monkeypatch.setattr(stacks, "match_voxels", partial(match_voxels, annotations=annotations))
    store = stacks.prepare_stacks(slices_archive, tmp_path / "stacks", (0.4, 0.2, 0.4))
    assert (store.dims, len(store.cases), store.size(0)) == (3, 10, (2, 32, 32))
    assert store.cases[3].name == "LIDC-IDRI-0004/nodule-0"
    for k in range(2):
        np.testing.assert_array_equal(store.labels[3][:, k], blob(6 + k)[1])
    crops = prepare_slices(slices_archive, tmp_path / "crops", (0.4, 0.2, 0.4))
    assert store.patients("test") == crops.patients("test")
    assert "end where the last reader ended" in store.manifest["title"]
    assert store.spacing(0) is None  # no lesion of these is in the built-in annotations


def test_a_voxel_size_that_is_found_is_kept(slices_archive, tmp_path, monkeypatch):
    monkeypatch.setattr(stacks, "match_voxels", lambda lesions: {key: (2.5, 0.7) for key in list(lesions)[:4]})
    store = stacks.prepare_stacks(slices_archive, tmp_path / "stacks", (0.4, 0.2, 0.4))
    assert [store.spacing(row) for row in (3, 4)] == [(2.5, 0.7, 0.7), None]
    assert store.manifest["notes"]["lesions_of_known_voxel_size"] == 4


def test_a_lesion_that_lacks_a_slice_is_refused(tmp_path):
    files = slice_files(2)
    moved = {name.replace("slice-1", "slice-2"): content for name, content in files.items()}
    with pytest.raises(InputError, match="LIDC-IDRI-0001/nodule-0 lacks slice-1"):
        stacks.prepare_stacks(write_tar(tmp_path / "a.tar.gz", moved), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def scaled(volume: np.ndarray) -> np.ndarray:
    low, high = volume.min(axis=(1, 2), keepdims=True), volume.max(axis=(1, 2), keepdims=True)
    return np.rint(255 * (volume - low) / (high - low)).astype(np.uint8)


def test_slices_that_were_scaled_one_by_one_are_brought_to_one_scale():
    """A bright spot on the middle slices alone changes their scale; the tissue around it becomes the same again."""
    random = np.random.default_rng(0)
    volume = np.repeat(random.normal(0, 60, (1, 40, 40)), 6, axis=0) + random.normal(0, 5, (6, 40, 40))
    volume[2:4, 10:14, 10:14] += 900
    before, after = scaled(volume).astype(float), matched_slices(scaled(volume)).astype(float)
    outside = np.ones((40, 40), bool)
    outside[10:14, 10:14] = False
    deviations = [stack[:, outside].std(axis=1) for stack in (before, after)]
    assert deviations[0].max() > 2 * deviations[0].min()
    assert deviations[1].max() < 1.1 * deviations[1].min()
    assert np.abs(np.corrcoef(after.ravel(), volume.ravel())[0, 1]) > 0.99
    assert (after.min(), after.max()) == (0, 255)


def test_a_linear_map_is_found_whatever_a_tenth_of_the_pixels_says():
    source = np.random.default_rng(1).uniform(0, 255, (30, 30))
    target = 0.5 * source + 20
    target[:3] = 255
    assert linear_map(source, target) == pytest.approx((0.5, 20))
    assert linear_map(np.full((4, 4), 7.0), np.full((4, 4), 9.0)) == (1.0, 2.0)


def test_the_voxel_size_of_a_scan_is_that_of_the_annotations(annotations):
    table = annotations.table
    patient = table.scan_patient[0]
    [sizes] = {scan: readings[0] for scan, readings in _sizes_by_scan(annotations, {patient})[patient].items()}.items()
    scan, marks = sizes
    lesions = {(patient, "a"): [tuple(sorted(marks.elements()))], (patient, "b"): [(7, 77_777)]}
    voxel = (float(table.slice_spacing[scan]), float(table.pixel_spacing[scan]))
    assert match_voxels(lesions, annotations) == {(patient, "a"): voxel}
