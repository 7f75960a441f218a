"""Evaluate trained models on readers they never saw: samples from the model, numbers from ``probunet.metrics``."""

from __future__ import annotations

import platform
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader

import probunet
from probunet.data.batches import EvaluationImages
from probunet.data.store import Split, Store
from probunet.errors import InputError
from probunet.files import writing_file
from probunet.metrics import (
    best_dice_from,
    bootstrap_interval,
    energy_distance_from,
    hungarian_iou_from,
    pairwise_distances,
)
from probunet.models.base import SegmentationModel
from probunet.progress import console, progress_bar
from probunet.reference_points import REFERENCE_POINTS
from probunet.run import Run, runs_in, write_json
from probunet.types import IGNORE, LabelArray

BATCH = 32
CONVENTIONS = {
    "distance": "1 - IoU, of the foreground for two classes, averaged over all classes otherwise",
    "empty": "d = 0 if both masks are empty, 1 if one is",
    "ignored": f"pixels that any reader labels {IGNORE}",
    "ged2": "V-statistic (pairs i = j kept, as published), averaged over all subsets of n samples; "
    "biased upwards by E d(S,S')/n",
    "ged2_unbiased": "pairs i = j left out on both sides; undefined for 1 sample",
    "hungarian_iou": "the first n samples and the readers, repeated to their least common multiple, matched one to one",
    "best_dice": "mean over readers of the best Dice among the first n samples",
    "interval": "95 % percentile bootstrap over patients",
}
PerImage = dict[str, dict[int, npt.NDArray[np.float64]]]
"""By measure, then by number of samples: (images,) values."""


def evaluate(
    run: Path,
    data: Path | None = None,
    split: Split = "test",
    n: list[int] | None = None,
    seed: int = 0,
    device: str = "cpu",
) -> None:
    """Score the samples of a trained model against all readers and write evaluation.json into its run directory.

    Args:
        run: run directory, or an experiment with several of them.
        data: prepared store to evaluate on, for example patients from elsewhere; the training store if not given.
        split: which part of the store.
        n: numbers of samples, 1 4 8 16 if not given.
        seed: of the samples and of the bootstrap.
        device: where the model runs: cpu, cuda, cuda:1, ...

    Raises:
        InputError: no model, no data, or data that does not fit the model.
    """
    numbers = sorted(set(n or [1, 4, 8, 16])) if n != [] else []
    if not numbers or numbers[0] < 1:
        raise InputError(f"the number of samples must be at least 1, got {n}")
    for one in runs_in(run):
        store = Store(data or one.settings["data"]["store"])
        _tell_other_units(one, store)
        evaluate_run(one, store, split, numbers, seed, device)


def evaluate_run(run: Run, store: Store, split: Split, numbers: list[int], seed: int, device: str) -> dict[str, Any]:
    """Evaluate one model and write ``evaluation.json`` and ``evaluation.csv``.

    Returns:
        The content of ``evaluation.json``.
    """
    model = run.model(device)
    _check_fit(run, model, store)
    images = EvaluationImages(store, split, run.crop)
    started = time.perf_counter()
    distinct, found = _measure_all(run, model, images, numbers, seed, device)
    examples = [store.examples[i] for i in images.indices]
    groups = [example.group for example in examples]
    content = {
        "run": str(run.path),
        "model": run.settings["model"]["class_path"],
        "parameters": sum(p.numel() for p in model.parameters()),
        "data": _data_facts(store, split, run.crop, groups),
        "conventions": CONVENTIONS,
        "seed": seed,
        "distinct_hypotheses": distinct,
        "left_out": int(np.isnan(found["model"]["ged2"][numbers[0]]).sum()),
        **_intervals(found["model"], groups, numbers, seed),
        "reference_points": {name: _intervals(found[name], groups, numbers, seed) for name in REFERENCE_POINTS},
        "seconds": round(time.perf_counter() - started, 1),
        "versions": {
            "probunet": probunet.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
    }
    _write_csv(run.path / "evaluation.csv", [example.name for example in examples], groups, found["model"])
    write_json(run.path / "evaluation.json", content)
    return content


def _measure_all(
    run: Run, model: SegmentationModel, images: EvaluationImages, numbers: list[int], seed: int, device: str
) -> tuple[int | None, dict[str, PerImage]]:
    """Measure the model and every reference point, batch by batch.

    Returns:
        How many different hypotheses the model has, and the values of ``"model"`` and of each reference point.
    """
    generator, draws = torch.Generator(device).manual_seed(seed), np.random.default_rng(seed)
    parts: dict[str, list[PerImage]] = defaultdict(list)
    distinct: int | None = None
    most = max(numbers)
    with progress_bar() as bar, torch.inference_mode():
        task = bar.add_task(f"evaluating {run.name}", total=len(images))
        for batch in DataLoader(images, batch_size=BATCH):
            distribution = model(batch["image"].to(device).contiguous(memory_format=torch.channels_last))
            distinct = distribution.distinct
            samples = distribution.sample(most, generator).movedim(0, 1).to(torch.uint8).cpu().numpy()
            labels = batch["labels"].numpy()
            parts["model"].append(measure(samples, labels, model.num_classes, numbers))
            for name, hypotheses in REFERENCE_POINTS.items():
                parts[name].append(measure(hypotheses(labels, most, draws), labels, model.num_classes, numbers))
            bar.advance(task, len(labels))
    return distinct, {name: _concatenated(found) for name, found in parts.items()}


def measure(samples: LabelArray, labels: LabelArray, num_classes: int, numbers: list[int]) -> PerImage:
    """Compute every measure for every number of samples.

    Args:
        samples: (B, N, H, W) class ids.
        labels: (B, R, H, W) class ids or ``IGNORE``.
        num_classes: classes K.
        numbers: numbers of samples, each at most N.

    Returns:
        ``ged2_unbiased`` has no entry where it is undefined: for one sample, and for a single reader.
    """
    iou, dice = (
        pairwise_distances(samples, labels, num_classes=num_classes, ignore=IGNORE, empty="zero", overlap=overlap)
        for overlap in ("iou", "dice")
    )
    several = [n for n in numbers if n > 1 and labels.shape[1] > 1]
    return {
        "ged2": {n: energy_distance_from(iou, n=n).value for n in numbers},
        "ged2_unbiased": {n: energy_distance_from(iou, n=n, estimator="unbiased").value for n in several},
        "hungarian_iou": {n: hungarian_iou_from(iou, n=n).value for n in numbers},
        "best_dice": {n: best_dice_from(dice, n=n).value for n in numbers},
    }


def _concatenated(parts: list[PerImage]) -> PerImage:
    return {key: {n: np.concatenate([part[key][n] for part in parts]) for n in parts[0][key]} for key in parts[0]}


def _intervals(
    values: PerImage, groups: list[str], numbers: list[int], seed: int
) -> dict[str, dict[str, dict[str, float | None]]]:
    result: dict[str, dict[str, dict[str, float | None]]] = {}
    for key, by_n in values.items():
        result[key] = {str(n): {"mean": None, "low": None, "high": None} for n in numbers}
        for n, per_image in by_n.items():
            interval = bootstrap_interval(per_image, groups, seed=seed)
            result[key][str(n)] = {"mean": interval.mean, "low": interval.low, "high": interval.high}
    return result


def _data_facts(store: Store, split: Split, crop: int, groups: list[str]) -> dict[str, Any]:
    return {
        "store": str(store.path),
        "title": store.manifest["title"],
        "simulated": store.manifest["simulated"],
        "split": split,
        "images": len(groups),
        "patients": len(set(groups)),
        "readers": store.readers,
        "crop": crop,
        "spacing_mm": store.manifest["spacing_mm"],
        "checksum": store.manifest["files"]["images.npy"]["sha256"],
    }


def _write_csv(file: Path, names: list[str], groups: list[str], values: PerImage) -> None:
    columns = [(f"{key}_{n}", per_image) for key, by_n in values.items() for n, per_image in by_n.items()]
    lines = [",".join(["name", "group", *(name for name, _ in columns)])]
    for i, (name, group) in enumerate(zip(names, groups, strict=True)):
        lines.append(",".join([name, group, *(f"{per_image[i]:.6f}" for _, per_image in columns)]))
    with writing_file(file) as temporary:
        temporary.write_text("\n".join(lines) + "\n")


def _check_fit(run: Run, model: SegmentationModel, store: Store) -> None:
    channels, classes = int(store.images.shape[1]), len(store.classes)
    if (channels, classes) != (model.in_channels, model.num_classes):
        raise InputError(
            f"{store.path} has {channels} channel(s) and {classes} classes, the model of {run.path} takes "
            f"{model.in_channels} and {model.num_classes}; evaluate it on data of its own kind"
        )


def _tell_other_units(run: Run, store: Store) -> None:
    trained = run.settings["input"]
    if store.intensity != run.intensity or store.manifest["spacing_mm"] != trained["spacing_mm"]:
        console.print(
            f"note: {store.path} has {store.intensity.unit} at {store.manifest['spacing_mm']} mm, {run.path} was "
            f"trained on {run.intensity.unit} at {trained['spacing_mm']} mm"
        )
