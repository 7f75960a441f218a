from collections import Counter

import pytest

from probunet.core.errors import InputError
from probunet.data.splits import load_reader_split, split_by_patient


def test_the_shipped_split_holds_every_patient_once(annotations):
    split = load_reader_split()
    assert Counter(split.values()) == {"train": 722, "validation": 144, "test": 144}
    assert set(split) == set(annotations.table.scan_patient)
    assert len(split) == 1_010


def test_the_test_part_is_large_enough(lesion_slices):
    split = load_reader_split()
    assert sum(split[s.patient] == "test" for s in lesion_slices) >= 1_500


def test_groups_are_split_by_their_number_whatever_the_order():
    patients = [f"p{n % 37:02d}" for n in range(400)]
    parts = split_by_patient(patients, (0.7, 0.15, 0.15), seed=3)
    assert len(parts) == 37
    assert Counter(parts.values()) == {"train": 26, "validation": 5, "test": 6}
    assert split_by_patient(patients[::-1], (0.7, 0.15, 0.15), seed=3) == parts
    assert split_by_patient(patients, (0.7, 0.15, 0.15), seed=4) != parts


def test_everything_into_one_part():
    assert set(split_by_patient(["a", "b", "c"], (0, 0, 1), seed=0).values()) == {"test"}
    for patients in range(3, 12):  # a share of less than one patient is one
        small = split_by_patient([f"p{k}" for k in range(patients)], (0.7, 0.15, 0.15), seed=0)
        assert set(small.values()) == {"train", "validation", "test"}
    assert split_by_patient([], (0.5, 0.25, 0.25), seed=0) == {}


@pytest.mark.parametrize("fractions", [(0.5, 0.4, 0.0), (1.2, -0.2, 0), (float("nan"), 1.0, 0), (), (0.5, 0.5)])
def test_bad_fractions_are_refused(fractions):
    with pytest.raises(InputError, match="sum to 1"):
        split_by_patient(["a"], fractions, seed=0)
