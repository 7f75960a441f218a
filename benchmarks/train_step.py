"""One training step of the paper's network against a textbook version of it and against the machine's limit: JSON.

128 x 128 pixels, one channel, two classes, channels 32, 64, 128, 192, N = 6; batch 4 on a CPU, 32 on a GPU. The share
of the limit is the rate of the step (its FLOPs as counted by torch) over the rate of a matrix product on the same
threads in the same run. The data pipeline is timed by the same steps on batches from a store of random images.

    python benchmarks/train_step.py > benchmarks/results/train_step.json
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import DEVICE, alternating, machine, matrix_product, peak_memory_mib
from textbook import Textbook
from torch.utils.flop_counter import FlopCounterMode

from probunet import ProbabilisticUNet
from probunet.core.intensity import Intensity
from probunet.data.augment import Augmentation
from probunet.data.manifest import Case
from probunet.data.prepare import CaseSource, Description, write_store
from probunet.data.store import Store
from probunet.data.training_batches import Batch, TrainingBatches
from probunet.training.task import Optimisation, SegmentationTask

CHANNELS = [32, 64, 128, 192]
SLACK = 180 / 128
"""Stored images are larger than the crops, as the paper's of LIDC-IDRI are."""


def ours(
    channels: list[int], bf16: bool, compiled: dict[str, Any] | None = None, capturable: bool = False
) -> Callable[[torch.Tensor, torch.Tensor], None]:
    """The training step of ``probunet train``, in float32 or with ``trainer.precision: bf16-mixed``.

    Its networks may be compiled, with these arguments, and it may be such that a CUDA graph can hold it.
    """
    model = ProbabilisticUNet(channels=channels).to(DEVICE)
    if compiled is not None:
        for network in model.children():
            network.compile(**compiled)
    task = SegmentationTask(model, Optimisation(), 0, lambda: 0.0, {})
    optimiser = task.configure_optimizers()["optimizer"]
    for group in optimiser.param_groups:
        group["capturable"] = capturable
    generator = None if capturable else torch.Generator(DEVICE).manual_seed(0)

    def step(image: torch.Tensor, label: torch.Tensor) -> None:
        optimiser.zero_grad()
        with torch.autocast(DEVICE, torch.bfloat16, enabled=bf16, cache_enabled=not capturable):
            loss = model.loss(image.contiguous(memory_format=torch.channels_last), label, generator)
        loss.total.backward()
        optimiser.step()

    return step


def textbook(channels: list[int]) -> Callable[[torch.Tensor, torch.Tensor], None]:
    model = Textbook(1, 2, channels).to(DEVICE)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-4, weight_decay=1e-5)

    def step(image: torch.Tensor, label: torch.Tensor) -> None:
        optimiser.zero_grad()
        model.loss(image, label).backward()
        optimiser.step()

    return step


def random_crop(index: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(index)
    return random.integers(0, 255, (1, size, size), np.uint8), random.integers(0, 2, (4, size, size), np.uint8)


def store(folder: Path, size: int, images: int = 64) -> Store:
    """Random images and readers."""
    items = [
        CaseSource(Case(str(i), str(i), "train"), partial(random_crop, i, int(SLACK * size))) for i in range(images)
    ]
    description = Description("random grey levels", "none", {}, Intensity("grey level", 128, 64), None, simulated=True)
    return write_store(folder / "store", items, description, np.uint8, jobs=1)


def flops(step: Callable[[torch.Tensor, torch.Tensor], None], image: torch.Tensor, label: torch.Tensor) -> int:
    with FlopCounterMode(display=False) as counter:
        step(image, label)
    return int(counter.get_total_flops())


def shares(name: str, seconds: float, textbook: float, count: int, limit: float) -> dict[str, float]:
    return {
        f"step_seconds_{name}": seconds,
        f"times_textbook_{name}": textbook / seconds,
        f"step_gflop_per_second_{name}": count / seconds / 1e9,
        f"matrix_product_gflop_per_second_{name}": limit / 1e9,
        f"share_of_matrix_product_{name}": count / seconds / limit,
    }


def measure(
    size: int, batch: int, channels: list[int], repeats: int, matrix: int, processor_time: bool = False
) -> dict[str, Any]:
    torch.manual_seed(0)
    step, fast = ours(channels, bf16=False), ours(channels, bf16=True)
    plain = textbook(channels)
    image = torch.randn(batch, 1, size, size, device=DEVICE)
    label = (torch.rand(batch, size, size, device=DEVICE) < 0.1).to(torch.uint8)
    product, product_flops = matrix_product(size=matrix)
    product_bf16, _ = matrix_product(torch.bfloat16, matrix)
    count = flops(step, image, label)
    with tempfile.TemporaryDirectory() as folder:
        batches = iter(TrainingBatches(store(Path(folder), size), size, batch, Augmentation(), seed=0, device=DEVICE))

        def load() -> Batch:
            return next(batches)

        def loaded_step() -> None:
            found = load()
            step(found.image.to(DEVICE), found.label.to(DEVICE))

        works = {
            "step": lambda: step(image, label),
            "step_bf16": lambda: fast(image, label),
            "textbook": lambda: plain(image, label),
            "step_with_data": loaded_step,
            "data": load,
            "product": product,
            "product_bf16": product_bf16,
        }
        found = alternating(works, repeats, clock=time.process_time if processor_time else time.perf_counter)
    return {
        "batch": batch,
        "size": size,
        "channels": channels,
        "repeats": repeats,
        "processor_time": processor_time,
        "textbook_seconds": found["textbook"],
        "step_gflop": count / 1e9,
        **shares("float32", found["step"], found["textbook"], count, product_flops / found["product"]),
        **shares("bf16", found["step_bf16"], found["textbook"], count, product_flops / found["product_bf16"]),
        "images_per_second": batch / found["step"],
        "images_per_second_with_data": batch / found["step_with_data"],
        "data_over_step": found["data"] / found["step"],
        "peak_memory_mib": peak_memory_mib(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=128, help="pixels")
    parser.add_argument("--batch", type=int, default=32 if DEVICE == "cuda" else 4)
    parser.add_argument("--channels", type=int, nargs="+", default=CHANNELS)
    parser.add_argument("--repeats", type=int, default=9)
    parser.add_argument("--matrix", type=int, default=2048, help="rows of the matrices whose product is the limit")
    parser.add_argument("--processor-time", action="store_true", help="seconds of the processor, on a busy machine")
    given = parser.parse_args()
    where = machine()
    measured = measure(given.size, given.batch, given.channels, given.repeats, given.matrix, given.processor_time)
    print(json.dumps({"machine": where, **measured}, indent=2))


if __name__ == "__main__":
    main()
