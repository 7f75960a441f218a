"""A model of a stranger's runs no code: not by the name of its class, nor by its weights."""

import hashlib
import json
import pickle
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from copies import command

import probunet as pu
from probunet.cli import main

EVIL = """
from pathlib import Path
Path({marker!r}).write_text("code ran")
from probunet import UNet
class Net(UNet):
    pass
"""


class Evil:
    """Writes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return Path.write_text, (self.marker, "code ran")


@pytest.fixture
def marker(tmp_path, monkeypatch) -> Path:
    """The file that evil code writes; the current folder holds such code, and the picture ``image.npy``."""
    marker = tmp_path / "marker"
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evil.py").write_text(EVIL.format(marker=str(marker)))
    np.save(tmp_path / "image.npy", np.zeros((16, 16), np.float32))
    return marker


@pytest.fixture(params=["exported", "run"])
def model(request, tmp_path, trained) -> Path:
    """A folder of either kind, with evil code beside its description."""
    folder = tmp_path / "model"
    if request.param == "run":
        shutil.copytree(trained / "unet", folder)
    else:
        pu.save(pu.UNet(channels=(4, 6)), folder)
    return folder


def name_class(folder: Path, name: str) -> None:
    """Change the class in the description of a model."""
    (description,) = (file for file in (folder / "probunet.json", folder / "run.yaml") if file.is_file())
    content = yaml.safe_load(description.read_text())  # JSON is YAML
    content["model"]["class"] = name
    description.write_text(json.dumps(content))


def poison(folder: Path, content: bytes) -> None:
    """Put other bytes in place of the weights, with the checksum that they have."""
    if (folder / "run.yaml").is_file():
        (folder / "checkpoints/best.ckpt").write_bytes(content)
        return
    (folder / "model.safetensors").write_bytes(content)
    description = json.loads((folder / "probunet.json").read_text())
    description["weights"]["sha256"] = hashlib.sha256(content).hexdigest()
    (folder / "probunet.json").write_text(json.dumps(description))


def refused(folder: Path, capsys, words: str) -> None:
    """Check that Python and the command line refuse a model with one sentence."""
    with pytest.raises(pu.InputError, match=words) as raised:
        pu.load(folder)
    assert "\n" not in str(raised.value)
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        main(["sample", str(folder), "image.npy", "--out", "out"])
    said = capsys.readouterr().err
    assert stopped.value.code == 2
    assert said.count("\n") == 1
    assert said.startswith("error: ")
    assert not Path("out").exists()


@pytest.mark.parametrize("name", ["evil.Net", "antigravity.Net", "os.system"])
def test_a_class_is_not_imported_because_a_description_names_it(name, model, marker, tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(tmp_path)  # as Python does with the current folder
    shutil.copy("evil.py", model)
    before = set(sys.modules)
    name_class(model, name)
    refused(model, capsys, f"{name} is no model of probunet, and no code runs because a file names it")
    assert not marker.exists()
    assert not {"evil", "antigravity"} & (set(sys.modules) - before)


@pytest.mark.parametrize("form", ["pickle", "torch", "torch, later pickle"])
def test_weights_are_read_without_running_them(form, model, marker, tmp_path, capsys):
    file = tmp_path / "weights"
    content = {"state_dict": Evil(marker), "sha256": "0" * 64}
    if form == "pickle":
        file.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, file, pickle_protocol=4 if form == "torch, later pickle" else 2)
    poison(model, file.read_bytes())
    refused(model, capsys, r"(model\.safetensors|best\.ckpt) cannot be read")
    assert not marker.exists()


def test_the_evil_code_of_these_tests_would_write_the_marker(marker):
    pickle.loads(pickle.dumps(Evil(marker)))
    assert marker.read_text() == "code ran"
    marker.unlink()
    exec(Path("evil.py").read_text(), {})
    assert marker.read_text() == "code ran"


@pytest.mark.parametrize("attack", ["class", "weights"])
def test_the_program_itself_runs_none_of_it(attack, marker, trained, tmp_path):
    """In a process of its own, in which the current folder is where Python looks for modules first."""
    folder = tmp_path / "model"
    if attack == "class":
        shutil.copytree(trained / "unet", folder)
        shutil.copy("evil.py", folder)
        name_class(folder, "evil.Net")
    else:
        pu.save(pu.UNet(channels=(4, 6)), folder)
        poison(folder, pickle.dumps(Evil(marker)))
    code, _, said = command("sample", folder, "image.npy", "--out", "out").end(120)
    assert code == 2
    assert said.startswith("error: ")
    assert said.count("\n") == 1
    assert not marker.exists()
    assert not Path("out").exists()
