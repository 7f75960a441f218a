"""The pixel size of real LIDC-IDRI-slices crops. Set PROBUNET_DATA to a folder with lidc_slices.tar.gz."""

import os
from collections import defaultdict
from pathlib import Path

import pytest

from probunet.data.lidc_crops.slices import find_crops
from probunet.data.lidc_crops.spacing import mask_sizes, match_spacing

ARCHIVE = Path(os.environ.get("PROBUNET_DATA", "no folder")) / "lidc_slices.tar.gz"
pytestmark = pytest.mark.skipif(
    not ARCHIVE.is_file(), reason="PROBUNET_DATA does not point to a folder with lidc_slices.tar.gz"
)


@pytest.fixture(scope="module")
def sizes():
    found = defaultdict(list)
    for item in find_crops(ARCHIVE, (0, 0, 1), 0):
        patient, lesion, _ = item.case.name.split("/")
        found[patient, lesion].append(mask_sizes(item.draw()[1]))
    return found


def test_all_but_one_lesion_find_their_scan(sizes, annotations):
    found = match_spacing(sizes, annotations)
    assert (len(sizes), len(found)) == (2235, 2234)
    # two slices, one of which fits each of the patient's two scans
    assert sizes.keys() - found.keys() == {("LIDC-IDRI-0442", "nodule-2")}


def test_lesions_of_other_patients_rarely_fit(sizes, annotations):
    """Every patient's lesions under the next patient's name: 172 small ones fit by chance, 2,063 do not."""
    patients = sorted({patient for patient, _ in sizes})
    following = dict(zip(patients, patients[1:] + patients[:1], strict=True))
    shifted = {(following[patient], lesion): slices for (patient, lesion), slices in sizes.items()}
    assert len(match_spacing(shifted, annotations)) == 172
