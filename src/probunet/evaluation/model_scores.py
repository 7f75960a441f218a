"""Evaluate trained models on readers they never saw: samples from the model, numbers from ``probunet.metrics``."""

from __future__ import annotations

import csv
import hashlib
import json
import logging
import platform
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from probunet.core.console import progress_bar
from probunet.core.descriptions import write_json
from probunet.core.devices import chosen_device, wait_for
from probunet.core.files import sha256
from probunet.core.processes import Tell
from probunet.core.seeds import checked_counts, checked_seed
from probunet.core.shards import WHOLE, Shard
from probunet.core.version import VERSION as PROBUNET
from probunet.core.writing import writing_file
from probunet.data.batches import EvaluationImages
from probunet.data.manifest import Split
from probunet.data.store import Store
from probunet.evaluation.fit import check_fit, tell_known
from probunet.evaluation.groups import independent_groups
from probunet.evaluation.parts import Parts, results, score_part
from probunet.evaluation.set_scores import SetScores
from probunet.evaluation.shown import Part, batch_size, distribution_of, images_to_score
from probunet.models.base import SegmentationModel
from probunet.runs.guest import Guest
from probunet.runs.run import Run

log = logging.getLogger(__name__)

TIMED = 5
"""Repeats of which the median is the time for 16 samples."""


@dataclass(frozen=True)
class Question:
    """What is asked of a trained model.

    Attributes:
        split: which part of the data.
        numbers: of samples, ascending.
        seed: of the samples and of the bootstrap.
        part: what of an image is scored, see :func:`images_to_score`.

    Raises:
        InputError: no number of samples, or one below 1.
    """

    split: Split
    numbers: tuple[int, ...]
    seed: int = 0
    part: Part | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "numbers", checked_counts(self.numbers))
        checked_seed(self.seed)


def is_evaluated(run: Run, store: Store, question: Question) -> bool:
    """Whether ``evaluation.json`` answers this very question about these very weights."""
    past = run.evaluation()
    if past is None:
        return False
    images = images_to_score(store, question.split, run.crop, question.part, run.intensity)
    return _identity(run, images, question) == {
        "checkpoint": past["checkpoint"],
        "identity": past["data"].get("identity"),
        "split": past["data"]["split"],
        "crop": past["data"].get("crop"),
        "n": [int(n) for n in past["ged2"]],
        "seed": past["seed"],
    }


def evaluate_run(
    run: Run, store: Store, question: Question, device: str, tell: Tell | None = None, shard: Shard = WHOLE
) -> dict[str, Any] | None:
    """Evaluate one model and write ``evaluation.json`` and ``evaluation.csv``.

    Args:
        run: the trained model.
        store: the data.
        question: what is asked.
        device: where the model runs.
        tell: told how far it is; a bar shows it as well.
        shard: what this process does of it.

    Returns:
        The content of ``evaluation.json``; ``None`` where other shards are not ready.
    """
    model = run.model(device)
    images = _images(run, store, question)
    identity = _identity(run, images, question)
    parts = _parts(run, identity, images)
    _score_missing(run, model, images, parts, question, shard, tell)
    if missing := parts.missing():
        log.info(f"shard {shard} of {run.path} is ready; {len(missing)} batches of others are missing so far")
        return None
    if (whole := parts.merged()) is None:
        return None
    cases = [store.cases[i] for i in images.indices]
    patients = [case.patient for case in cases]
    groups, grouped_by = independent_groups(patients)
    content = {
        "run": str(run.path),
        **({"trained": str(run.elsewhere.path)} if isinstance(run, Guest) else {}),
        "model": run.specification.kind,
        "parameters": sum(p.numel() for p in model.parameters()),
        "data": _data_facts(store, question.split, identity["crop"], patients),
        "convention": store.convention().as_json(),
        "grouped_by": grouped_by,
        "checkpoint": identity["checkpoint"],
        "seed": question.seed,
        "distinct_hypotheses": whole.distinct,
        **results(store, whole, question.numbers, groups, question.seed),
        "timing": _timing(model, images, question.seed, device),
        "seconds": round(whole.seconds, 1),
        "versions": {
            "probunet": PROBUNET,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
    }
    _write_csv(run.path / "evaluation.csv", [case.name for case in cases], patients, whole.sets["model"])
    write_json(run.path / "evaluation.json", content)
    parts.remove()
    return content


def score_share(run: Run, store: Store, question: Question, device: str, shard: Shard) -> None:
    """Score a shard of what :func:`evaluate_run` needs, which puts it together; the arguments are those."""
    images = _images(run, store, question)
    parts = _parts(run, _identity(run, images, question), images)
    _score_missing(run, run.model(device), images, parts, question, shard, None)


def evaluate_in_process(run: Run, store: Path, question: Question, tell: Tell) -> None:
    """Do :func:`evaluate_run` as a task for a process of its own, which opens the store and chooses the device."""
    evaluate_run(run, Store(store), question, chosen_device(), tell)


def _identity(run: Run, images: EvaluationImages, question: Question) -> dict[str, Any]:
    """What the numbers of an evaluation depend on."""
    identity = images.store.identity().as_json()
    size: Any = list(images.size)
    if isinstance(run.crop, int) and images.size == (run.crop,) * images.store.dims:
        size = run.crop
    elif images.store.dims == 3 and images.crop is None:
        size = "whole"
    return {
        "checkpoint": sha256(run.weights_file),
        "identity": identity,
        "split": question.split,
        "crop": size,
        "n": list(question.numbers),
        "seed": question.seed,
    }


def _images(run: Run, store: Store, question: Question) -> EvaluationImages:
    check_fit(run, store, question.split)
    tell_known(run, store, question.split)
    return images_to_score(store, question.split, run.crop, question.part, run.intensity)


def _parts(run: Run, identity: dict[str, Any], images: EvaluationImages) -> Parts:
    """Where the parts of this evaluation are kept, and of no other one."""
    batch = batch_size(images)
    whole = {**identity, "batch": batch, "version": PROBUNET}
    name = hashlib.sha256(json.dumps(whole, sort_keys=True).encode()).hexdigest()[:12]
    return Parts(run.path / f"evaluation-{name}.parts", len(images.batches(batch)))


def _score_missing(
    run: Run,
    model: SegmentationModel,
    images: EvaluationImages,
    parts: Parts,
    question: Question,
    shard: Shard,
    tell: Tell | None,
) -> None:
    """Score what is missing of this shard, batch by batch."""
    rows = images.batches(batch_size(images))
    mine, missing = shard.of(range(len(rows))), set(parts.missing())
    todo = [number for number in mine if number in missing]
    total = sum(len(rows[number]) for number in mine)
    with progress_bar() as bar:
        done = total - sum(len(rows[number]) for number in todo)
        task = bar.add_task(f"evaluating {run.name}", total=total, completed=done)
        loader = DataLoader(images, batch_sampler=[rows[number] for number in todo])
        for number, batch in zip(todo, loader, strict=True):
            parts.write(number, score_part(model, batch, number, images.store, question.numbers, question.seed))
            bar.advance(task, len(rows[number]))
            if tell:
                tell(bar.tasks[task].completed / total, f"{bar.tasks[task].completed:.0f} images")


def _timing(model: SegmentationModel, images: EvaluationImages, seed: int, device: str) -> dict[str, Any]:
    """Seconds from one image to 16 hypotheses, and of the part before the first one; medians."""
    image = images[0]["image"][None].to(device)
    generator = torch.Generator().manual_seed(seed)
    encode, whole = [], []
    with torch.inference_mode():
        for _ in range(TIMED):
            started = time.perf_counter()
            distribution = distribution_of(model, image)
            wait_for(device)
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


def _data_facts(store: Store, split: Split, crop: int | list[int] | str, patients: list[str]) -> dict[str, Any]:
    return {
        "store": str(store.path),
        "title": store.manifest["title"],
        "simulated": store.manifest["simulated"],
        "split": split,
        "images": len(patients),
        "patients": len(set(patients)),
        "readers": store.readers,
        "crop": crop,
        "spacing_mm": store.manifest["spacing_mm"],
        "identity": store.identity().as_json(),
    }


def _write_csv(file: Path, names: list[str], patients: list[str], scores: SetScores) -> None:
    columns = scores.columns()
    with writing_file(file) as temporary, temporary.open("w", newline="") as handle:
        writer = csv.writer(handle, lineterminator="\n")
        writer.writerow(["name", "patient", *columns])
        for i, (name, patient) in enumerate(zip(names, patients, strict=True)):
            values = [float(column[i]) for column in columns.values()]
            writer.writerow([name, patient, *("" if np.isnan(value) else f"{value:.6f}" for value in values)])
