"""Training batches are a pure function of seed and step; evaluation crops are the centre, in order."""

import numpy as np
import pytest
import torch

from probunet.core.errors import InputError
from probunet.data.augment import Augmentation
from probunet.data.batches import EvaluationImages, TrainingBatches

NONE = Augmentation(rotation=0, scale=1, shear=0, elastic=0, shift=0)


def stream(store, **changes) -> TrainingBatches:
    return TrainingBatches(**{"store": store, "crop": 32, "batch_size": 4, "augmentation": NONE, "seed": 0, **changes})


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


@pytest.mark.parametrize("crop", [(23, 24), (24, 23), (31, 32), (32, 1)])
def test_training_without_augmentation_sees_the_crops_of_evaluation(store, crop):
    images, batches = EvaluationImages(store, "train", crop), stream(store, crop=crop, all_readers=True)
    batch, chosen = batches.batch(0), batches._chosen(0)
    for row, index in enumerate(chosen):
        case = images[int(np.flatnonzero(images.indices == index)[0])]
        assert np.array_equal(batch.image[row], case["image"])
        assert np.array_equal(batch.labels[row], case["labels"])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_batches_are_made_there(store):
    """Without deformation nothing but the readers is drawn, and those are drawn on the CPU."""
    here, there = (stream(store, device=device).batch(3) for device in ("cpu", "cuda"))
    assert there.image.is_cuda
    assert there.label.is_cuda
    torch.testing.assert_close(there.image.cpu(), here.image)
    assert torch.equal(there.label.cpu(), here.label)
    first, second = (stream(store, device="cuda", augmentation=Augmentation()).batch(3) for _ in range(2))
    assert torch.equal(first.image, second.image)
    assert torch.equal(first.label, second.label)
