"""What may be said of the reader of a new picture: statements chosen on patients that a model never saw."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import default_collate

from probunet.core.console import progress_bar
from probunet.core.devices import chosen_device
from probunet.core.errors import InputError
from probunet.core.files import shown
from probunet.core.seeds import checked_count, checked_seed, seed_of
from probunet.core.words import by
from probunet.data.batches import EvaluationImages
from probunet.data.manifest import Split
from probunet.data.store import Store
from probunet.evaluation.fit import check_fit, check_pixels, check_values
from probunet.evaluation.groups import independent_groups
from probunet.evaluation.shown import batch_size, distribution_of, images_to_score
from probunet.metrics.calibration import Calibration as Reliability
from probunet.metrics.calibration import joined, reliability
from probunet.metrics.distance import Floats
from probunet.metrics.risk_control import (
    THRESHOLDS,
    Observed,
    Statement,
    empty_bounds,
    losses_of,
    needed_patients,
    observe,
    state,
)
from probunet.metrics.significance import bootstrap_interval
from probunet.models.base import SegmentationModel
from probunet.runs.calibration import VERSION, Calibration, ClassPart, DataPart, weights_identity
from probunet.runs.description import TrainedModel

FOLDS, BINS = 5, 10
HYPOTHESES = 32


def calibrate(
    trained: TrainedModel,
    store: Store,
    split: Split = "validation",
    risk: float = 0.1,
    n: int = HYPOTHESES,
    *,
    check: Split | None = None,
    seed: int = 0,
    device: str = "auto",
) -> Calibration:
    """Choose what may be said of a reader, and measure what it costs; of whole volumes where the store holds them.

    Args:
        trained: the model.
        store: data of its kind, with readers.
        split: whose patients the statements are chosen on; none of them may have been trained on.
        risk: of each statement on its own.
        n: hypotheses drawn for every picture, now and whenever a statement is made.
        check: other patients on whom the realised risk is measured.
        seed: of the hypotheses.
        device: where the model runs.

    Raises:
        InputError: data of another kind, label flips, patients that were trained on, or too few for this risk.
    """
    _check(trained, store, split, risk, n, check)
    model = trained.model(chosen_device(device))
    images = images_to_score(store, split, trained.crop, None, trained.intensity)
    cases = observed_cases(model, images, risk, n, seed)
    others = None
    if check is not None:
        others = observed_cases(
            model, EvaluationImages(store, check, images.crop, intensity=trained.intensity), risk, n, seed
        )
    spacing, sizes = store.manifest["spacing_mm"], store.sizes[images.indices]
    parts, realised = [], {}
    for k, name in enumerate(trained.classes[1:]):
        statement = state(cases[k], n, risk)
        parts.append(_class_part(name, statement, cases[k], n))
        if others is not None:
            realised[name] = realised_risks(statement, others[k])
    return Calibration(
        format="probunet-calibration",
        version=VERSION,
        weights=weights_identity(model),
        model=trained.settings_checksum,
        risk=risk,
        hypotheses=n,
        data=DataPart(
            title=store.manifest["title"],
            identity=store.identity().as_json(),
            split=split,
            patients=len({case.patient for case in cases[0]}),
            cases=len(cases[0]),
            readings=sum(len(case.empty) for case in cases[0]),
            sizes=(images.crop or tuple(sizes.min(axis=0).tolist()), images.size),
            spacing_mm=None if spacing is None else tuple(spacing),
        ),
        classes=parts,
        checked=None if check is None else {"split": check, "patients": len(set(store.patients(check))), **realised},
        notes=_notes(trained, images, split),
    )


def observed_cases(
    model: SegmentationModel, images: EvaluationImages, risk: float, n: int, seed: int
) -> list[list[Observed]]:
    """For every class but the background, what each case shows.

    Args:
        model: with its weights.
        images: of one split of a store.
        risk: for the quantiles of the areas.
        n: hypotheses drawn for every image.
        seed: of them.
    """
    observed: list[list[Observed]] = [[] for _ in range(model.num_classes - 1)]
    with progress_bar() as bar:
        task = bar.add_task(f"drawing {n} hypotheses each", total=len(images))
        for case, probability, hypotheses, readings in _drawn(model, images, n, checked_seed(seed)):
            patient = images.store.cases[case].patient
            for k, rows in enumerate(observed, start=1):
                rows.append(observe(patient, probability[k], hypotheses == k, readings, k, risk))
            bar.advance(task)
    return observed


def _drawn(
    model: SegmentationModel, images: EvaluationImages, n: int, seed: int
) -> Iterator[tuple[int, Floats, np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
    """Number of each case, probabilities (K, *size) of its hypotheses, these (n, *size), its readings (R, *size)."""
    device = next(model.parameters()).device
    with torch.inference_mode():
        for number, rows in enumerate(images.batches(batch_size(images))):
            batch = default_collate([images[row] for row in rows])
            distribution = distribution_of(model, batch["image"].to(device))
            noise = distribution.noise(n, torch.Generator().manual_seed(seed_of(seed, number)))
            labels = np.asarray(distribution.labels(noise).cpu()).swapaxes(0, 1)
            shares = distribution.probabilities(noise).float().cpu().numpy()
            for i in range(len(rows)):
                yield int(batch["index"][i]), shares[i], labels[i], batch["labels"][i].numpy()


def _check(trained: TrainedModel, store: Store, split: Split, risk: float, n: int, check: Split | None) -> None:
    checked_count(n)
    if store.flips:
        raise InputError(f"{shown(store.path)} has label flips and no readers, of whom something could be said")
    if check == split:
        raise InputError(f"the {split} split cannot check what was chosen on it; give --check another split")
    needed, patients = needed_patients(risk), len(store.patients(split))
    if patients < needed:
        raise InputError(
            f"the {split} split of {shown(store.path)} has {patients} patients, too few for the risk {risk:g}, which "
            f"needs {needed} or more; ask for a higher risk or take more patients"
        )
    check_pixels(trained, store)
    for part in (split, *([check] if check else [])):
        check_fit(trained, store, part)
        check_values(trained, store, part)
        store.indices(part)
        if both := trained.knows(store.patients(part), ["train"]):
            raise InputError(
                f"{len(both)} patients of the {part} split of {shown(store.path)} are ones that {shown(trained.path)} "
                f"was trained on ({', '.join(both[:5])}, ...); nothing that holds for others can be learned from them"
            )


def _notes(trained: TrainedModel, images: EvaluationImages, split: Split) -> list[str]:
    notes = [
        "Holds on average over patients, readers and cases like those it was calibrated on; not for each of them, and "
        "not for pictures of another kind or field."
    ]
    if trained.crop is not None and images.crop is None:
        whole, unit = ("images", "px") if images.store.dims == 2 else ("volumes", "voxels")
        notes.append(f"Calibrated on whole {whole}; the model was trained on parts of {by(trained.sides)} {unit}.")
    if trained.knows(images.store.patients(split), ["validation"]):
        notes.append(
            "The weights were chosen, among the checkpoints of one training, by the energy distance on these patients."
        )
    return notes


def _class_part(name: str, statement: Statement, cases: Sequence[Observed], n: int) -> ClassPart:
    return ClassPart(
        name=name,
        outer=None if np.isinf(statement.outer) else statement.outer,
        inner=None if np.isinf(statement.inner) else statement.inner,
        widening=statement.widening,
        empty=[(float(low), float(high)) for low, high in statement.empty],
        figures={"cost": cost_of(statement, cases), "empty": _emptiness(cases, n)},
    )


def cost_of(statement: Statement, cases: Sequence[Observed]) -> dict[str, float]:
    """Mean pixels of what is stated: a statement that is never wrong may say nothing."""
    outer, inner = (int(np.searchsorted(THRESHOLDS, value)) for value in (statement.outer, statement.inner))
    most = np.array([case.pixels[0] for case in cases])  # every pixel that was looked at: no area is larger
    ends = np.minimum([statement.interval_of(case.quantiles) for case in cases], most[:, None])
    return {
        "outer_pixels": float(np.mean([case.pixels[outer] for case in cases])),
        "inner_pixels": float(np.mean([case.pixels[inner] for case in cases])),
        "hypothesis_pixels": float(np.mean([case.area for case in cases])),
        "interval_pixels": float((ends[:, 1] - ends[:, 0]).mean()),
    }


def _emptiness(cases: Sequence[Observed], n: int) -> dict[str, Any]:
    """How well the probability of an empty reading is calibrated on patients that it was not fitted on."""
    patients = list(dict.fromkeys(case.patient for case in cases))
    order = np.random.default_rng(0).permutation(len(patients))
    fold = {patients[i]: place % FOLDS for place, i in enumerate(order)}
    raw, fitted, groups = [], [], []
    for part in range(min(FOLDS, len(patients))):
        bounds = empty_bounds([case for case in cases if fold[case.patient] != part], n)
        middle = Statement(0.5, 0, 1, 0, bounds)
        for case in (case for case in cases if fold[case.patient] == part):
            raw.append(_one(case.level / n, case))
            fitted.append(_one(middle.probability_of_nothing(case.level)[0], case))
            groups.append(case.patient)
    independent = independent_groups(groups)[0]
    return {
        "share": float(np.mean([case.empty.mean() for case in cases])),
        "share_of_hypotheses": _figures(joined(raw), independent),
        "calibrated": _figures(joined(fitted), independent),
        "meaning": f"cross-validated over {FOLDS} parts of the patients; {BINS} bins",
    }


def _one(probability: float, case: Observed) -> Reliability:
    """A case as a picture of one pixel, which shows whether a reader marked nothing."""
    predicted = np.array([[[1 - probability], [probability]]])
    return reliability(predicted, case.empty[None, :, None].astype(np.uint8), bins=BINS)


def _figures(compared: Reliability, groups: Sequence[str]) -> dict[str, Any]:
    ece, brier = compared.ece(groups), compared.brier(groups)
    curve = [[None if np.isnan(value) else float(value) for value in row] for row in compared.curve()]
    return {
        "ece": {"mean": ece.mean, "low": ece.low, "high": ece.high},
        "brier": {"mean": brier.mean, "low": brier.low, "high": brier.high},
        "curve": curve,
    }


def realised_risks(statement: Statement, cases: Sequence[Observed]) -> dict[str, Any]:
    """Mean losses of other patients with their intervals, patients drawn again; and what the statement costs there."""
    realised = {}
    for name, losses in losses_of(statement, cases).items():
        interval = bootstrap_interval(losses)
        realised[name] = {"mean": interval.mean, "low": interval.low, "high": interval.high}
    return {**realised, "cost": cost_of(statement, cases)}
