"""Malformed inputs of every kind to every command: one sentence and exit code 2, nothing left behind, no hang.

These are some of the thousands that ``malformed.every`` makes; the others are tried with ``malformed.outcome``, too.
"""

import json
import os
import shutil
import socket
from pathlib import Path

import malformed
import nibabel
import numpy as np
import pytest
import yaml
from conftest import EXPERIMENT
from PIL import Image
from small_data import blob

import probunet.commands.explore
from probunet.cli import main

TRIED = {"flags": 61, "descriptions": 401, "tables": 23, "files": 23, "names": 17, "pictures": 7}
"""Every so manieth of a kind is tried here."""
PARTS = 2
SLOW = ("report", "train --config", "prepare readers", "prepare streets", "prepare own")
"""Commands that take seconds where they find nothing wrong."""


@pytest.fixture(scope="module")
def valid(store, trained, slices_archive, tmp_path_factory):
    """A folder with a valid input of every kind."""
    folder = tmp_path_factory.mktemp("malformed") / "valid"
    shutil.copytree(store.path, folder / "store")
    shutil.copytree(trained, folder / "run")
    shutil.copy(slices_archive, folder / "slices.tar.gz")
    main(["export", str(folder / "run/unet"), "--out", str(folder / "exported")])
    configuration = yaml.safe_load(EXPERIMENT.format(out="new", store="store"))
    del configuration["models"]["probabilistic_unet"]
    (folder / "train.yaml").write_text(yaml.safe_dump(configuration))
    _write_arrays(folder)
    _write_own(folder / "own")
    _write_streets(folder)
    return folder


def _write_arrays(folder: Path) -> None:
    image, labels = blob(0)
    Image.fromarray(image[0]).save(folder / "picture.png")
    np.save(folder / "picture.npy", image[0].astype(np.float32))
    volume = nibabel.Nifti1Image(np.stack([image[0]] * 2, axis=-1), np.diag([0.5, 0.5, 2, 1]))
    nibabel.save(volume, folder / "picture.nii.gz")
    np.save(folder / "samples.npy", np.stack([labels[:2]] * 3))
    np.save(folder / "references.npy", np.stack([labels] * 3))
    np.save(folder / "z.npy", np.zeros((2, 6), np.float32))
    (folder / "patients.csv").write_text("case,patient\n0,a\n1,b\n2,b\n")
    (folder / "token").write_text("abcdefghijklmnop12")


def _write_own(root: Path) -> None:
    cases = [f"case{i}" for i in range(3)]
    facts = {
        "channel_names": {"0": "grey"},
        "labels": {"background": 0, "lesion": 1},
        "file_ending": ".png",
        "patients": dict(zip(cases, "abc", strict=True)),
        "splits": {"train": cases[:1], "validation": cases[1:2], "test": cases[2:]},
    }
    (root / "imagesTr").mkdir(parents=True)
    (root / "dataset.json").write_text(json.dumps(facts))
    for i, case in enumerate(cases):
        image, labels = blob(i)
        Image.fromarray(image[0]).save(root / f"imagesTr/{case}_0000.png")
        (root / "labelsTr" / case).mkdir(parents=True)
        Image.fromarray(labels[0]).save(root / f"labelsTr/{case}/anna.png")


def _write_streets(folder: Path) -> None:
    for split in ("train", "val", "test"):
        for kind, mode in (("images", "RGB"), ("labels", "L")):
            (folder / "streets" / split / kind).mkdir(parents=True)
            Image.new(mode, (48, 32)).save(folder / "streets" / split / kind / "scene.png")
    table = {
        **{"title": "streets", "licence": "none", "size": [32, 48], "ignored_ids": [11]},
        **{"images": "{split}/images/{name}.png", "labels": "{split}/labels/{name}.png"},
        "folders": {"train": "train", "validation": "val", "test": "test"},
        "ids": {0: "sky", 1: "road"},
        "flips": {"road": "8/17"},
    }
    (folder / "classes.yaml").write_text(yaml.safe_dump(table, sort_keys=False))


class NoServer:
    """A page that nobody asks for."""

    def run(self, sockets: list[socket.socket]) -> None:
        for listening in sockets:
            listening.close()


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.parametrize("kind", TRIED)
def test_malformed_inputs_are_one_sentence_and_leave_nothing_behind(kind, part, valid, tmp_path, monkeypatch):
    monkeypatch.setattr(probunet.commands.explore, "server", lambda app: NoServer())
    monkeypatch.chdir(valid)
    chosen = list(getattr(malformed, kind)())[part :: TRIED[kind]][part::PARTS]
    trials = [trial for trial in chosen if not " ".join(trial.words).startswith(SLOW)]
    assert len(trials) > 2
    outcomes = {trial.name: malformed.outcome(trial, valid, tmp_path / "x") for trial in trials}
    assert not {name: wrong for name, wrong in outcomes.items() if wrong}


BROKE = (
    "key classes.yaml folders.test = ''",
    "file slices.tar.gz a pipe [prepare]",
    "file slices.tar.gz cut to 0.01 [prepare]",
    "file z.npy a pipe [sample]",
    "file z.npy cut to 0 [sample]",
    "picture NIfTI byte 108 = nan",
    "key train.yaml optimisation = []",
    "key train.yaml models = {}",
    "name 'x/x/x/x/x/x/' sample input",
    "name '.' score out",
)
"""What once was a traceback, a hang or a page of text."""


@pytest.mark.parametrize("start", BROKE)
def test_what_once_broke_is_one_sentence(start, valid, tmp_path, monkeypatch):
    monkeypatch.chdir(valid)
    kinds = {"key": malformed.descriptions, "file": malformed.files, "picture": malformed.pictures}
    trials = [trial for trial in kinds.get(start.split()[0], malformed.names)() if trial.name.startswith(start)]
    assert trials
    for trial in trials:
        assert malformed.outcome(trial, valid, tmp_path / "x") is None


FILES = ("store/manifest.json", "store/images.npy", "run/unet/run.yaml", "run/unet/checkpoints/best.ckpt")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
@pytest.mark.parametrize("file", FILES)
def test_files_that_may_not_be_read_are_one_sentence(file, valid, tmp_path, monkeypatch):
    monkeypatch.chdir(valid)
    words = ("evaluate", "run/unet", "--data", "store", "--n", "2")
    trial = malformed.Trial(file, words, lambda: Path(file).chmod(0))
    assert malformed.outcome(trial, valid, tmp_path / "x") is None
