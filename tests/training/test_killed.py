"""A training that is killed, terminated, or robbed of its files goes on as if nothing had happened."""

import errno
import itertools
import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from copies import command

from probunet.cli import main
from probunet.runs.checkpoints import read_checkpoint
from probunet.runs.run import Run
from probunet.training.checkpoints import WholeCheckpoints

UNET = ["--only", "unet", "--optimisation.schedule", "constant"]


def weights(run: Run) -> dict[str, torch.Tensor]:
    return read_checkpoint(run.last)["state_dict"]


def assert_same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    assert [name for name, value in first.items() if not torch.equal(value, second[name])] == []


KILLS = int(os.environ.get("PROBUNET_KILLS", "3"))
"""How often a training is killed; more in a longer job."""
SIGNALS = [signal.SIGTERM] * 2 + [signal.SIGKILL] * KILLS


def test_kills_at_random_moments_change_nothing(experiment_file, tmp_path):
    """Each comes soon after the training went on and left another checkpoint."""
    text = experiment_file.read_text().replace("max_steps: 6", f"max_steps: {15 * len(SIGNALS)}")
    text = text.replace("every_n_steps: 1", "every_n_steps: 50").replace("check_interval: 3", "check_interval: 5")
    experiment_file.write_text(text)
    words = ["train", "--config", str(experiment_file), "--only", "probabilistic_unet"]
    last = tmp_path / "run" / "probabilistic_unet" / "checkpoints" / "last.ckpt"
    main([*words, "--out", str(tmp_path / "whole")])
    moments, ends, before = random.Random(0), [], 0
    for number in SIGNALS:
        training = command(*words)
        while training.runs() and not (last.is_file() and last.stat().st_mtime_ns > before):
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 0.1))
        training.send(number)
        ends.append(training.end()[0])
        before = last.stat().st_mtime_ns
    assert set(ends) <= {-signal.SIGKILL, 128 + signal.SIGTERM, 0}
    assert ends.count(-signal.SIGKILL) >= KILLS / 2  # else the trainings are too short for this test
    main(words)
    whole, killed = (Run(tmp_path / name / "probabilistic_unet") for name in ("whole", "run"))
    assert_same(weights(whole), weights(killed))
    assert_same(read_checkpoint(whole.best)["state_dict"], read_checkpoint(killed.best)["state_dict"])
    assert whole.training()["best_validation_ged2"] == killed.training()["best_validation_ged2"]


def train(file: Path, *arguments: str) -> None:
    main(["train", "--config", str(file), *UNET, *arguments])


@pytest.mark.parametrize("length", [0, 1000, -100])
def test_a_truncated_checkpoint_is_passed_over_for_the_one_before(experiment_file, tmp_path, capsys, length):
    train(experiment_file, "--out", str(tmp_path / "whole"))
    train(experiment_file, "--trainer.max_steps", "4")
    run = Run(tmp_path / "run" / "unet")
    os.truncate(run.last, length % run.last.stat().st_size if length else 0)
    capsys.readouterr()
    train(experiment_file)
    told = " ".join(capsys.readouterr().err.split())
    assert "last.ckpt is damaged and is passed over" in told
    assert "goes on from step 3, previous.ckpt" in told
    whole = Run(tmp_path / "whole" / "unet")
    assert read_checkpoint(run.last)["global_step"] == 6
    assert_same(weights(whole), weights(run))


def test_no_readable_checkpoint_is_one_sentence(experiment_file, tmp_path, failing):
    train(experiment_file, "--trainer.max_steps", "4")
    run = Run(tmp_path / "run" / "unet")
    for file in (run.last, run.previous):
        os.truncate(file, 10)
    message = failing("train", "--config", str(experiment_file), *UNET)
    assert "no checkpoint of" in message
    assert "remove" in message


@pytest.fixture
def at_second_checkpoint(monkeypatch):
    """Give a function that makes something happen when a training is about to write its second checkpoint."""

    def arrange(happen: Callable[[Path], None]) -> None:
        count, save = itertools.count(1), WholeCheckpoints.save_checkpoint

        def save_checkpoint(self: WholeCheckpoints, *arguments: Any, **options: Any) -> None:
            if next(count) == 3:  # one validation writes the best and the last
                happen(self.run.path)
            save(self, *arguments, **options)

        monkeypatch.setattr(WholeCheckpoints, "save_checkpoint", save_checkpoint)

    return arrange


def test_a_full_disk_leaves_the_checkpoint_before_and_the_same_command_goes_on(
    experiment_file, tmp_path, failing, monkeypatch, at_second_checkpoint
):
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    train(experiment_file, "--out", str(tmp_path / "whole"))
    at_second_checkpoint(lambda _: monkeypatch.setattr(os, "fsync", full))
    message = failing("train", "--config", str(experiment_file), *UNET)
    assert "No space left on device" in message
    assert "free some space" in message
    run = Run(tmp_path / "run" / "unet")
    assert read_checkpoint(run.last)["global_step"] == 3
    assert {file.name for file in run.last.parent.iterdir()} == {"best.ckpt", "last.ckpt"}
    monkeypatch.undo()
    train(experiment_file)
    assert_same(weights(Run(tmp_path / "whole" / "unet")), weights(run))


def test_a_run_directory_that_disappears_is_one_sentence(experiment_file, tmp_path, failing, at_second_checkpoint):
    train(experiment_file, "--out", str(tmp_path / "whole"))
    at_second_checkpoint(lambda path: path.rename(tmp_path / "away"))
    message = failing("train", "--config", str(experiment_file), *UNET)
    assert f"{tmp_path / 'run' / 'unet'} is gone" in message
    assert not (tmp_path / "run" / "unet").exists()
    (tmp_path / "run").mkdir(exist_ok=True)
    (tmp_path / "away").rename(tmp_path / "run" / "unet")
    train(experiment_file)
    assert_same(weights(Run(tmp_path / "whole" / "unet")), weights(Run(tmp_path / "run" / "unet")))
