"""Figure 4 of the paper and the training curves."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#f0e442", "#56b4e9", "#e69f00")
POINTS = 400


def energy_figure(values: Mapping[str, Mapping[int, npt.NDArray[np.float64]]], references: Mapping[str, Any]) -> Figure:
    """Draw D_GED^2 against the number of samples (paper, Fig. 4): a dot an image, a line through the means.

    Args:
        values: by model, by number of samples: (images,) D_GED^2, V-statistic.
        references: name and mean D_GED^2 by number of samples of hypotheses that need no model.
    """
    figure = _figure(9, 4)
    axis = figure.subplots()
    numbers = sorted({n for by_n in values.values() for n in by_n})
    random = np.random.default_rng(0)
    for i, (name, by_n) in enumerate(values.items()):
        offset = (i - (len(values) - 1) / 2) * 0.3
        for place, n in enumerate(numbers):
            chosen = random.permutation(len(by_n[n]))[:POINTS]
            jitter = random.uniform(-0.1, 0.1, len(chosen))
            axis.plot(place + offset + jitter, by_n[n][chosen], ".", ms=2, alpha=0.25, color=COLOURS[i % len(COLOURS)])
        means = [float(np.nanmean(by_n[n])) for n in numbers]
        axis.plot(
            np.arange(len(numbers)) + offset, means, "-o", color=COLOURS[i % len(COLOURS)], mec="white", label=name
        )
    for style, (name, by_n) in zip((":", "--", "-."), references.items(), strict=False):
        axis.plot(range(len(numbers)), [by_n[n] for n in numbers], style, color="0.35", lw=1, label=name)
    axis.set_xticks(range(len(numbers)), [str(n) for n in numbers])
    axis.set_xlabel("number of samples")
    axis.set_ylabel("D²_GED (V-statistic)")
    axis.legend(fontsize=8, frameon=False, ncols=2)
    return figure


def training_figure(logs: Mapping[str, Path]) -> Figure:
    """Draw loss, reconstruction, KL and validation D_GED^2 against the step.

    Args:
        logs: by model, its folder ``log``.
    """
    quantities = {
        "train/reconstruction": "reconstruction (nats per image)",
        "train/kl": "KL (nats per image)",
        "validation/ged2": "validation D²_GED (16 samples)",
    }
    figure = _figure(11, 3)
    axes = figure.subplots(1, len(quantities))
    for i, (name, file) in enumerate(logs.items()):
        curves = read_log(file)
        for axis, (key, title) in zip(axes, quantities.items(), strict=True):
            axis.set_title(title, fontsize=9)
            axis.set_xlabel("step", fontsize=8)
            if key in curves:
                steps, series = curves[key]
                axis.plot(steps, _smooth(series), color=COLOURS[i % len(COLOURS)], label=name)
    for axis in axes:
        axis.tick_params(labelsize=7)
    axes[0].set_yscale("log")
    axes[0].legend(fontsize=8, frameon=False)
    return figure


def read_log(folder: Path) -> dict[str, tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]]:
    """Read the log of a training, over all its starts; a step that was done again counts as it was done last.

    Returns:
        By quantity: steps and values, both (T,).
    """
    found: dict[str, dict[float, float]] = {}
    starts = sorted(folder.glob("version_*/metrics.csv"), key=lambda file: int(file.parent.name.split("_")[1]))
    for file in starts:
        with file.open(newline="") as handle:
            for row in csv.DictReader(handle):
                for key, value in row.items():
                    if value and key not in ("step", "epoch"):
                        found.setdefault(key, {})[float(row["step"])] = float(value)
    return {key: (np.array(sorted(v)), np.array([v[step] for step in sorted(v)])) for key, v in found.items()}


def _smooth(series: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Running mean over a fiftieth of the curve, so that single batches do not hide it."""
    width = max(len(series) // 50, 1)
    padded = np.pad(series, (width // 2, width - 1 - width // 2), mode="edge")
    return np.convolve(padded, np.ones(width) / width, mode="valid")


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure
