"""Training batches are a pure function of seed and step; evaluation crops are the centre, in order."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from gpu_device import DEVICE
from small_data import DESCRIPTION

from probunet.core.errors import InputError
from probunet.core.intensity import Intensity
from probunet.data.augment import Augmentation
from probunet.data.batches import EvaluationImages
from probunet.data.manifest import Case
from probunet.data.prepare import CaseSource, write_store
from probunet.data.training_batches import TrainingBatches

NONE = Augmentation(rotation=0, scale=1, shear=0, elastic=0, shift=0)


def stream(store, **changes) -> TrainingBatches:
    return TrainingBatches(**{"store": store, "crop": 32, "batch_size": 4, "augmentation": NONE, "seed": 0, **changes})


def rows_of(batches: TrainingBatches, step: int) -> list[int]:
    """Where the cases of a batch are in the store."""
    rows = {case.name: row for row, case in enumerate(batches.store.cases)}
    return [rows[name] for name in batches.names(step)]


def test_a_stream_that_starts_later_continues_with_the_same_batches(store):
    whole = iter(stream(store, augmentation=Augmentation()))
    batches = [next(whole) for _ in range(7)]
    resumed = next(iter(stream(store, augmentation=Augmentation(), first_step=lambda: 6)))
    assert torch.equal(resumed.image, batches[6].image)
    assert torch.equal(resumed.label, batches[6].label)


def test_every_image_is_seen_once_before_any_is_seen_again(store):
    batches = stream(store)
    firsts = store.intensity.normalise(store.images[store.indices("train")][:, 0, 0, 0])
    for round_ in range(2):
        seen = torch.cat([batches.batch(round_ * 3 + i).image[:, 0, 0, 0] for i in range(3)])
        assert np.allclose(np.sort(seen.numpy()), np.sort(firsts), atol=1e-5)


def test_readers_are_drawn_at_random(store):
    batches = stream(store)
    areas = torch.cat([batches.batch(i).label.float().sum(dim=(1, 2)) for i in range(50)])
    shares = [float((areas == area).float().mean()) for area in areas.unique()]
    assert len(shares) >= 4
    assert float((areas == 0).float().mean()) == pytest.approx(0.25, abs=0.1)


def test_all_readers_come_beside_the_same_batch(store):
    augmentation = Augmentation()
    usual, whole = (stream(store, augmentation=augmentation, all_readers=a).batch(3) for a in (False, True))
    assert usual.labels is None
    assert torch.equal(whole.image, usual.image)
    assert torch.equal(whole.label, usual.label)
    assert whole.labels.shape == (4, 4, 32, 32)
    assert (whole.labels == whole.label[:, None]).all(dim=(2, 3)).any(dim=1).all()
    areas = (whole.labels == 1).sum(dim=(2, 3))
    assert (areas[:, 0] < areas[:, 2]).all()  # the first reader's disc is smaller than the third's
    assert (areas[:, 3] == 0).all()


def test_processes_share_a_batch_without_overlap(store):
    whole = stream(store).batch(2).image[:, 0, 0, 0].sort().values
    parts = [stream(store, part=(rank, 2)).batch(2).image[:, 0, 0, 0] for rank in range(2)]
    assert [len(p) for p in parts] == [2, 2]
    torch.testing.assert_close(torch.cat(parts).sort().values, whole)


def test_evaluation_crops_are_the_centre_of_the_split_in_order(store):
    images = EvaluationImages(store, "test", 24)
    index = store.indices("test")[3]
    item = images[3]
    assert item["index"] == index
    assert np.array_equal(item["labels"], store.labels[index][:, 4:28, 4:28])
    assert np.allclose(item["image"], (store.images[index][:, 4:28, 4:28].astype(float) - 100) / 50)


def test_a_limit_spreads_over_the_split(store):
    images = EvaluationImages(store, "train", limit=3)
    assert [images[i]["index"] for i in range(3)] == [store.indices("train")[i] for i in (0, 6, 11)]


def test_what_does_not_fit_is_refused(store):
    with pytest.raises(InputError, match="crop of 33x33 px does not fit the 32x32 px images"):
        stream(store, crop=33)
    with pytest.raises(InputError, match="12 training images, fewer than the batch size 13"):
        stream(store, batch_size=13)
    with pytest.raises(InputError, match="crop of 40x40 px"):
        EvaluationImages(store, "test", 40)


def corner_blob(index: int) -> tuple[np.ndarray, np.ndarray]:
    """Marks in one corner of a large image, or nowhere."""
    labels = np.zeros((4, 96, 96), np.uint8)
    if index % 2:
        labels[index % 4, 2:5, 90:95] = 1
    return np.full((1, 96, 96), index, np.uint8), labels


def test_a_share_of_the_crops_that_miss_every_mark_is_moved_to_a_mark(tmp_path):
    sources = [CaseSource(Case(f"c{i}", f"c{i}", "train"), partial(corner_blob, i)) for i in range(40)]
    large = write_store(tmp_path / "store", sources, DESCRIPTION, np.uint8, jobs=1, keep_empty=True)

    def shares(**changes) -> tuple[float, float]:
        batches = stream(large, batch_size=40, all_readers=True, augmentation=replace(NONE, shift=None, **changes))
        with_mark, number = [], []
        for step in range(20):
            batch = batches.batch(step)
            with_mark += (batch.labels == 1).any(dim=(1, 2, 3)).tolist()
            number += (batch.image[:, 0, 0, 0] * 50 + 100).round().int().tolist()
        odd = np.array(number) % 2 == 1
        return np.mean(np.array(with_mark)[odd]), np.mean(np.array(with_mark)[~odd])

    by_chance = shares(marks=0)[0]
    assert by_chance < 0.1
    assert shares(marks=1) == (1, 0)
    assert shares()[0] == pytest.approx(by_chance + (1 - by_chance) / 3, abs=0.07)
    hidden = EvaluationImages(large, "train", 32).hidden_marks()
    assert hidden == (20, 20)
    assert EvaluationImages(large, "train").hidden_marks() == (0, 20)
    assert "20 of the 20 images with marks (100%)" in EvaluationImages(large, "train", 32).hidden_note()
    assert EvaluationImages(large, "train").hidden_note() is None


def test_crops_that_show_marks_are_the_same_with_and_without_moving(store):
    """Lesions in the middle: nothing is moved, and no random number is drawn for it."""
    augmentation = Augmentation()
    for step in range(3):
        batches = [stream(store, crop=28, augmentation=replace(augmentation, marks=share)) for share in (0, 1)]
        first, second = (b.batch(step) for b in batches)
        assert torch.equal(first.image, second.image)


def test_batches_know_the_reader(store):
    batches = stream(store, all_readers=True)
    batch = batches.batch(1)
    for row, index in enumerate(rows_of(batches, 1)):
        assert np.array_equal(batch.label[row], store.labels[index, batch.reader[row]])
    assert EvaluationImages(store, "test")[0]["readers"].tolist() == [0, 1, 2, 3]


def test_the_map_of_a_model_is_used_where_it_is_given(store):
    index = store.indices("test")[0]
    images = EvaluationImages(store, "test", intensity=Intensity("grey level", 7, 3))
    assert np.array_equal(images[0]["image"], ((store.images[index].astype(float) - 7) / 3).astype(np.float32))


@pytest.mark.parametrize("crop", [(23, 24), (24, 23), (31, 32), (32, 1)])
def test_training_without_augmentation_sees_the_crops_of_evaluation(store, crop):
    images, batches = EvaluationImages(store, "train", crop), stream(store, crop=crop, all_readers=True)
    batch = batches.batch(0)
    for row, index in enumerate(rows_of(batches, 0)):
        case = images[int(np.flatnonzero(images.indices == index)[0])]
        assert np.array_equal(batch.image[row], case["image"])
        assert np.array_equal(batch.labels[row], case["labels"])


def test_beside_a_gpu_the_next_batch_is_made_ahead_and_they_come_in_order(store, monkeypatch):
    batches, made = stream(store, first_step=lambda: 5), []
    monkeypatch.setattr(batches, "batch", lambda step: made.append(step) or step)
    batches.device = torch.device("meta")  # any that is not the processor
    ahead = iter(batches)
    assert [next(ahead) for _ in range(3)] == [5, 6, 7]
    ahead.close()
    assert made == [5, 6, 7, 8]


@pytest.mark.gpu
def test_on_a_gpu_batches_are_made_there(store):
    """Without deformation nothing but the readers is drawn, and those are drawn on the CPU."""
    here, there = (stream(store, device=device).batch(3) for device in ("cpu", DEVICE))
    assert there.image.device.type == there.label.device.type == torch.device(DEVICE).type
    torch.testing.assert_close(there.image.cpu(), here.image)
    assert torch.equal(there.label.cpu(), here.label)
    first, second = (stream(store, device=DEVICE, augmentation=Augmentation()).batch(3) for _ in range(2))
    assert torch.equal(first.image, second.image)
    assert torch.equal(first.label, second.label)
