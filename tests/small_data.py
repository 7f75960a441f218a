"""Small data for tests: blobs with four readers, and the LIDC-IDRI-slices layout around them."""

import io
import resource
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from probunet.core.errors import InputError
from probunet.core.intensity import Intensity
from probunet.data.flips import Flip
from probunet.data.manifest import Case
from probunet.data.prepare import CaseSource, Description
from probunet.data.prepare_volumes import Volume, VolumeSource

SIZE = 32


def unpacked(archive: Path, folder: Path) -> Path:
    """The folder with what is in a tar archive; before Python 3.11.4 there was no filter, and none is needed here."""
    with tarfile.open(archive) as packed:
        if hasattr(tarfile, "data_filter"):
            packed.extraction_filter = tarfile.data_filter
        packed.extractall(folder)
    return folder


def blob(index: int, size: int = SIZE) -> tuple[np.ndarray, np.ndarray]:
    """A bright disc on noise; readers disagree on its radius, and the fourth sees nothing."""
    random = np.random.default_rng(index)
    rows, columns = np.mgrid[:size, :size] - (size - 1) / 2
    distance = np.hypot(rows, columns)
    image = 100 + 80 * (distance < 6) + random.normal(0, 5, distance.shape)
    labels = np.stack([distance < radius for radius in (4, 5, 6 + index % 2, 0)])
    return image.round().astype(np.uint8)[None], labels.astype(np.uint8)


def nothing(index: int) -> tuple[np.ndarray, np.ndarray]:
    image, labels = blob(index)
    return image, np.zeros_like(labels)


def refuse(index: int) -> tuple[np.ndarray, np.ndarray]:
    raise InputError(f"case {index} cannot be read")


def blobs(count: int) -> list[CaseSource]:
    splits = ("train", "train", "validation", "test")
    return [
        CaseSource(Case(f"case-{i:03d}", f"patient-{i // 2:03d}", splits[i // 2 % 4]), partial(blob, i))
        for i in range(count)
    ]


DESCRIPTION = Description("blobs, simulated", "none", {"command": "test"}, Intensity("grey level", 100, 50), None)


def ball(index: int) -> Volume:
    """A bright ball in two channels on noise, volumes of two sizes; three readers, of whom one misses every other."""
    random = np.random.default_rng(index)
    size = ((6, 16, 18), (9, 17, 16))[index % 2]
    planes, rows, columns = np.indices(size) - (np.array(size)[:, None, None, None] - 1) / 2
    distance = np.sqrt((2 * planes) ** 2 + rows**2 + columns**2)
    image = np.stack([100 + 80 * (distance < 4), -20 - 30 * (distance < 5)]) + random.normal(0, 3, (2, *size))
    labels = np.stack([distance < radius for radius in (3, 4.5, 4 * (index % 2))])
    spacing = (2.0, 0.5 + index, 0.5)
    affine = np.diag([-spacing[2], -spacing[1], spacing[0], 1.0])
    return Volume(image.round().astype(np.int16), labels.astype(np.uint8), spacing, affine)


def balls(count: int) -> list[VolumeSource]:
    splits = ("train", "train", "validation", "test")
    return [VolumeSource(Case(f"ball-{i}", f"patient-{i}", splits[i % 4]), partial(ball, i)) for i in range(count)]


VOLUMES = Description("balls, simulated", "none", {"command": "test"}, Intensity("raw value", 50, 60), None)


def street(index: int) -> tuple[np.ndarray, np.ndarray]:
    """Three stripes of noisy colour, 16x24 px: classes 0, 1 and 2, of which 1 and 2 flip."""
    random = np.random.default_rng(index)
    label = np.repeat(np.array([0, 1, 2], np.uint8), [5 + index % 2, 6 - index % 2, 5])[:, None].repeat(24, axis=1)
    colours = np.array([[40, 40, 200], [200, 40, 40], [40, 200, 40]])[label]
    image = np.clip(colours + random.normal(0, 10, colours.shape), 0, 255).round().astype(np.uint8)
    return np.moveaxis(image, -1, 0), label[None]


def streets(count: int) -> list[CaseSource]:
    splits = ("train", "train", "validation", "test")
    return [
        CaseSource(Case(f"street-{i:03d}", f"street-{i:03d}", splits[i % 4]), partial(street, i)) for i in range(count)
    ]


STREETS = Description(
    "stripes, simulated",
    "none",
    {"command": "test"},
    Intensity("grey level", 128, 64),
    None,
    classes=("sky", "road", "car", "road flipped", "car flipped"),
    simulated=True,
    flips=(Flip(1, 3, 0.25), Flip(2, 4, 0.5)),
)


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


@contextmanager
def full_disk(size: int) -> Iterator[None]:
    """A limit on the bytes of a file stands for a disk that is full: writing fails in the same place."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
