"""A training that begins with the weights of another one: on other data, or on slices where it is of volumes."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import probunet as pu
from probunet.core.errors import InputError
from probunet.data.store import Store
from probunet.evaluation.fit import check_patients
from probunet.runs.description import hashed
from probunet.runs.exported import save_run
from probunet.runs.trained import open_model
from probunet.training.start import Start
from probunet.training.task import Optimisation

SMALL = {"channels": (4, 6), "convolutions": 1, "batch_norm": True}


def items(names, seed=0):
    random = np.random.default_rng(seed)
    images = random.normal(size=(len(names), 1, 16, 16)).astype(np.float32)
    return images, (images > 0.5).astype(np.uint8).repeat(2, axis=1)


def a_store(path, names):
    return pu.make_store(items(names), path, patients=names, shares=(0.5, 0.25, 0.25))


def trained(store, out, **settings):
    model = pu.MixtureOfExperts(1, 2, experts=2, draws=1, **SMALL)
    return pu.train(model, store, out, batch_size=4, steps=1, validate_every=1, device="cpu", **settings)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return a_store(tmp_path_factory.mktemp("first") / "store", [f"p{i}" for i in range(12)])


@pytest.fixture(scope="module")
def first(store, tmp_path_factory):
    return trained(store, tmp_path_factory.mktemp("first"))


@pytest.fixture(scope="module")
def second(first, tmp_path_factory):
    """Of other patients, begun with the weights of the first; without a learning rate to speak of."""
    folder = tmp_path_factory.mktemp("second")
    data = a_store(folder / "store", [f"q{i}" for i in range(12)])
    return trained(data, folder, start=first.path, optimisation=Optimisation(learning_rate=1e-20))


def test_a_training_begins_with_the_weights_of_another(first, second, store):
    before, after = (dict(which.model().named_parameters()) for which in (first, second))
    for name, value in before.items():
        torch.testing.assert_close(after[name], value)
    described = yaml.safe_load((second.path / "run.yaml").read_text())
    assert described["start"] == {"model": first.name, "weights": Start.of(first).identity}
    assert described["patients"]["start"] == sorted(map(hashed, store.patients("train")))
    assert described["patients"]["start validation"] == sorted(map(hashed, store.patients("validation")))


def test_with_the_data_of_the_weights_its_splits_stay_what_they_are(first, store, tmp_path):
    """The validation split may be evaluated on and calibrated with, and a third training begins there."""
    again = trained(store, tmp_path / "again", start=first.path)
    check_patients(again, store, "validation", ["train"])
    check_patients(again, store, "test", ["train", "validation"])
    Start.of(again).check(store)
    with pytest.raises(InputError, match="was trained on"):
        check_patients(again, store, "validation", ["validation"])


def test_other_units_are_said(first, store):
    start = Start.of(first)
    assert start.note(store.intensity) == ""
    note = start.note(pu.Intensity("HU", -600, 400))
    assert "saw values in 'as given' (offset 0, scale 1), this training has 'HU' (offset -600, scale 400)" in note


def test_it_is_not_resumed_from_another_beginning(second):
    data = Path(second.settings["data"]["store"])
    with pytest.raises(InputError, match="trained with another 'start'"):
        trained(data, second.path.parent, optimisation=Optimisation(learning_rate=1e-20))


def test_patients_of_the_weights_are_not_evaluated_on(first, second, store, tmp_path):
    """Neither chosen by nor tested on; a folder that was exported holds no names and refuses too."""
    others = a_store(tmp_path / "others", store.patients("train"))
    with pytest.raises(InputError, match=r"validation split .* begin with other weights"):
        Start.of(first).check(others)
    save_run(second, tmp_path / "exported")
    card = (tmp_path / "exported/README.md").read_text()
    assert "began with the weights of MixtureOfExperts" in card
    assert f"{len(store.patients('train'))} for train of the weights that it began with" in card
    for which in (second, open_model(tmp_path / "exported")):
        with pytest.raises(InputError, match="was trained on"):
            check_patients(which, others, "test", ["train"])
        Start.of(which).check(Store(second.settings["data"]["store"]))


@pytest.mark.parametrize("kind", [pu.MixtureOfExperts, pu.ProbabilisticUNet, pu.UNet])
def test_a_model_of_volumes_begins_as_the_model_of_slices(kind, first, generator):
    """Of a volume whose slices are all the same, both say the same: every kernel lies in the middle slice."""
    torch.manual_seed(0)
    more = {"experts": 2} if kind is pu.MixtureOfExperts else {}
    arguments = dict(SMALL, **more)
    flat = kind(1, 2, **arguments).eval()
    deep = kind(1, 2, **arguments, dims=3).eval()
    Start(first, flat.state_dict(), "").begin("deep", deep)
    image = torch.randn(1, 1, 16, 16, generator=generator)
    noise = flat(image).noise(3, generator)
    volume = image[:, :, None].expand(-1, -1, 6, -1, -1).contiguous()
    logits = deep(volume).logits(noise)
    for d in range(6):
        torch.testing.assert_close(logits[..., d, :, :], flat(image).logits(noise), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (pu.UNet(1, 2, channels=(4, 6)), "MixtureOfExperts there and UNet here"),
        (pu.MixtureOfExperts(1, 2, experts=2, **(SMALL | {"batch_norm": False})), "is only"),
        (
            pu.MixtureOfExperts(1, 2, experts=2, **(SMALL | {"channels": (4, 8)})),
            "6 x 4 x 3 x 3 there and 8 x 4 x 3 x 3 here",
        ),
    ],
)
def test_weights_of_other_networks_are_refused(first, model, words):
    with pytest.raises(InputError, match=f"cannot begin with the weights of .*{words}"):
        Start.of(first).begin("mine", model)
