"""Does a model that knows its readers draw like each of them better than the best model that knows nobody?

    python benchmarks/readers.py data/cells --folds 3 --seeds 0 --steps 500 --crop 64 --out readers.json

The store has to name its readers. Its images are divided into folds; for every fold and seed, two mixtures of experts
are trained on the other images, one whose experts are the readers and one that knows nobody, with the same networks,
steps, augmentation and energy score. On the images left out, the Dice of one hypothesis to each reader's label map is
compared, in two forms each (the median of 16, and the mean probability at one half): in that reader's place, and in
nobody's, by either model. The better form in the reader's place is compared with the best one that knows nobody.
Printed are the means, the difference with its 95 % interval and paired test by image (seeds are averaged), mean
areas by reader, and D_GED^2(16) of both mixtures.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

import probunet as pu
from probunet.core.devices import chosen_device
from probunet.data.store import Store
from probunet.distributions.base import SegmentationDistribution
from probunet.evaluation.persons import SAMPLES, nearest_to_all
from probunet.metrics import energy_distance
from probunet.metrics.convention import Convention
from probunet.metrics.distance import Floats, pairwise_distance
from probunet.metrics.significance import bootstrap_interval, compare
from probunet.models.base import SegmentationModel

OWN = ("own_median", "own_threshold")
BLIND = ("any_median", "any_threshold", "blind_median", "blind_threshold")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--crop", type=int, default=64)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--channels", type=int, nargs="+", default=[16, 32, 48, 64])
    parser.add_argument("--weight", type=float, default=300.0, help="of the energy score")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    asked.device = chosen_device(asked.device)
    torch.set_num_threads(1)
    store = Store(asked.store)
    folds = np.random.default_rng(0).permutation(len(store.cases)) % asked.folds
    readers = len(store.reader_names or ())
    shape = (len(asked.seeds), len(folds), readers)
    dice = {name: np.full(shape, np.nan) for name in OWN + BLIND}
    area, ged2 = np.full(shape, np.nan), np.full((len(asked.seeds), len(folds), 2), np.nan)
    for s, seed in enumerate(asked.seeds):
        for fold in range(asked.folds):
            models = [trained(store, folds != fold, knows, seed, asked) for knows in (True, False)]
            for row in np.flatnonzero(folds == fold):
                scores, area[s, row], ged2[s, row] = scored(store, int(row), *models, seed)
                for name in OWN + BLIND:
                    dice[name][s, row] = scores[name]
            print(
                f"seed {seed}, fold {fold}:",
                {n: round(float(np.nanmean(dice[n][s])), 4) for n in OWN + BLIND},
                flush=True,
            )
    result = summary(
        store, {name: value.mean(axis=0) for name, value in dice.items()}, area.mean(axis=0), ged2.mean(axis=0)
    )
    result |= {
        name: getattr(asked, name)
        for name in ("folds", "seeds", "steps", "crop", "batch", "channels", "weight", "device")
    }
    print(json.dumps(result, indent=2))
    if asked.out:
        asked.out.write_text(json.dumps(result, indent=2) + "\n")


def trained(store: Store, chosen: npt.NDArray[np.bool_], knows: bool, seed: int, asked: Any) -> SegmentationModel:
    """Train on some of the images; the weights are the last ones."""
    names = store.reader_names or ()
    model = pu.MixtureOfExperts(
        store.channels,
        len(store.classes),
        channels=asked.channels,
        convolutions=2,
        batch_norm=True,
        reader_names=names if knows else (),
    )
    rows = np.flatnonzero(chosen)
    with tempfile.TemporaryDirectory() as place:
        part = pu.make_store(
            (store.normalised(rows), np.array(store.labels[rows])),
            Path(place) / "store",
            patients=[store.cases[int(row)].patient for row in rows],
            shares=(0.9, 0.1, 0.0),
            classes=store.classes,
            readers=names,
        )
        run = pu.train(
            model,
            part,
            Path(place) / "run",
            steps=asked.steps,
            crop=asked.crop,
            batch_size=asked.batch,
            augmentation=pu.Augmentation(probability=0.5, elastic=0, mirror=True, turn=True),
            optimisation=pu.Optimisation(1e-3, 1e-5, "cosine"),
            energy=pu.EnergyScore(weight=asked.weight, samples=6),
            validate_every=asked.steps,
            seed=seed,
            device=asked.device,
        )
        return run.model(asked.device)


@torch.inference_mode()
def scored(store: Store, row: int, knowing: SegmentationModel, blind: SegmentationModel, seed: int) -> Any:
    """Dice of every prediction to every reader, areas drawn in the readers' places, and D_GED^2 of both mixtures."""
    convention = store.convention().with_overlap("dice")
    device = next(knowing.parameters()).device
    image, labels = torch.from_numpy(store.normalised([row])).to(device), np.array(store.labels[row])
    generator = torch.Generator().manual_seed(1000 * seed + row)
    draws = [as_samples(model(image), generator) for model in (knowing, blind)]
    persons = [knowing(image, name) for name in knowing.reader_names]
    theirs = [as_samples(person, generator) for person in persons]
    own = {
        "own_median": np.stack([median(samples, convention) for samples in theirs]),
        "own_threshold": np.stack([likeliest(person) for person in persons]),
    }
    nobodys = (
        median(draws[0], convention),
        likeliest(knowing(image)),
        median(draws[1], convention),
        likeliest(blind(image)),
    )
    scores = {name: np.diagonal(to_readers(drawn, labels, convention)) for name, drawn in own.items()}
    scores |= {name: to_readers(drawn[None], labels, convention)[0] for name, drawn in zip(BLIND, nobodys, strict=True)}
    areas = [(samples > 0).sum() / SAMPLES for samples in theirs]
    ged2 = [
        float(
            energy_distance(torch.from_numpy(drawn[None]), torch.from_numpy(labels[None]), store.convention()).value[0]
        )
        for drawn in draws
    ]
    return scores, areas, ged2


def as_samples(distribution: SegmentationDistribution, generator: torch.Generator) -> npt.NDArray[np.uint8]:
    """Hypotheses (SAMPLES, H, W) of a single image."""
    return distribution.sample(SAMPLES, generator)[:, 0].cpu().numpy()


def likeliest(distribution: SegmentationDistribution) -> npt.NDArray[np.uint8]:
    """The likeliest class (H, W) of every pixel of a single image."""
    return distribution.probabilities()[0].argmax(dim=0).cpu().numpy().astype(np.uint8)


def median(samples: npt.NDArray[np.uint8], convention: Convention) -> npt.NDArray[np.uint8]:
    """The hypothesis (H, W) of a single image that is nearest to all others."""
    return nearest_to_all(samples[None], convention)[0]


def to_readers(predicted: npt.NDArray[np.uint8], labels: npt.NDArray[np.uint8], convention: Convention) -> Floats:
    """Dice of predictions (P, H, W) to readers (R, H, W): (P, R)."""
    return 1 - pairwise_distance(predicted[None], labels[None], convention)[0]


def summary(store: Store, dice: dict[str, Floats], area: Floats, ged2: Floats) -> dict[str, Any]:
    images = list(range(len(area)))
    own, blind = (max(names, key=lambda name: float(dice[name].mean())) for names in (OWN, BLIND))
    together = compare(dice[own].mean(axis=1), dice[blind].mean(axis=1), images)
    mixtures = compare(ged2[:, 0], ged2[:, 1], images)
    drawn = (np.array(store.labels) == 1).sum(axis=(-2, -1))
    return {
        "store": store.manifest["title"],
        "images": len(images),
        "readers": store.reader_names,
        "dice": {name: vars(bootstrap_interval(value.mean(axis=1), images)) for name, value in dice.items()},
        "by_reader": {name: value.mean(axis=0).tolist() for name, value in dice.items()},
        "best": [own, blind],
        "own_minus_best_blind": vars(together.difference) | {"p": together.p_value},
        "area": {"drawn": drawn.mean(axis=0).tolist(), "predicted": area.mean(axis=0).tolist()},
        "area_correlation": float(np.corrcoef(drawn.mean(axis=0), area.mean(axis=0))[0, 1]),
        "ged2_of_16": {"readers": float(ged2[:, 0].mean()), "blind": float(ged2[:, 1].mean())},
        "ged2_difference": vars(mixtures.difference) | {"p": mixtures.p_value},
    }


if __name__ == "__main__":
    main()
