"""A specification is the only record of a model: it makes the same model again, or the model is refused at once."""

import dataclasses
import sys
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from small_models import Shape, Wrapped

import probunet as pu
from probunet.models.base import SegmentationModel
from probunet.runs.specification import Specification, class_of, known_models


def again(model: SegmentationModel, folder: Path, **options) -> SegmentationModel:
    pu.save(model, folder)
    return pu.load(folder, **options)


def test_defaults_are_recorded_so_that_later_ones_change_nothing(tmp_path, monkeypatch):
    pu.save(pu.UNet(channels=(4, 6)), tmp_path / "model")
    whole = pu.UNet.__init__

    def later(self, in_channels=3, num_classes=7, channels=(1,), convolutions=9, batch_norm=True, dims=3, spacing=(1,)):
        whole(self, in_channels, num_classes, channels, convolutions, batch_norm, dims, spacing)

    monkeypatch.setattr(pu.UNet, "__init__", later)
    model = pu.load(tmp_path / "model")
    assert (model.in_channels, model.num_classes) == (1, 2)
    assert len([m for m in model.modules() if isinstance(m, torch.nn.Conv2d)]) == 3 * 3 + 1


def test_an_argument_that_is_changed_later_was_recorded_as_it_was(tmp_path):
    channels = [4, 6]
    model = pu.UNet(channels=channels)
    channels.append(99)
    assert model.arguments["channels"] == [4, 6]
    assert again(model, tmp_path / "model").arguments == model.arguments


def test_numpy_numbers_and_tuples_become_plain(tmp_path):
    model = pu.UNet(np.int64(1), np.int32(2), np.array([4, 6]), batch_norm=np.True_)
    plain = {"in_channels": 1, "num_classes": 2, "channels": [4, 6], "convolutions": 3, "batch_norm": True}
    expected = plain | {"dims": 2, "spacing": None}
    assert model.arguments == expected
    assert {type(model.arguments[name]) for name in plain} == {int, list, bool}
    assert again(model, tmp_path / "model").arguments == expected


def test_a_dataclass_is_recorded_with_its_class_and_made_again(tmp_path):
    model = Wrapped(shape=Shape(3, wide=True))
    record = {"class": "Shape", "arguments": {"size": 3, "wide": True}}
    assert model.arguments["shape"] == record
    other = again(model, tmp_path / "model", trust=["small_models"])
    assert other.shape == Shape(3, wide=True)
    strange = Specification("small_models.Wrapped", {"shape": {"class": "Path", "arguments": {}}})
    with pytest.raises(pu.InputError, match="cannot be a Path; choose one of Shape"):
        strange.build(["small_models"])


@pytest.mark.parametrize("value", [object(), torch.zeros(2), {1: 2}, {3}, float("nan"), lambda: 3, Path("x"), "wide"])
def test_an_argument_that_cannot_be_recorded_is_refused_at_construction(value):
    with pytest.raises(pu.InputError, match=r"UNet\(channels=...\)"):
        pu.UNet(channels=value)


def test_a_class_inside_a_function_is_refused_at_construction():
    class Local(Wrapped):
        pass

    with pytest.raises(pu.InputError, match="inside a function"):
        Local()


def test_a_call_that_python_refuses_stays_a_type_error():
    with pytest.raises(TypeError, match="chanels"):
        pu.UNet(chanels=3)


@pytest.mark.parametrize("name", known_models())
def test_every_model_of_the_package_is_found_by_its_bare_name(name):
    assert class_of(name) is getattr(pu, name)


FOREIGN = ("antigravity.Net", "os.system", "builtins.eval", "nowhere.Net", "probunet.cli.main")
MISSING = ("probunet.from_pretrained", "from_pretrained", "SegmentationModel", "Loss", "probunet.models.unet.UNet")


@pytest.mark.parametrize("name", [*FOREIGN, *MISSING])
def test_nothing_is_imported_because_a_file_names_it(name):
    before = set(sys.modules)
    with pytest.raises(pu.InputError, match=r"no model"):
        Specification(name, {}).build()
    assert set(sys.modules) == before


def test_a_class_of_the_user_is_made_where_it_or_its_module_is_trusted(tmp_path):
    pu.save(Wrapped(), tmp_path / "model")
    with pytest.raises(pu.InputError, match=r"--trust small_models \(in Python: trust=\[Wrapped\]\)"):
        pu.load(tmp_path / "model")
    with pytest.raises(pu.InputError, match="no model of probunet"):
        pu.load(tmp_path / "model", trust=["small"])
    assert type(pu.load(tmp_path / "model", trust=["small_models"])) is Wrapped
    assert type(pu.load(tmp_path / "model", trust=[Wrapped])) is Wrapped


def test_a_trusted_module_without_the_model_is_one_sentence():
    with pytest.raises(pu.InputError, match="small_models has no model Shape"):
        Specification("small_models.Shape", {}).build(["small_models"])
    with pytest.raises(pu.InputError, match="nowhere_at_all cannot be imported"):
        Specification("nowhere_at_all.Net", {}).build(["nowhere_at_all"])


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("Ensemble", {"channels": [4, 4], "members": 1_000_000_000}),
        ("Ensemble", {"channels": [4, 4], "members": 4_000}),
        ("UNet", {"channels": [10**9, 10**9]}),
        ("UNet", {"channels": [4_000, 4_000]}),
        ("ProbabilisticUNet", {"channels": [4, 4], "latent_dims": 4_000, "prior_family": "flow"}),
        ("MixtureOfExperts", {"channels": [4, 4], "experts": 4_000}),
    ],
)
def test_a_model_larger_than_its_weights_is_refused_before_it_is_made(name, arguments):
    allocated: list[int] = []
    with pytest.raises(pu.InputError, match=r"is described|too large"), Counting(allocated):
        Specification(name, arguments).build(values=10_000)
    assert sum(allocated) < 1 << 20


class Counting(torch.overrides.TorchFunctionMode):
    """Counts the bytes of tensors that are made on the processor."""

    makes: ClassVar[set[str]] = {"empty", "zeros", "ones", "rand", "randn", "tensor", "full", "arange"}

    def __init__(self, counts: list[int]) -> None:
        super().__init__()
        self.counts = counts

    def __torch_function__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        if getattr(func, "__name__", "") in self.makes and result.device.type == "cpu":
            self.counts.append(result.nbytes)
        return result


def test_the_dataclasses_of_a_record_are_frozen():
    assert dataclasses.fields(Specification)
    with pytest.raises(dataclasses.FrozenInstanceError):
        Specification("UNet", {}).name = "Other"  # type: ignore[misc]
