"""Are the probabilities right: fixed against conditional prior (paper, Fig. 17)."""

from __future__ import annotations

import numpy as np

from probunet.core.marks import marked
from probunet.drawing.pictures import new_figure
from probunet.metrics import class_frequencies, reliability
from probunet.metrics.calibration import joined
from probunet.report.results import SAMPLES, Results
from probunet.report.section import Estimate, Picture, Section, Table, estimate, style

LEVELS = 5


def section(results: Results) -> Section | None:
    """Reliability of pixels' probabilities and of an empty reading, for every model; binary data only."""
    if results.store.flips or len(results.store.classes) != 2:
        return None
    names = results.names
    dims = results.store.dims
    labels = [results.images[i]["labels"].numpy() for i in results.spread]
    observed = np.array([1 - marked(readings, dims).mean() for readings in labels])
    figure = new_figure(10, 4)
    pixels, empty = figure.subplots(1, 2)
    rows, convention = [], results.store.convention()
    for i, name in enumerate(names):
        samples = results.spread_samples(name)
        compared = joined(
            [
                reliability(class_frequencies(drawn[None], convention), readings[None], convention, bins=8)
                for drawn, readings in zip(samples, labels, strict=True)
            ]
        )
        curve = compared.curve()
        pixels.plot(curve[:, 1], curve[:, 2], **style(i), ms=5, label=name.replace("_", " "))
        predicted = np.array([1 - marked(drawn, dims).mean() for drawn in samples])
        bins = np.minimum((predicted * LEVELS).astype(int), LEVELS - 1)
        used = np.unique(bins)
        points = np.array([(predicted[bins == b].mean(), observed[bins == b].mean()) for b in used])
        empty.plot(points[:, 0], points[:, 1], **style(i), ms=5)
        rows.append([name, _ece(results, name), round(float(np.abs(predicted - observed).mean()), 3)])
    for axis, words in ((pixels, "a pixel is lesion"), (empty, "there is no lesion at all")):
        axis.plot([0, 1], [0, 1], color="0.6", lw=1)
        axis.set_xlabel(f"share of samples in which {words}", fontsize=9)
        axis.set_ylabel("share of readers", fontsize=9)
    pixels.legend(fontsize=8, frameon=False)
    text = [
        f"Curves: {SAMPLES} samples of each of {len(labels)} images, spread over all; on the line, samples are as "
        "readers. Calibration error: of the evaluation, over all its images and samples, in 15 bins."
    ]
    columns = [
        "model",
        "expected calibration error of pixels",
        "mean |share of empty samples − share of empty readings|",
    ]
    picture = Picture("calibration", "Reliability", figure, "Left: pixels in 8 bins. Right: images in 5 bins.")
    return Section("Are the probabilities right?", text, [Table("calibration", "", columns, rows)], [picture])


def _ece(results: Results, name: str) -> Estimate:
    rows = [row for row in results.evaluations[name]["scores"] if row["metric"] == "ece"]
    return estimate(rows[0]) if rows else (None, None, None)
