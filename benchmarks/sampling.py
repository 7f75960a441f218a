"""From an image to n hypotheses as uint8 labels, over the time of one encoding and of one U-Net pass: JSON.

An encoding is one pass of the U-Net and one of the prior net. The paper's network, 128 x 128 pixels, two classes; with
three numbers as size, a volume. The textbook version, of images only, runs f_comb in full for every hypothesis. Peak
memory is read after each number of hypotheses, in ascending order; what grows should be the labels alone.

    python benchmarks/sampling.py > benchmarks/results/sampling.json
    python benchmarks/sampling.py --size 16 64 64 --spacing 2.5 0.7 0.7 > benchmarks/results/sampling_volume.json
"""

from __future__ import annotations

import argparse
import json
import time
from typing import Any

import torch
from measure import DEVICE, alternating, machine, peak_memory_mib
from textbook import Textbook

from probunet import ProbabilisticUNet
from probunet.nets.layers import LAYOUT

NUMBERS = (1, 16, 100, 1000)


def measure(
    size: tuple[int, ...],
    batch: int,
    channels: list[int],
    classes: int,
    numbers: tuple[int, ...],
    repeats: int,
    spacing: list[float] | None = None,
    processor_time: bool = False,
) -> Any:
    torch.manual_seed(0)
    dims = len(size)
    model = ProbabilisticUNet(num_classes=classes, channels=channels, dims=dims, spacing=spacing).to(DEVICE).eval()
    model = model.to(memory_format=LAYOUT[dims])
    plain = Textbook(1, classes, channels).to(DEVICE).eval()
    image = torch.randn(batch, 1, *size, device=DEVICE).contiguous(memory_format=LAYOUT[dims])
    generator = torch.Generator(DEVICE).manual_seed(0)
    half = torch.autocast(DEVICE, torch.bfloat16, enabled=DEVICE == "cuda")

    def textbook(n: int) -> torch.Tensor:
        features, prior = plain.unet(image.contiguous()), plain.prior(image.contiguous())
        return torch.stack([plain.decode(features, prior.rsample()).argmax(1).to(torch.uint8) for _ in range(n)])

    with torch.inference_mode(), half:
        works = {
            "encoding": lambda: (model.unet(image), model.prior(image)),
            "unet": lambda: model.unet(image),
        } | {f"hypotheses_{n}": lambda n=n: model(image).sample(n, generator) for n in numbers}
        if dims == 2:
            works["textbook_16"] = lambda: textbook(16)
        found = alternating(works, repeats, clock=time.process_time if processor_time else time.perf_counter)
        memory = {}
        for n in numbers:
            labels = model(image).sample(n, generator)
            memory[n] = {"labels_mib": labels.nbytes / 2**20, "peak_mib": peak_memory_mib()}
            del labels
    return {
        "batch": batch,
        "size": size,
        "spacing": spacing,
        "processor_time": processor_time,
        "channels": channels,
        "classes": classes,
        "repeats": repeats,
        "seconds": found,
        "over_encoding": {n: found[f"hypotheses_{n}"] / found["encoding"] for n in numbers},
        "over_unet": {n: found[f"hypotheses_{n}"] / found["unet"] for n in numbers},
        "textbook_16_over_encoding": found["textbook_16"] / found["encoding"] if dims == 2 else None,
        "memory": memory,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, nargs="+", default=[128], help="a side, height and width, or depth too")
    parser.add_argument("--spacing", type=float, nargs="+", help="mm, in the order of the size")
    parser.add_argument("--batch", type=int, default=32 if DEVICE == "cuda" else 1)
    parser.add_argument("--channels", type=int, nargs="+", default=[32, 64, 128, 192])
    parser.add_argument("--classes", type=int, default=2)
    parser.add_argument("--numbers", type=int, nargs="+", default=NUMBERS, help="of hypotheses, ascending")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--processor-time", action="store_true", help="seconds of the processor, on a busy machine")
    g = parser.parse_args()
    where = machine()
    size = tuple(g.size) if len(g.size) > 1 else tuple(g.size) * 2
    found = measure(size, g.batch, g.channels, g.classes, tuple(g.numbers), g.repeats, g.spacing, g.processor_time)
    print(json.dumps({"machine": where, **found}, indent=2))


if __name__ == "__main__":
    main()
