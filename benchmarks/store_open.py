"""How long the page needs to open a store of many volumes and to show the first one, against a store of ten: JSON.

Milliseconds of the processor, the least of several turns. The volumes are small balls in noise: what a store holds
stays on the disk until a case is asked for, so that their size does not matter here.

    OMP_NUM_THREADS=1 python benchmarks/store_open.py
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from measure import machine

from probunet.core.intensity import Intensity
from probunet.data.manifest import Case
from probunet.data.prepare import Description
from probunet.data.prepare_volumes import Volume, VolumeSource, write_volumes
from probunet.explore.cases import cases_of

DESCRIPTION = Description("balls", "none", {}, Intensity("raw value", 50, 60), None, simulated=True)


def ball(index: int) -> Volume:
    """A ball in noise, 12x32x32 voxels, and what four readers mark of it."""
    random = np.random.default_rng(index)
    z, y, x = np.ogrid[-6:6, -16:16, -16:16]
    away = np.sqrt((2.0 * z) ** 2 + y**2 + x**2)
    labels = np.stack([away < radius for radius in random.uniform(6, 10, 4)]).astype(np.uint8)
    image = (random.normal(0, 10, labels.shape[1:]) + 100 * (away < 8)).astype(np.int16)
    return Volume(image[None], labels, (2.0, 1.0, 1.0), None)


def opened(folder: Path, turns: int) -> dict[str, float]:
    """Milliseconds to open a store and list its cases, and to load the first one."""
    times = []
    for _ in range(turns):
        start = time.process_time()
        cases = cases_of(folder, "test")
        listed = time.process_time()
        cases[0].load()
        times.append((listed - start, time.process_time() - listed))
    opening, loading = (1000 * min(column) for column in zip(*times, strict=True))
    return {"open_ms": round(opening, 2), "first_case_ms": round(loading, 2), "cases": len(cases)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--volumes", type=int, nargs="+", default=[10, 1000])
    parser.add_argument("--turns", type=int, default=9)
    given = parser.parse_args()
    found: dict[str, Any] = {"machine": machine()}
    with tempfile.TemporaryDirectory() as place:
        for count in given.volumes:
            folder = Path(place) / str(count)
            items = [VolumeSource(Case(f"ball-{i}", f"p-{i}", "test"), partial(ball, i)) for i in range(count)]
            write_volumes(folder, items, DESCRIPTION, np.int16, jobs=1)
            found[f"volumes_{count}"] = opened(folder, given.turns)
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
