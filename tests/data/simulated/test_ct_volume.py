"""Simulated CT of whole lesions: one grid, slices above and below that nobody marked, one lesion through all."""

import numpy as np
import pytest

from probunet.data.simulated import builtin
from probunet.data.simulated.ct_volume import lesion_volume, simulate_volume
from probunet.data.splits import load_reader_split

SPACING, SIZE = 1.0, 32


@pytest.fixture(scope="module")
def lesion(annotations):
    """Nine or more slices that somebody marked."""
    number = next(n for n in range(50) if len(annotations.slices_of(n)) >= 9)
    return lesion_volume(annotations.slices_of(number))


def test_slices_lie_in_equal_steps_with_unmarked_ones_above_and_below(annotations):
    for number in (0, 7, 31):
        slices = annotations.slices_of(number)
        volume = lesion_volume(slices)
        np.testing.assert_allclose(np.diff([s.z for s in volume.slices]), volume.step)
        marked = [any(s.readings) for s in volume.slices]
        beyond = min(int(np.ceil(6 / volume.step)), 6)
        assert sum(marked) == len(slices)
        assert not any(marked[:beyond] + marked[-beyond:])
        assert marked[beyond]
        assert len({s.centre for s in volume.slices}) == 1


def test_readings_are_those_of_the_slices(lesion):
    volume = builtin.draw_simulated_volume(lesion, SPACING, SIZE, seed=0)
    assert volume.image.dtype == np.int16
    assert volume.image.shape == (1, len(lesion.slices), SIZE, SIZE)
    assert volume.spacing_mm == (lesion.step, SPACING, SPACING)
    for k, lesion_slice in enumerate(lesion.slices):
        np.testing.assert_array_equal(volume.labels[:, k], lesion_slice.masks(SPACING, SIZE))


def test_neighbouring_slices_show_the_same_and_far_ones_do_not(lesion):
    image = simulate_volume(lesion, SPACING, SIZE, seed=0)
    assert np.array_equal(image, simulate_volume(lesion, SPACING, SIZE, seed=0))
    assert not np.array_equal(image, simulate_volume(lesion, SPACING, SIZE, seed=1))

    def alike(step: int) -> float:
        pairs = zip(image[:-step], image[step:], strict=True)
        return float(np.mean([np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in pairs]))

    assert alike(1) > 0.7
    assert alike(1) > alike(len(image) - 1)


def test_the_lesion_is_seen_where_all_readers_marked_and_not_beyond(lesion):
    image = simulate_volume(lesion, SPACING, SIZE, seed=0)
    masks = lesion.masks(SPACING, SIZE)
    core, tissue = masks.all(axis=0), ~masks.any(axis=0)
    assert image[core].mean() > image[tissue].mean() + 100


def test_a_store_of_lesions_has_the_splits_of_the_slices(tmp_path, monkeypatch, annotations):
    monkeypatch.setattr(builtin, "load_annotations", lambda: annotations)
    store = builtin.prepare_readers(tmp_path / "volumes", SPACING, 16, limit=3, jobs=1, dims=3)
    assert (store.dims, store.readers, store.manifest["simulated"]) == (3, 4, True)
    parts = load_reader_split()
    assert [case.split for case in store.cases] == [parts[case.patient] for case in store.cases]
    assert store.cases[0].name.count("_") == 2
