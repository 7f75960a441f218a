"""Pictures of 512x512 px through ``probunet sample`` on one device, several processes as shards of it: prints JSON.

16 hypotheses of each, the network of ``--config lidc`` (untrained weights cost the same), labels written as the command
writes them. The second figure is what a million such pictures would take, extrapolated; loading the model is in the
time. Also printed: one encoding with its hypotheses on that device, of pictures that are in memory already.

    python benchmarks/many_slices.py --processes 8 > benchmarks/results/many_slices_gpu.json
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import torch
from archive import write_model
from measure import DEVICE, alternating, machine
from PIL import Image

import probunet as pu

SIDE, N, CHANNELS = 512, 16, [32, 64, 128, 192, 192]


def write_pictures(folder: Path, count: int) -> None:
    """Noise like that of CT, with a bright disc that lies elsewhere in each; by all cores."""
    folder.mkdir()
    with ProcessPoolExecutor() as pool:
        list(pool.map(write_picture, [folder] * count, range(count), chunksize=20))


def write_picture(folder: Path, i: int) -> None:
    rows, columns = np.mgrid[:SIDE, :SIDE]
    random = np.random.default_rng(i)
    disc = np.hypot(rows - random.uniform(99, 413), columns - random.uniform(99, 413)) < random.uniform(5, 20)
    image = 100 + 80 * disc + random.normal(0, 5, (SIDE, SIDE))
    file = folder / f"slice-{i:06d}.png"
    Image.fromarray(image.round().clip(0, 255).astype(np.uint8)).save(file, compress_level=1)


def in_memory(folder: Path) -> float:
    """Seconds of one encoding with its hypotheses."""
    model = pu.load(folder).to(DEVICE)
    image, generator = torch.randn(1, 1, SIDE, SIDE, device=DEVICE), torch.Generator(DEVICE).manual_seed(0)

    def draw() -> None:
        model(image).sample(N, generator)

    with torch.inference_mode():
        return alternating({"draw": draw}, repeats=9)["draw"]


def command(model: Path, pictures: Path, out: Path, processes: int) -> float:
    """Seconds until the last of the shards has ended."""
    words = [sys.executable, "-m", "probunet", "sample", str(model), str(pictures), "--out", str(out), "-n", str(N)]
    start = time.perf_counter()
    shards = [
        subprocess.Popen([*words, "--device", DEVICE, "--shard", f"{i}/{processes}"], stdout=subprocess.DEVNULL)
        for i in range(processes)
    ]
    if any([shard.wait() for shard in shards]):
        raise SystemExit("a shard failed")
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=2000)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 8])
    given = parser.parse_args()
    where = machine()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        write_pictures(folder / "pictures", given.pictures)
        model = write_model(folder, CHANNELS)
        result = {"machine": where, "pictures": given.pictures, "n": N, "side": SIDE, "in_memory": in_memory(model)}
        for processes in given.processes:
            seconds = command(model, folder / "pictures", folder / f"out_{processes}", processes)
            result[f"processes_{processes}"] = {
                "seconds": seconds,
                "pictures_per_second": given.pictures / seconds,
                "hours_of_a_million": seconds / given.pictures * 1e6 / 3600,
            }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
