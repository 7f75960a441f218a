"""What every method cost: parameters, training, time for 16 samples; and the training curves."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from probunet.core.descriptions import read_text
from probunet.core.errors import InputError
from probunet.drawing.pictures import new_figure
from probunet.report.results import Results
from probunet.report.section import Picture, Section, Table, style
from probunet.runs.guest import Guest


def section(results: Results) -> Section:
    """Table of costs and the curves."""
    rows = [_row(results, name) for name in results.names]
    columns = [
        "model",
        "parameters",
        "steps",
        "training (s)",
        "threads",
        "peak memory (MB)",
        "best validation D²_GED",
        "16 samples of one image (ms)",
    ]
    text = [
        "What each model was given is in the columns. An ensemble's training is the sum over its members, of which the "
        "first may be the deterministic U-Net. Times depend on what else the machine did."
    ]
    guests = [run for run in results.runs if isinstance(run, Guest)]
    text += [f"{guest.name} was trained elsewhere ({guest.elsewhere.path}), on data of its own." for guest in guests]
    logs = {run.name: run.log for run in results.runs if run.log.is_dir()}
    picture = Picture("training", "Training curves", training_figure(logs), "Smoothed over a fiftieth of the curve.")
    return Section("Training and costs", text, [Table("costs", "", columns, rows)], [picture] if logs else [])


def training_figure(logs: Mapping[str, Path]) -> Figure:
    """Draw reconstruction, KL and validation D_GED^2 against the step.

    Args:
        logs: by model, its folder ``log``.
    """
    quantities = {
        "train/reconstruction": "reconstruction (nats per image)",
        "train/kl": "KL (nats per image)",
        "validation/ged2": "validation D²_GED",
    }
    figure = new_figure(11, 3.6)
    axes = figure.subplots(1, len(quantities))
    for i, (name, folder) in enumerate(logs.items()):
        curves = read_log(folder)
        for axis, (key, title) in zip(axes, quantities.items(), strict=True):
            axis.set_title(title, fontsize=9)
            axis.set_xlabel("step", fontsize=8)
            if key in curves:
                steps, series = curves[key]
                look = {k: v for k, v in style(i).items() if k != "marker"}
                axis.plot(steps, _smooth(series), **look, lw=1.2, label=name.replace("_", " "))
    for axis in axes:
        axis.tick_params(labelsize=7)
    axes[0].set_yscale("log")
    figure.legend(*axes[0].get_legend_handles_labels(), fontsize=8, frameon=False, loc="outside lower center", ncols=5)
    return figure


def read_log(folder: Path) -> dict[str, tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]:
    """Read the log of a training, over all its starts; a step that was done again counts as it was done last.

    Returns:
        By quantity: steps and values, both (T,).

    Raises:
        InputError: a table of the log is damaged.
    """
    values: dict[str, dict[float, float]] = {}
    starts = sorted(folder.glob("version_*/metrics.csv"), key=lambda file: int(file.parent.name.split("_")[1]))
    for file in starts:
        try:
            for row in csv.DictReader(read_text(file).splitlines()):
                for key, value in row.items():
                    if value and key not in ("step", "epoch"):
                        values.setdefault(key, {})[float(row["step"])] = float(value)
        except (ValueError, TypeError, KeyError) as error:
            raise InputError(f"{file} holds something else than numbers by step; remove it") from error
    return {key: (np.array(sorted(v)), np.array([v[step] for step in sorted(v)])) for key, v in values.items()}


def _row(results: Results, name: str) -> list[Any]:
    evaluation = results.evaluations[name]
    run = next(run for run in results.runs if run.name == name)
    training, timing = run.training() or {}, evaluation.get("timing") or {}
    best, sampling = training.get("best_validation_ged2"), timing.get("sample16_seconds")
    return [
        name,
        evaluation["parameters"],
        training.get("steps"),
        training.get("seconds"),
        training.get("threads"),
        training.get("peak_memory_mb"),
        None if best is None else round(best, 3),
        None if sampling is None else round(1000 * sampling, 1),
    ]


def _smooth(series: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Running mean over a fiftieth of the curve, so that single batches do not hide it."""
    width = max(len(series) // 50, 1)
    padded = np.pad(series, (width // 2, width - 1 - width // 2), mode="edge")
    return np.convolve(padded, np.ones(width) / width, mode="valid")
