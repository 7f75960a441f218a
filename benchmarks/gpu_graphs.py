"""What a training step of the paper's network takes on a GPU when it is captured or compiled: prints JSON.

32 crops of 128x128 px. *Captured* steps are one CUDA graph from the loss to the optimiser, on one batch that stays the
same, so they show what a training could gain, not what it does; checks of values, for which the processor waits, are
left out of them. The rest are steps as they are, without those checks, or of networks compiled by ``torch.compile``.

    python benchmarks/gpu_graphs.py > benchmarks/results/gpu/graphs.json
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

import torch
from measure import DEVICE, alternating, machine
from train_step import textbook

from probunet import ProbabilisticUNet
from probunet.training.task import Optimisation, SegmentationTask

CHANNELS, SIZE, BATCH = [32, 64, 128, 192, 192], 128, 32


def made(bf16: bool, compiled: dict[str, Any] | None = None, capturable: bool = False) -> Callable[[], torch.Tensor]:
    """A step on a batch that stays the same."""
    torch.manual_seed(0)
    image = torch.randn(BATCH, 1, SIZE, SIZE, device=DEVICE).contiguous(memory_format=torch.channels_last)
    label = (torch.rand(BATCH, SIZE, SIZE, device=DEVICE) < 0.1).to(torch.uint8)
    model = ProbabilisticUNet(channels=CHANNELS).to(DEVICE)
    task = SegmentationTask(model, Optimisation(), 0, lambda: 0.0, {})
    if compiled is not None:
        for network in model.children():
            network.compile(**compiled)
    optimiser = task.configure_optimizers()["optimizer"]
    for group in optimiser.param_groups:
        group["capturable"] = capturable

    def step() -> torch.Tensor:
        optimiser.zero_grad()
        with torch.autocast(DEVICE, torch.bfloat16, enabled=bf16, cache_enabled=not capturable):
            loss = model.loss(image, label).total
        loss.backward()
        optimiser.step()
        return loss.detach()

    return step


def captured(bf16: bool, compiled: dict[str, Any] | None = None) -> Callable[[], None]:
    """The step as one graph."""
    step, stream = made(bf16, compiled, capturable=True), torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(4):
            step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def without_checks(stack: ExitStack) -> None:
    """Leave out what looks at values of images and labels."""
    for name, module in list(sys.modules.items()):
        for check in ("check_image", "check_label"):
            if name.startswith("probunet") and hasattr(module, check):
                stack.enter_context(patch.object(module, check, lambda *_, **__: None))


def seconds(work: Callable[[], Any]) -> float:
    return alternating({"step": work}, repeats=15, warm=6)["step"]


def main() -> None:
    where, plain = machine(), textbook(CHANNELS)
    image = torch.randn(BATCH, 1, SIZE, SIZE, device=DEVICE)
    label = torch.zeros(BATCH, SIZE, SIZE, dtype=torch.uint8, device=DEVICE)
    found = {"textbook": seconds(lambda: plain(image, label))}
    for name, bf16 in {"float32": False, "bf16": True}.items():
        found[f"eager_{name}"] = seconds(made(bf16))
        with ExitStack() as stack:
            without_checks(stack)
            found[f"unchecked_{name}"] = seconds(made(bf16))
            found[f"graph_{name}"] = seconds(captured(bf16))
    with ExitStack() as stack:
        without_checks(stack)
        found["compiled_graph_bf16"] = seconds(captured(True, {}))
    found["compiled_bf16"] = seconds(made(True, {}))
    found["reduce_overhead_bf16"] = seconds(made(True, {"mode": "reduce-overhead"}))
    print(json.dumps({"machine": where, "seconds": found}, indent=2))


if __name__ == "__main__":
    main()
