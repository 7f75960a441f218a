"""An archive of small pictures through ``probunet sample``, beside the model and its sampling alone: prints JSON.

Throughput: a folder of 1,000 crops of 128x128 px, 16 hypotheses each, by a network of the demo's size, in two processes
that are shards of the command. Model with sampling alone and the command take turns every 250 crops, in both processes
at the same time, so that what else the machine does falls on both. The command loads its model anew in every turn.

Size: seconds from the start of the command to the first result, and the peak memory of finding every picture, for
archives of 10,000 and of 100,000 files: PNG, .npy, and DICOM slices in folders of ten series.

    python benchmarks/archive.py > benchmarks/results/archive.json
"""

from __future__ import annotations

import argparse
import io
import json
import multiprocessing as mp
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import torch
from measure import machine
from PIL import Image

import probunet as pu
from probunet.commands.sample import sample
from probunet.core.console import speaking
from probunet.io.search import find_pictures

SIDE, N, EACH, PROCESSES, FOLDER = 128, 16, 250, 2, 100
CHANNELS = [8, 16, 32, 32]
SMALL = 16
"""Side in pixels of the files of which there are many."""
FIND = (
    "import resource, sys; from probunet.io.search import Search; count = sum(1 for _ in Search(sys.argv[1:])); "
    "print(count, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"
)


def write_crops(folder: Path, first: int, count: int) -> None:
    """Crops with a bright disc that lies elsewhere in each."""
    folder.mkdir(parents=True)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    for i in range(first, first + count):
        random = np.random.default_rng(i)
        distance = np.hypot(rows - random.uniform(40, 88), columns - random.uniform(40, 88))
        image = 100 + 80 * (distance < random.uniform(5, 20)) + random.normal(0, 5, distance.shape)
        Image.fromarray(image.round().clip(0, 255).astype(np.uint8)).save(folder / f"crop-{i:06d}.png")


def write_model(folder: Path, channels: Sequence[int] = CHANNELS) -> Path:
    """An untrained model, which costs the same as a trained one."""
    torch.manual_seed(0)
    described = {"intensity": {"unit": "", "offset": 128.0, "scale": 64.0}, "crop": SIDE, "spacing_mm": None}
    facts = {**described, "title": "none", "simulated": True, "classes": ["background", "lesion"]}
    pu.save(pu.ProbabilisticUNet(channels=channels), folder / "model", input=facts)
    return folder / "model"


def alone(model: torch.nn.Module, folder: Path, shard: int) -> None:
    """The network and sampling, one crop after the other, of tensors that are in memory already."""
    pictures = find_pictures([folder])[shard::PROCESSES]
    images = [torch.from_numpy(picture.slice(0)[None].astype(np.float32) - 128) / 64 for picture in pictures]
    begin()
    with torch.inference_mode():
        for i, image in enumerate(images):
            model(image).sample(N, torch.Generator().manual_seed(i))


_started = [0.0, 0.0]


def begin() -> None:
    """Begin to measure."""
    _started[:] = time.perf_counter(), time.process_time()


def measured() -> tuple[float, float]:
    """Seconds and seconds of this process since then."""
    return time.perf_counter() - _started[0], time.process_time() - _started[1]


def work(shard: int, turns: int, folder: Path, together: Any, answers: Any) -> None:
    """What one process does: its share of every turn, each kind when the other process begins it too."""
    torch.set_num_threads(1)
    model = pu.load(folder / "model")
    times = {"alone": [0.0, 0.0], "command": [0.0, 0.0]}
    for turn in range(turns):
        crops, out = folder / f"crops-{turn}", folder / f"out-{turn}"
        for name, seconds in times.items():
            together.wait()
            begin()
            if name == "alone":
                alone(model, crops, shard)
            else:
                with speaking(quiet=True):
                    sample(str(folder / "model"), [crops], out=out, n=N, device="cpu", shard=f"{shard}/{PROCESSES}")
            for i, value in enumerate(measured()):
                seconds[i] += value
    answers.put(times)


def throughput(folder: Path, crops: int) -> dict[str, Any]:
    """Seconds of both processes, added up, and the ratio of the command to model and sampling alone."""
    turns = -(-crops // EACH)
    for turn in range(turns):
        write_crops(folder / f"crops-{turn}", turn * EACH, EACH)
    context = mp.get_context("spawn")
    together, answers = context.Barrier(PROCESSES), context.Queue()
    processes = [
        context.Process(target=work, args=(i, turns, folder, together, answers), daemon=True) for i in range(PROCESSES)
    ]
    for process in processes:
        process.start()
    collected = [answers.get(timeout=3600) for _ in processes]
    for process in processes:
        process.join()
    sums = {name: np.sum([times[name] for times in collected], axis=0).round(2).tolist() for name in collected[0]}
    seconds, processor = ({name: values[i] for name, values in sums.items()} for i in range(2))
    return {
        "crops": turns * EACH,
        "seconds": seconds,
        "processor_seconds": processor,
        "command_over_alone": round(seconds["command"] / seconds["alone"], 3),
        "command_over_alone_processor": round(processor["command"] / processor["alone"], 3),
    }


def _dicom() -> bytes:
    """A small CT slice; its UIDs and its height hold digits that are counted on."""
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID = pydicom.uid.CTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID = "1.2.3.4.1777777777"
    dataset.SeriesInstanceUID, dataset.PatientID, dataset.Modality = "1.2.3.5.1888888888", "somebody", "CT"
    dataset.ImagePositionPatient, dataset.ImageOrientationPatient = ["0", "0", "1999.0"], [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing, dataset.SliceThickness = [1, 1], 1
    dataset.RescaleSlope, dataset.RescaleIntercept, dataset.PhotometricInterpretation = 1, -1024, "MONOCHROME2"
    dataset.Rows = dataset.Columns = SMALL
    dataset.SamplesPerPixel, dataset.PixelRepresentation = 1, 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.PixelData = np.full((SMALL, SMALL), 1100, np.uint16).tobytes()
    buffer = io.BytesIO()
    dataset.save_as(buffer, enforce_file_format=True)
    return buffer.getvalue()


def write_archive(folder: Path, kind: str, files: int) -> None:
    """Many files, a hundred in a folder."""
    pixels, buffer = np.full((SMALL, SMALL), 120, np.uint8), io.BytesIO()
    if kind == "png":
        Image.fromarray(pixels).save(buffer, format="PNG")
    elif kind == "npy":
        np.save(buffer, pixels)
    content = _dicom() if kind == "dcm" else buffer.getvalue()
    for i in range(files):
        place = folder / f"{i // FOLDER:05d}"
        if i % FOLDER == 0:
            place.mkdir(parents=True)
        series, height = f"1{i // 10:09d}".encode(), f"1{i % 10:03d}.0".encode()
        changed = content.replace(b"1777777777", f"1{i:09d}".encode()).replace(b"1888888888", series)
        (place / f"file-{i:06d}.{kind}").write_bytes(changed.replace(b"1999.0", height))


def first_result(model: Path, archive: Path, out: Path) -> float:
    """Seconds from the start of the command until its first folder of results is there."""
    words = ["sample", str(model), str(archive), "--out", str(out), "--device", "cpu"]
    start = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", "probunet", *words], stderr=subprocess.DEVNULL)
    while not any(out.glob("*/summary.json")) and process.poll() is None:
        time.sleep(0.02)
    seconds = time.perf_counter() - start
    process.terminate()
    process.wait()
    return round(seconds, 2)


def sizes(folder: Path, model: Path, kind: str, counts: list[int]) -> dict[str, Any]:
    """Time to the first result, and memory of going through all, of archives of several sizes."""
    measured_sizes = {}
    for count in counts:
        archive = folder / f"{kind}-{count}"
        write_archive(archive, kind, count)
        seconds = first_result(model, archive, folder / f"first-{kind}-{count}")
        start = time.perf_counter()
        words = subprocess.run([sys.executable, "-c", FIND, archive], check=True, capture_output=True, text=True)
        pictures, memory = map(int, words.stdout.split())
        measured_sizes[f"{count}"] = {
            "first_result_seconds": seconds,
            "pictures": pictures,
            "finding_all_seconds": round(time.perf_counter() - start, 1),
            "finding_all_peak_mib": memory,
        }
        shutil.rmtree(archive)
    return measured_sizes


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--crops", type=int, default=1000)
    parser.add_argument("--files", type=int, nargs="*", default=[10_000, 100_000])
    parser.add_argument("--kinds", nargs="+", default=["dcm", "png", "npy"])
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    try:
        model = write_model(folder)
        results: dict[str, Any] = {"machine": machine(), "side": SIDE, "hypotheses": N, "processes": PROCESSES}
        results["channels"] = CHANNELS
        if options.crops:
            results["throughput"] = throughput(folder, options.crops)
        if options.files:
            results["archives"] = {kind: sizes(folder, model, kind, options.files) for kind in options.kinds}
    finally:
        shutil.rmtree(folder)
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
