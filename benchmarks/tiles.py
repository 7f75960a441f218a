"""Memory and time of large images and volumes: prints JSON.

A trained run (or, without one, an untrained network of 8-16-32-32 channels, which costs the same) draws 16
hypotheses of one image or volume of noise, streamed to disk.

    OMP_NUM_THREADS=1 python benchmarks/tiles.py 1 4096 4096 [RUN]
    OMP_NUM_THREADS=1 python benchmarks/tiles.py 400 512 512 [RUN]
"""

from __future__ import annotations

import json
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from measure import DEVICE

import probunet as pu
from probunet.core.array_file import array_file
from probunet.nets.tiling import PRIOR_SIZE, TILE, make_tiling

N = 16


def main(depth: int, height: int, width: int, run: str | None = None) -> None:
    torch.manual_seed(0)
    model = (pu.load(run) if run else pu.ProbabilisticUNet(1, 2, channels=(8, 16, 32, 32)).eval()).to(DEVICE)
    noise = torch.Generator().manual_seed(1)
    slices = (torch.randn(1, height, width, generator=noise) for _ in range(depth))
    before = peak()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder, "samples.npy"), Path(folder, "probabilities.npy")
        shapes = (N, depth, height, width), (depth, model.num_classes, height, width)
        with (
            torch.inference_mode(),
            array_file(files[0], shapes[0], np.uint8) as samples,
            array_file(files[1], shapes[1], np.float32) as probabilities,
        ):
            for index, image in enumerate(slices):
                distribution = model.tiled(image[None])
                drawn = distribution.noise(N, torch.Generator().manual_seed(0))
                strips = list(distribution.stream(drawn))
                for i in range(N):
                    samples.put((i, index), torch.cat([labels[i, 0] for labels, _ in strips]).cpu().numpy())
                probabilities.put((index,), torch.cat([shares[0] for _, shares in strips], dim=-2).cpu().numpy())
        written = sum(file.stat().st_size for file in files)
    seconds = time.perf_counter() - began
    result = {
        "slices": depth,
        "height": height,
        "width": width,
        "hypotheses": N,
        "seconds": round(seconds, 1),
        "threads": torch.get_num_threads(),
        "device": DEVICE,
        "peak_rss_gb": round(peak() / 1e9, 2),
        "peak_rss_before_gb": round(before / 1e9, 2),
        "written_gb": round(written / 1e9, 2),
        "tile": TILE[2],
        "margin": make_tiling(model.receptive_field, TILE[2])[0].margin,
        "difference_to_untiled_1024": difference(model, None),
        "difference_to_untiled_1024_margin_16": difference(model, 16),
    }
    print(json.dumps(result, indent=2))


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def difference(model: torch.nn.Module, margin: int | None) -> float:
    """Largest difference of class probabilities to the untiled image of 1,024 px, four tiles.

    The image is noise that neighbouring pixels share, as in a picture.
    """
    coarse = torch.randn(1, 1, PRIOR_SIZE[2] // 16, PRIOR_SIZE[2] // 16, generator=torch.Generator().manual_seed(2))
    image = torch.nn.functional.interpolate(coarse, scale_factor=16, mode="bicubic").to(DEVICE)
    with torch.inference_mode():
        distribution = model(image)
        noise = distribution.noise(2, torch.Generator().manual_seed(3))
        whole, parts = distribution.probabilities(noise), model.tiled(image, margin=margin).probabilities(noise)
    return float((whole - parts).abs().max())


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]), *sys.argv[4:])
