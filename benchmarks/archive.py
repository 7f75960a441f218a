"""An archive of small pictures through ``probunet sample``, beside the model and its sampling alone: prints JSON.

A folder of 1,000 crops of 128x128 px, 16 hypotheses each, by the network of the demo; both sides run in one process, a
hundred crops in turn, so that what else the machine does falls on both. Then the time to the first hypothesis of an
archive of 100,000 files, and the peak memory.

    OMP_NUM_THREADS=2 python benchmarks/archive.py > benchmarks/results/archive.json
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from measure import machine, peak_memory_mib
from PIL import Image

import probunet as pu
from probunet.commands.sample import sample
from probunet.io.search import find_pictures

SIDE, N, EACH = 128, 16, 100


def write_crops(folder: Path, first: int, count: int) -> None:
    """Crops with a bright disc that lies elsewhere in each."""
    folder.mkdir(parents=True)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    for i in range(first, first + count):
        random = np.random.default_rng(i)
        distance = np.hypot(rows - random.uniform(40, 88), columns - random.uniform(40, 88))
        image = 100 + 80 * (distance < random.uniform(5, 20)) + random.normal(0, 5, distance.shape)
        Image.fromarray(image.round().clip(0, 255).astype(np.uint8)).save(folder / f"crop-{i:06d}.png")


def write_model(folder: Path, run: Path | None) -> Path:
    """The run that was given, or an untrained model of the demo's size, which costs the same."""
    if run is not None:
        return run
    torch.manual_seed(0)
    described = {"intensity": {"unit": "grey level", "offset": 128.0, "scale": 64.0}, "crop": SIDE}
    facts = {**described, "spacing_mm": None, "title": "none", "simulated": True, "classes": ["background", "lesion"]}
    pu.save(pu.ProbabilisticUNet(channels=[32, 64, 128, 192]), folder / "model", input=facts)
    return folder / "model"


def alone(model: torch.nn.Module, folder: Path) -> float:
    """Seconds of the network and of sampling, one crop after the other, as tensors that are in memory already."""
    images = [
        torch.from_numpy(picture.slice(0)[None].astype(np.float32) - 128) / 64 for picture in find_pictures([folder])
    ]
    start = time.perf_counter()
    with torch.inference_mode():
        for i, image in enumerate(images):
            model(image).sample(N, torch.Generator().manual_seed(i))
    return time.perf_counter() - start


def command(model: Path, folder: Path, out: Path, write: list[str] | None) -> float:
    """Seconds of the command, start of the model included."""
    start = time.perf_counter()
    sample(str(model), [folder], out=out, n=N, device="cpu", write=write)
    return time.perf_counter() - start


def first_hypothesis(model: Path, folder: Path, files: int) -> float:
    """Seconds until the first result of an archive of copies of one crop appears."""
    content = (folder / "crops-0" / "crop-000000.png").read_bytes()
    for i in range(files):
        if i % 1000 == 0:
            place = folder / "archive" / f"{i // 1000:03d}"
            place.mkdir(parents=True)
        (place / f"crop-{i:06d}.png").write_bytes(content)
    words = ["sample", str(model), str(folder / "archive"), "--out", str(folder / "first"), "--device", "cpu"]
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "probunet", *words], stderr=subprocess.DEVNULL)
    while not any(Path(folder / "first").glob("crop-*/summary.json")) and process.poll() is None:
        time.sleep(0.02)
    seconds = time.perf_counter() - start
    process.terminate()
    process.wait()
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--run", type=Path, help="a trained model; without it an untrained one")
    parser.add_argument("--crops", type=int, default=1000)
    parser.add_argument("--files", type=int, default=100_000)
    options = parser.parse_args()
    results: dict[str, object] = {"machine": machine(), "side": SIDE, "hypotheses": N, "crops": options.crops}
    folder = Path(tempfile.mkdtemp())
    try:
        model = write_model(folder, options.run)
        loaded = pu.load(model)
        times: dict[str, list[float]] = {"alone": [], "command": [], "command_arrays_only": []}
        memory = []
        for turn in range(-(-options.crops // EACH)):
            crops = folder / f"crops-{turn}"
            write_crops(crops, turn * EACH, EACH)
            times["alone"].append(alone(loaded, crops))
            times["command"].append(command(model, crops, folder / "out", None))
            times["command_arrays_only"].append(command(model, crops, folder / "arrays", ["samples"]))
            memory.append(round(peak_memory_mib()))
        results["seconds"] = {name: round(sum(values), 2) for name, values in times.items()}
        results["command_over_alone"] = round(sum(times["command"]) / sum(times["alone"]), 3)
        results["peak_mib"] = {"after_the_first_hundred": memory[0], "at_the_end": memory[-1]}
        results["first_hypothesis_of"] = {
            "files": options.files,
            "seconds": first_hypothesis(model, folder, options.files),
        }
    finally:
        shutil.rmtree(folder)
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
