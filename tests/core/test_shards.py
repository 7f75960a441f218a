"""Work dealt out to processes: every piece once, and the numbers of an evaluation do not depend on the dealing."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from copies import command
from small_data import DESCRIPTION, blobs

from probunet.cli import main
from probunet.core.errors import InputError
from probunet.core.seeds import seed_of
from probunet.core.shards import Shard, read_shard
from probunet.data.prepare import write_store
from probunet.evaluation import model_scores as evaluation
from probunet.evaluation import shown

NUMBERS = ["--n", "1", "4"]
UNET = {"in_channels": 3, "num_classes": 5, "channels": [4, 4], "convolutions": 1}
VARIABLES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_LOCALID")


@pytest.fixture
def copy(trained: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A trained model whose six test images are three batches."""
    monkeypatch.setattr(shown, "BATCH", 2)
    run = Path(shutil.copytree(trained / "probabilistic_unet", tmp_path / "run"))
    (run / "evaluation.json").unlink()
    return run


def found(run: Path) -> tuple[dict[str, Any], str]:
    """What an evaluation wrote, without the times that it took and the place."""
    content = json.loads((run / "evaluation.json").read_text())
    for name in ("run", "timing", "seconds"):
        del content[name]
    return content, (run / "evaluation.csv").read_text()


def left(run: Path) -> list[Path]:
    return list(run.glob("*.parts"))


def test_every_piece_is_dealt_once_and_evenly():
    pieces = list(range(10))
    dealt = [Shard(i, 3).of(pieces) for i in range(3)]
    assert dealt == [[0, 3, 6, 9], [1, 4, 7], [2, 5, 8]]
    assert Shard().of(pieces) == pieces


def test_a_shard_is_read_from_words_and_launchers(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    assert read_shard(None) == Shard(0, 1)
    assert read_shard("3/4") == Shard(3, 4)
    for name, value in zip(VARIABLES[3:], "523", strict=True):
        monkeypatch.setenv(name, value)
    with pytest.raises(InputError, match=r"SLURM_PROCID=5 and SLURM_NTASKS=2 is out of range"):
        read_shard("auto")
    monkeypatch.setenv("SLURM_NTASKS", "8")
    assert read_shard("auto") == Shard(5, 8, 3)
    for name, value in zip(VARIABLES[:3], "120", strict=True):
        monkeypatch.setenv(name, value)
    assert read_shard("auto") == Shard(1, 2, 0)  # torchrun inside of srun: the inner one counts


@pytest.mark.parametrize(
    ("text", "words"),
    [("2/2", "count from 0 to 1"), ("-1/2", "out of range"), ("1", "neither i/n"), ("a/b", "neither i/n")],
)
def test_a_wrong_shard_is_one_sentence(copy, failing, text, words):
    assert words in failing("evaluate", str(copy), f"--shard={text}")


def test_auto_without_a_launcher_is_one_sentence(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(InputError, match="torchrun or srun"):
        read_shard("auto")


@pytest.mark.parametrize(("gpus", "device"), [(0, "cuda"), (1, "cuda:0"), (4, "cuda:3")])
def test_every_process_of_a_machine_has_a_gpu_of_its_own(monkeypatch, gpus, device):
    monkeypatch.setattr("torch.cuda.device_count", lambda: gpus)
    assert Shard(7, 8, 3).device("cuda") == device
    assert Shard(7, 8, 3).device("cuda:2") == "cuda:2"
    assert Shard(7, 8).device("cuda") == "cuda"


def test_pieces_have_seeds_of_their_own():
    assert len({seed_of(seed, piece) for seed in range(20) for piece in range(20)}) == 400


@pytest.mark.parametrize("order", ["012", "201"])
def test_three_shards_give_exactly_the_numbers_of_one(copy, tmp_path, order):
    one = Path(shutil.copytree(copy, tmp_path / "one"))
    main(["evaluate", str(one), *NUMBERS])
    for i in order:
        assert not (copy / "evaluation.json").exists()
        main(["evaluate", str(copy), *NUMBERS, "--shard", f"{i}/3"])
    assert found(copy) == found(one)
    assert left(copy) == left(one) == []


def test_counts_of_flipped_pixels_are_those_of_all_shards(streets, tmp_path, monkeypatch):
    monkeypatch.setattr(shown, "BATCH", 2)  # four test images
    experiment = {
        "out": str(tmp_path),
        "data": {"store": str(streets.path), "crop": [16, 24], "batch_size": 4},
        "models": {"unet": {"class_path": "probunet.UNet", "init_args": dict(UNET)}},
        "optimisation": {},
        "trainer": {"accelerator": "cpu", "max_steps": 1, "val_check_interval": 1, "log_every_n_steps": 1},
    }
    (tmp_path / "experiment.yaml").write_text(json.dumps(experiment))
    main(["train", "--config", str(tmp_path / "experiment.yaml")])
    other = Path(shutil.copytree(tmp_path / "unet", tmp_path / "other"))
    main(["evaluate", str(tmp_path / "unet"), *NUMBERS])
    for shard in ("0/2", "1/2"):
        main(["evaluate", str(other), *NUMBERS, "--shard", shard])
    content, table = found(other)
    assert content["modes"]["pixels"][1]["total"] == 4 * 4 * 5 * 24  # images, samples, rows of the stripe, columns
    assert (content, table) == found(tmp_path / "unet")


def test_what_is_evaluated_is_not_done_again_by_a_shard_that_is_restarted(copy, capsys):
    main(["evaluate", str(copy), *NUMBERS])
    main(["evaluate", str(copy), *NUMBERS, "--shard", "1/2"])
    assert "is evaluated already; --again does it" in " ".join(capsys.readouterr().err.split())
    assert left(copy) == []
    main(["evaluate", str(copy), *NUMBERS, "--shard", "0/2", "--again"])
    assert len(left(copy)) == 1
    main(["evaluate", str(copy), *NUMBERS, "--shard", "1/2", "--again"])
    assert left(copy) == []
    main(["evaluate", str(copy), *NUMBERS, "--shard", "1/2", "--seed", "1"])  # another question
    assert len(left(copy)) == 1


def test_a_restarted_evaluation_does_what_is_missing(copy, tmp_path, monkeypatch):
    one = Path(shutil.copytree(copy, tmp_path / "one"))
    main(["evaluate", str(one), *NUMBERS])
    scored, score = [], evaluation.score_part

    def stopping(*arguments: Any) -> Any:
        scored.append(arguments[2])
        if len(scored) == 2:
            raise KeyboardInterrupt
        return score(*arguments)

    monkeypatch.setattr(evaluation, "score_part", stopping)
    with pytest.raises(SystemExit, match="130"):
        main(["evaluate", str(copy), *NUMBERS])
    assert not (copy / "evaluation.json").exists()
    main(["evaluate", str(copy), *NUMBERS])
    assert scored == [0, 1, 1, 2]
    assert found(copy) == found(one)


def test_a_damaged_part_is_named(copy, failing):
    main(["evaluate", str(copy), *NUMBERS, "--shard", "0/2"])
    file = sorted(left(copy)[0].iterdir())[0]
    os.truncate(file, 100)
    message = failing("evaluate", str(copy), *NUMBERS, "--shard", "1/2")
    assert f"{file} is damaged; remove it" in message
    file.unlink()
    main(["evaluate", str(copy), *NUMBERS])
    assert (copy / "evaluation.json").is_file()


def test_parts_that_another_process_merged_meanwhile_are_not_missed(copy, monkeypatch):
    monkeypatch.setattr(evaluation.Parts, "missing", lambda self: [])  # seen just before they were removed
    main(["evaluate", str(copy), *NUMBERS])
    assert not (copy / "evaluation.json").exists()


def test_a_shard_without_work_is_no_failure(copy, capsys):
    main(["evaluate", str(copy), *NUMBERS, "--shard", "7/8"])
    assert "3 batches of others are missing" in " ".join(capsys.readouterr().err.split())


def test_two_processes_side_by_side_give_the_numbers_of_this_one(trained, tmp_path):
    """The same seed gives the same numbers in every process."""
    runs = [Path(shutil.copytree(trained / "probabilistic_unet", tmp_path / name)) for name in ("one", "two")]
    for run in runs:
        (run / "evaluation.json").unlink()
    store = write_store(tmp_path / "more", blobs(320), DESCRIPTION, np.uint8, jobs=1)  # 80 to test: three batches
    words = ["--data", str(store.path), *NUMBERS]
    started = []
    for rank in "01":
        launcher = {"RANK": rank, "WORLD_SIZE": "2", "LOCAL_RANK": rank}
        started.append(command("evaluate", runs[1], *words, "--shard", "auto", variables=os.environ | launcher))
    codes, _, told = zip(*(evaluation.end(120) for evaluation in started), strict=True)
    assert codes == (0, 0), told
    assert told[1] == ""  # one process of a machine speaks
    main(["evaluate", str(runs[0]), *words])
    assert found(runs[1]) == found(runs[0])
    assert left(runs[1]) == []
