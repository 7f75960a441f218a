"""precision: auto is the faster format of this machine, chosen once, without a trace in the training."""

import copy
import json
import time
from pathlib import Path

import pytest
import torch

import probunet as pu
from probunet.cli import main
from probunet.core.errors import InputError
from probunet.training.precision import resolved

AUTO = {"precision": "auto", "accelerator": "cpu", "max_steps": 2}


class Slow(pu.UNet):
    """A tiny model whose loss takes long in one of the formats, or fails in bfloat16."""

    slow = ""

    def loss(self, *arguments, **options):
        half = torch.is_autocast_enabled("cpu")
        if half and self.slow == "none":
            raise RuntimeError("not implemented for 'BFloat16'")
        if half == (self.slow == "bf16-mixed"):
            time.sleep(0.05)
        return super().loss(*arguments, **options)


def slow_in(precision: str) -> Slow:
    model = Slow(channels=(4, 4))
    model.slow = precision
    return model


@pytest.mark.parametrize(
    ("slow", "chosen"), [("bf16-mixed", "32-true"), ("32-true", "bf16-mixed"), ("none", "32-true")]
)
def test_the_faster_format_is_taken_and_written_down(slow, chosen, tmp_path: Path):
    model = slow_in(slow)
    before, state = copy.deepcopy(model.state_dict()), torch.random.get_rng_state()
    assert resolved(AUTO, tmp_path, model, 16, 2) == {**AUTO, "precision": chosen}
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert torch.equal(state, torch.random.get_rng_state())
    assert all(p.grad is None for p in model.parameters())
    assert json.loads((tmp_path / "precision.json").read_text())["precision"] == chosen


def test_what_was_chosen_first_stays(tmp_path: Path):
    (tmp_path / "precision.json").write_text('{"precision": "bf16-mixed"}')
    assert resolved(AUTO, tmp_path, slow_in("bf16-mixed"), 16, 2)["precision"] == "bf16-mixed"
    (tmp_path / "precision.json").write_text('{"precision": "4-bit"}')
    with pytest.raises(InputError, match="names no precision of 32-true and bf16-mixed"):
        resolved(AUTO, tmp_path, slow_in("bf16-mixed"), 16, 2)


def test_other_formats_are_left_alone(tmp_path: Path):
    assert resolved({"precision": "64-true"}, tmp_path, slow_in("none"), 16, 2) == {"precision": "64-true"}
    assert not list(tmp_path.iterdir())


def test_a_training_says_which_it_took(experiment_file: Path, tmp_path: Path, capsys):
    main(["train", "--config", str(experiment_file), "--only", "unet", "--trainer.precision", "auto"])
    run = tmp_path / "run" / "unet"
    chosen = json.loads((run / "precision.json").read_text())["precision"]
    assert json.loads((run / "training.json").read_text())["precision"] == chosen
    assert f"precision {chosen}" in " ".join(capsys.readouterr().err.split())
