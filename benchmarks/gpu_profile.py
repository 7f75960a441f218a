"""What a training step of the paper's network waits for on a GPU, and what its hypotheses cost there: JSON.

For the step (32 crops of 128x128 px): its time in float32 and in bfloat16 beside the textbook step in float32, how many
kernels it starts, for how long the GPU computes, and the kernels that take most of it. A step that takes much longer
than the GPU computes waits for Python to start kernels. For hypotheses: their time over that of one encoding, decoded
by one kernel (``probunet.nets.fused``) and layer by layer, and the share of pixels that differ.

    python benchmarks/gpu_profile.py > benchmarks/results/gpu/profile.json
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import torch
from measure import DEVICE, alternating, machine
from torch.profiler import ProfilerActivity, profile
from train_step import ours, textbook

from probunet import ProbabilisticUNet
from probunet.core.devices import wait_for
from probunet.nets.combine import Decoder

CHANNELS, SIZE, BATCH, STEPS = [32, 64, 128, 192, 192], 128, 32, 3


def kernels(work: Callable[[], Any], most: int = 12) -> dict[str, Any]:
    """How many kernels a step starts and for how long they compute, in milliseconds."""
    work()
    wait_for(DEVICE)
    with profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as profiled:
        for _ in range(STEPS):
            work()
        wait_for(DEVICE)
    events = [event for event in profiled.events() if str(event.device_type).endswith("CUDA")]
    times: Counter[str] = Counter()
    for event in events:
        times[event.name[:100]] += event.device_time / 1e3 / STEPS
    return {"kernels": len(events) // STEPS, "busy_ms": sum(times.values()), "most_ms": dict(times.most_common(most))}


def steps() -> dict[str, Any]:
    image = torch.randn(BATCH, 1, SIZE, SIZE, device=DEVICE)
    label = (torch.rand(BATCH, SIZE, SIZE, device=DEVICE) < 0.1).to(torch.uint8)
    made = {"float32": ours(CHANNELS, False), "bfloat16": ours(CHANNELS, True), "textbook": textbook(CHANNELS)}
    works = {name: lambda step=step: step(image, label) for name, step in made.items()}
    seconds = alternating(works, repeats=9, warm=3)
    profiled = {name: kernels(works[name]) for name in ("float32", "bfloat16")}
    return {"seconds": seconds, "times_textbook": {n: seconds["textbook"] / seconds[n] for n in profiled}, **profiled}


def hypotheses() -> dict[str, Any]:
    model = ProbabilisticUNet(channels=CHANNELS).to(DEVICE).eval().to(memory_format=torch.channels_last)
    image = torch.randn(BATCH, 1, SIZE, SIZE, device=DEVICE).contiguous(memory_format=torch.channels_last)
    generator = torch.Generator(DEVICE)
    works = {"encoding": lambda: (model.unet(image), model.prior(image))}
    works |= {str(n): lambda n=n: model(image).sample(n, generator) for n in (1, 16, 100, 1000)}
    found, labels = {}, []
    with torch.inference_mode(), torch.autocast(DEVICE, torch.bfloat16):
        for name, fuses in {"one_kernel": Decoder.fuses_on_gpu, "layer_by_layer": False}.items():
            with patch.object(Decoder, "fuses_on_gpu", fuses):
                seconds = alternating(works, repeats=7, warm=3)
                labels.append(model(image).sample(16, generator.manual_seed(1)))
            found[name] = {
                "seconds": seconds,
                "over_encoding": {n: s / seconds["encoding"] for n, s in seconds.items()},
            }
    return {**found, "differing": float((labels[0] != labels[1]).float().mean())}


def main() -> None:
    where = machine()
    print(json.dumps({"machine": where, "step": steps(), "hypotheses_bfloat16": hypotheses()}, indent=2))


if __name__ == "__main__":
    main()
