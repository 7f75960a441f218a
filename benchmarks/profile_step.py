"""What a training step is made of: operators by their share of its time, for three networks. Prints JSON.

The Probabilistic U-Net of the paper (128x128 px, batches of 4), that of ``--config demo`` (48x48 px, 16; with the
energy score) and the recommended one of ``--config lidc_best`` (64x64 px, 16; experts with the energy score, four
readers). Convolutions and matrix products are the arithmetic of the networks, forward and backward; the rest is what
moves or changes numbers. The data are random and wait in memory.

    OMP_NUM_THREADS=1 python benchmarks/profile_step.py
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from typing import Any

import torch
from measure import machine
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from probunet import MixtureOfExperts, ProbabilisticUNet
from probunet.metrics import Convention
from probunet.models.base import SegmentationModel
from probunet.nets.layers import LAYOUT
from probunet.objectives.energy_score import EnergyScore
from probunet.training.task import Optimisation, SegmentationTask

ARITHMETIC = ("conv", "mm", "linear")
"""Parts of the names of operators that multiply."""
LISTED = 12
"""Operators that are listed, the longest first."""


def steps() -> dict[str, Callable[[], None]]:
    """A training step of every network."""
    small = {"channels": [16, 32, 64, 96, 64], "convolutions": 2, "combine_channels": 16, "batch_norm": True}
    experts, energy = MixtureOfExperts(experts=4, draws=2, **small), EnergyScore(weight=300, samples=6, temperature=0.3)
    return {
        "paper": _step(ProbabilisticUNet(channels=[32, 64, 128, 192, 192]), 4, 128),
        "demo": _step(ProbabilisticUNet(channels=[8, 16, 32, 32], convolutions=2, batch_norm=True), 16, 48, energy),
        "recommended": _step(experts, 16, 64, energy),
    }


def _step(model: SegmentationModel, batch: int, size: int, energy: EnergyScore | None = None) -> Callable[[], None]:
    torch.manual_seed(0)
    task = SegmentationTask(model, Optimisation(), 0, lambda: 0.5, Convention(2))
    optimiser = task.configure_optimizers()["optimizer"]
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(batch, 1, size, size).contiguous(memory_format=LAYOUT[2])
    labels = (image + 0.5 * torch.randn(batch, 4, size, size) > 1).to(torch.uint8)

    def step() -> None:
        optimiser.zero_grad()
        every = model.learns_from_readers
        loss = (model.loss_of_readers if every else model.loss)(image, labels if every else labels[:, 0], generator)
        total = loss.total
        if energy is not None:
            assert loss.distribution is not None
            score = energy.of(loss.distribution, labels, Convention(2), generator, loss.strata, False)
            total = total + energy.weight * score
        total.backward()
        optimiser.step()

    return step


def profiled(step: Callable[[], None], repeats: int) -> dict[str, Any]:
    """Milliseconds of a step under the profiler, and the shares of its operators."""
    for _ in range(3):
        step()
    with profile(activities=[ProfilerActivity.CPU]) as record:
        for _ in range(repeats):
            step()
    times = {e.key: e.self_cpu_time_total for e in record.key_averages() if e.device_type == DeviceType.CPU}
    total = sum(times.values())
    arithmetic = sum(time for name, time in times.items() if any(part in name.lower() for part in ARITHMETIC))
    longest = sorted(times, key=lambda name: -times[name])[:LISTED]
    return {
        "milliseconds": round(total / repeats / 1000, 1),
        "share_of_arithmetic": round(arithmetic / total, 3),
        "shares": {name: round(times[name] / total, 3) for name in longest},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=10, help="steps that are counted")
    repeats = parser.parse_args().repeats
    where = machine()
    print(json.dumps({"machine": where, **{name: profiled(step, repeats) for name, step in steps().items()}}, indent=2))


if __name__ == "__main__":
    main()
