"""A copy of a store of images whose training and validation images keep only some of their readings.

Which readings are kept is drawn at random; test images keep all of them, so that what a model learned from one
reading an image is scored against every reader.

    python benchmarks/few_readings.py data/slices data/slices_1 --readings 1
    probunet train --config lidc_best --data.store data/slices_1 --out runs/one_reading
    probunet evaluate runs/one_reading --crop trained
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import numpy as np

from probunet.core.errors import InputError
from probunet.core.types import IGNORE
from probunet.data.prepare import CaseSource, Description, Drawn, write_store
from probunet.data.store import Store


def draw(store: Store, row: int, readings: int, seed: int) -> Drawn:
    image, labels = np.array(store.images[row]), np.array(store.labels[row])
    if store.cases[row].split != "test":
        known = np.flatnonzero(store.present[row])
        random = np.random.default_rng([seed, row])
        labels[np.setdiff1d(known, random.permutation(known)[:readings])] = IGNORE
    return image, labels


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--readings", type=int, default=1, help="that an image keeps at most")
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    if asked.readings < 1 or asked.seed < 0:
        parser.error(f"--readings {asked.readings} --seed {asked.seed}: give at least one reading, and a seed from 0")
    try:
        copy(asked.store, asked.out, asked.readings, asked.seed)
    except InputError as error:
        parser.error(str(error))


def copy(path: Path, out: Path, readings: int, seed: int) -> None:
    store = Store(path)
    if store.dims == 3:
        raise InputError(f"{path} holds volumes; give a store of images")
    sources = [CaseSource(case, partial(draw, store, row, readings, seed)) for row, case in enumerate(store.cases)]
    description = Description(
        f"{store.manifest['title']}; {readings} a training image, drawn with seed {seed}",
        store.manifest["licence"],
        {"command": "benchmarks/few_readings.py", "readings": readings, "seed": seed},
        store.intensity,
        store.spacing(0),
        tuple(store.classes),
        bool(store.manifest["simulated"]),
    )
    write_store(out, sources, description, store.images.dtype.type, threads=True, keep_empty=True)


if __name__ == "__main__":
    main()
