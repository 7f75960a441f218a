"""In how many pieces hypotheses and readers' outlines are, and what it costs to drop the small pieces.

    python benchmarks/pieces.py lidc-crops data/slices --split validation
    python benchmarks/pieces.py lidc-crops data/slices --split test --smallest 0.5

A piece is connected by sides and corners. In every hypothesis the pieces of the foreground that are smaller than a
share of its largest piece become background; share 0 drops nothing. For two classes.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import label
from torch.utils.data import DataLoader

from probunet.data.store import Store
from probunet.evaluation.fit import check_fit
from probunet.evaluation.shown import batch_size, distribution_of, images_to_score
from probunet.metrics.energy import energy_distance
from probunet.metrics.significance import bootstrap_interval
from probunet.runs.trained import open_model

Masks = npt.NDArray[np.uint8]


def areas(mask: Masks) -> tuple[npt.NDArray[np.signedinteger], npt.NDArray[np.signedinteger]]:
    """The number of every pixel's piece, from 1, and the pixels of every piece."""
    pieces, count = label(mask, np.ones((3,) * mask.ndim))
    return pieces, np.bincount(pieces.ravel(), minlength=count + 1)[1:]


def without_small(mask: Masks, share: float) -> Masks:
    """A mask without its pieces that are smaller than this share of its largest one."""
    pieces, pixels = areas(mask)
    if len(pixels) < 2:
        return mask
    return mask * np.isin(pieces, 1 + np.flatnonzero(pixels >= share * pixels.max())).astype(np.uint8)


def shares(masks: Masks) -> dict[str, float]:
    """Of masks (..., H, W): the share that is empty, and of the others the share in one piece."""
    counts = np.array([len(areas(mask)[1]) for mask in masks.reshape(-1, *masks.shape[-2:])])
    return {"empty": float((counts == 0).mean()), "one_piece": float((counts == 1).sum() / (counts > 0).sum())}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("store", type=Path)
    parser.add_argument("--split", default="validation")
    parser.add_argument("--smallest", type=float, nargs="+", default=[0.05, 0.1, 0.2, 0.3, 0.5, 1.0])
    parser.add_argument("-n", type=int, default=16, help="independent hypotheses of an image")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    trained, store = open_model(asked.model), Store(asked.store)
    check_fit(trained, store, asked.split)
    images = images_to_score(store, asked.split, trained.crop, trained.crop, trained.intensity)
    model, generator = trained.model().eval(), torch.Generator().manual_seed(asked.seed)
    drawn, readers = [], []
    for batch in DataLoader(images, batch_size(images)):
        with torch.inference_mode():
            samples = distribution_of(model, batch["image"]).sample(asked.n, generator)
        drawn.append(samples.movedim(0, 1).numpy())
        readers.append(batch["labels"].numpy())
    hypotheses, outlines = np.concatenate(drawn), np.concatenate(readers)
    patients = [store.cases[row].patient for row in images.indices]
    before = energy_distance(hypotheses, outlines).value
    rows: list[dict[str, Any]] = []
    for share in [0.0, *asked.smallest]:
        kept = np.array([[without_small(mask, share) for mask in each] for each in hypotheses])
        value = energy_distance(kept, outlines).value
        row = {"smallest": share, **shares(kept)}
        for name, values in (("ged2", value), ("ged2_more", value - before)):
            interval = bootstrap_interval(values, patients)
            row[name] = {"mean": interval.mean, "low": interval.low, "high": interval.high}
        rows.append(row)
        print(json.dumps(row), flush=True)
    result = {
        "model": str(asked.model),
        "split": asked.split,
        "images": len(images),
        "patients": len(set(patients)),
        "samples": asked.n,
        "seed": asked.seed,
        "readers": shares(outlines),
        "hypotheses": rows,
    }
    print(json.dumps(result["readers"]))
    if asked.out:
        asked.out.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
