"""Small files in the forms in which others pass LIDC-IDRI on."""

import os
import pickle
from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np
from damage import SECONDS, examples
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from small_data import blob, png

from probunet.core.errors import InputError
from probunet.data.lidc.annotations import load_table
from probunet.data.lidc_crops.community import prepare_import
from probunet.data.store import Store

PATIENTS = 10
HELD_OUT = {8: "val", 9: "test"}
"""In the PNG crops and the HDF5 file, patient 9 is for validation and patient 10 for test, the rest for training."""


def crop_files(size: int = 32, folder: str = "") -> dict[str, bytes]:
    """The 180x180 crops, smaller: two crops of one slice for every patient; positions are below zero as usual."""
    files = {}
    for patient in range(PATIENTS):
        split = HELD_OUT.get(patient, "train")
        for crop in range(2):
            image, labels = blob(2 * patient + crop, size)
            name = f"LIDC-IDRI-{patient + 1:04d}/z-{100 + patient}.5_c{crop}"
            files[f"{folder}{split}/images/{name}.png"] = png(image[0])
            for reader, label in enumerate(labels):
                files[f"{folder}{split}/gt/{name}_l{reader}.png"] = png(label * np.uint8(255))
    return files


def pickled_slices(patients: int = PATIENTS) -> dict[str, dict]:
    """``data_lidc.pickle``: two slices of each patient, with the series of the real scans."""
    table = load_table()
    slices = {}
    for patient in range(patients):
        for number in range(2):
            image, labels = blob(2 * patient + number)
            slices[f"{table.scan_patient[patient]}_slice{number}"] = {
                "image": image[0] / 255,
                "masks": [label.astype(float) for label in labels],
                "series_uid": table.scan_series[patient],
            }
    return slices


def write_hdf5(file: Path) -> Path:
    """``data_lidc.hdf5``: the same slices; readers come last, grey levels are centred on 0."""
    groups: dict[str, list[int]] = {"train": [], "val": [], "test": []}
    for patient in range(PATIENTS):
        groups[HELD_OUT.get(patient, "train")] += [2 * patient, 2 * patient + 1]
    with h5py.File(file, "w") as opened:
        for name, numbers in groups.items():
            drawn = [blob(number) for number in numbers]
            group = opened.create_group(name)
            group["uids"] = np.array([1000 + number // 2 for number in numbers])
            group["images"] = np.stack([image[0] / 255 - 0.5 for image, _ in drawn])
            group["labels"] = np.stack([np.moveaxis(labels, 0, -1) for _, labels in drawn])
    return file


def write_files(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def write_pickle(file: Path, slices: object, protocol: int = 4) -> Path:
    file.write_bytes(pickle.dumps(slices, protocol))
    return file


def splits_of(store: Store) -> dict[str, set[str]]:
    parts: dict[str, set[str]] = {}
    for example in store.cases:
        parts.setdefault(example.patient, set()).add(example.split)
    return parts


class Evil:
    """Makes a folder when an ordinary reader reads it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple:
        return os.mkdir, (str(self.folder),)


DAMAGE = settings(
    max_examples=examples(80), deadline=SECONDS, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def damaged(data: st.DataObject, content: bytes) -> bytes:
    """Replace, remove or double bytes at a random place."""
    start = data.draw(st.integers(0, max(len(content) - 1, 0)))
    end = min(len(content), start + data.draw(st.integers(0, 30)))
    piece = data.draw(st.one_of(st.binary(max_size=6), st.just(content[start:end] * 2), st.just(bytes(4))))
    return content[:start] + piece + content[end:]


def import_or_refuse(source: Path, out: Path) -> None:
    with suppress(InputError):
        store = prepare_import(source, out)
        assert set(np.unique(store.labels)) <= {0, 1}
    for file in out.glob("*") if out.exists() else ():
        file.unlink()
    if out.exists():
        out.rmdir()
    assert not [path for path in out.parent.iterdir() if path.name.startswith(".")]
