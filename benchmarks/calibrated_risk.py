"""Does the risk that `probunet calibrate` states hold on patients that nobody looked at? Over random halves of them.

    python benchmarks/calibrated_risk.py runs/lidc/probabilistic_unet data/lidc --out risk.json

The patients of the split are halved at random, 20 times. On one half the statements are chosen, on the other half their
losses are measured. Printed are, for every risk, the mean realised loss over the halves with twice its standard error,
how many of the halves lie above the stated risk, how many above the upper end of the 95 % binomial interval around it
for as many patients as they have, and what the statement costs (pixels). A loss is a share between 0 and 1 and varies
less than the yes and no of a binomial, so that this interval is rather too wide.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import binom

from probunet.data.batches import EvaluationImages
from probunet.data.store import Store
from probunet.evaluation.calibrate import cost_of, observed_cases
from probunet.evaluation.fit import check_fit
from probunet.evaluation.shown import images_to_score
from probunet.metrics.risk_control import Observed, losses_of, state
from probunet.runs.trained import open_model


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("store", type=Path)
    parser.add_argument("--split", default="test")
    parser.add_argument("--risks", type=float, nargs="+", default=[0.05, 0.1, 0.2])
    parser.add_argument("--halves", type=int, default=20)
    parser.add_argument("--most", type=int, default=10**9, help="images of a patient")
    parser.add_argument("-n", type=int, default=32, help="hypotheses of an image")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    trained, store = open_model(asked.run), Store(asked.store)
    check_fit(trained, store, asked.split)
    crop = None if store.dims == 3 else trained.crop  # volumes as a whole, as calibrate has them
    images = images_to_score(store, asked.split, trained.crop, crop, trained.intensity)
    images.indices = images.indices[_first_of_each(images, asked.most)]
    table = []
    for risk in asked.risks:
        cases = observed_cases(trained.model(), images, risk, asked.n, 0)[0]
        rows = halves(cases, risk, asked.n, asked.halves)
        table.append({"risk": risk, "images": len(cases), "patients": len({case.patient for case in cases}), **rows})
        print(json.dumps(table[-1]), flush=True)
    if asked.out:
        asked.out.write_text(json.dumps(table, indent=2) + "\n")


def halves(cases: list[Observed], risk: float, n: int, count: int) -> dict[str, Any]:
    """Realised losses over random halves of the patients, and the mean cost."""
    patients = sorted({case.patient for case in cases})
    realised: dict[str, list[float]] = {"outer": [], "inner": [], "area": []}
    costs: dict[str, list[float]] = {}
    for number in range(count):
        chosen = set(np.random.default_rng(number).permutation(patients)[: len(patients) // 2].tolist())
        statement = state([case for case in cases if case.patient in chosen], n, risk)
        others = [case for case in cases if case.patient not in chosen]
        for name, losses in losses_of(statement, others).items():
            realised[name].append(float(losses.mean()))
        for name, pixels in cost_of(statement, others).items():
            costs.setdefault(name, []).append(pixels)
    tested = len(patients) - len(patients) // 2
    highest = float(binom.ppf(0.975, tested, risk)) / tested
    summary = {
        name: {
            "mean": float(np.mean(means)),
            "two_errors": float(2 * np.std(means) / np.sqrt(count)),
            "smallest": min(means),
            "largest": max(means),
            "halves_above": sum(mean > risk for mean in means),
            "halves_above_binomial": sum(mean > highest for mean in means),
        }
        for name, means in realised.items()
    }
    cost = {name: float(np.mean(pixels)) for name, pixels in costs.items()}
    return {**summary, "binomial_upper": highest, "cost": cost}


def _first_of_each(images: EvaluationImages, most: int) -> list[int]:
    """Positions of at most so many images of every patient, spread over them."""
    places: dict[str, list[int]] = {}
    for position, row in enumerate(images.indices):
        places.setdefault(images.store.cases[row].patient, []).append(position)
    counts = Counter({patient: len(positions) for patient, positions in places.items()})
    spread = {p: np.unique(np.linspace(0, counts[p] - 1, min(most, counts[p])).round().astype(int)) for p in places}
    return sorted(places[patient][i] for patient in places for i in spread[patient])


if __name__ == "__main__":
    main()
