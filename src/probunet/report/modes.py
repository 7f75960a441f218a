"""Do samples come as often as they should, where their probabilities are known (paper, Figs. 5 and 8 to 10)."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from probunet.drawing.pictures import new_figure
from probunet.report.results import Results
from probunet.report.section import Picture, Section, Table, estimate, style


def section(results: Results) -> Section | None:
    """Frequencies of whole modes and of single pixels' classes; only for label flips."""
    parts = {name: results.evaluations[name].get("modes") for name in results.names}
    modes = {name: value for name, value in parts.items() if value}
    if not modes:
        return None
    first = next(iter(modes.values()))
    text = [
        f"{len(first['probabilities'])} modes with known probabilities. Each of {first['n']} samples an image counts "
        f"for its nearest mode, over {results.data['images']:,} images. Total variation is half the summed absolute "
        f"difference to the known probabilities (0 to 1); as many draws of these themselves give "
        f"{first['total_variation_floor']:.3f} on average.",
    ]
    rows = [[n, estimate(m["total_variation"]), estimate(m["kl"])] for n, m in modes.items()]
    table = Table(
        "modes", "Frequencies of modes against the known probabilities", ["model", "total variation", "KL (nats)"], rows
    )
    counts = [
        [k, p, *(m["counts"][k] / max(sum(m["counts"]), 1) for m in modes.values())]
        for k, p in enumerate(first["probabilities"])
    ]
    single = Table("mode_frequencies", "", ["mode", "probability", *modes], counts, shown=False)
    pixels = [
        [
            name,
            row["class"],
            row["probability"],
            row["flipped_count"] / max(row["total"], 1),
            row["kept"] / max(row["total"], 1),
        ]
        for name, m in modes.items()
        for row in m["pixels"]
    ]
    columns = ["model", "class", "probability of a flip", "pixels flipped", "pixels kept"]
    pictures = [
        Picture("mode_frequencies", "Modes", _modes(modes), "A dot a mode; on the line, frequency is probability."),
        Picture("pixel_frequencies", "Pixels", _pixels(modes), "Share of a class's pixels that samples flip."),
    ]
    return Section(
        "Do samples come as often as they should?",
        text,
        [table, single, Table("pixel_frequencies", "", columns, pixels, shown=False)],
        pictures,
    )


def _modes(modes: dict[str, Any]) -> Figure:
    columns = min(len(modes), 5)
    rows = -(-len(modes) // columns)
    figure = new_figure(2.3 * columns, 2.5 * rows)
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
    for axis in axes.flat[len(modes) :]:
        axis.axis("off")
    for i, (axis, (name, mode)) in enumerate(zip(axes.flat, modes.items(), strict=False)):
        known = np.array(mode["probabilities"])
        seen = np.array(mode["counts"]) / max(sum(mode["counts"]), 1)
        floor = 0.3 / max(sum(mode["counts"]), 1)
        _bisector(axis, known)
        look = style(i)
        axis.plot(known, np.maximum(seen, floor), look["marker"], color=look["color"], ms=4)
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_ylim(floor, 1.3)
        axis.set_title(f"{name.replace('_', ' ')}\nTV {mode['total_variation']['mean']:.3f}", fontsize=8)
        axis.tick_params(labelsize=7)
    figure.supxlabel("true probability of the mode", fontsize=9)
    figure.supylabel("frequency among the samples", fontsize=9)
    return figure


def _pixels(modes: dict[str, Any]) -> Figure:
    figure = new_figure(9, 3.6)
    axis = figure.subplots()
    names = [row["class"] for row in next(iter(modes.values()))["pixels"]]
    places = np.arange(len(names))
    known = [row["probability"] for row in next(iter(modes.values()))["pixels"]]
    axis.bar(places, known, 0.9, color="0.88", label="known")
    for i, (name, mode) in enumerate(modes.items()):
        look = style(i)
        share = [row["flipped_count"] / max(row["total"], 1) for row in mode["pixels"]]
        offset = (i - (len(modes) - 1) / 2) * 0.8 / len(modes)
        axis.plot(places + offset, share, look["marker"], color=look["color"], ms=5, label=name.replace("_", " "))
    axis.set_xticks(places, names)
    axis.set_ylabel("share of pixels flipped")
    axis.legend(fontsize=7, frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


def _bisector(axis: Axes, known: np.ndarray) -> None:
    ends = [known.min() / 1.3, known.max() * 1.3]
    axis.plot(ends, ends, color="0.5", lw=1)
