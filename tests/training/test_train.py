"""Training: what it writes, that it resumes, reuses and refuses, and that it learns."""

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest
import torch
import yaml
from copies import command

import probunet as pu
from probunet.cli import main
from probunet.metrics import Convention
from probunet.report.costs import read_log
from probunet.runs.checkpoints import read_checkpoint
from probunet.runs.run import Run
from probunet.training.callbacks import Stopwatch
from probunet.training.fit import Fit
from probunet.training.task import Optimisation


def weights(run: Path) -> dict[str, torch.Tensor]:
    return read_checkpoint(Run(run).last)["state_dict"]


def train(file: Path, *arguments: str) -> None:
    main(["train", "--config", str(file), *arguments])


def test_a_run_holds_everything_that_it_promises(trained):
    for name in ("unet", "probabilistic_unet"):
        run = Run(trained / name)
        assert run.best.is_file()
        assert run.last.is_file()
        facts = run.training()
        assert facts["steps"] == 6
        assert facts["skipped_steps"] == 0
        assert facts["parameters"] == sum(p.numel() for p in run.model().parameters())
        assert list((run.path / "log").glob("events.out.tfevents.*"))
    assert set(read_log(trained / "probabilistic_unet" / "log")) >= {
        "train/loss",
        "train/reconstruction",
        "train/kl",
        "train/kl_dimension/0",
        "train/kl_dimension/5",
        "train/learning_rate",
        "train/images_per_second",
        "validation/ged2",
    }


def test_a_resumed_training_gives_the_weights_of_one_never_interrupted(experiment_file, tmp_path):
    train(experiment_file, "--only", "probabilistic_unet", "--optimisation.schedule", "constant")
    other = ["--out", str(tmp_path / "other"), "--only", "probabilistic_unet", "--optimisation.schedule", "constant"]
    train(experiment_file, *other, "--trainer.max_steps", "4")
    train(experiment_file, *other)
    first, second = weights(tmp_path / "run" / "probabilistic_unet"), weights(tmp_path / "other" / "probabilistic_unet")
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


def test_the_same_seed_gives_the_same_weights_and_another_does_not(experiment_file, tmp_path):
    for out, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        train(experiment_file, "--out", str(tmp_path / out), "--only", "unet", "--seed", seed)
    a, b, c = (weights(tmp_path / out / "unet") for out in "abc")
    assert all(torch.equal(a[name], b[name]) for name in a)
    assert not all(torch.equal(a[name], c[name]) for name in a)


def test_a_model_that_learns_from_all_readers_is_given_them_and_geco_survives_the_checkpoint(experiment_file, tmp_path):
    settings = yaml.safe_load(experiment_file.read_text())
    small = {"channels": [4, 4], "latent_dims": 2}
    settings["models"] = {
        "experts": {"class_path": "probunet.MixtureOfExperts", "init_args": small},
        "geco": {"class_path": "probunet.ProbabilisticUNet", "init_args": small | {"objective": {"target": 0.01}}},
    }
    experiment_file.write_text(yaml.safe_dump(settings))
    given = []
    whole = pu.MixtureOfExperts.loss_of_readers
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pu.MixtureOfExperts, "loss_of_readers", lambda *a: given.append(a[2].shape) or whole(*a))
        train(experiment_file)
    assert len(given) == 6
    assert {shape[1] for shape in given} == {4}
    kept = weights(tmp_path / "run" / "geco")["model.objective.log_multiplier"]
    assert kept.item() == pytest.approx(6 * 0.01)  # the target is out of reach in six steps, each of which adds 0.01


def test_the_energy_score_is_logged_and_belongs_to_the_settings(experiment_file, tmp_path, failing):
    energy = ["--energy.samples", "3", "--energy.weight", "10", "--energy.warm_in", "0.5"]
    only = ["--only", "probabilistic_unet"]
    train(experiment_file, *only, *energy)
    run = Run(tmp_path / "run" / "probabilistic_unet")
    wanted = {"weight": 10.0, "samples": 3, "relaxation": "soft", "temperature": 0.3, "warm_in": 0.5}
    assert run.settings["energy"] == {**wanted, "models": None}
    log = read_log(run.path / "log")
    assert log["train/energy_weight"][1] == pytest.approx([0, 10 / 3, 20 / 3, 10, 10, 10], abs=1e-4)
    assert len(log["train/energy_score"][1]) == 6
    assert "another 'energy'" in failing("train", "--config", str(experiment_file), *only)
    message = failing("train", "--config", str(experiment_file), *only, "--energy.samples", "1")
    assert "energy.samples=1" in message


def test_the_energy_score_of_some_models_of_an_experiment(experiment_file, tmp_path):
    train(experiment_file, "--energy.models", '["probabilistic_unet"]', "--energy.samples", "3")
    plain, with_score = (Run(tmp_path / "run" / name) for name in ("unet", "probabilistic_unet"))
    assert "energy" not in plain.settings
    assert with_score.settings["energy"]["samples"] == 3
    assert "train/energy_score" not in read_log(plain.path / "log")
    assert "train/energy_score" in read_log(with_score.path / "log")


def test_what_is_complete_is_reused(experiment_file, tmp_path, capsys):
    train(experiment_file, "--only", "unet")
    before = Run(tmp_path / "run" / "unet").last.stat().st_mtime_ns
    run = Run(tmp_path / "run" / "unet")
    best = run.training()["best_validation_ged2"]
    outcome = f"unet: 6 steps, best D_GED^2 {best:.4f} on validation images; its weights are {run.best}"
    assert f"{outcome}\nnext: probunet evaluate {tmp_path / 'run'}\n" in capsys.readouterr().err
    train(experiment_file, "--only", "unet")
    said = capsys.readouterr().err
    assert "trained already and is reused" in said
    assert outcome in said
    train(experiment_file, "--only", "unet", "--trainer.max_steps", "4")
    said = " ".join(capsys.readouterr().err.split())
    assert "trained for more steps already: 6" in said
    assert run.training()["steps"] == run.settings["trainer"]["max_steps"] == 6
    assert run.last.stat().st_mtime_ns == before


def test_other_settings_are_refused_or_the_old_run_is_set_aside(experiment_file, tmp_path, failing):
    train(experiment_file, "--only", "unet")
    changed = ["train", "--config", str(experiment_file), "--only", "unet", "--optimisation.learning_rate", "0.1"]
    assert "another 'optimisation'" in failing(*changed)
    main([*changed, "--set-aside"])
    assert Run(tmp_path / "run" / "unet").settings["optimisation"]["learning_rate"] == 0.1
    assert Run(tmp_path / "run-1" / "unet").settings["optimisation"]["learning_rate"] == 0.01


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c["data"].update(stroe="x"), "stroe"),
        (lambda c: c.update(sed=1), "sed"),
        (lambda c: c["data"].update(crop="large"), "large"),
        (lambda c: c["models"]["unet"]["init_args"].update(chanels=[4]), "chanels"),
        (lambda c: c["models"]["unet"].update(class_path="probunet.VNet"), "probunet.VNet"),
        (lambda c: c["models"]["unet"]["init_args"].update(channels="wide"), "wide"),
        (lambda c: c["trainer"].update(max_stepz=3), "max_stepz"),
        (lambda c: c["trainer"].pop("max_steps"), "has no end; give trainer.max_steps or trainer.max_time"),
        (lambda c: c["trainer"].update(max_time="3min"), "trainer.max_time=3min is no time; give days, hours, minutes"),
        (lambda c: c["optimisation"].update(schedule="linear"), "linear"),
        (lambda c: c["data"].update(store="nowhere"), "nowhere is not a prepared store"),
        (lambda c: c["data"].update(crop=64), "crop of 64x64 px does not fit"),
        (lambda c: c["data"].update(batch_size=100), "fewer than the batch size 100"),
        (lambda c: c["models"]["unet"]["init_args"].update(in_channels=3), "takes 3 channel"),
        (lambda c: c["models"]["unet"]["init_args"].update(num_classes=3), "3 classes"),
    ],
)
def test_a_configuration_that_is_wrong_is_one_sentence(experiment_file, tmp_path, failing, change, words):
    content = yaml.safe_load(experiment_file.read_text())
    change(content)
    experiment_file.write_text(yaml.safe_dump(content))
    assert words in failing("train", "--config", str(experiment_file))
    assert not list(tmp_path.glob("run/*/checkpoints"))


def test_an_unknown_model_is_named(experiment_file, failing):
    assert "no model vnet; choose from unet" in failing("train", "--config", str(experiment_file), "--only", "vnet")


def test_a_damaged_checkpoint_is_named(experiment_file, tmp_path, failing):
    train(experiment_file, "--only", "unet")
    run = Run(tmp_path / "run" / "unet")
    os.truncate(run.best, 1000)
    assert "best.ckpt cannot be read (it is cut off or damaged); train the model again" in failing(
        "evaluate", str(run.path)
    )


def test_a_diverging_training_is_one_sentence(experiment_file, tmp_path, failing):
    message = failing(
        "train", "--config", str(experiment_file), "--only", "unet", "--optimisation.learning_rate", "1e30"
    )
    dump = next((tmp_path / "run" / "unet").glob("not_finite_step_3_*.pt"))  # step 0 throws the weights far away
    assert str(dump) in message
    assert ", ".join(torch.load(dump, weights_only=True)["cases"]) in message
    assert "is not finite" in message
    assert "lower optimisation.learning_rate" in message


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_saves_the_state_and_the_same_command_goes_on(experiment_file, tmp_path, number, code):
    words = ["train", "--config", str(experiment_file), "--only", "unet", "--trainer.max_steps"]
    training = command(*words, 100_000)
    run = tmp_path / "run" / "unet"
    while training.runs() and not (run / "checkpoints" / "last.ckpt").is_file():
        time.sleep(0.05)
    training.send(number)
    ended, _, errors = training.end()
    assert ended == code
    assert "Traceback" not in errors
    assert "the same command goes on from there" in " ".join(errors.split())
    reached = read_checkpoint(Run(run).last)["global_step"]
    assert reached > 0
    assert max(read_log(run / "log")["train/loss"][0]) <= reached
    assert Run(run).training() is None
    main([*words, str(reached + 3)])
    assert json.loads((run / "training.json").read_text())["steps"] == reached + 3
    steps, _ = read_log(run / "log")["train/loss"]
    assert steps[0] == 0
    assert steps[-1] == reached + 2


def test_a_longer_training_that_is_stopped_is_not_taken_for_complete(experiment_file, tmp_path, monkeypatch):
    words = ["train", "--config", str(experiment_file), "--only", "unet", "--trainer.max_steps"]
    main([*words, "3"])

    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Fit, "__call__", stopped)
        with pytest.raises(SystemExit):
            main([*words, "6"])
    assert Run(tmp_path / "run" / "unet").training() is None
    main([*words, "6"])
    assert Run(tmp_path / "run" / "unet").training()["steps"] == 6


def test_sigterm_is_an_exception_of_python_and_the_same_call_goes_on(store, tmp_path):
    """The program that called decides what the signal means; its handlers are as they were."""
    model, settings = pu.UNet(channels=(4, 4), convolutions=1), {"batch_size": 4, "validate_every": 2, "device": "cpu"}
    checkpoint = tmp_path / "UNet" / "checkpoints" / "last.ckpt"

    def terminate() -> None:
        while not checkpoint.is_file():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    threading.Thread(target=terminate, daemon=True).start()
    with pytest.raises(pu.Stopped, match=r"stopped at step [0-9]+; the same command goes on") as stopped:
        pu.train(model, store, tmp_path, steps=100_000, **settings)
    assert stopped.value.received is signal.SIGTERM
    assert stopped.value.exit_code == 143
    assert signal.getsignal(signal.SIGTERM) is before
    reached = read_checkpoint(checkpoint)["global_step"]
    assert reached >= 2
    run = pu.train(model, store, tmp_path, steps=reached + 1, **settings)
    assert run.training()["steps"] == reached + 1


def test_training_time_counts_all_starts(trained):
    kept = read_checkpoint(Run(trained / "unet").last)["callbacks"]["Stopwatch"]
    assert kept["seconds"] > 0
    watch = Stopwatch()
    watch.load_state_dict({"seconds": 100.0})
    assert 100 < watch.seconds < 160


def test_schedules():
    cosine = Optimisation(1e-3, 1e-5, "cosine")
    assert [cosine.factor(p) for p in (0, 1)] == [1, pytest.approx(0.01)]
    assert cosine.factor(0.5) == pytest.approx(0.505)
    stairs = Optimisation(1e-4, 1e-6, "staircase", steps=3)
    assert [stairs.factor(p) for p in (0, 0.3, 0.4, 0.7, 1)] == pytest.approx([1, 1, 0.1, 0.01, 0.01])
    assert Optimisation(schedule="constant").factor(0.9) == 1


def test_weight_decay_never_touches_the_latents_of_experts():
    """They are means and log sigmas of normals, which nothing says should be near to zero."""
    from probunet.training.task import SegmentationTask

    model = pu.MixtureOfExperts(channels=(4, 4))
    task = SegmentationTask(model, Optimisation(weight_decay=0.1), 0, lambda: 0.0, Convention(2))
    groups = task.configure_optimizers()["optimizer"].param_groups
    decayed = {id(p) for g in groups if g["weight_decay"] for p in g["params"]}
    assert not {id(model.mean), id(model.log_sigma)} & decayed
    assert id(model.gate.weight) in decayed


def test_weight_decay_never_touches_biases(store):
    from probunet.training.task import SegmentationTask

    task = SegmentationTask(pu.UNet(channels=(4, 4)), Optimisation(weight_decay=0.1), 0, lambda: 0.0, {})
    groups = task.configure_optimizers()["optimizer"].param_groups
    decayed = {id(p) for g in groups if g["weight_decay"] for p in g["params"]}
    assert decayed == {id(p) for n, p in task.model.named_parameters() if n.endswith("weight")}
    assert sum(len(g["params"]) for g in groups) == len(list(task.model.parameters()))


@pytest.mark.parametrize("name", ["../../escaped", "/tmp/absolute", "..", "a/b", "nul"])
def test_the_name_of_a_model_is_no_path(name, experiment_file, tmp_path, failing):
    experiment_file.write_text(experiment_file.read_text().replace("  unet:", f"  {name!r}:"))
    assert "cannot be the name of a model" in failing("train", "--config", str(experiment_file))
    assert not (tmp_path / "run").exists()
