"""A store of volumes as a folder of NIfTI files and readings, with the same patients and splits.

``probunet prepare folder --size 64 64 --keep-empty true`` makes slices of it, for the model of slices that volumes.py
compares with one of volumes.

    python benchmarks/volumes_as_folder.py data/lesions data/lesions_nifti
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import nibabel
import numpy as np
import numpy.typing as npt

from probunet.data.store import Store


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("out", type=Path, help="folder to make")
    asked = parser.parse_args()
    store = Store(asked.store)
    asked.out.mkdir(parents=True)
    patients: dict[str, str] = {}
    splits: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
    for row, case in enumerate(store.cases):
        folder = asked.out / f"case-{row}"
        folder.mkdir()
        patients[folder.name] = case.patient
        splits[case.split].append(folder.name)
        spacing = store.spacing(row)
        assert spacing is not None
        write(folder / "image.nii", store.images[row][0], spacing)
        for number, reading in enumerate(store.labels[row]):
            write(folder / f"reader-{number}.nii", reading, spacing)
    facts = {
        "name": store.manifest["title"],
        "channel_names": {"0": "CT" if store.intensity.unit == "HU" else "image"},
        "labels": {name: number for number, name in enumerate(store.classes)},
        "file_ending": ".nii",
        "persistent_readers": False,
        "patients": patients,
        "splits": splits,
    }
    (asked.out / "dataset.json").write_text(json.dumps(facts) + "\n")


def write(file: Path, volume: npt.NDArray[np.generic], spacing: tuple[float, ...]) -> None:
    """A volume (D, H, W), slices to the head and columns to the left."""
    affine = np.diag([-spacing[2], -spacing[1], spacing[0], 1.0])
    nibabel.save(nibabel.Nifti1Image(np.ascontiguousarray(np.asarray(volume).transpose(2, 1, 0)), affine), file)


if __name__ == "__main__":
    main()
