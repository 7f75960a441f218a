"""The page about an experiment: what was trained on what, how well it agrees with readers, what it proposes."""

from __future__ import annotations

import base64
import csv
import io
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from probunet.data.batches import EvaluationImages
from probunet.data.store import Store
from probunet.errors import InputError
from probunet.files import writing_file
from probunet.metrics import energy_distance
from probunet.progress import console
from probunet.report.figures import POINTS, energy_figure, training_figure
from probunet.report.panels import Case, panels
from probunet.run import Run, runs_in

SHOWN = {"ambiguous": "Cases on which the readers disagree", "clear": "Cases on which the readers agree"}
CASES = 3
HYPOTHESES = 16


def report(experiment: Path, out: Path | None = None) -> None:
    """Write one self-contained HTML page about all evaluated models of an experiment.

    Args:
        experiment: folder of the experiment, or a single run directory.
        out: the page; EXPERIMENT/report.html if not given.

    Raises:
        InputError: nothing there was evaluated, or models were evaluated on different data.
    """
    runs = [run for run in runs_in(experiment) if run.evaluation() is not None]
    if not runs:
        raise InputError(f"{experiment} holds no evaluation; run 'probunet evaluate {experiment}' first")
    evaluations = {run.name: run.evaluation() or {} for run in runs}
    first = evaluations[runs[0].name]
    for name, evaluation in evaluations.items():
        if evaluation["data"] != first["data"]:
            raise InputError(
                f"{experiment}: {name} and {runs[0].name} were evaluated on different data; evaluate them together"
            )
    target = out or Path(experiment) / "report.html"
    store = Store(first["data"]["store"])
    template = Environment(
        loader=PackageLoader("probunet.report", "."), autoescape=True, undefined=StrictUndefined
    ).get_template("page.html")
    page = template.render(
        title=f"probunet: {Path(experiment).name}",
        data=first["data"],
        conventions=first["conventions"],
        numbers=list(first["ged2"]),
        tables=_tables(evaluations),
        energy=_picture(energy_figure({r.name: _per_image(r) for r in runs}, _reference_means(first))),
        points=POINTS,
        panels=_panels(runs, store, first),
        curves=_picture(training_figure({run.name: run.path / "log" for run in runs})),
        costs=[_cost(run) for run in runs],
        versions=", ".join(f"{name} {version}" for name, version in first["versions"].items()),
        seed=first["seed"],
        licence=store.manifest["licence"],
        settings={run.name: yaml.safe_dump(run.settings, sort_keys=False) for run in runs},
    )
    with writing_file(target) as file:
        file.write_text(page)
    console.print(f"the report is {target}")


def _tables(evaluations: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    titles = {"ged2": "V-statistic (as published; biased upwards for few samples)", "ged2_unbiased": "unbiased"}
    points = next(iter(evaluations.values()))["reference_points"]
    tables = []
    for key, title in titles.items():
        rows = [_row(name, evaluation[key], reference=False) for name, evaluation in evaluations.items()]
        rows += [_row(name.replace("_", " "), values[key], reference=True) for name, values in points.items()]
        tables.append({"title": title, "rows": rows})
    return tables


def _row(name: str, by_n: dict[str, Any], reference: bool) -> dict[str, Any]:
    return {"name": name, "cells": list(by_n.values()), "reference": reference}


def _reference_means(evaluation: dict[str, Any]) -> dict[str, dict[int, float]]:
    return {
        name.replace("_", " "): {int(n): cell["mean"] for n, cell in values["ged2"].items()}
        for name, values in evaluation["reference_points"].items()
    }


def _per_image(run: Run) -> dict[int, npt.NDArray[np.float64]]:
    with (run.path / "evaluation.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    numbers = [int(key.removeprefix("ged2_n")) for key in rows[0] if key.startswith("ged2_n")]
    return {n: np.array([float(row[f"ged2_n{n}"] or "nan") for row in rows]) for n in numbers}


def _panels(runs: list[Run], store: Store, evaluation: dict[str, Any]) -> list[dict[str, Any]]:
    data = evaluation["data"]
    images = EvaluationImages(store, data["split"], data["crop"])
    chosen = _choose(images, evaluation["seed"])
    result = []
    for run in runs:
        model = run.model()
        for kind, positions in chosen.items():
            cases = [_case(model, images, position, evaluation["seed"]) for position in positions]
            result.append(
                {
                    "title": f"{SHOWN[kind]}: {run.name}",
                    "picture": _picture(panels(cases)),
                    "caption": "Top: image, the readers' outlines, pixel-wise probability of the lesion. "
                    f"Below: {len(cases[0].samples)} hypothes{'es' if len(cases[0].samples) > 1 else 'is'}.",
                }
            )
    return result


def _choose(images: EvaluationImages, seed: int) -> dict[str, list[int]]:
    """Draw cases at random from the quarter with most and the quarter with least disagreement between readers.

    Clear cases are drawn among those where every reader marked something; a patient is shown once.
    """
    labels = np.stack([images[i]["labels"].numpy() for i in range(0, len(images), max(len(images) // 400, 1))])
    positions = np.arange(0, len(images), max(len(images) // 400, 1))[: len(labels)]
    disagreement = energy_distance(labels, labels, num_classes=int(labels.max()) + 1, empty="zero").reader_diversity
    complete = np.all(labels.any(axis=(2, 3)), axis=1)
    clear = np.where(complete, disagreement, np.inf)
    quarter = max(len(labels) // 4, 1)
    pools = {
        "ambiguous": np.argsort(-disagreement)[:quarter],
        "clear": np.argsort(clear)[: min(quarter, int(complete.sum()))],
    }
    random = np.random.default_rng(seed)
    chosen: dict[str, list[int]] = {}
    for kind, pool in pools.items():
        patients: dict[str, int] = {}
        for place in random.permutation(pool):
            position = int(positions[place])
            patients.setdefault(images.store.examples[images.indices[position]].group, position)
        chosen[kind] = list(patients.values())[:CASES]
    return {kind: found for kind, found in chosen.items() if found}


def _case(model: torch.nn.Module, images: EvaluationImages, position: int, seed: int) -> Case:
    item = images[position]
    generator = torch.Generator().manual_seed(seed + position)
    with torch.inference_mode():
        distribution = model(item["image"][None])
        samples = distribution.sample(min(HYPOTHESES, distribution.distinct or HYPOTHESES), generator)[:, 0].numpy()
        probability = 1 - distribution.probabilities(64, generator)[0, 0].numpy()
    name = images.store.examples[item["index"]].name
    return Case(name, item["image"][0].numpy(), item["labels"].numpy(), samples, probability, note=name)


def _cost(run: Run) -> dict[str, Any]:
    training, evaluation = run.training() or {}, run.evaluation() or {}
    return {
        "name": run.name,
        "parameters": evaluation["parameters"],
        "steps": training.get("steps", 0),
        "seconds": training.get("seconds", 0.0),
        "memory": training.get("peak_memory_mb", 0),
        "best": training.get("best_validation_ged2"),
        "evaluation": evaluation["seconds"],
    }


def _picture(figure: Figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
