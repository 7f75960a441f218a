"""The reader on real LIDC-IDRI files: 1,318 XML files, slices of three patients, and crops that others made of them.

Set PROBUNET_DATA to a folder with lidc_xml.tar.xz, lidc_dicom_3patients.tar.xz and lidc_slices.tar.gz.
"""

import io
import os
import re
import tarfile
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_data import unpacked

from probunet.data.lidc.annotations import load_table
from probunet.data.lidc.check import cross_check
from probunet.data.lidc.contours import Grid, rasterise
from probunet.data.lidc.download import prepare_lidc
from probunet.data.lidc.lesions import find_lesions
from probunet.data.lidc.xml import index_folder, read_readings
from probunet.io.dicom import read_hu
from probunet.io.series import make_series, read_headers

DATA = Path(os.environ.get("PROBUNET_DATA", "no folder"))
NEEDED = ("lidc_xml.tar.xz", "lidc_dicom_3patients.tar.xz", "lidc_slices.tar.gz")
pytestmark = pytest.mark.skipif(
    not all((DATA / name).is_file() for name in NEEDED),
    reason=f"PROBUNET_DATA does not point to a folder with {', '.join(NEEDED)}",
)
PATIENTS = ("LIDC-IDRI-0001", "LIDC-IDRI-0002", "LIDC-IDRI-0003")


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    return unpacked(DATA / "lidc_dicom_3patients.tar.xz", tmp_path_factory.mktemp("scans"))


@pytest.fixture(scope="module")
def crops():
    """(patient, nodule, slice) -> the image and its four masks, 8-bit."""
    found = defaultdict(dict)
    pattern = re.compile(rf"({'|'.join(PATIENTS)})/nodule-(\d+)/(images|mask-\d)/slice-(\d+)\.png$")
    with tarfile.open(DATA / "lidc_slices.tar.gz") as archive:
        for member in archive:
            match = pattern.search(member.name)
            if match:
                image = Image.open(io.BytesIO(archive.extractfile(member).read()))
                found[match[1], int(match[2]), int(match[4])][match[3]] = np.asarray(image)
            elif found and not any(patient in member.name for patient in PATIENTS):
                break  # the archive is in the order of patients
    return {
        key: (kinds["images"], np.stack([kinds[f"mask-{i}"] for i in range(4)]) > 0) for key, kinds in found.items()
    }


def lesion_slices(scans, patient):
    """All lesion slices with their masks on the scan's own grid, and the slices they lie on."""
    headers, _ = read_headers([path for path in sorted(scans.rglob("*.dcm")) if patient in path.parts])
    (slices,) = headers.values()
    series = make_series(slices)
    (xml,) = (path for path in scans.rglob("*.xml") if patient in path.parts)
    lesions = find_lesions(read_readings(xml).nodules, series, partial=True)
    grid = Grid((0.0, 0.0), 1.0, *series.slices[0].shape)
    return [
        (np.stack([rasterise(reading, grid) for reading in one.readings]).astype(bool), series.slices[index])
        for one, index in lesions.slices
    ]


def place(masks, crop):
    """Where a crop of 128 x 128 lies if it shows the same readings, in any order, and no pixel less."""
    shift = np.argwhere(masks.any(axis=0)).min(axis=0) - np.argwhere(crop.any(axis=0)).min(axis=0)
    if (shift < 0).any() or (shift + 128 > 512).any():
        return None
    window = tuple(slice(start, start + 128) for start in shift)
    cut = masks[(slice(None), *window)]
    same = sorted(mask.tobytes() for mask in cut) == sorted(mask.tobytes() for mask in crop)
    return window if same and cut.sum() == masks.sum() else None


def test_all_annotations_agree_with_the_built_in_contours(tmp_path):
    """Every disagreement is one of those that docs/data/lidc.md explains."""
    index = index_folder(unpacked(DATA / "lidc_xml.tar.xz", tmp_path))
    assert (len(index.files), sum(map(len, index.files.values())), index.chest, index.other) == (1018, 1035, 283, 0)
    assert index.broken == ()
    result = cross_check(index, load_table())
    assert (result.scans, result.absent, result.unknown, result.copies) == (1018, 0, 0, 17)
    assert result.same == result.same_ratings == 6859
    single = [remark for remark in result.remarks if "single-pixel" in remark]
    assert len(single) == 51
    assert sum(int(re.search(r"\((\d+)\), only", remark)[1]) for remark in single) == 64
    assert sorted(set(result.remarks) - set(single)) == [
        "LIDC-IDRI-0101 '2' (23 outlines, z -220 to -154 mm): only in the XML",
        "LIDC-IDRI-0305 'Nodule 001' (4 outlines, z -136 to -132.25 mm): only in the XML, without ratings",
        "LIDC-IDRI-0447 'Nodule 002' (3 outlines, z -125.25 to -122.75 mm): only in the XML, without ratings",
    ]


@pytest.mark.parametrize(("patient", "count"), [(PATIENTS[0], 9), (PATIENTS[1], 7), (PATIENTS[2], 10)])
def test_masks_and_grey_levels_are_those_of_the_crops(scans, crops, patient, count):
    """Masks bit for bit; HU up to the line from a crop's minimum and maximum to 0 and 255, and its rounding."""
    candidates = [value for key, value in crops.items() if key[0] == patient]
    for masks, one in (found := lesion_slices(scans, patient)):
        fitting = [(window, image) for image, crop in candidates if (window := place(masks, crop))]
        assert len(fitting) == 1, f"{one.path} fits {len(fitting)} crops"
        window, image = fitting[0]
        hu = read_hu(one)[window].astype(np.float64)
        grey = (hu - hu.min()) / (hu.max() - hu.min()) * 255
        assert np.abs(grey - image).max() <= 0.5
    assert len(found) == count


def test_a_user_prepares_the_three_patients(scans, tmp_path):
    stores = [
        prepare_lidc(scans, tmp_path / annotations, annotations=annotations, keep_going=True, jobs=1)[0]
        for annotations in ("xml", "builtin")
    ]
    for store in stores:
        assert store.images.shape == (26, 1, 180, 180)
        assert store.manifest["empty_masks_per_case"] == {"0": 14, "1": 1, "2": 7, "3": 4}
        assert len(store.manifest["notes"]["remarks"]) == 2  # slices of 0002 and 0003 are missing from the sample
    np.testing.assert_array_equal(stores[0].images, stores[1].images)
    np.testing.assert_array_equal(stores[0].labels, stores[1].labels)
