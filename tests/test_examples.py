"""The scripts for a scheduler: they run, with commands that the command line understands."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from probunet.cli import parse

EXAMPLES = Path(__file__).parents[1] / "examples"
CONFIG = "lidc"


@pytest.fixture
def run(tmp_path):
    """Give a function that runs a script with commands of a scheduler that only write down what they are told."""

    def start(script: str, *arguments: str, srun_ends_with: int = 0, **environment: str) -> tuple[int, list[str]]:
        told = tmp_path / "told"
        for name, status in (("srun", srun_ends_with), ("scontrol", 0)):
            (tmp_path / name).write_text(f'#!/bin/sh\necho {name} "$@" >> "{told}"\nexit {status}\n')
            (tmp_path / name).chmod(0o755)
        environment |= {"PATH": f"{tmp_path}:{os.environ['PATH']}"}
        done = subprocess.run(["bash", str(EXAMPLES / script), *arguments], env=environment, check=False)
        return done.returncode, told.read_text().splitlines() if told.exists() else []

    assert shutil.which("bash")
    return start


def test_training_on_several_nodes(run):
    status, told = run("train.sbatch", CONFIG, "--only", "unet", "--trainer.precision", "bf16-mixed")
    assert (status, len(told)) == (0, 1)
    words = told[0].split()
    assert words[:3] == ["srun", "probunet", "train"]
    found = parse("train", words[3:])
    assert found["only"] == ["unet"]
    assert found["trainer"]["precision"] == "bf16-mixed"
    script = (EXAMPLES / "train.sbatch").read_text()
    assert f"--nodes={found['trainer']['num_nodes']}\n" in script
    assert f"--ntasks-per-node={found['trainer']['devices']}\n" in script  # as Lightning needs it


@pytest.mark.parametrize(("code", "again"), [(143, ["scontrol requeue 7"]), (2, [])])
def test_a_training_that_was_stopped_is_queued_again_and_one_that_failed_is_not(run, code, again):
    status, told = run("train.sbatch", CONFIG, srun_ends_with=code, SLURM_JOB_ID="7")
    assert status == code
    assert told[1:] == again


def test_an_array_of_evaluations(run):
    environment = {"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_COUNT": "16"}
    _, told = run("evaluate.sbatch", "runs/lidc", "--n", "1", "16", **environment)
    words = told[0].split()
    assert words[:4] == ["srun", "--ntasks=1", "probunet", "evaluate"]
    found = parse("evaluate", words[4:])
    assert (found["run"], found["shard"], found["n"]) == (Path("runs/lidc"), "3/16", [1, 16])
    assert run("evaluate.sbatch")[0] != 0
