"""A model as a folder: what is saved is loaded, what is damaged or later is refused."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from small_data import blob
from test_laws import MODELS, images

import probunet as pu
from probunet.cli import main
from probunet.runs.about import about
from probunet.runs.exported import ExportedModel, save_run
from probunet.runs.run import Run
from probunet.runs.trained import open_model


@pytest.mark.parametrize("name", MODELS)
def test_every_model_is_saved_with_its_arguments(name, tmp_path):
    torch.manual_seed(0)
    model = MODELS[name](1, 3).eval()
    pu.save(model, tmp_path / "model", licence="CC BY 4.0")
    other = pu.load(tmp_path / "model")
    assert type(other) is type(model)
    first, second = (m(images(1)).sample(3, torch.Generator().manual_seed(1)) for m in (model, other))
    torch.testing.assert_close(first, second)
    assert ExportedModel(tmp_path / "model").settings["licence"] == "CC BY 4.0"


def test_an_exported_run_says_what_it_was_trained_on_and_samples_alike(trained, tmp_path):
    np.save(tmp_path / "image.npy", blob(0)[0][0])
    run, folder = trained / "probabilistic_unet", tmp_path / "model"
    main(["export", str(run), "--out", str(folder), "--licence", "MIT"])
    facts = json.loads((folder / "probunet.json").read_text())
    assert facts["input"]["intensity"]["scale"] == 50.0
    assert facts["training"]["steps"] > 0
    for name, model in (("a", run), ("b", folder)):
        main(["sample", str(model), str(tmp_path / "image.npy"), "-n", "3", "--out", str(tmp_path / name)])
    a, b = (np.load(tmp_path / name / "image/samples.npy") for name in "ab")
    assert np.array_equal(a, b)


def test_a_local_folder_is_as_good_as_the_hub(tmp_path):
    model = pu.UNet(channels=(4, 6))
    pu.save(model, tmp_path / "model")
    other = pu.from_pretrained(tmp_path / "model")
    assert torch.equal(next(model.parameters()), next(other.parameters()))


def test_pushing_uploads_what_is_saved(monkeypatch):
    uploaded = {}

    class Api:
        def create_repo(self, name, private, exist_ok):
            uploaded["repository"] = name, private

        def upload_folder(self, repo_id, folder_path, commit_message):
            uploaded["files"] = sorted(file.name for file in Path(folder_path).iterdir())
            return "https://hub/" + repo_id

    monkeypatch.setitem(sys.modules, "huggingface_hub", type("Hub", (), {"HfApi": Api}))
    assert pu.push_to_hub(pu.UNet(channels=(4, 6)), "me/unet", private=True) == "https://hub/me/unet"
    assert uploaded == {"repository": ("me/unet", True), "files": ["README.md", "model.safetensors", "probunet.json"]}


def test_a_card_for_people_lies_beside_the_description(trained, tmp_path):
    save_run(Run(trained / "probabilistic_unet"), tmp_path / "blobs", "CC BY 4.0 <b>*")
    card = (tmp_path / "blobs" / "README.md").read_text()
    assert "not for diagnosis" in card
    assert "- trained on: blobs, simulated (real images)" in card
    assert "CC BY 4.0 \\<b\\>\\*" in card
    means = json.loads((tmp_path / "blobs" / "probunet.json").read_text())["evaluation"]["ged2"]
    assert f"| D_GED^2, 4 samples | {means['4']['mean']:.3f} (" in card
    pu.save(pu.UNet(channels=(4, 6)), tmp_path / "bare")
    assert "It was not evaluated" in (tmp_path / "bare" / "README.md").read_text()


def _change(folder: Path, **changes) -> None:
    file = folder / "probunet.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), **changes}))


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda d: _change(d, version=2), "has version 2, this is for 1; update probunet"),
        (lambda d: _change(d, format="other"), "does not describe a model of probunet"),
        (lambda d: _change(d, input={}), "'input.intensity': Field required"),
        (lambda d: _change(d, model={"class": "os.system", "arguments": {}}), "os.system is no model of probunet"),
        (lambda d: _change(d, model={"class": "UNet", "arguments": {"channels": [4]}}), "does not fit"),
        (lambda d: _change(d, model={"class": "UNet", "arguments": {"channels": "wide"}}), "should be a valid array"),
        (lambda d: _change(d, model={"class": "UNet", "arguments": {"chanels": [4]}}), "chanels"),
        (lambda d: _change(d, model={"class": "../../x", "arguments": {}}), "'model.class'"),
        (lambda d: _change(d, extra=1), "'extra': Extra inputs"),
        (lambda d: (d / "probunet.json").write_text("{"), "no valid JSON"),
        (lambda d: (d / "probunet.json").write_text(""), "no valid JSON"),
        (lambda d: (d / "probunet.json").write_text("[]"), "with named values"),
        (lambda d: (d / "probunet.json").write_bytes(b"\xff\xfe\x00\xd8"), "no text"),
        (lambda d: (d / "model.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0{}"), "has the checksum of"),
        (lambda d: (d / "model.safetensors").unlink(), "safetensors cannot be read"),
    ],
)
def test_a_damaged_folder_is_one_sentence(tmp_path, damage, words):
    pu.save(pu.UNet(channels=(4, 6)), tmp_path / "model")
    damage(tmp_path / "model")
    with pytest.raises(pu.InputError, match=words):
        pu.load(tmp_path / "model")


def test_nothing_is_overwritten(tmp_path):
    pu.save(pu.UNet(channels=(4, 6)), tmp_path / "model")
    with pytest.raises(pu.InputError, match="exists already"):
        pu.save(pu.UNet(channels=(4, 6)), tmp_path / "model")


@pytest.mark.parametrize("cell", [None, {}, {"mean": "x", "low": 0, "high": 1}, {"mean": 0, "low": None, "high": None}])
def test_damaged_figures_of_an_exported_model_are_not_shown(trained, tmp_path, cell):
    main(["export", str(trained / "unet"), "--out", str(tmp_path / "model")])
    file = tmp_path / "model" / "probunet.json"
    described = json.loads(file.read_text())
    assert any("D²_GED, 1 sample:" in line for line in about(open_model(tmp_path / "model"))["Figures"])
    described["evaluation"]["ged2"] = {"1": cell}
    file.write_text(json.dumps(described))
    assert about(open_model(tmp_path / "model"))["Figures"] == ["It was not evaluated."]
