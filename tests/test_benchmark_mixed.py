"""Trainings mixed in equal parts: of one part it is the unbiased distance, and turned maps come back."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from probunet.metrics import energy_distance, pairwise_distances

FILE = Path(__file__).parents[1] / "benchmarks" / "mixed_trainings.py"


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location(FILE.stem, FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_one_part_has_the_unbiased_distance_and_equal_parts_that_of_their_union_without_its_bias(benchmark):
    random = np.random.default_rng(0)
    samples, readers = ((random.random((1, count, 6, 6)) < 0.4).astype(np.uint8) for count in (8, 4))
    distances = pairwise_distances(samples, readers)
    between = [part[0] for part in (distances.cross, distances.samples, distances.references)]
    whole = float(energy_distance(samples, readers, estimator="unbiased").value[0])
    assert benchmark.mixed_excess(*between, [0], 8) == pytest.approx(whole)
    halves = (energy_distance(part, readers, estimator="unbiased") for part in (samples[:, :4], samples[:, 4:]))
    first, second = (float(half.value[0]) for half in halves)
    across = between[1][:4, 4:].mean() - (between[1][:4, :4].sum() + between[1][4:, 4:].sum()) / 24
    assert benchmark.mixed_excess(*between, [0, 1], 4) == pytest.approx((first + second) / 2 - across / 2)


@pytest.mark.parametrize("orientation", range(8))
def test_maps_come_back_from_every_orientation(benchmark, orientation):
    maps = torch.arange(2 * 5 * 5).reshape(2, 5, 5)
    there = benchmark.turned(maps, orientation)
    assert torch.equal(benchmark.turned(there, orientation, back=True), maps)
    assert torch.equal(there, maps) == (orientation == 0)
