"""Simulated streets: every class everywhere, plausible places, a function of the seed."""

import numpy as np
import pytest

from probunet.cli import main
from probunet.data.simulated.streets import CLASSES, FLIPPABLE, MINIMUM, draw_scene
from probunet.data.store import Store


@pytest.fixture(scope="module")
def scenes() -> list[tuple[np.ndarray, np.ndarray]]:
    return [draw_scene(np.random.default_rng([0, i]), 64, 128) for i in range(60)]


def test_every_scene_shows_every_class(scenes):
    for image, label in scenes:
        assert (image.shape, image.dtype) == ((3, 64, 128), np.uint8)
        assert (label.shape, label.dtype) == ((64, 128), np.uint8)
        counts = np.bincount(label.ravel(), minlength=len(CLASSES))
        assert counts.min() > 0
        assert counts[list(FLIPPABLE)].min() >= MINIMUM * label.size
        assert len(counts) == len(CLASSES)


def test_things_are_where_they_belong(scenes):
    rows = np.arange(64)[:, None]
    middle = {k: np.mean([(rows * (label == i)).sum() / (label == i).sum() for _, label in scenes])
              for i, k in enumerate(CLASSES)}  # fmt: skip
    assert middle["sky"] < middle["building"] < middle["road"]
    assert middle["vegetation"] < middle["person"]
    assert middle["car"] < middle["road"] + 5


def test_no_class_is_a_colour(scenes):
    """The same class has very different colours in different scenes: a colour table does not solve the task."""
    for k in (CLASSES.index("building"), CLASSES.index("car")):
        brightness = [image[:, label == k].mean() for image, label in scenes]
        assert np.std(brightness) > 10


def test_a_scene_is_a_function_of_its_seed_and_of_any_size():
    first, second = (draw_scene(np.random.default_rng(5), 40, 60) for _ in range(2))
    assert np.array_equal(first[0], second[0])
    assert np.array_equal(first[1], second[1])
    assert first[0].shape == (3, 40, 60)


def test_the_command_makes_a_store_with_32_modes(tmp_path, failing):
    main(["prepare", "streets", "--out", str(tmp_path / "s"), "--images", "3", "1", "2", "--size", "32", "64"])
    store = Store(tmp_path / "s")
    assert [e.split for e in store.cases] == ["train"] * 3 + ["validation"] + ["test"] * 2
    assert store.images.shape == (6, 3, 32, 64)
    assert store.manifest["simulated"]
    assert [store.classes[f.class_id] for f in store.flips] == ["sidewalk", "person", "car", "vegetation", "road"]
    assert len(store.convention().weights) == 32
    assert "16" in failing("prepare", "streets", "--out", str(tmp_path / "t"), "--size", "16", "64")
    assert "--images takes 3 values, got 2" in failing(
        "prepare", "streets", "--out", str(tmp_path / "t"), "--images", "3", "1"
    )
