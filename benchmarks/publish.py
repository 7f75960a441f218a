"""Write the model of a run directory as one that comes with the package; see ``benchmarks/README.md``.

    python benchmarks/publish.py runs/lidc_best/mixture_of_experts data/slices lidc-crops
    python benchmarks/publish.py runs/demo/probabilistic_unet data/demo lidc-demo

Where values are grey levels, every crop of the store must have its own range of values as 0 to 255; the description
then says so, and the model refuses pictures that were scaled in another way. The model card, README.md, is written by
hand beside it.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from probunet.core.descriptions import read_json, write_json
from probunet.data.store import Store
from probunet.runs.exported import save_run
from probunet.runs.published import FOLDER
from probunet.runs.run import Run

LICENCE = (
    "CC BY 4.0, made from LIDC-IDRI (CC BY 3.0); see README.md for who is to be cited, and for what it must not be used"
)
LARGEST = 3_000_000
"""Bytes of the weights."""


def own_range(store: Store) -> str:
    """Unit of a store whose every crop has its own range as 0 to 255."""
    for images in np.array_split(np.arange(len(store.images)), 100):
        values = store.images[images]
        if (values.min(axis=(1, 2, 3)) != 0).any() or (values.max(axis=(1, 2, 3)) != 255).any():
            raise SystemExit(f"{store.path} has crops whose range is not 0 to 255")
    height, width = store.images.shape[-2:]
    return f"grey level, own range of a {height}x{width} px crop as 0 to 255"


def main() -> None:
    """Write the folder; nothing is written where a crop has another range or the weights are too large."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("store", type=Path)
    parser.add_argument("name")
    arguments = parser.parse_args()
    run, store = Run(arguments.run), Store(arguments.store)
    if store.intensity.unit == "grey level":
        run.settings["input"]["intensity"]["unit"] = own_range(store)
    run.settings["data"]["store"] = store.path.name
    folder = FOLDER / arguments.name
    save_run(run, folder, LICENCE)
    described = read_json(folder / "probunet.json")
    if described["evaluation"]:  # no path of the machine that made it
        described["evaluation"]["data"]["store"] = store.path.name
        write_json(folder / "probunet.json", described)
    if (size := (folder / "model.safetensors").stat().st_size) > LARGEST:
        raise SystemExit(f"{folder} has {size} bytes of weights, more than {LARGEST}; remove it")
    print(json.dumps({"folder": str(folder), "bytes": size}))


if __name__ == "__main__":
    main()
