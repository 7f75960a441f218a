"""One table of several comparisons that differ by their seed alone: agreement, calibration, likelihood, cost.

    probunet compare --config compare_beyond_quick --seed 0 --out runs/beyond_0
    probunet compare --config compare_beyond_quick --seed 1 --out runs/beyond_1
    python benchmarks/seeds.py runs/beyond_0 runs/beyond_1 --reference probabilistic_unet --out results/beyond

Numbers of an image are averaged over the seeds; intervals are by patient (95 % bootstrap; of costs, ECE and Brier the
range over the seeds), tests are Wilcoxon's on the patients' means, corrected after Holm over all models. ``spread`` is
the standard deviation of the mean over seeds.
"""

from __future__ import annotations

import argparse
import csv
import json
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measure import DEVICE, alternating, machine
from scipy import ndimage

from probunet.data.batches import EvaluationImages
from probunet.data.store import Store
from probunet.metrics import bootstrap_interval, compare, energy_distance, holm
from probunet.runs.run import Run
from probunet.runs.trained import runs_in

PER_IMAGE = ("ged2_n1", "ged2_n4", "ged2_n8", "ged2_n16", "ged2_unbiased", "hungarian_iou_n16", "best_dice_n16")
MANY = 100


def per_image(run: Run) -> tuple[dict[str, np.ndarray], list[str]]:
    """Columns of evaluation.csv and the patient of every row."""
    with (run.path / "evaluation.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    values = {key: np.array([float(row[key] or "nan") for row in rows]) for key in PER_IMAGE}
    return values, [row["patient"] for row in rows]


def chosen(count: int, images: int) -> np.ndarray:
    """Evenly spread positions of at most ``images`` of ``count`` test images."""
    return np.unique(np.linspace(0, count - 1, images).astype(int))


def fresh(run: Run, store: Store, images: int, samples: int) -> dict[str, np.ndarray]:
    """On evenly spread test images: D_GED^2 of ``MANY`` samples, -log P(Y|X) of two readers, and tidiness, per image.

    ``one_piece`` is the share of the first 16 hypotheses that are one piece (of 8-connected pixels), of those that are
    not empty; nan where all are. Two classes.
    """
    model = run.model(DEVICE)
    every = EvaluationImages(store, "test", run.crop)
    generator = torch.Generator().manual_seed(0)
    energies, nats, pieces = [], [], []
    with torch.inference_mode():
        for position in chosen(len(every), images):
            item = every[int(position)]
            labels = item["labels"]
            distribution = model(item["image"][None].to(DEVICE))
            drawn = distribution.sample(MANY, generator).movedim(0, 1).cpu()
            energies.append(float(energy_distance(drawn, labels[None], store.convention()).value[0]))
            pieces.append(share_of_one_piece(drawn[0, :16].numpy()))
            bounds = [distribution.log_prob(y[None].to(DEVICE), samples, generator) for y in labels[:2]]
            nats.append(-float(torch.stack(bounds).mean()))
    return {
        f"ged2_n{MANY}": np.array(energies),
        "negative_log_likelihood": np.array(nats),
        "one_piece": np.array(pieces),
    }


def share_of_one_piece(masks: np.ndarray) -> float:
    """Of the masks (n, H, W) that are not empty; nan if all are."""
    counts = [ndimage.label(mask, np.ones((3, 3)))[1] for mask in masks if mask.any()]
    return float(np.mean([count == 1 for count in counts])) if counts else float("nan")


def cost(run: Run, store: Store) -> dict[str, float]:
    """Seconds of one encoding, and ``MANY`` hypotheses from image to labels over it."""
    model = run.model(DEVICE)
    image = EvaluationImages(store, "test", run.crop)[0]["image"][None].to(DEVICE)
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode():
        distribution = model(image)
        times = alternating(
            {"encode": partial(model, image), "many": partial(distribution.sample, MANY, generator)}, repeats=5
        )
    return {
        "encode_seconds": times["encode"],
        "passes_for_100": (times["encode"] + times["many"]) / times["encode"],
    }


def means_where_defined(columns: list[np.ndarray]) -> np.ndarray:
    """Mean over the seeds that have a number; nan where none has."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the mean of nothing
        return np.nanmean(columns, axis=0)


def mean_score(run: Run, metric: str) -> float:
    """A number that belongs to a whole split: ece, brier."""
    scores = (run.evaluation() or {})["scores"]
    return float(next(row["mean"] for row in scores if row["metric"] == metric))


def gather(
    experiments: list[Path], reference: str, images: int, samples: int, models: list[str] | None
) -> dict[str, Any]:
    """Everything of the table, by name of the model."""
    names = models or [run.name for run in runs_in(experiments[0])]
    runs = {name: [Run(folder / name) for folder in experiments] for name in names}
    store = Store(next(iter(runs.values()))[0].settings["data"]["store"])
    tables = {name: [per_image(run) for run in found] for name, found in runs.items()}
    groups = next(iter(tables.values()))[0][1]
    averaged = {
        name: {key: np.mean([columns[key] for columns, _ in found], axis=0) for key in PER_IMAGE}
        for name, found in tables.items()
    }
    rows: dict[str, Any] = {}
    for name, found in runs.items():
        cells: dict[str, Any] = {}
        for key in PER_IMAGE:
            if np.isnan(averaged[name][key]).all():
                continue
            interval = bootstrap_interval(averaged[name][key], groups)
            spread = np.std([np.nanmean(columns[key]) for columns, _ in tables[name]], ddof=1) if len(found) > 1 else 0
            cells[key] = {
                "mean": interval.mean, "low": interval.low, "high": interval.high, "spread": float(spread)
            }  # fmt: skip
        for key in ("ece", "brier"):
            values = [mean_score(run, key) for run in found]
            cells[key] = {"mean": float(np.mean(values)), "low": min(values), "high": max(values)}
        asked = [fresh(run, store, images, samples) for run in found]
        few = [groups[i] for i in chosen(len(groups), images)]
        for key in asked[0]:
            averaged[name][key] = means_where_defined([one[key] for one in asked])
            interval = bootstrap_interval(averaged[name][key], few)
            cells[key] = {"mean": interval.mean, "low": interval.low, "high": interval.high}
        costs = [cost(run, store) for run in found]
        for key in costs[0]:
            values = [one[key] for one in costs]
            cells[key] = {"mean": float(np.mean(values)), "low": min(values), "high": max(values)}
        summary = found[0].training() or {}
        cells["parameters"] = summary["parameters"]
        cells["training"] = [{k: (r.training() or {})[k] for k in ("steps", "seconds")} for r in found]
        rows[name] = cells
    others = [name for name in runs if name != reference]
    for key, of in (("ged2_n16", groups), (f"ged2_n{MANY}", few)):
        tests = [compare(averaged[name][key], averaged[reference][key], of, names=(name, reference)) for name in others]
        for name, test, corrected in zip(others, tests, holm([t.p_value for t in tests]), strict=True):
            rows[name].setdefault("against_reference", {})[key] = {
                "difference": test.difference.mean,
                "low": test.difference.low,
                "high": test.difference.high,
                "p_value": test.p_value,
                "p_holm": float(corrected),
                "ratio": rows[name][key]["mean"] / rows[reference][key]["mean"],
            }
    return {
        "experiments": [str(folder) for folder in experiments],
        "reference": reference,
        "images": len(groups),
        "patients": len(set(groups)),
        "images_of_fresh_numbers": images,
        "samples_of_the_likelihood": samples,
        "machine": machine(),
        "models": rows,
    }


def markdown(table: dict[str, Any]) -> str:
    """The table for people."""
    heads = {
        "ged2_n1": "D² (1)", "ged2_n4": "D² (4)", "ged2_n8": "D² (8)", "ged2_n16": "D² (16)",
        f"ged2_n{MANY}": f"D² ({MANY}), {table['images_of_fresh_numbers']} images",
        "ged2_unbiased": "unbiased", "hungarian_iou_n16": "Hungarian IoU", "best_dice_n16": "best Dice", "ece": "ECE",
        "brier": "Brier",
        "negative_log_likelihood": f"−log P bound, nats, {table['images_of_fresh_numbers']} images",
        "one_piece": "in one piece", "passes_for_100": "passes for 100",
    }  # fmt: skip
    lines = ["| model | parameters | " + " | ".join(heads.values())]
    lines[0] += f" | ratio, p (Holm) at 16 | the same at {MANY} |"
    lines.append("|---" * (len(heads) + 4) + "|")
    for name, cells in table["models"].items():
        shown = []
        for key in heads:
            cell = cells.get(key)
            digits = 1 if key in ("negative_log_likelihood", "passes_for_100") else 4 if key in ("ece", "brier") else 3
            certain = key in ("ged2_n16", f"ged2_n{MANY}")
            interval = f" [{cell['low']:.3f}, {cell['high']:.3f}]" if cell and certain else ""
            shown.append(f"{cell['mean']:.{digits}f}{interval}" if cell else "–")
        tests = cells.get("against_reference", {})
        last = [f"{t['ratio']:.2f}, {t['p_holm']:.1g}" for t in tests.values()] or ["1", "1"]
        lines.append(f"| {name} | {cells['parameters']:,} | " + " | ".join([*shown, *last]) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiments", type=Path, nargs="+")
    parser.add_argument("--reference", required=True)
    parser.add_argument("--out", type=Path, required=True, help="writes OUT.json and OUT.md")
    parser.add_argument("--images", type=int, default=256, help="test images of the numbers that are measured here")
    parser.add_argument("--samples", type=int, default=64, help="of the bound on the likelihood")
    parser.add_argument("--models", nargs="+", help="of these alone; all if not given")
    arguments = parser.parse_args()
    table = gather(
        arguments.experiments, arguments.reference, arguments.images, arguments.samples, arguments.models
    )  # fmt: skip
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.with_suffix(".json").write_text(json.dumps(table, indent=2) + "\n")
    arguments.out.with_suffix(".md").write_text(markdown(table))
    print(markdown(table))


if __name__ == "__main__":
    main()
