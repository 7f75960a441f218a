"""Seconds and memory of hypotheses of a whole volume by a model of volumes, from the file to the files: JSON.

The volume is noise in HU on the disk, the network untrained; neither changes the time or the memory. What a strip of
tiles and a network of so many channels need is the same for any depth, so that few slices tell the memory of many.

    OMP_NUM_THREADS=1 python benchmarks/large_volume.py > benchmarks/results/large_volume.json
    OMP_NUM_THREADS=1 python benchmarks/large_volume.py --size 32 512 512 --channels 32 64 128 192
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from measure import DEVICE, machine, peak_memory_mib

import probunet as pu
from probunet.core.array_file import array_file
from probunet.inference.predictor import Predictor
from probunet.inference.request import Request
from probunet.inference.results import Results
from probunet.io.search import read_picture

SPACING = (2.5, 0.7, 0.7)


def write_volume(file: Path, size: tuple[int, int, int]) -> None:
    random = np.random.default_rng(0)
    with array_file(file, size, np.int16) as written:
        for index in range(size[0]):
            written.put((index,), random.integers(-1000, 400, size[1:]).astype(np.int16))


def save_model(folder: Path, channels: list[int], convolutions: int) -> None:
    torch.manual_seed(0)
    model = pu.ProbabilisticUNet(channels=channels, convolutions=convolutions, dims=3, spacing=SPACING)
    facts = {"crop": [32, 96, 96], "spacing_mm": list(SPACING), "classes": ["background", "lesion"], "title": "noise"}
    unit = {"unit": "HU", "offset": -300.0, "scale": 400.0}
    pu.save(model, folder, input={**facts, "intensity": unit, "simulated": True})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs=3, default=[400, 512, 512], help="slices, height and width")
    parser.add_argument("--channels", type=int, nargs="+", default=[8, 16, 32, 48])
    parser.add_argument("--convolutions", type=int, default=1, help="at each scale")
    parser.add_argument("-n", type=int, default=16, help="hypotheses")
    g = parser.parse_args()
    where, size = machine(), tuple(g.size)
    with tempfile.TemporaryDirectory(dir=".") as name:
        folder = Path(name)
        write_volume(folder / "volume.npy", size)
        save_model(folder / "model", g.channels, g.convolutions)
        predictor, slices = Predictor.load(folder / "model"), [0]
        before, begin, busy = peak_memory_mib(), time.perf_counter(), time.process_time()

        def tell() -> None:
            slices[0] += 1
            print(f"{slices[0]} slices, {peak_memory_mib():.0f} MiB", file=sys.stderr)

        request = Request(g.n, 0, None, None, 0.5, "npy", frozenset({"samples"}))
        Results(folder / "out", predictor, request).write(read_picture(folder / "volume.npy", 1), tell)
        found = {
            "machine": where,
            "device": DEVICE,
            "size": size,
            "channels": g.channels,
            "convolutions": g.convolutions,
            "hypotheses": g.n,
            "seconds": time.perf_counter() - begin,
            "processor_seconds": time.process_time() - busy,
            "peak_mib": peak_memory_mib(),
            "peak_mib_before": before,
            "samples_mib": g.n * size[0] * size[1] * size[2] / 2**20,
        }
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
