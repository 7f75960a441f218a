"""A model that comes with the package is opened by its name, and never taken for something of the same name here."""

from pathlib import Path

import pytest
import torch

import probunet as pu
from probunet.runs import published
from probunet.runs.guest import invite
from probunet.runs.trained import open_model, runs_in


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """A working folder, with a model called ``ours`` published elsewhere."""
    torch.manual_seed(0)
    pu.save(pu.UNet(channels=(2, 2), convolutions=1), tmp_path / "weights" / "ours")
    monkeypatch.setattr(published, "FOLDER", tmp_path / "weights")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path


@pytest.mark.parametrize("name", ["ours", "published:ours", Path("ours")])
def test_a_published_name_opens_the_model_of_the_package(elsewhere, name):
    assert open_model(name).path == elsewhere / "weights" / "ours"
    image = torch.zeros(1, 1, 16, 16)
    expected = pu.load(elsewhere / "weights" / "ours")(image).probabilities()
    assert torch.equal(pu.from_pretrained(name)(image).probabilities(), expected)


def test_a_folder_of_the_same_name_is_refused_and_both_can_be_named(elsewhere):
    pu.save(pu.UNet(channels=(4, 4), convolutions=1), "ours")
    for opened in (open_model, pu.from_pretrained):
        with pytest.raises(pu.InputError, match=r"ours is a published model and also .*work/ours; give published:ours"):
            opened("ours")
    assert open_model("published:ours").path == elsewhere / "weights" / "ours"
    assert open_model(Path("ours").absolute()).path == elsewhere / "work" / "ours"


@pytest.mark.parametrize("name", ["ours", "published:ours"])
def test_a_guest_keeps_the_name_and_no_place_of_the_package(elsewhere, name):
    invite(elsewhere / "place", open_model(name), name, elsewhere / "store", 8)
    [again] = runs_in(elsewhere / "place")
    assert "model: published:ours" in (elsewhere / "place" / "guest.yaml").read_text()
    assert again.elsewhere.path == elsewhere / "weights" / "ours"


@pytest.mark.parametrize("name", ["ours", "published:ours", "hub:anyone/ours"])
def test_a_published_model_has_no_place_for_results(elsewhere, name):
    with pytest.raises(pu.InputError, match=f"{name} is an exported model, beside which no results are kept"):
        runs_in(name)


def test_a_name_that_is_not_published(elsewhere):
    with pytest.raises(pu.InputError, match="'other' is no published model; there are ours"):
        open_model("published:other")
    with pytest.raises(pu.InputError, match="other holds no trained model"):
        open_model("other")
