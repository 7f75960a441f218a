"""Evaluate trained models on readers they never saw: samples from the model, numbers from ``probunet.metrics``."""

from __future__ import annotations

import csv
import platform
import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import DataLoader

import probunet
from probunet.data.batches import Crop, EvaluationImages
from probunet.data.flips import mode_probabilities
from probunet.data.store import Split, Store, sha256
from probunet.errors import InputError
from probunet.files import writing_file
from probunet.metrics import Interval, mode_frequencies_from, pixel_frequencies
from probunet.models.base import SegmentationModel
from probunet.processes import Tell
from probunet.progress import console, progress_bar
from probunet.reference_points import REFERENCE_POINTS, always_empty
from probunet.run import Run, runs_in, write_json
from probunet.scoring import SetScores, score_batch
from probunet.types import IGNORE

BATCH = 32
TIMED = 5
"""Repeats of which the median is the time for 16 samples."""

CONVENTIONS = {
    "distance": "1 - IoU, of the foreground for two classes, averaged over all classes otherwise",
    "empty": "d = 0 if both masks are empty, 1 if one is",
    "ignored": f"pixels that any reader labels {IGNORE}",
    "ged2": "V-statistic (pairs i = j kept, as published), averaged over all subsets of n samples; "
    "biased upwards by E d(S,S')/n",
    "ged2_unbiased": "pairs i = j left out on both sides, the same for every n; undefined for 1 sample",
    "interval": "95 % percentile bootstrap over patients",
}
FLIP_CONVENTIONS = {
    "distance": "1 - IoU, averaged over the classes that flip and what they become, against all modes with their "
    "probabilities",
    "empty": "a class that neither map has is left out of the average over classes",
}
Cells = dict[str, dict[str, float | None]]
"""From a number of samples to mean, low and high."""


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


def evaluate_run(
    run: Run, store: Store, split: Split, numbers: list[int], seed: int, device: str, tell: Tell | None = None
) -> dict[str, Any]:
    """Evaluate one model and write ``evaluation.json`` and ``evaluation.csv``.

    Args:
        run: the trained model.
        store: the data.
        split: which part of it.
        numbers: of samples, ascending.
        seed: of the samples and of the bootstrap.
        device: where the model runs.
        tell: told how far it is; a bar shows it as well.

    Returns:
        The content of ``evaluation.json``.
    """
    model = run.model(device)
    _check_fit(run, model, store)
    images = EvaluationImages(store, split, run.crop)
    started = time.perf_counter()
    distinct, found, pixels = _score_all(run, model, images, numbers, seed, device, tell)
    examples = [store.examples[i] for i in images.indices]
    groups = [example.group for example in examples]
    rows = {name: scores.summaries(groups, confidence=0.95, seed=seed) for name, scores in found.items()}
    content = {
        "run": str(run.path),
        "model": run.settings["model"]["class_path"],
        "parameters": sum(p.numel() for p in model.parameters()),
        "data": _data_facts(store, split, run.crop, groups),
        "conventions": {**CONVENTIONS, **(FLIP_CONVENTIONS if store.flips else {})},
        "checkpoint": sha256(run.best),
        "seed": seed,
        "distinct_hypotheses": distinct,
        **_energy(rows["model"], numbers),
        "scores": rows["model"],
        "reference_points": {name: _energy(rows[name], numbers) for name in rows if name != "model"},
        **({"modes": _modes(store, found["model"], pixels, max(numbers), groups, seed)} if store.flips else {}),
        "timing": _timing(model, images, seed, device),
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


def _score_all(
    run: Run,
    model: SegmentationModel,
    images: EvaluationImages,
    numbers: list[int],
    seed: int,
    device: str,
    tell: Tell | None,
) -> tuple[int | None, dict[str, SetScores], npt.NDArray[np.int64]]:
    """Score the model and every reference point, batch by batch.

    Returns:
        How many different hypotheses the model has, the scores of ``"model"`` and of each reference point, and
        counts of the pixels of classes that flip, see ``pixel_frequencies``.
    """
    generator, draws = torch.Generator(device).manual_seed(seed), np.random.default_rng(seed)
    flips = images.store.flips
    switches = [(flip.class_id, flip.flipped_id) for flip in flips]
    pixels = np.zeros((len(switches), 3), np.int64)
    points = {name: f for name, f in REFERENCE_POINTS.items() if not (flips and f is always_empty)}
    found = {name: SetScores() for name in ("model", *points)}
    options = images.store.convention()
    distinct: int | None = None
    most = max(numbers)
    with progress_bar() as bar, torch.inference_mode():
        task = bar.add_task(f"evaluating {run.name}", total=len(images))
        for batch in DataLoader(images, batch_sampler=images.batches(BATCH)):
            distribution = model(batch["image"].to(device).contiguous(memory_format=torch.channels_last))
            distinct = distribution.distinct
            samples = distribution.sample(most, generator).movedim(0, 1).cpu().numpy()
            labels = batch["labels"].numpy()
            found["model"].add(score_batch(samples, labels, numbers, options, calibrated=True))
            if switches:
                pixels += pixel_frequencies(labels[:, 0], samples, switches)
            for name, hypotheses in points.items():
                drawn = hypotheses(labels, most, draws, options["weights"])
                found[name].add(score_batch(drawn, labels, numbers, options, calibrated=False))
            bar.advance(task, len(labels))
            if tell:
                tell(bar.tasks[task].completed / len(images), f"{bar.tasks[task].completed:.0f} images")
    return distinct, found, pixels


def _modes(
    store: Store,
    scores: SetScores,
    pixels: npt.NDArray[np.int64],
    samples: int,
    groups: list[str],
    seed: int,
) -> dict[str, Any]:
    """Frequencies of the modes of label flips, and of single pixels (paper, Figs. 5 and 8 to 10)."""
    counts = np.concatenate([batch.modes for batch in scores.batches if batch.modes is not None])
    truth = mode_probabilities(store.flips)
    found = mode_frequencies_from(counts, truth, groups=groups, seed=seed)
    rows = zip(store.flips, pixels.tolist(), strict=True)
    return {
        "n": samples,
        "probabilities": truth.tolist(),
        "counts": found.counts.tolist(),
        "total_variation": _interval(found.total_variation),
        "total_variation_floor": found.total_variation_floor,
        "kl": _interval(found.kl),
        "pixels": [
            {
                "class": store.classes[flip.class_id],
                "flipped": store.classes[flip.flipped_id],
                "probability": flip.probability,
                "total": total,
                "kept": kept,
                "flipped_count": flipped,
            }
            for flip, (total, kept, flipped) in rows
        ],
    }


def _interval(value: Interval) -> dict[str, float]:
    return {"mean": value.mean, "low": value.low, "high": value.high}


def _timing(model: SegmentationModel, images: EvaluationImages, seed: int, device: str) -> dict[str, Any]:
    """Seconds from one image to 16 hypotheses, and of the part before the first one; medians."""
    image = images[0]["image"][None].to(device).contiguous(memory_format=torch.channels_last)
    generator = torch.Generator(device).manual_seed(seed)
    encode, whole = [], []
    with torch.inference_mode():
        for _ in range(TIMED):
            started = time.perf_counter()
            distribution = model(image)
            encode.append(time.perf_counter() - started)
            distribution.sample(16, generator).cpu()
            whole.append(time.perf_counter() - started)
    return {
        "encode_seconds": round(float(np.median(encode)), 5),
        "sample16_seconds": round(float(np.median(whole)), 5),
        "batch": 1,
        "threads": torch.get_num_threads(),
        "device": device,
    }


def _energy(rows: list[dict[str, Any]], numbers: list[int]) -> dict[str, Cells]:
    """D_GED^2 by number of samples, from the rows of all scores; ``None`` where it is not defined."""
    cells = {(row["metric"], row["n"]): {key: row[key] for key in ("mean", "low", "high")} for row in rows}
    undefined: dict[str, float | None] = dict.fromkeys(("mean", "low", "high"))
    unbiased = cells.get(("ged2_unbiased", None), undefined)
    return {
        "ged2": {str(n): cells["ged2", n] for n in numbers},
        "ged2_unbiased": {str(n): unbiased if n > 1 else undefined for n in numbers},
    }


def _data_facts(store: Store, split: Split, crop: Crop, groups: list[str]) -> dict[str, Any]:
    return {
        "store": str(store.path),
        "title": store.manifest["title"],
        "simulated": store.manifest["simulated"],
        "split": split,
        "images": len(groups),
        "patients": len(set(groups)),
        "readers": store.readers,
        "crop": crop if isinstance(crop, int) else list(crop),
        "spacing_mm": store.manifest["spacing_mm"],
        "checksum": store.manifest["files"]["images.npy"]["sha256"],
    }


def _write_csv(file: Path, names: list[str], groups: list[str], scores: SetScores) -> None:
    columns = scores.columns()
    with writing_file(file) as temporary, temporary.open("w", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(["name", "group", *columns])
        for i, (name, group) in enumerate(zip(names, groups, strict=True)):
            values = [float(column[i]) for column in columns.values()]
            writer.writerow([name, group, *("" if np.isnan(value) else f"{value:.6f}" for value in values)])


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
