"""Whatever ends a training, the state that it reached is there, the best model stays the best, and nothing else."""

import csv
import errno
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from small_data import DESCRIPTION, blobs

from probunet.cli import main
from probunet.core.errors import InputError
from probunet.data.prepare import write_store
from probunet.data.store import Store
from probunet.runs.checkpoints import checksum, read_checkpoint, write_checkpoint
from probunet.runs.run import Run
from probunet.training import checkpoints
from probunet.training.task import Optimisation

UNET = ["--only", "unet", "--optimisation.schedule", "constant"]


def train(file: Path, *arguments: str) -> None:
    main(["train", "--config", str(file), *UNET, *arguments])


def change(file: Path, *parts: str, **values) -> None:
    content = yaml.safe_load(file.read_text())
    place = content
    for part in parts:
        place = place[part]
    place.update(values)
    file.write_text(yaml.safe_dump(content))


def test_the_last_state_is_kept_at_a_validation_that_does_not_improve(experiment_file, tmp_path, monkeypatch):
    change(experiment_file, "optimisation", learning_rate=1e-30)  # every validation is like the first one
    change(experiment_file, "trainer", val_check_interval=2)
    steps = []
    whole = checkpoints.WholeCheckpoints.save_checkpoint

    def save(self, checkpoint, path, storage_options=None):
        whole(self, checkpoint, path, storage_options)
        steps.append((Path(path).name, checkpoint["global_step"]))

    monkeypatch.setattr(checkpoints.WholeCheckpoints, "save_checkpoint", save)
    train(experiment_file)
    assert [step for name, step in steps if name == "last.ckpt"] == [2, 4, 6]
    assert [step for name, step in steps if name == "best.ckpt"] == [2]


def test_a_state_between_two_validations_goes_on_as_if_nothing_had_happened(experiment_file, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "SAVE_EVERY", 0.0)
    kept = tmp_path / "kept"
    whole = checkpoints.WholeCheckpoints.save_checkpoint

    def save(self, checkpoint, path, storage_options=None):
        whole(self, checkpoint, path, storage_options)
        if Path(path).name == "last.ckpt" and checkpoint["global_step"] == 4 and not kept.exists():
            shutil.copytree(self.run.path, kept / "unet")

    monkeypatch.setattr(checkpoints.WholeCheckpoints, "save_checkpoint", save)
    train(experiment_file)
    assert read_checkpoint(Run(kept / "unet").last)["global_step"] == 4
    train(experiment_file, "--out", str(kept))
    ran, resumed = Run(tmp_path / "run" / "unet"), Run(kept / "unet")
    for file, other in ((ran.last, resumed.last), (ran.best, resumed.best)):
        first, second = read_checkpoint(file)["state_dict"], read_checkpoint(other)["state_dict"]
        assert all(torch.equal(first[name], second[name]) for name in first)
    assert ran.training()["best_validation_ged2"] == resumed.training()["best_validation_ged2"]


def test_a_moved_experiment_keeps_its_best_model(experiment_file, tmp_path):
    train(experiment_file, "--trainer.max_steps", "3")
    run = Run(tmp_path / "run" / "unet")
    content = read_checkpoint(run.last)
    key = next(name for name in content["callbacks"] if name.startswith("BestCheckpoint"))
    content["callbacks"][key]["best_model_score"] = torch.tensor(-1.0)  # nothing that follows is better
    write_checkpoint(run.last, content)
    before = run.best.read_bytes()
    (tmp_path / "run").rename(tmp_path / "moved")
    train(experiment_file, "--out", str(tmp_path / "moved"))
    moved = Run(tmp_path / "moved" / "unet")
    assert moved.best.read_bytes() == before
    assert moved.training()["best_validation_ged2"] == -1.0


def test_a_disk_without_second_names_keeps_a_copy(experiment_file, tmp_path, monkeypatch):
    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    train(experiment_file)
    run = Run(tmp_path / "run" / "unet")
    assert read_checkpoint(run.previous)["global_step"] == 3
    assert run.training()["steps"] == 6


@pytest.mark.parametrize("interval", [None, 100])
def test_a_training_without_a_validation_on_its_way_leaves_a_validated_model(experiment_file, tmp_path, interval):
    content = yaml.safe_load(experiment_file.read_text())
    content["trainer"]["val_check_interval"] = interval
    if interval is None:
        del content["trainer"]["val_check_interval"]
    experiment_file.write_text(yaml.safe_dump(content))
    train(experiment_file)
    run = Run(tmp_path / "run" / "unet")
    assert 0 <= run.training()["best_validation_ged2"] <= 2
    last = {name.removeprefix("model."): value for name, value in read_checkpoint(run.last)["state_dict"].items()}
    assert all(torch.equal(value, last[name]) for name, value in run.model().state_dict().items())


def test_a_training_that_never_began_leaves_nothing_and_takes_corrected_data(experiment_file, tmp_path, failing):
    sources = [source for source in blobs(24) if source.case.split != "validation"]
    write_store(tmp_path / "store", sources, DESCRIPTION, "u1", jobs=1)
    arguments = ["train", "--config", str(experiment_file), *UNET, "--data.store", str(tmp_path / "store")]
    assert "no cases in split 'validation'" in failing(*arguments)
    assert not (tmp_path / "run").exists()
    precision = [*arguments, "--trainer.precision", "transformer-engine"]
    assert failing(*precision)
    shutil.rmtree(tmp_path / "store")
    write_store(tmp_path / "store", blobs(24), DESCRIPTION, "u1", jobs=1)
    assert failing(*precision)
    assert not (tmp_path / "run").exists()
    main(arguments)
    assert Run(tmp_path / "run" / "unet").training()["steps"] == 6


def test_other_labels_of_the_same_images_are_other_data(experiment_file, tmp_path, store, failing):
    train(experiment_file)
    shutil.copytree(store.path, tmp_path / "store")
    sources = [source for source in blobs(24) if source.case.name != "case-000"]
    shutil.rmtree(tmp_path / "store")
    write_store(tmp_path / "store", sources, DESCRIPTION, "u1", jobs=1)
    message = failing("train", "--config", str(experiment_file), *UNET, "--data.store", str(tmp_path / "store"))
    assert "was trained with another" in message


def test_a_run_names_its_patients_and_an_exported_one_only_their_checksums(trained, store: Store, tmp_path):
    from probunet.runs.exported import ExportedModel, save_run

    run = Run(trained / "unet")
    assert run.settings["patients"] == {split: store.patients(split) for split in ("train", "validation")}
    save_run(run, tmp_path / "model")
    hashed = ExportedModel(tmp_path / "model").settings["patients"]["train"]
    assert len(hashed) == len(store.patients("train"))
    assert not any(patient in (tmp_path / "model" / "probunet.json").read_text() for patient in store.patients())


@pytest.mark.parametrize("position", range(50, 100_000, 997))
def test_a_flipped_bit_in_a_checkpoint_is_refused_or_harmless(trained, tmp_path_factory, position):
    source = Run(trained / "unet").best
    content = bytearray(source.read_bytes())
    if position >= len(content):
        pytest.skip("beyond the end of the file")
    content[position] ^= 1 << (position % 8)
    file = tmp_path_factory.mktemp("flipped") / "best.ckpt"
    file.write_bytes(content)
    whole = read_checkpoint(source)["state_dict"]
    try:
        read = read_checkpoint(file)["state_dict"]
    except InputError:
        return
    assert all(torch.equal(value, read[name]) for name, value in whole.items())


WITHOUT_MEANING = (
    ("learning_rate", float("inf")),
    ("learning_rate", 0.0),
    ("final_learning_rate", float("nan")),
    ("weight_decay", float("nan")),
    ("weight_decay", -1.0),
    ("steps", 0),
)


@pytest.mark.parametrize(("name", "value"), WITHOUT_MEANING)
def test_optimisation_without_a_meaning_is_refused(name, value):
    with pytest.raises(InputError, match=f"optimisation.{name}"):
        Optimisation(**{name: value})


@pytest.mark.parametrize(
    ("trainer", "words"),
    [
        ({"max_steps": 0}, "max_steps=0 is no number of steps"),
        ({"max_steps": -2}, "max_steps=-2"),
        ({"max_steps": 6, "val_check_interval": 0}, "val_check_interval=0"),
        ({"val_check_interval": 3}, "has no end"),
    ],
)
def test_a_trainer_without_steps_is_refused(experiment_file, tmp_path, failing, trainer, words):
    content = yaml.safe_load(experiment_file.read_text())
    content["trainer"] = {"accelerator": "cpu", **trainer}
    experiment_file.write_text(yaml.safe_dump(content))
    assert words in failing("train", "--config", str(experiment_file), *UNET)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("split", "words"), [("test", "trained on or chosen by"), ("validation", "trained on")])
def test_patients_of_the_training_in_another_split_are_refused_and_named(trained, tmp_path, failing, split, words):
    swapped = {"train": split, split: "train"}
    sources = [replace(s, case=replace(s.case, split=swapped.get(s.case.split, s.case.split))) for s in blobs(24)]
    write_store(tmp_path / "store", sources, DESCRIPTION, "u1", jobs=1)
    message = failing("evaluate", str(trained / "unet"), "--data", str(tmp_path / "store"), "--split", split)
    assert f"of the {split} split" in message
    assert f"was {words} (patient-000, patient-001" in message


def test_the_checksum_is_of_values_however_they_lie_in_memory():
    table = torch.arange(6.0).reshape(2, 3)
    one = torch.tensor(1.5, dtype=torch.float64)
    assert checksum([table.T, one.expand(1), one.expand(4)]) == checksum(
        [table.T.contiguous(), one.reshape(1).clone(), torch.full((4,), 1.5, dtype=torch.float64)]
    )
    assert checksum(torch.zeros(0, 3)) != checksum(torch.zeros(3, 0))


def test_the_last_step_is_validated_also_between_two_validations(experiment_file, tmp_path):
    def validated():
        [*_, table] = sorted((tmp_path / "run" / "unet" / "log").glob("*/metrics.csv"), key=lambda f: f.stat().st_mtime)
        with table.open(newline="") as handle:
            return [int(row["step"]) for row in csv.DictReader(handle) if row["validation/ged2"]]

    change(experiment_file, "trainer", val_check_interval=4, max_steps=4)
    train(experiment_file)
    change(experiment_file, "trainer", max_steps=7)
    train(experiment_file)
    assert validated() == [7]
    change(experiment_file, "trainer", max_steps=9, val_check_interval=50)
    train(experiment_file)
    assert validated() == [9]
    assert Run(tmp_path / "run" / "unet").training()["steps"] == 9
