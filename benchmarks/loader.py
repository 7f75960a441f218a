"""Augmented images a second: crops of 128 x 128 from a store of 180 x 180 grey images with four readers: JSON.

python benchmarks/loader.py > benchmarks/results/loader.json
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from measure import DEVICE, alternating, machine
from train_step import store

from probunet.data.augment import Augmentation
from probunet.data.training_batches import TrainingBatches


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=128, help="pixels")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=30)
    given = parser.parse_args()
    where = machine()
    with tempfile.TemporaryDirectory() as folder:
        data = store(Path(folder), given.size)
        kinds = {"deformed": Augmentation(), "cropped_only": Augmentation(probability=0)}
        streams = {
            name: iter(TrainingBatches(data, given.size, given.batch, augmentation, seed=0, device=DEVICE))
            for name, augmentation in kinds.items()
        }
        works = {name: lambda stream=stream: next(stream) for name, stream in streams.items()}
        found = alternating(works, given.repeats)
    rates = {f"{name}_images_per_second": given.batch / seconds for name, seconds in found.items()}
    print(json.dumps({"machine": where, "batch": given.batch, "size": given.size, **rates}, indent=2))


if __name__ == "__main__":
    main()
