"""A store of volumes as a folder of NIfTI files and readings, with the same patients and splits.

``probunet prepare folder --size 64 64 --keep-empty true`` makes slices of it, for the model of slices that volumes.py
compares with one of volumes.

    python benchmarks/volumes_as_folder.py data/lesions data/lesions_nifti
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from probunet.data.manifest import SPLITS
from probunet.data.pictures import picture_of_case, readings_of_case
from probunet.data.store import Store


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("out", type=Path, help="folder to make")
    asked = parser.parse_args()
    store = Store(asked.store)
    asked.out.mkdir(parents=True)
    patients: dict[str, str] = {}
    splits: dict[str, list[str]] = {split: [] for split in SPLITS}
    for row, case in enumerate(store.cases):
        folder = asked.out / f"case-{row}"
        folder.mkdir()
        patients[folder.name] = case.patient
        splits[case.split].append(folder.name)
        picture = picture_of_case(store, row)
        picture.write_nifti(folder / "image.nii.gz", picture.values()[:, 0])
        for number, reading in enumerate(readings_of_case(store, row, picture)):
            picture.write_nifti(folder / f"reader-{number}.nii.gz", reading)
    facts = {
        "name": store.manifest["title"],
        "channel_names": {"0": "CT" if store.intensity.unit == "HU" else "image"},
        "labels": {name: number for number, name in enumerate(store.classes)},
        "file_ending": ".nii.gz",
        "persistent_readers": False,
        "patients": patients,
        "splits": splits,
    }
    (asked.out / "dataset.json").write_text(json.dumps(facts) + "\n")


if __name__ == "__main__":
    main()
