"""A Dask cluster of two workers gives the files of one process, also when a worker is killed in the middle."""

import json
import os
import shutil
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from copies import begin
from PIL import Image

from probunet.cli import main

dask, distributed = pytest.importorskip("dask"), pytest.importorskip("distributed")
pytestmark = pytest.mark.filterwarnings("ignore")  # of Dask's own sockets and threads when a worker is killed


@pytest.fixture(scope="module")
def cluster():
    before = dict(os.environ)  # Dask sets variables of malloc and of threads in this process, too
    begin()
    copied = {"distributed.worker.multiprocessing-method": "forkserver"}
    alone = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0"}
    with dask.config.set(copied), distributed.LocalCluster(**alone) as cluster:
        yield cluster
    os.environ.clear()
    os.environ.update(before)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file by its name."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_killed_worker_loses_nothing_and_nothing_is_done_twice(cluster, trained, tmp_path, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (24, 24, 24), dtype=np.uint8)
    (tmp_path / "crops").mkdir()
    for number, crop in enumerate(pixels):
        Image.fromarray(crop).save(tmp_path / "crops" / f"{number}.png")
    monkeypatch.chdir(tmp_path)  # workers are elsewhere
    command = ["sample", str(trained / "probabilistic_unet"), str(tmp_path / "crops"), "-n", "2", "--write", "samples"]
    main([*command, "--out", "alone"])
    victim = next(iter(cluster.workers.values())).process.pid

    def kill() -> None:
        while len(list(Path("together").glob("*/summary.json"))) < 3:
            time.sleep(0.01)
        os.kill(victim, signal.SIGKILL)

    killer = threading.Thread(target=kill, daemon=True)
    killer.start()
    main([*command, "--out", "together", "--cluster", cluster.scheduler_address])
    killer.join()
    assert contents(tmp_path / "alone") == contents(tmp_path / "together")


def test_evaluate_gives_the_same_numbers(cluster, trained, tmp_path):
    shutil.copytree(trained / "unet", tmp_path / "unet")
    before = json.loads((tmp_path / "unet" / "evaluation.json").read_text())
    (tmp_path / "unet" / "evaluation.json").unlink()
    main(["evaluate", str(tmp_path / "unet"), "--n", "1", "2", "4", "--cluster", cluster.scheduler_address])
    after = json.loads((tmp_path / "unet" / "evaluation.json").read_text())
    for key in ("run", "timing", "seconds"):
        del before[key], after[key]
    assert after == before
    assert not list((tmp_path / "unet").glob("*.parts"))


def test_score_and_prepare_give_the_same_files(cluster, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    np.savez("samples.npz", samples=random.integers(0, 2, (9, 4, 8, 8)), names=[f"case {i}" for i in range(9)])
    np.savez("readers.npz", references=random.integers(0, 2, (9, 3, 8, 8)), names=[f"case {i}" for i in range(9)])
    score = ["score", "--samples", "samples.npz", "--references", "readers.npz", "--n", "1", "4", "--also", "areas"]
    streets = ["prepare", "streets", "--images", "6", "3", "3", "--size", "32", "64"]
    for name, options in (("alone", []), ("together", ["--cluster", cluster.scheduler_address])):
        Path(name).mkdir()
        main([*score, "--out", f"{name}/scores.json", *options])
        main([*streets, "--out", f"{name}/streets", *options])
    assert contents(tmp_path / "alone") == contents(tmp_path / "together")


def test_what_is_no_cluster_is_one_sentence(cluster, trained, tmp_path, failing):
    evaluate = ["evaluate", str(trained / "unet"), "--cluster", cluster.scheduler_address, "--shard", "0/2"]
    assert "two ways to share the work" in failing(*evaluate)
    assert "no Dask scheduler answers" in failing("prepare", "streets", "--out", str(tmp_path / "s"), "--cluster", "no")
    assert not (tmp_path / "s").exists()
