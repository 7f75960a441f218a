"""Counting from edges gives what plain counting gives, for every kind of map."""

import numpy as np
import pytest

from probunet.core.errors import InputError
from probunet.metrics import Convention, overlap, pairwise_distances
from probunet.metrics.coherent import NOTHING, count_coherent

CLASSES = 6


def scenes(maps, shape=(24, 128), seed=0):
    """(1, maps, ...) boxes of several classes, each scene moved by a few pixels."""
    random = np.random.default_rng(seed)
    scene = np.zeros((1, *shape), np.uint8)
    for label in range(1, CLASSES):
        place = tuple(slice(start := random.integers(0, size // 2 + 1), start + size // 3 + 1) for size in shape)
        scene[(0, *place)] = label
    moved = [np.roll(scene[0], random.integers(-2, 3, len(shape)), tuple(range(len(shape)))) for _ in range(maps)]
    return np.stack(moved)[None]


def renamed(scene, maps):
    """(1, maps, ...) the scene with its classes renamed, two of them to one, the last one as it is."""
    random = np.random.default_rng(1)
    tables = np.stack([random.permutation(CLASSES).astype(np.uint8) for _ in range(maps)])
    tables[0, 1], tables[-1] = tables[0, 2], np.arange(CLASSES)
    return tables[:, scene[0, 0]][None]


@pytest.fixture
def counted(monkeypatch):
    """Whether images were counted from their edges, of which even small ones are."""
    ways = []

    def watched(*arguments):
        shared = count_coherent(*arguments)
        ways.append(shared is not None)
        return shared

    monkeypatch.setattr(overlap, "count_coherent", watched)
    monkeypatch.setattr(overlap, "_LARGE", 0)
    return ways


def both_ways(monkeypatch, samples, references, convention, mask=None):
    from_edges = pairwise_distances(samples, references, convention, mask=mask)
    with monkeypatch.context() as patch:
        patch.setattr(overlap, "_LARGE", np.inf)
        plain = pairwise_distances(samples, references, convention, mask=mask)
    for name in ("cross", "samples", "references", "sample_area", "reference_area", "left_out"):
        np.testing.assert_array_equal(getattr(from_edges, name), getattr(plain, name), name)


@pytest.mark.parametrize("shape", [(24, 128), (20, 70), (2, 16, 128), (1, 300)])
@pytest.mark.parametrize("classes", [None, (1, 4, 5)])
def test_scenes_that_move_and_scenes_renamed(monkeypatch, counted, shape, classes):
    samples = np.concatenate([scenes(5, shape), scenes(5, shape, seed=3)])
    references = np.concatenate([renamed(samples[i : i + 1], 4) for i in (0, 1)])
    both_ways(monkeypatch, samples, references, Convention(CLASSES, classes, empty="skip"))
    both_ways(monkeypatch, samples[:, :0], references, Convention(CLASSES, classes))
    assert all(counted) or shape == (1, 300), "a single row has no row above"


def test_pixels_that_count_nowhere(monkeypatch, counted):
    samples = scenes(4)
    references = renamed(samples, 3)
    references[0, 1, :8, 30:90] = NOTHING
    samples[0, 2, :8, 40:50] = 77  # where a reader ignores, a sample may say anything
    both_ways(monkeypatch, samples, references, Convention(CLASSES, ignore=NOTHING))
    mask = np.zeros((1, 24, 128), bool)
    mask[0, 10:, 60:] = True
    both_ways(monkeypatch, samples, references, Convention(CLASSES, ignore=NOTHING), mask)
    assert all(counted)


def test_a_single_pixel_that_is_not_renamed_matters(monkeypatch, counted):
    samples = scenes(3)
    references = renamed(samples, 3)
    references[0, 1, 7, 50] = (references[0, 1, 7, 50] + 1) % CLASSES
    references[0, 2, 0, 0] = (references[0, 2, 0, 0] + 1) % CLASSES
    both_ways(monkeypatch, samples, references, Convention(CLASSES))
    assert all(counted)


def test_maps_without_edges_to_look_for_are_counted_plainly(monkeypatch, counted):
    random = np.random.default_rng(0)
    noise = random.integers(0, CLASSES, (2, 3, 24, 128), dtype=np.uint8)
    noise[1] = scenes(3)
    both_ways(monkeypatch, noise, noise[:, ::-1], Convention(CLASSES))
    assert counted == [False, True]
    both_ways(monkeypatch, noise.astype(np.int64), noise, Convention(CLASSES))


@pytest.mark.parametrize("width", [128, 70])
@pytest.mark.parametrize("label", [CLASSES, NOTHING])
def test_wrong_labels_are_refused(counted, width, label):
    samples = scenes(3, (24, width))
    samples[0, 1, 9, 9] = label
    with pytest.raises(InputError, match=f"samples hold the label {label}"):
        pairwise_distances(samples, scenes(2, (24, width)), Convention(CLASSES))
