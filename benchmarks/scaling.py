"""How time grows: with processes (DDP over Gloo, one thread each), with image size, with the number of classes: JSON.

Processes: images a second of one and of two processes with the same number of images each. Size and classes: the
slope of log time against log pixels, and against log classes, over training steps of the same small network, on one
thread: two that wait for each other would measure what else the machine does. About a minute on two quiet cores.

    python benchmarks/scaling.py > benchmarks/results/scaling.json
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from typing import Any

import numpy as np
import torch
from measure import alternating, machine
from torch import distributed, multiprocessing
from torch.nn.parallel import DistributedDataParallel

from probunet import ProbabilisticUNet

CHANNELS = [16, 32, 64, 96]


class Objective(torch.nn.Module):
    """The loss as a forward pass, which is what DistributedDataParallel watches."""

    def __init__(self, model: ProbabilisticUNet) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        return self.model.loss(image, label).total


def make(classes: int, size: int, batch: int) -> tuple[Objective, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    model = ProbabilisticUNet(num_classes=classes, channels=CHANNELS).to(memory_format=torch.channels_last)
    image = torch.randn(batch, 1, size, size).contiguous(memory_format=torch.channels_last)
    return Objective(model), image, torch.randint(classes, (batch, size, size), dtype=torch.uint8)


def one_of_many(rank: int, ranks: int, port: int, steps: int, result: Any) -> None:
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", rank=rank, world_size=ranks)
    objective, image, label = make(2, 64, 4)
    wrapped = DistributedDataParallel(objective)
    times = []
    for _ in range(steps + 2):
        start = time.perf_counter()
        wrapped.zero_grad()
        wrapped(image, label).backward()
        times.append(time.perf_counter() - start)
    result[rank] = statistics.median(times[2:])
    distributed.destroy_process_group()


def processes(ranks: int, steps: int) -> float:
    """Images a second of all processes together."""
    with multiprocessing.Manager() as manager:
        result = manager.dict()
        multiprocessing.spawn(one_of_many, (ranks, 29400 + ranks, steps, result), nprocs=ranks)
        return 4 * ranks / max(result.values())


def slope(values: list[int], seconds: list[float]) -> float:
    return float(np.polyfit(np.log(values), np.log(seconds), 1)[0])


def grow(name: str, values: list[int], repeats: int) -> dict[str, Any]:
    works = {}
    for value in values:
        classes, size = (value, 64) if name == "classes" else (2, value)
        objective, image, label = make(classes, size, 2)

        def step(objective: Objective = objective, image: Any = image, label: Any = label) -> None:
            objective.zero_grad()
            objective(image, label).backward()

        works[str(value)] = step
    seconds = list(alternating(works, repeats).values())
    scale = [v * v for v in values] if name == "size" else values
    return {name: values, "seconds": seconds, "log_log_slope": slope(scale, seconds)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    given = parser.parse_args()
    torch.set_num_threads(1)
    where = machine()
    rates = {n: processes(n, 3 * given.repeats) for n in (1, 2)}
    found = {
        "images_per_second_by_processes": rates,
        "times_one_process": rates[2] / rates[1],
        "against_size": grow("size", [32, 64, 128, 256], given.repeats),
        "against_classes": grow("classes", [2, 4, 8, 16, 32], given.repeats),
    }
    print(json.dumps({"machine": where, **found}, indent=2))


if __name__ == "__main__":
    main()
