"""Evaluate trained models on readers they never saw: samples from the model, numbers from ``probunet.metrics``."""

from __future__ import annotations

import platform
import time
from dataclasses import dataclass
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
from probunet.metrics import Distances, bootstrap_interval, energy_distance_from, pairwise_distances
from probunet.metrics.energy import Estimator
from probunet.models.base import SegmentationModel
from probunet.progress import console, progress_bar
from probunet.run import Run, runs_in, write_json

BATCH = 32
ESTIMATORS: dict[str, Estimator] = {"ged2": "v", "ged2_unbiased": "unbiased"}
CONVENTIONS = {
    "distance": "1 - IoU of the foreground",
    "empty": "d = 0 if both masks are empty, 1 if one is",
    "ged2": "V-statistic (pairs i = j kept, as published), averaged over all subsets of n samples; "
    "biased upwards by E d(S,S')/n",
    "ged2_unbiased": "U-statistic (pairs i = j left out on both sides); undefined for 1 sample",
    "interval": "95 % percentile bootstrap over patients",
}


@dataclass(frozen=True)
class Evaluated:
    """D_GED^2 per image.

    Attributes:
        values: by estimator (``ged2``, ``ged2_unbiased``), then by number of samples: (images,).
        groups: the patient of every image.
        names: of the images.
    """

    values: dict[str, dict[int, npt.NDArray[np.float64]]]
    groups: list[str]
    names: list[str]


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
    numbers = sorted(set(n or [1, 4, 8, 16]))
    if numbers[0] < 1:
        raise InputError(f"the number of samples must be at least 1, got {numbers[0]}")
    for one in runs_in(run):
        store = Store(data or one.settings["data"]["store"])
        _warn_about_units(one, store)
        evaluate_run(one, store, split, numbers, seed, device)


def evaluate_run(run: Run, store: Store, split: Split, numbers: list[int], seed: int, device: str) -> dict[str, Any]:
    """Evaluate one model and write ``evaluation.json`` and ``evaluation.csv``.

    Returns:
        The content of ``evaluation.json``.
    """
    model = run.model(device)
    _check_fit(run, model, store)
    images = EvaluationImages(store, split, run.crop)
    generator = torch.Generator(device).manual_seed(seed)
    started = time.perf_counter()
    distances: list[Distances] = []
    references: dict[str, list[Distances]] = {name: [] for name in REFERENCE_POINTS}
    draws = np.random.default_rng(seed)
    distinct: int | None = None
    with progress_bar() as bar, torch.inference_mode():
        task = bar.add_task(f"evaluating {run.path}", total=len(images))
        for batch in DataLoader(images, batch_size=BATCH):
            distribution = model(batch["image"].to(device).contiguous(memory_format=torch.channels_last))
            distinct = distribution.distinct
            samples = distribution.sample(max(numbers), generator).movedim(0, 1).cpu()
            labels = batch["labels"].numpy()
            distances.append(_distances(samples.numpy(), labels, model.num_classes))
            for name, hypotheses in REFERENCE_POINTS.items():
                references[name].append(_distances(hypotheses(labels, max(numbers), draws), labels, model.num_classes))
            bar.advance(task, len(labels))
    examples = [store.examples[i] for i in images.indices]
    groups = [example.group for example in examples]
    evaluated = Evaluated(_values(distances, numbers), groups, [example.name for example in examples])
    content = {
        "run": str(run.path),
        "model": run.settings["model"]["class_path"],
        "parameters": sum(p.numel() for p in model.parameters()),
        "data": _data_facts(store, split, run.crop, evaluated),
        "conventions": CONVENTIONS,
        "seed": seed,
        "distinct_hypotheses": distinct,
        **_intervals(evaluated, seed),
        "reference_points": {
            name: _intervals(Evaluated(_values(found, numbers), groups, []), seed) for name, found in references.items()
        },
        "seconds": round(time.perf_counter() - started, 1),
        "versions": {
            "probunet": probunet.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
    }
    _write_csv(run.path / "evaluation.csv", evaluated)
    write_json(run.path / "evaluation.json", content)
    return content


def _distances(samples: npt.NDArray[Any], labels: npt.NDArray[np.uint8], num_classes: int) -> Distances:
    return pairwise_distances(samples, labels, num_classes=num_classes, empty="zero")


def _readers(labels: npt.NDArray[np.uint8], n: int, generator: np.random.Generator) -> npt.NDArray[np.uint8]:
    """An ideal model: every sample is one of the image's own readers."""
    chosen = generator.integers(labels.shape[1], size=(len(labels), n))
    return labels[np.arange(len(labels))[:, None], chosen]


def _empty(labels: npt.NDArray[np.uint8], n: int, generator: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Nothing there, always."""
    return np.zeros_like(labels[:, :1]).repeat(n, axis=1)


def _majority(labels: npt.NDArray[np.uint8], n: int, generator: np.random.Generator) -> npt.NDArray[np.uint8]:
    """The class that most readers give a pixel (the lower class id where they are even), as the one hypothesis."""
    votes = np.stack([(labels == k).sum(axis=1) for k in range(int(labels.max()) + 1)])
    return votes.argmax(axis=0).astype(np.uint8)[:, None].repeat(n, axis=1)


REFERENCE_POINTS = {
    "draws_from_the_readers": _readers,
    "always_empty": _empty,
    "majority_of_the_readers": _majority,
}
"""Hypotheses that need no model and no image: what D_GED^2 they get tells what a value is worth."""


def _values(distances: list[Distances], numbers: list[int]) -> dict[str, dict[int, npt.NDArray[np.float64]]]:
    return {
        key: {
            n: np.concatenate([energy_distance_from(d, n=n, estimator=estimator).value for d in distances])
            for n in numbers
            if not (estimator == "unbiased" and n == 1)
        }
        for key, estimator in ESTIMATORS.items()
    }


def _intervals(evaluated: Evaluated, seed: int) -> dict[str, dict[str, dict[str, float | None]]]:
    result: dict[str, dict[str, dict[str, float | None]]] = {}
    for key in ESTIMATORS:
        result[key] = {}
        for n in evaluated.values["ged2"]:
            values = evaluated.values[key].get(n)
            if values is None:
                result[key][str(n)] = {"mean": None, "low": None, "high": None}
                continue
            interval = bootstrap_interval(values, evaluated.groups, seed=seed)
            result[key][str(n)] = {"mean": interval.mean, "low": interval.low, "high": interval.high}
    return result


def _data_facts(store: Store, split: Split, crop: int, evaluated: Evaluated) -> dict[str, Any]:
    return {
        "store": str(store.path),
        "title": store.manifest["title"],
        "simulated": store.manifest["simulated"],
        "split": split,
        "images": len(evaluated.names),
        "patients": len(set(evaluated.groups)),
        "readers": store.readers,
        "crop": crop,
        "spacing_mm": store.manifest["spacing_mm"],
        "checksum": store.manifest["files"]["images.npy"]["sha256"],
    }


def _write_csv(file: Path, evaluated: Evaluated) -> None:
    columns = [(f"{key}_{n}", values) for key, by_n in evaluated.values.items() for n, values in by_n.items()]
    lines = [",".join(["name", "group", *(name for name, _ in columns)])]
    for i, (name, group) in enumerate(zip(evaluated.names, evaluated.groups, strict=True)):
        lines.append(",".join([name, group, *(f"{values[i]:.6f}" for _, values in columns)]))
    with writing_file(file) as temporary:
        temporary.write_text("\n".join(lines) + "\n")


def _check_fit(run: Run, model: SegmentationModel, store: Store) -> None:
    channels, classes = int(store.images.shape[1]), len(store.classes)
    if (channels, classes) != (model.in_channels, model.num_classes):
        raise InputError(
            f"{store.path} has {channels} channel(s) and {classes} classes, the model of {run.path} takes "
            f"{model.in_channels} and {model.num_classes}; evaluate it on data of its own kind"
        )


def _warn_about_units(run: Run, store: Store) -> None:
    if store.intensity != run.intensity or store.manifest["spacing_mm"] != run.settings["input"]["spacing_mm"]:
        console.print(
            f"note: {store.path} has {store.intensity.unit} at {store.manifest['spacing_mm']} mm, {run.path} was "
            f"trained on {run.intensity.unit} at {run.settings['input']['spacing_mm']} mm"
        )
