"""What comes out of a training does not depend on the number of its processes."""

import socket
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import two_processes
import yaml
from copies import Copy
from gpu_device import DEVICE, KIND
from pytorch_lightning.plugins.environments import LightningEnvironment, TorchElasticEnvironment
from small_data import DESCRIPTION, SIZE, blob

import probunet as pu
from probunet.cli import main
from probunet.data.manifest import Case
from probunet.data.prepare import CaseSource, write_store
from probunet.data.store import Store
from probunet.models.base import SegmentationModel
from probunet.runs.checkpoints import read_checkpoint
from probunet.runs.run import Run
from probunet.training.placement import leave_to_first

TINY = {"channels": [4, 4], "convolutions": 1}


def agreed(index: int) -> tuple[np.ndarray, np.ndarray]:
    """A blob whose readers agree, so that it does not matter which of them a process draws."""
    image, labels = blob(index)
    return image, labels[:1].repeat(len(labels), axis=0)


@pytest.fixture
def calm_store(tmp_path: Path) -> Store:
    """40 training images without a random choice, 40 for validation: three batches for two processes."""
    items = [CaseSource(Case(f"t{i}", f"t{i}", "train"), partial(agreed, i)) for i in range(40)]
    items += [CaseSource(Case(f"v{i}", f"v{i}", "validation"), partial(blob, i)) for i in range(40)]
    return write_store(tmp_path / "store", items, DESCRIPTION, np.uint8, jobs=1)


def experiment(folder: Path, store: Store, model: str, learning_rate: float, kind: str = "cpu") -> Path:
    folder.mkdir()
    content = {
        "out": str(folder / "out"),
        "data": {
            "store": str(store.path),
            "crop": SIZE,
            "batch_size": 32,
            "validation_images": 40,
            "augmentation": {"probability": 0.0},
        },
        "models": {"model": {"class_path": f"probunet.{model}", "init_args": TINY}},
        "optimisation": {"learning_rate": learning_rate, "schedule": "cosine"},
        "trainer": {"accelerator": kind, "max_steps": 12, "val_check_interval": 6, "log_every_n_steps": 1},
    }
    file = folder / "experiment.yaml"
    file.write_text(yaml.safe_dump(content))
    return file


@pytest.mark.gpu
@pytest.mark.filterwarnings("default")
def test_two_processes_on_one_gpu_train_and_validate_like_one(calm_store, tmp_path, monkeypatch):
    """With batch normalisation over both of them."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    file = experiment(tmp_path / "learns", calm_store, "UNet", 1e-2, KIND)
    content = yaml.safe_load(file.read_text())
    content["models"]["model"]["init_args"] = {**TINY, "batch_norm": True}
    file.write_text(yaml.safe_dump(content))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ends = [work.end(120) for work in [Copy(two_processes.train_on_one_device, r, port, str(file)) for r in range(2)]]
    assert [code for code, *_ in ends] == [0, 0], ends
    two = Run(tmp_path / "learns" / "out" / "model")
    main(["train", "--config", str(file), "--out", str(tmp_path / "one")])
    one = Run(tmp_path / "one" / "model")
    assert one.training()["device"].split(":")[0] == two.training()["device"].split(":")[0] == DEVICE
    first, second = (read_checkpoint(run.last) for run in (one, two))
    assert first["global_step"] == second["global_step"] == 12
    for name, value in first["state_dict"].items():  # a GPU adds up in any order
        torch.testing.assert_close(second["state_dict"][name], value, rtol=0.02, atol=5e-3)
    ones, twos = (c["optimizer_states"][0]["state"] for c in (first, second))
    for key, value in ones.items():
        scale = float(value["exp_avg"].abs().max())
        torch.testing.assert_close(twos[key]["exp_avg"], value["exp_avg"], rtol=0.1, atol=0.1 * scale)
    best = one.training()["best_validation_ged2"]
    assert best == pytest.approx(two.training()["best_validation_ged2"], abs=0.01)


def test_two_processes_train_and_validate_like_one(calm_store, tmp_path):
    """16 images in each of two processes give the steps of 32 in one; D_GED^2 is the same, sample for sample."""
    learns = experiment(tmp_path / "learns", calm_store, "UNet", 1e-2)
    samples = experiment(tmp_path / "samples", calm_store, "ProbabilisticUNet", 1e-30)  # latents differ, weights do not
    content = yaml.safe_load(learns.read_text())
    content["models"]["model"]["init_args"] = {**TINY, "batch_norm": True}  # normalised over both processes
    learns.write_text(yaml.safe_dump(content))
    code, _, said = Copy(two_processes.train, [str(learns), str(samples)]).end(300)
    assert code == 0, said
    assert said.count("100%") == 2  # one bar for each training: the second process is silent
    for config in (learns, samples):
        two = Run(config.parent / "out" / "model")
        assert int(two.settings["trainer"]["devices"]) == 2
        main(["train", "--config", str(config), "--out", str(config.parent / "one")])
        one = Run(config.parent / "one" / "model")
        first, second = (read_checkpoint(run.last) for run in (one, two))
        for name, value in first["state_dict"].items():  # sums in another order, through twelve steps of Adam
            torch.testing.assert_close(second["state_dict"][name], value, rtol=1e-3, atol=1e-4)
        if config == learns:  # Adam forgives a gradient that is twice as large; its moments do not
            ones, twos = (c["optimizer_states"][0]["state"] for c in (first, second))
            for key, value in ones.items():
                scale = float(value["exp_avg"].abs().max())
                torch.testing.assert_close(twos[key]["exp_avg"], value["exp_avg"], rtol=0.01, atol=0.01 * scale)
        best = one.training()["best_validation_ged2"]
        assert best == pytest.approx(two.training()["best_validation_ged2"], abs=1e-6)
    before = read_checkpoint(two.last)
    main(["train", "--config", str(samples), "--trainer.devices", "1"])  # complete, wherever it was trained
    assert read_checkpoint(two.last)["global_step"] == before["global_step"]


@pytest.mark.parametrize(
    "model",
    [pu.UNet(**TINY), pu.ProbabilisticUNet(**TINY), pu.Image2ImageVAE(**TINY)],
    ids=lambda model: type(model).__name__,
)
def test_the_gradient_of_a_batch_is_the_mean_of_the_gradients_of_its_halves(model: SegmentationModel):
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(32, 1, 16, 16, generator=generator)
    label = torch.randint(2, (32, 16, 16), generator=generator)

    def gradient(rows: list[slice]) -> torch.Tensor:
        draws = torch.Generator().manual_seed(1)  # halves one after the other draw what the whole draws
        model.zero_grad()
        for part in rows:
            (model.loss(image[part], label[part], draws).total / len(rows)).backward()
        return torch.cat([p.grad.flatten() for p in model.parameters()])

    whole, halves = gradient([slice(32)]), gradient([slice(16), slice(16, 32)])
    torch.testing.assert_close(halves, whole, rtol=1e-3, atol=1e-4 * float(whole.abs().max()))


def test_a_batch_that_cannot_be_shared_is_one_sentence(experiment_file, failing):
    message = failing("train", "--config", str(experiment_file), "--trainer.devices", "3", "--trainer.strategy", "ddp")
    assert "a batch of 4 cannot be shared evenly by 3 processes" in message


def test_a_process_ends_quietly_where_lightning_launched_it_and_goes_on_where_a_user_did():
    """An error code of the second process would make Lightning kill the first one before that has said why it stops."""

    def process(rank: int, environment: type) -> Any:
        return SimpleNamespace(is_global_zero=rank == 0, strategy=SimpleNamespace(cluster_environment=environment()))

    with pytest.raises(SystemExit, match="0"):
        leave_to_first(process(1, LightningEnvironment))
    leave_to_first(process(0, LightningEnvironment))
    leave_to_first(process(1, TorchElasticEnvironment))
