"""Whose pixels are how large: crops made of the built-in outlines find the scan that they are of."""

import numpy as np
import pytest
from small_data import png, write_tar

from probunet.core.errors import InputError
from probunet.data.lidc.contours import Grid, rasterise
from probunet.data.lidc_crops.slices import prepare_slices
from probunet.data.lidc_crops.spacing import mask_sizes, match_spacing
from probunet.data.resample import largest_size, resample


def native_masks(item):
    """As others make crops: 128x128 px on the scan's own grid around the lesion."""
    x, y = (round(c) - 64 for c in item.centre)
    return np.stack([rasterise(reading, Grid((x, y), 1.0, 128, 128)) for reading in item.readings])


@pytest.fixture(scope="module")
def crops(lesion_slices):
    """(patient, lesion) -> the scan's spacing and the masks of its slices; patient 132 has two scans."""
    found = {}
    for item in lesion_slices:
        if item.patient in ("LIDC-IDRI-0001", "LIDC-IDRI-0004", "LIDC-IDRI-0132"):
            masks = native_masks(item)
            if masks.any():
                found.setdefault((item.patient, f"nodule-{item.lesion}"), (item.pixel_spacing, []))[1].append(masks)
    return found


def test_every_lesion_finds_the_scan_that_it_is_of(crops, annotations):
    sizes = {key: [mask_sizes(masks) for masks in slices] for key, (_, slices) in crops.items()}
    found = match_spacing(sizes, annotations)
    assert found == {key: spacing for key, (spacing, _) in crops.items()}
    assert {spacing for (patient, _), spacing in found.items() if patient == "LIDC-IDRI-0132"} == {
        0.537109375,
        0.546875,
    }


def test_what_is_not_there_is_not_found(annotations):
    patient, other = ("LIDC-IDRI-0001", "nodule-0"), ("LIDC-IDRI-9999", "nodule-0")
    right = [(1, 2, 3)]
    sizes = {patient: [(9999,), (8888,)], other: right, ("LIDC-IDRI-0004", "x"): [(), ()], ("LIDC-IDRI-0004", "y"): []}
    assert match_spacing(sizes, annotations) == {}


def test_sizes_of_masks():
    masks = np.zeros((4, 5, 5), np.uint8)
    masks[0, :2], masks[2, 0, 0] = 1, 255
    assert mask_sizes(masks) == (1, 10)


def test_a_ramp_stays_a_ramp_and_labels_are_those_under_the_middle():
    """8 px of 0.5 mm to 3 px of 1 mm around the middle: target pixels cover columns 1-2, 3-4, 5-6 of 0 to 7."""
    image = np.tile(np.arange(0, 80, 10, dtype=np.uint8), (8, 1))[None]
    labels = np.zeros((1, 8, 8), np.uint8)
    labels[0, :, 4:] = 1
    drawn, masks = resample(image, labels, (0.5, 0.5), (1.0, 1.0), (3, 3))
    np.testing.assert_array_equal(drawn[0, 1], [15, 35, 55])  # the mean of the two columns; the middle one is odd
    np.testing.assert_array_equal(masks[0, 1], [0, 1, 1])  # middles at 2.0, 4.0 and 6.0 px from the left edge
    drawn, masks = resample(image, labels, (0.5, 0.5), (0.25, 0.25))
    np.testing.assert_array_equal(masks[0], np.repeat(np.repeat(labels[0], 2, 0), 2, 1))
    same, masks = resample(image, labels, (0.7, 0.7), (0.7, 0.7), (8, 8))
    np.testing.assert_array_equal(same, image)
    np.testing.assert_array_equal(masks, labels)
    with pytest.raises(ValueError, match="do not fit"):
        resample(image, labels, (0.5, 0.5), (1.0, 1.0), (5, 5))


def test_the_largest_size_is_even_and_inside_of_every_crop():
    assert largest_size(128, [0.7, 0.4609375], 0.5) == 118  # 128 * 0.4609375 / 0.5 = 118
    assert largest_size(128, [0.7], 0.5) == 178  # 179.2
    assert largest_size(8, [0.5], 0.5) == 8


@pytest.fixture(scope="module")
def archive(crops, tmp_path_factory):
    """The real readers' masks on the native grid, beside grey pictures; one patient more whom nobody knows."""
    files = {}
    unknown = {("LIDC-IDRI-9999", "nodule-0"): (0.7, next(iter(crops.values()))[1][:1])}
    for (patient, lesion), (_, slices) in (crops | unknown).items():
        for number, masks in enumerate(slices):
            folder = f"LIDC-IDRI-slices/{patient}/{lesion}"
            files[f"{folder}/images/slice-{number}.png"] = png(masks.sum(axis=0, dtype=np.uint8) * 60)
            for reader, mask in enumerate(masks):
                files[f"{folder}/mask-{reader}/slice-{number}.png"] = png(mask * np.uint8(255))
    return write_tar(tmp_path_factory.mktemp("archive") / "slices.tar.gz", files)


def test_crops_are_resampled_to_mm_and_areas_stay(archive, crops, tmp_path, caplog):
    caplog.set_level("INFO", "probunet")
    store = prepare_slices(archive, tmp_path / "store", spacing=0.5, seed=1)
    spacings = [spacing for spacing, _ in crops.values()]
    size = int(128 * min(spacings) / 0.5) // 2 * 2
    assert store.images.shape[2:] == store.labels.shape[2:] == (size, size)
    assert store.manifest["spacing_mm"] == [0.5, 0.5]
    notes = store.manifest["notes"]
    assert notes["lesions_found_in_the_built_in_annotations"] == len(crops)
    assert notes["lesions_left_out_not_found_there"] == notes["crops_left_out_not_found_there"] == 1
    assert f"{len(crops)} of {len(crops) + 1} lesions" in caplog.text
    before = sum(masks.sum() * spacing**2 for spacing, slices in crops.values() for masks in slices)
    assert store.labels[:].sum() * 0.25 == pytest.approx(before, rel=0.01)  # mm^2
    assert len(store.cases) == sum(len(slices) for _, slices in crops.values())


def test_sizes_that_do_not_fit_are_refused(archive, slices_archive, tmp_path):
    with pytest.raises(InputError, match=r"180 px of 0\.5 mm do not lie inside every crop; at most 1"):
        prepare_slices(archive, tmp_path / "store", spacing=0.5, size=180)
    with pytest.raises(InputError, match="goes with --spacing"):
        prepare_slices(archive, tmp_path / "store", size=180)
    with pytest.raises(InputError, match=r"not between 0\.1 and 5 mm"):
        prepare_slices(archive, tmp_path / "store", spacing=0)
    with pytest.raises(InputError, match="no lesion was found in the built-in annotations"):
        prepare_slices(slices_archive, tmp_path / "store", spacing=0.5)
    assert not (tmp_path / "store").exists()
