import numpy as np
import pytest

from probunet.data.splits import PARTS, load_reader_split, split_by_group
from probunet.errors import InputError


def test_the_shipped_split_holds_every_patient_once(annotations):
    split = load_reader_split()
    assert [len(split[part]) for part in PARTS] == [722, 144, 144]
    everyone = [patient for part in PARTS for patient in split[part]]
    assert len(set(everyone)) == 1_010
    assert set(everyone) == set(annotations.table.scan_patient)


def test_the_test_part_is_large_enough(lesion_slices):
    test = set(load_reader_split()["test"])
    assert sum(s.patient in test for s in lesion_slices) >= 1_500


def test_groups_stay_together_whatever_the_order():
    groups = [f"p{n % 37}" for n in range(400)]
    parts = split_by_group(groups, (0.7, 0.15, 0.15), seed=3)
    by_group = {group: part for group, part in zip(groups, parts.tolist(), strict=True)}
    assert all(by_group[group] == part for group, part in zip(groups, parts.tolist(), strict=True))
    assert np.bincount(list(by_group.values())).tolist() == [26, 6, 5]
    backwards = split_by_group(groups[::-1], (0.7, 0.15, 0.15), seed=3)
    np.testing.assert_array_equal(backwards[::-1], parts)
    assert (split_by_group(groups, (0.7, 0.15, 0.15), seed=4) != parts).any()


def test_everything_into_one_part():
    assert split_by_group(["a", "b", "c"], (0, 0, 1), seed=0).tolist() == [2, 2, 2]
    assert len(split_by_group([], (0.5, 0.5), seed=0)) == 0


@pytest.mark.parametrize("fractions", [(0.5, 0.4), (1.2, -0.2), (float("nan"), 1.0), (), (0.5, 0.6)])
def test_bad_fractions_are_refused(fractions):
    with pytest.raises(InputError, match="add up to 1"):
        split_by_group(["a"], fractions, seed=0)
