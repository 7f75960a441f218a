"""Is a model of volumes better than a model of slices whose hypotheses share one noise? On the same patients.

    python benchmarks/volumes.py data/volumes --slices runs/slices/mixture_of_experts \\
        --volumes runs/volumes/mixture_of_experts --out volumes.json

Both models see every test volume in a window of 64x64 px around what readers marked, all its slices. Lesions on fewer
than two slices are left out. The model of slices draws one noise for all slices of a volume, as `probunet sample` does.
Several runs of a kind (seeds) are averaged lesion by lesion. Printed are D_GED^2 with 16 hypotheses (V-statistic and
unbiased), the share of hypotheses and of readings with an empty slice between two that are not, and the relative CRPS
of the volume, each with a 95 % interval by patient and the paired test by patient; then the time of 16 hypotheses.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from probunet.core.devices import chosen_device, wait_for
from probunet.core.marks import box_of
from probunet.core.seeds import seed_of
from probunet.data.store import Store
from probunet.evaluation.fit import KNOWN, check_patients
from probunet.metrics.areas import area_crps
from probunet.metrics.distance import pairwise_distances
from probunet.metrics.energy import energy_distance_from
from probunet.metrics.measures import gap_share
from probunet.metrics.significance import bootstrap_interval, compare
from probunet.models.base import SegmentationModel
from probunet.runs.description import TrainedModel
from probunet.runs.trained import open_model

Labels = npt.NDArray[np.uint8]
Table = dict[str, npt.NDArray[np.float64]]
MEASURES = ("ged2", "ged2_unbiased", "gaps", "relative_crps")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path, help="of volumes")
    parser.add_argument("--slices", type=Path, nargs="+", required=True, help="runs of one model of slices")
    parser.add_argument("--volumes", type=Path, nargs="+", required=True, help="runs of one model of volumes")
    parser.add_argument("--split", default="test")
    parser.add_argument("--window", type=int, default=64, help="pixels along either side")
    parser.add_argument("-n", type=int, default=16, help="hypotheses of a lesion")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=int, help="only so many lesions")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    asked.device = chosen_device(asked.device)
    store = Store(asked.store)
    rows = [row for row in store.indices(asked.split).tolist() if thickness(store.labels[row]) > 1][: asked.limit]
    patients = [store.cases[row].patient for row in rows]
    kinds = {"slices": asked.slices, "volumes": asked.volumes}
    by_run = {name: [scored(open_model(run), store, rows, asked) for run in runs] for name, runs in kinds.items()}
    tables = {name: {m: np.mean([one[m] for one in runs], axis=0) for m in MEASURES} for name, runs in by_run.items()}
    readers = np.array([gap_share(present(store, row)[None])[0] for row in rows])
    result = {
        "store": store.manifest["title"],
        "lesions": len(rows),
        "patients": len(set(patients)),
        "n": asked.n,
        "window": asked.window,
        "device": asked.device,
        "runs": {name: [str(run) for run in runs] for name, runs in kinds.items()},
        "gaps_of_readers": summary(readers, patients),
        **{
            name: {measure: summary(table[measure], patients) for measure in MEASURES} for name, table in tables.items()
        },
        "means_of_runs": {
            name: {measure: [float(np.nanmean(one[measure])) for one in runs] for measure in MEASURES}
            for name, runs in by_run.items()
        },
        "compared": {measure: paired(tables, measure, patients) for measure in MEASURES},
        "encodings_of_n_hypotheses": encodings(open_model(asked.volumes[0]), store, rows[0], asked),
    }
    print(json.dumps(result, indent=2))
    if asked.out:
        asked.out.write_text(json.dumps(result, indent=2) + "\n")


def thickness(labels: Labels) -> int:
    """Slices from the first to the last that some reader marked."""
    box = box_of(labels)
    return 0 if box is None else box[0][1] - box[0][0]


def present(store: Store, row: int) -> Labels:
    """Readings (R, D, H, W) of those who looked."""
    return store.checked(store.labels[row][store.present[row]])


def window(store: Store, row: int, side: int) -> tuple[Any, ...]:
    """All slices, and the part of the plane around all marks that lies in the volume."""
    box = box_of(store.labels[row])
    assert box is not None
    cut = [slice(None)]
    for (begin, end), length in zip(box[1:], store.size(row)[1:], strict=True):
        first = min(max((begin + end - side) // 2, 0), max(length - side, 0))
        cut.append(slice(first, min(first + side, length)))
    return (..., *cut)


def scored(trained: TrainedModel, store: Store, rows: list[int], asked: argparse.Namespace) -> Table:
    """Values of every lesion by measure."""
    check_patients(trained, store, asked.split, KNOWN[asked.split])
    model, convention = trained.model(asked.device), store.convention()
    draw = volume_hypotheses if model.dims == 3 else slice_hypotheses
    values: dict[str, list[float]] = {measure: [] for measure in MEASURES}
    for row in rows:
        part = window(store, row, asked.window)
        image = torch.from_numpy(store.normalised(np.array([row]), store.images[row][part][None], trained.intensity))
        generator = torch.Generator().manual_seed(seed_of(asked.seed, store.cases[row].name))
        with torch.inference_mode():
            hypotheses = draw(model, image.to(asked.device), asked.n, generator)[None]
        distances = pairwise_distances(hypotheses, present(store, row)[part][None], convention)
        values["ged2"].append(float(energy_distance_from(distances, n=asked.n).value[0]))
        values["ged2_unbiased"].append(float(energy_distance_from(distances, estimator="unbiased").value[0]))
        values["gaps"].append(float(gap_share(hypotheses)[0]))
        values["relative_crps"].append(float(area_crps(distances, relative=True).value[0]))
    return {measure: np.array(column) for measure, column in values.items()}


def volume_hypotheses(model: SegmentationModel, image: torch.Tensor, n: int, generator: torch.Generator) -> Labels:
    """Hypotheses (n, D, H, W) of an image (1, C, D, H, W)."""
    return np.asarray(model(image).sample(n, generator)[:, 0].cpu())


def slice_hypotheses(model: SegmentationModel, image: torch.Tensor, n: int, generator: torch.Generator) -> Labels:
    """The same of a model of slices, with one noise for all of them."""
    slices = image[0].movedim(1, 0)
    noise = model(slices[:1]).noise(n, generator)
    return np.stack([np.asarray(model(plane).labels(noise)[:, 0].cpu()) for plane in slices[:, None]], axis=1)


def summary(values: npt.NDArray[np.float64], patients: list[str]) -> dict[str, Any]:
    """Mean with interval, and median; lesions without a value are counted."""
    interval = bootstrap_interval(values, patients)
    numbers = {"mean": interval.mean, "low": interval.low, "high": interval.high, "left_out": interval.left_out}
    return {**numbers, "median": float(np.nanmedian(values))}


def paired(tables: dict[str, Table], measure: str, patients: list[str]) -> dict[str, float | None]:
    """Volumes over slices, and the difference by patient."""
    first, second = tables["volumes"][measure], tables["slices"][measure]
    test = compare(first, second, patients)
    ratios = {
        f"of_{name}": float(middle(first) / middle(second)) if middle(second) else None
        for name, middle in (("means", np.nanmean), ("medians", np.nanmedian))
    }
    return {
        **ratios,
        "difference": test.difference.mean,
        "low": test.difference.low,
        "high": test.difference.high,
        "p_value": test.p_value,
    }


def encodings(trained: TrainedModel, store: Store, row: int, asked: argparse.Namespace) -> float:
    """Time of n hypotheses of a volume over the time until the first could be drawn."""
    model = trained.model(asked.device)
    raw = store.images[row][window(store, row, asked.window)][None]
    image = torch.from_numpy(store.normalised(np.array([row]), raw, trained.intensity)).to(asked.device)
    generator = torch.Generator().manual_seed(0)

    def seconds(work: Callable[[], object]) -> float:
        taken = []
        for _ in range(5):
            begin = time.perf_counter()
            work()
            wait_for(asked.device)
            taken.append(time.perf_counter() - begin)
        return float(np.median(taken))

    with torch.inference_mode():
        return seconds(lambda: model(image).sample(asked.n, generator)) / seconds(lambda: model(image))


if __name__ == "__main__":
    main()
