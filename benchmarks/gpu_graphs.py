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
from unittest.mock import patch

import torch
from gpu_profile import BATCH, CHANNELS, SIZE
from measure import DEVICE, alternating, machine
from train_step import ours, textbook

Step = Callable[[torch.Tensor, torch.Tensor], object]


def captured(step: Step, image: torch.Tensor, label: torch.Tensor) -> Step:
    """The step on this batch as one graph, whatever it is asked for."""
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(4):
            step(image, label)
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step(image, label)
    return lambda *_: graph.replay()


def without_checks(stack: ExitStack) -> None:
    """Leave out what looks at values of images and labels."""
    for name, module in list(sys.modules.items()):
        for check in ("check_image", "check_label"):
            if name.startswith("probunet") and hasattr(module, check):
                stack.enter_context(patch.object(module, check, lambda *_, **__: None))


def main() -> None:
    where = machine()
    image = torch.randn(BATCH, 1, SIZE, SIZE, device=DEVICE)
    label = (torch.rand(BATCH, SIZE, SIZE, device=DEVICE) < 0.1).to(torch.uint8)

    def seconds(step: Step) -> float:
        return alternating({"step": lambda: step(image, label)}, repeats=15, warm=6)["step"]

    found = {"textbook": seconds(textbook(CHANNELS))}
    for name, bf16 in {"float32": False, "bf16": True}.items():
        found[f"eager_{name}"] = seconds(ours(CHANNELS, bf16))
    found["compiled_bf16"] = seconds(ours(CHANNELS, True, {}))
    found["reduce_overhead_bf16"] = seconds(ours(CHANNELS, True, {"mode": "reduce-overhead"}))
    with ExitStack() as stack:
        without_checks(stack)
        for name, bf16 in {"float32": False, "bf16": True}.items():
            found[f"unchecked_{name}"] = seconds(ours(CHANNELS, bf16))
            found[f"graph_{name}"] = seconds(captured(ours(CHANNELS, bf16, capturable=True), image, label))
        both = ours(CHANNELS, True, {}, capturable=True)
        found["compiled_graph_bf16"] = seconds(captured(both, image, label))
    print(json.dumps({"machine": where, "seconds": found}, indent=2))


if __name__ == "__main__":
    main()
