"""From an image to n hypotheses as uint8 labels, over the time of one encoding and of one U-Net pass: JSON.

An encoding is one pass of the U-Net and one of the prior net. The paper's network, 128 x 128 pixels, two classes. The
textbook version runs f_comb in full for every hypothesis. Peak memory is read after each number of hypotheses, in
ascending order; what grows should be the labels alone.

    python benchmarks/sampling.py > benchmarks/results/sampling.json
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import torch
from measure import DEVICE, alternating, machine, peak_memory_mib
from textbook import Textbook

from probunet import ProbabilisticUNet

NUMBERS = (1, 16, 100, 1000)


def measure(size: int, batch: int, channels: list[int], classes: int, numbers: tuple[int, ...], repeats: int) -> Any:
    torch.manual_seed(0)
    model = ProbabilisticUNet(num_classes=classes, channels=channels).to(DEVICE).eval()
    model = model.to(memory_format=torch.channels_last)
    plain = Textbook(1, classes, channels).to(DEVICE).eval()
    image = torch.randn(batch, 1, size, size, device=DEVICE).contiguous(memory_format=torch.channels_last)
    generator = torch.Generator(DEVICE).manual_seed(0)
    half = torch.autocast(DEVICE, torch.bfloat16, enabled=DEVICE == "cuda")

    def textbook(n: int) -> torch.Tensor:
        features, prior = plain.unet(image.contiguous()), plain.prior(image.contiguous())
        return torch.stack([plain.decode(features, prior.rsample()).argmax(1).to(torch.uint8) for _ in range(n)])

    with torch.inference_mode(), half:
        works = {
            "encoding": lambda: (model.unet(image), model.prior(image)),
            "unet": lambda: model.unet(image),
            "textbook_16": lambda: textbook(16),
        } | {f"hypotheses_{n}": lambda n=n: model(image).sample(n, generator) for n in numbers}
        found = alternating(works, repeats)
        memory = {}
        for n in numbers:
            labels = model(image).sample(n, generator)
            memory[n] = {"labels_mib": labels.nbytes / 2**20, "peak_mib": peak_memory_mib()}
            del labels
    return {
        "batch": batch,
        "size": size,
        "channels": channels,
        "classes": classes,
        "repeats": repeats,
        "seconds": found,
        "over_encoding": {n: found[f"hypotheses_{n}"] / found["encoding"] for n in numbers},
        "over_unet": {n: found[f"hypotheses_{n}"] / found["unet"] for n in numbers},
        "textbook_16_over_encoding": found["textbook_16"] / found["encoding"],
        "memory": memory,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=128, help="pixels")
    parser.add_argument("--batch", type=int, default=32 if DEVICE == "cuda" else 1)
    parser.add_argument("--channels", type=int, nargs="+", default=[32, 64, 128, 192])
    parser.add_argument("--classes", type=int, default=2)
    parser.add_argument("--numbers", type=int, nargs="+", default=NUMBERS, help="of hypotheses, ascending")
    parser.add_argument("--repeats", type=int, default=15)
    g = parser.parse_args()
    where = machine()
    found = measure(g.size, g.batch, g.channels, g.classes, tuple(g.numbers), g.repeats)
    print(json.dumps({"machine": where, **found}, indent=2))


if __name__ == "__main__":
    main()
