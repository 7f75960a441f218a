"""Small data and small trained models that many tests share; everything is made here, nothing is downloaded."""

import io
import tarfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from probunet.data.prepare import Description, Item, write_store
from probunet.data.slices import prepare_slices
from probunet.data.store import Example, Intensity, Store

SIZE = 32
torch.set_num_threads(1)  # the models are tiny; threads would only wait for each other


def blob(index: int, size: int = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """A bright disc on noise; readers disagree on its radius, and the fourth sees nothing."""
    random = np.random.default_rng(index)
    rows, columns = np.mgrid[:size, :size] - (size - 1) / 2
    distance = np.hypot(rows, columns)
    image = 100 + 80 * (distance < 6) + random.normal(0, 5, distance.shape)
    labels = np.stack([distance < radius for radius in (4, 5, 6 + index % 2, 0)])
    return image.round().astype(np.uint8)[None], labels.astype(np.uint8)


def blobs(count: int) -> list[Item]:
    splits = ("train", "train", "validation", "test")
    return [
        Item(Example(f"case-{i:03d}", f"patient-{i // 2:03d}", splits[i // 2 % 4]), partial(blob, i))
        for i in range(count)
    ]


DESCRIPTION = Description("blobs, simulated", "none", {"command": "test"}, Intensity("grey level", 100, 50), None)


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """24 images of 12 patients, 32x32 px, 4 readers."""
    out = tmp_path_factory.mktemp("stores") / "blobs"
    return write_store(out, blobs(24), DESCRIPTION, np.uint8, jobs=1)


def png(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format="PNG")
    return buffer.getvalue()


def slice_files(patients: int = 10) -> dict[str, bytes]:
    """The LIDC-IDRI-slices layout: one lesion a patient, two slices each, the second one empty for reader 3."""
    files = {}
    for patient in range(patients):
        folder = f"LIDC-IDRI-slices/LIDC-IDRI-{patient + 1:04d}/nodule-0"
        for number in range(2):
            image, labels = blob(2 * patient + number)
            files[f"{folder}/images/slice-{number}.png"] = png(image[0])
            for reader, label in enumerate(labels):
                files[f"{folder}/mask-{reader}/slice-{number}.png"] = png(label * np.uint8(255))
    return files


def write_tar(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


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
    init_args: *unet
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


@pytest.fixture
def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)
