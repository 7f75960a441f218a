"""How much of what is missing to a perfect model is chance of one training: several trainings mixed in equal parts.

    python benchmarks/mixed_trainings.py data/slices runs/seed_0 runs/seed_1 runs/seed_2 --images 300

Each model sees every image in the eight orientations of the square, and its hypotheses are turned back. A mixture of
trainings and orientations is nearer to the readers than its parts are on average (the distance is convex), and costs
one encoding for each part. What it leaves is shared by all trainings of a recipe. For two classes and square crops.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader, Subset

from probunet.data.store import Store
from probunet.evaluation.fit import check_fit
from probunet.evaluation.shown import batch_size, distribution_of, images_to_score
from probunet.metrics.distance import pairwise_distances
from probunet.metrics.significance import bootstrap_interval
from probunet.runs.trained import open_model

Floats = npt.NDArray[np.float64]
ORIENTATIONS = 8


def turned(maps: torch.Tensor, orientation: int, back: bool = False) -> torch.Tensor:
    """Maps (..., H, W) in one of the orientations of the square, or from it back to the first one."""
    quarters, mirrored = orientation % 4, orientation >= 4
    if back:
        return torch.rot90(maps.flip(-1) if mirrored else maps, -quarters, (-2, -1))
    maps = torch.rot90(maps, quarters, (-2, -1))
    return maps.flip(-1) if mirrored else maps


def mixed_excess(to_readers: Floats, within: Floats, readers: Floats, parts: Sequence[int], n: int) -> float:
    """The unbiased excess of some parts mixed equally, of one image.

    Args:
        to_readers: distance (parts * n, R) of every hypothesis to every reader.
        within: distances (parts * n, parts * n) among the hypotheses.
        readers: distances (R, R) among the readers.
        parts: those that are mixed.
        n: independent hypotheses of each part.
    """
    rows = (np.asarray(parts)[:, None] * n + np.arange(n)).ravel()
    blocks = within[np.ix_(rows, rows)].reshape(len(parts), n, len(parts), n).sum(axis=(1, 3))
    pairs = np.full(blocks.shape, n * n) - n * np.eye(len(parts))  # a hypothesis is no draw beside itself
    diversity = (blocks / pairs).mean()
    count = len(readers)
    return float(2 * to_readers[rows].mean() - diversity - readers.sum() / (count * (count - 1)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--split", default="validation")
    parser.add_argument("--images", type=int, default=300, help="drawn at random from the split")
    parser.add_argument("-n", type=int, default=16, help="independent hypotheses of each part")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    store, trained = Store(asked.store), [open_model(path) for path in asked.models]
    for one in trained:
        check_fit(one, store, asked.split)
    images = images_to_score(store, asked.split, trained[0].crop, "trained", trained[0].intensity)
    chosen = np.random.default_rng(asked.seed).permutation(len(images))[: asked.images]
    chosen.sort()
    shown = Subset(images, chosen.tolist())
    models = [one.model() for one in trained]
    every = {str(path): range(i * ORIENTATIONS, (i + 1) * ORIENTATIONS) for i, path in enumerate(asked.models)}
    every["all trainings"] = range(len(models) * ORIENTATIONS)
    mixtures = {name: parts[::ORIENTATIONS] for name, parts in every.items()}
    mixtures |= {f"{name}, eight orientations": parts for name, parts in every.items()}
    excess: dict[str, list[float]] = {name: [] for name in mixtures}
    convention, draws = store.convention(), torch.Generator().manual_seed(asked.seed)
    with torch.inference_mode():
        for batch in DataLoader(shown, batch_size(images)):
            drawn = [
                turned(distribution_of(model, turned(batch["image"], k)).sample(asked.n, generator=draws), k, back=True)
                for model in models
                for k in range(ORIENTATIONS)
            ]
            samples = torch.cat([part.movedim(0, 1) for part in drawn], dim=1).numpy()
            labels = batch["labels"].numpy()
            between = pairwise_distances(samples, labels, convention)
            for one in zip(between.cross, between.samples, between.references, strict=True):
                for name, parts in mixtures.items():
                    excess[name].append(mixed_excess(*one, parts, asked.n))
    groups = [store.cases[images.indices[i]].patient for i in chosen]
    result = {}
    for name, values in excess.items():
        interval = bootstrap_interval(np.array(values), groups, seed=asked.seed)
        result[name] = {"mean": interval.mean, "low": interval.low, "high": interval.high}
        print(f"{name}: excess {interval.mean:.4f} ({interval.low:.4f} to {interval.high:.4f})")
    if asked.out:
        facts = {"split": asked.split, "images": len(groups), "hypotheses": asked.n, "seed": asked.seed}
        asked.out.write_text(json.dumps({**facts, "excess": result}, indent=2) + "\n")


if __name__ == "__main__":
    main()
