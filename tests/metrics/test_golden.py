"""The numbers of the original authors' published evaluation code."""

import json
from pathlib import Path

import numpy as np
import pytest

from probunet.metrics import (
    Convention,
    energy_distance,
    energy_distance_from,
    mode_counts,
    mode_frequencies,
    pairwise_distances,
    pixel_frequencies,
)

FOLDER = Path(__file__).parent.parent / "golden"
SWITCHABLE = (1, 11, 13, 8, 0)
FLIPPED = (19, 20, 21, 22, 23)


@pytest.fixture(scope="module")
def golden():
    with np.load(FOLDER / "cityscapes_modes.npz") as arrays:
        label, samples = arrays["label"], arrays["samples"]
    numbers = json.loads((FOLDER / "cityscapes_modes.json").read_text())
    modes = np.repeat(label[:, None], len(numbers["mode_switch"]), axis=1)
    for k, switches in enumerate(numbers["mode_switch"]):
        for before, after, flip in zip(SWITCHABLE, FLIPPED, switches, strict=True):
            if flip:
                modes[:, k][label == before] = after
    return label, samples, modes, numbers


def convention(numbers, weights=None):
    return Convention(24, numbers["evaluated_class_ids"], ignore=255, empty="skip", weights=weights)


@pytest.mark.parametrize("name", ["ged2_mode_weighted", "ged2_unweighted"])
def test_energy_distance(golden, name):
    _, samples, modes, numbers = golden
    weights = numbers["mode_probability"] if name == "ged2_mode_weighted" else None
    distances = pairwise_distances(samples, modes, convention(numbers, weights))
    for n, expected in numbers[name].items():
        result = energy_distance_from(distances, n=int(n), subsets="first")
        np.testing.assert_allclose(result.value, expected, rtol=0, atol=1e-5)
        assert not result.left_out.any()
        composed = energy_distance(samples, modes, convention(numbers, weights), n=int(n), subsets="first")
        np.testing.assert_array_equal(composed.value, result.value)


def test_mode_counts(golden):
    _, samples, modes, numbers = golden
    distances = pairwise_distances(samples, modes, convention(numbers))
    assert mode_counts(distances).sum(axis=0).tolist() == numbers["mode_counts"]
    found = mode_frequencies(distances, numbers["mode_probability"])
    assert found.counts.tolist() == numbers["mode_counts"]
    expected = 0.5 * np.abs(found.counts / 96 - numbers["mode_probability"]).sum()
    assert found.total_variation.mean == pytest.approx(expected)


def test_pixel_counts(golden):
    label, samples, _, numbers = golden
    counts = pixel_frequencies(label, samples, list(zip(SWITCHABLE, FLIPPED, strict=True)))
    assert counts.tolist() == numbers["pixel_counts"]
