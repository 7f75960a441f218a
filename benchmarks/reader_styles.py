"""Does a model find out who draws how, where it is known? Simulated readers, every model that takes their names.

    python benchmarks/reader_styles.py --steps 300 --seeds 0 1 2 --out styles.json

Discs of 4 px in noise. ``small`` draws their core (2 px), ``large`` all and a margin (5 px), ``rare`` the disc of 4 px
of every second image, by chance, and nothing of the others. 45 images of 60 are trained on, with the model's own
objective for one random reader an image and the energy score. On the 15 others it prints, in every reader's place, the
mean area and the share of empty hypotheses of 32, and D_GED^2 of the mixture beside the best single reader's.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

import probunet as pu
from probunet.metrics import Convention, energy_distance
from probunet.models.base import SegmentationModel
from probunet.objectives.energy_score import EnergyScore

STYLES = {"small": 2, "large": 5, "rare": 4}
"""Readers, and the radius in pixels that each draws."""
FITTED, SAMPLES = 45, 32
NETWORK: dict[str, Any] = {"channels": (8, 12), "convolutions": 2, "batch_norm": True, "reader_names": tuple(STYLES)}
MODELS: dict[str, Any] = {
    "MixtureOfExperts": {"latent_dims": 3},
    "ProbabilisticUNet": {"latent_dims": 3},
    "HierarchicalProbabilisticUNet": {"latent_dims": (2, 2), "channels": (8, 12, 12), "pixels": pu.All()},
    "PHiSeg": {"latent_dims": (2, 2), "channels": (8, 12, 12)},
    "StochasticSegmentationNetwork": {"rank": 3, "draws": 6},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for name in asked.models:
        for seed in asked.seeds:
            rows.append({"model": name, "seed": seed, "steps": asked.steps, **measured(name, asked.steps, seed)})
            print(json.dumps(rows[-1]), flush=True)
    if asked.out:
        asked.out.write_text(json.dumps(rows, indent=2) + "\n")


def simulated(count: int = 60) -> Iterator[tuple[str, npt.NDArray[np.float32], npt.NDArray[np.uint8]]]:
    """Names, images (1, 16, 16) and readings (3, 16, 16) of readers whose styles are known."""
    rows, columns = np.mgrid[:16, :16]
    for i in range(count):
        random = np.random.default_rng(i)
        y, x = random.uniform(6, 10, 2)
        far = np.hypot(rows - y, columns - x)
        image = (far < 4) * 1.0 + random.normal(0, 0.1, far.shape)
        drawn = [far < radius for radius in STYLES.values()]
        drawn[2] &= bool(random.random() < 0.5)
        yield f"{i:03d}", image[None].astype(np.float32), np.stack(drawn).astype(np.uint8)


def measured(name: str, steps: int, seed: int) -> dict[str, Any]:
    """Train and look; areas in pixels."""
    _, pictures, labels = zip(*simulated(), strict=True)
    images, readings = torch.from_numpy(np.stack(pictures)), torch.from_numpy(np.stack(labels))
    images = (images - images.mean()) / images.std()
    torch.manual_seed(seed)
    model: SegmentationModel = getattr(pu, name)(1, 2, **NETWORK | MODELS[name])
    fit(model, images[:FITTED], readings[:FITTED], steps, torch.Generator().manual_seed(seed))
    image, seen = images[FITTED:], readings[FITTED:]
    with torch.inference_mode():
        drawn = {
            reader: model.eval()(image, reader).sample(SAMPLES, torch.Generator().manual_seed(seed))
            for reader in (*STYLES, None)
        }
    areas = {reader: maps.float().sum(dim=(-2, -1)) for reader, maps in drawn.items() if reader}
    distance = {reader: float(energy_distance(maps.movedim(0, 1), seen).value.mean()) for reader, maps in drawn.items()}
    return {
        "area": {reader: round(float(area.mean()), 1) for reader, area in areas.items()},
        "drawn": dict(zip(STYLES, seen.float().sum(dim=(-2, -1)).mean(dim=0).tolist(), strict=True)),
        "empty": {reader: round(float((area == 0).float().mean()), 3) for reader, area in areas.items()},
        "drawn_empty": dict(zip(STYLES, (seen.sum(dim=(-2, -1)) == 0).float().mean(dim=0).tolist(), strict=True)),
        "ged2": round(distance.pop(None), 3),
        "ged2_of_the_best_reader": round(min(distance.values()), 3),
    }


def fit(
    model: SegmentationModel,
    images: torch.Tensor,
    readings: torch.Tensor,
    steps: int,
    generator: torch.Generator,
    samples: int = 3,
) -> None:
    """Train on images (N, 1, H, W) and readings (N, R, H, W), with a rate that falls to nothing."""
    optimiser, energy = torch.optim.Adam(model.train().parameters(), lr=1e-2), EnergyScore(samples=samples)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-2, total_steps=steps, pct_start=0.1)
    for _ in range(steps):
        chosen = torch.randint(len(images), (8,), generator=generator)
        reader = torch.randint(readings.shape[1], (8,), generator=generator)
        if model.learns_from_readers:
            loss = model.loss_of_readers(images[chosen], readings[chosen], generator)
        else:
            loss = model.loss_of_reader(images[chosen], readings[chosen, reader], reader, generator)
        distribution = loss.distribution or model(images[chosen])
        score = energy.of(distribution, readings[chosen], Convention(2), generator, by_reader=True)
        optimiser.zero_grad()
        (loss.total + 100 * score).backward()
        optimiser.step()
        schedule.step()


if __name__ == "__main__":
    main()
