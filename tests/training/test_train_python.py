"""Training from Python: whole numbers of any kind, and a call that trained nothing leaves no trace for the next."""

import numpy as np
import pytest

import probunet as pu
from probunet.core.errors import InputError


def items(count: int) -> tuple[np.ndarray, np.ndarray]:
    labels = np.zeros((count, 2, 16, 16), np.uint8)
    labels[:, :, 4:9, 4:9] = 1
    return np.random.default_rng(0).normal(size=(count, 1, 16, 16)).astype(np.float32), labels


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"batch_size": 0}, "batch_size=0 must be a whole number, 1 or more"),
        ({"batch_size": True}, "batch_size=True must be a whole number"),
        ({"batch_size": 2.5}, "batch_size=2.5 must be a whole number"),
        ({"steps": True}, "trainer.max_steps=True is no number of steps"),
        ({"steps": 0}, "trainer.max_steps=0 is no number of steps"),
        ({"seed": -1}, "--seed -1 is no seed"),
        ({"crop": 16.0}, "--data.crop 16.0 is no size in pixels"),
    ],
)
def test_what_cannot_be_trained_is_one_sentence_and_the_corrected_call_goes_through(options, words, tmp_path):
    model = pu.UNet(in_channels=1, num_classes=2, channels=[4, 4])
    with pytest.raises(InputError, match=words):
        pu.train(model, items(8), tmp_path / "out", **{"steps": 1, **options})
    whole = {"steps": np.int64(1), "batch_size": np.int64(2), "crop": np.int64(16)}
    run = pu.train(model, items(6), tmp_path / "out", validate_every=1, device="cpu", **whole)
    assert (run.settings["trainer"]["max_steps"], run.settings["data"]["batch_size"], run.crop) == (1, 2, 16)
    with pytest.raises(InputError, match="was made of other data"):
        pu.train(model, items(8), tmp_path / "out", steps=1)
