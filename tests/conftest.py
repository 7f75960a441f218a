"""Small data and small trained models that many tests share; everything is made here, nothing is downloaded."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from gpu_device import skip_without_gpu
from small_data import DESCRIPTION, STREETS, VOLUMES, balls, blobs, slice_files, write_tar
from small_data import streets as street_items

from probunet.data.lidc_crops.slices import prepare_slices
from probunet.data.prepare import write_store
from probunet.data.prepare_volumes import write_volumes
from probunet.data.store import Store

torch.set_num_threads(1)  # the models are tiny; threads would only wait for each other


def pytest_runtest_setup(item: pytest.Item) -> None:
    skip_without_gpu(item)


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """24 images of 12 patients, 32x32 px, 4 readers."""
    out = tmp_path_factory.mktemp("stores") / "blobs"
    return write_store(out, blobs(24), DESCRIPTION, np.uint8, jobs=1)


@pytest.fixture(scope="session")
def volumes(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """8 volumes of 8 patients, two channels, 6x16x18 and 9x17x16 voxels, 3 readers."""
    return write_volumes(tmp_path_factory.mktemp("stores") / "balls", balls(8), VOLUMES, np.int16, jobs=1)


@pytest.fixture(scope="session")
def streets(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """16 tiny striped streets, 16x24 px, two label flips."""
    return write_store(tmp_path_factory.mktemp("stores") / "streets", street_items(16), STREETS, np.uint8, jobs=1)


@pytest.fixture(scope="session")
def slices_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tar(tmp_path_factory.mktemp("archives") / "slices.tar.gz", slice_files())


@pytest.fixture(scope="session")
def slices_store(slices_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Store:
    return prepare_slices(slices_archive, tmp_path_factory.mktemp("stores") / "slices", (0.4, 0.2, 0.4))


EXPERIMENT = """
out: {out}
data:
  store: {store}
  crop: 24
  batch_size: 4
  validation_images: 4
models:
  unet:
    class_path: probunet.UNet
    init_args: &unet
      channels: [4, 4]
      convolutions: 1
  probabilistic_unet:
    class_path: probunet.ProbabilisticUNet
    init_args:
      <<: *unet
      combine_channels: 32
optimisation:
  learning_rate: 1.0e-2
trainer:
  accelerator: cpu
  max_steps: 6
  val_check_interval: 3
  log_every_n_steps: 1
"""


@pytest.fixture
def experiment_file(store: Store, tmp_path: Path) -> Path:
    """A configuration that trains two tiny models for six steps."""
    file = tmp_path / "experiment.yaml"
    file.write_text(EXPERIMENT.format(out=tmp_path / "run", store=store.path))
    return file


@pytest.fixture(scope="session")
def trained(store: Store, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two trained and evaluated tiny models; do not change it."""
    from probunet.cli import main

    folder = tmp_path_factory.mktemp("trained")
    file = folder / "experiment.yaml"
    file.write_text(EXPERIMENT.format(out=folder / "run", store=store.path))
    main(["train", "--config", str(file)])
    main(["evaluate", str(folder / "run"), "--n", "1", "2", "4"])
    return folder / "run"


@pytest.fixture(scope="session")
def calibrated(trained: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the trained model, calibrated on its three validation patients; do not change it."""
    from probunet.cli import main

    run = tmp_path_factory.mktemp("calibrated") / "run"
    shutil.copytree(trained / "probabilistic_unet", run)
    main(["calibrate", str(run), "--risk", "0.25", "-n", "6", "--check", "test"])
    return run


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


@pytest.fixture
def failing(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run a command that must end with exit code 2 and one sentence; give the sentence."""
    from probunet.cli import main

    def run(*arguments: str) -> str:
        capsys.readouterr()
        with pytest.raises(SystemExit) as stopped:
            main(list(arguments))
        assert stopped.value.code == 2
        message = " ".join(capsys.readouterr().err.split())
        assert "Traceback" not in message
        assert "error: " in message
        return message[message.index("error: ") :]

    return run
