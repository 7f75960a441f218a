"""All metrics that need samples and readers alone, image by image, and their summaries for files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from probunet.evaluation import field_scores
from probunet.metrics.calibration import (
    Calibration,
    class_frequencies,
    disagreement_correlation,
    joined,
    reliability,
)
from probunet.metrics.convention import Convention
from probunet.metrics.disagreement import area_scores, detection, presence_scores
from probunet.metrics.distance import Distances, Floats, iou_and_dice
from probunet.metrics.energy import Draws, energy_distance_from, perfect_energy
from probunet.metrics.matching import best_dice_from, hungarian_iou_from
from probunet.metrics.modes import Counts, first_of_equal_modes, mode_counts
from probunet.metrics.significance import Groups, bootstrap_interval, compare_all

Key = tuple[str, int]
"""Name of a metric and number of samples; 0 for all of them."""


@dataclass
class Batch:
    """Values of some images: by metric and n, and scores with outcomes for the detection of disagreement.

    Where references have weights, ``modes`` (B, R) counts the samples whose nearest reference each is, and
    ``equal_modes`` (B, R) says which references are one map, see ``first_of_equal_modes``.
    """

    values: dict[Key, Floats]
    detections: dict[str, tuple[Floats, npt.NDArray[np.bool_]]]
    calibration: Calibration | None
    size: int
    left_out: int
    convention: Convention
    modes: Counts | None
    equal_modes: Counts | None


@dataclass
class SetScores:
    """Values of all images of one set of samples, grown batch by batch."""

    batches: list[Batch] = field(default_factory=list)

    def add(self, batch: Batch) -> None:
        """Append some images."""
        self.batches.append(batch)

    @property
    def convention(self) -> Convention:
        """What was measured."""
        return self.batches[0].convention

    def values(self) -> dict[Key, Floats]:
        """(images,) values of each metric and n; NaN where a metric is not defined."""
        keys = dict.fromkeys(key for batch in self.batches for key in batch.values)
        return _ordered({key: np.concatenate([self._of(batch, key) for batch in self.batches]) for key in keys})

    def columns(self) -> dict[str, Floats]:
        """The same under one name each."""
        return {f"{name}_n{n}" if n else name: values for (name, n), values in self.values().items()}

    def summaries(self, groups: Groups | None, confidence: float, seed: int) -> list[dict[str, Any]]:
        """One row for each number: mean with interval, median, images, and the convention."""
        rows = []
        for (name, n), values in self.values().items():
            row: dict[str, Any] = {
                "metric": name,
                "n": n or None,
                "convention": f"{self.convention}; {MEANING[name]}",
            }
            kept = ~np.isnan(values)
            numbers: dict[str, Any] = dict.fromkeys(("mean", "low", "high", "median"))
            if kept.any():
                interval = bootstrap_interval(values, groups, confidence=confidence, seed=seed)
                numbers = {"mean": interval.mean, "low": interval.low, "high": interval.high}
                numbers["median"] = float(np.median(values[kept]))
            independent = values[kept] if groups is None else set(np.asarray(groups)[kept].tolist())
            counts = {"images": int(kept.sum()), "groups": len(independent), "left_out": int((~kept).sum())}
            rows.append({**row, **numbers, **counts})
        return rows + self._detection_rows() + self._calibration_rows(groups, confidence, seed)

    def _calibration_rows(self, groups: Groups | None, confidence: float, seed: int) -> list[dict[str, Any]]:
        parts = [batch.calibration for batch in self.batches if batch.calibration is not None]
        if not parts:
            return []
        pooled = joined(parts)
        empty = int((pooled.count.sum(axis=1) == 0).sum())
        rows = []
        for name, statistic in (("ece", pooled.ece), ("brier", pooled.brier)):
            row: dict[str, Any] = {"metric": name, "n": None, "convention": f"{pooled}; {MEANING[name]}"}
            row |= dict.fromkeys(("mean", "low", "high", "median"))
            if empty < len(pooled.count):
                interval = statistic(groups, confidence=confidence, seed=seed)
                row |= {"mean": interval.mean, "low": interval.low, "high": interval.high}
            rows.append({**row, "images": len(pooled.count) - empty, "left_out": empty})
        return rows

    def _detection_rows(self) -> list[dict[str, Any]]:
        asked = [batch for batch in self.batches if batch.detections]
        images = sum(batch.size for batch in self.batches)
        rows = []
        for name in asked[0].detections if asked else ():
            score = np.concatenate([batch.detections[name][0] for batch in asked])
            outcome = np.concatenate([batch.detections[name][1] for batch in asked])
            detected = detection(score, outcome, images)
            for kind, value in (("auroc", detected.auroc), ("ap", detected.average_precision)):
                row: dict[str, Any] = {"metric": f"{name}_{kind}", "n": None, "convention": MEANING[name]}
                row |= {"mean": value, "low": None, "high": None, "median": None}
                row |= {"positives": detected.positives, "negatives": detected.negatives}
                rows.append({**row, "images": len(score), "left_out": detected.left_out})
        return rows

    @staticmethod
    def _of(batch: Batch, key: Key) -> Floats:
        return batch.values.get(key, np.full(batch.size, np.nan))


MEANING = {
    "ged2_unbiased": "excess over the perfect model with unlimited samples: pairs i = j left out, the same for every n",
    "ged2": "V-statistic, pairs i = j kept; of independent draws the average over all subsets of n samples",
    "ged2_covering": "V-statistic of n samples drawn together so that they cover the model's distribution, see sample",
    "perfect_model": "what ged2 is for a model that is the readers' distribution: E d(Y,Y') (1/n + 1/R)",
    "ged2_unlimited": "what ged2 tends to with ever more samples",
    "perfect_model_unlimited": "the same for a model that is the readers' distribution: E d(Y,Y')/R",
    "distance_to_readers": "E d(S, Y)",
    "sample_diversity": "E d(S, S') of the V-statistic with n samples",
    "reader_diversity": "E d(Y, Y') of the V-statistic",
    "hungarian_iou": "first n samples, both sides repeated to the least common multiple",
    "best_dice": "first n samples, best of them for each reader",
    "presence": "AUROC or average precision: do the readers disagree on presence, from all samples; images without any "
    "mark left out",
    "area": "AUROC or average precision: do the readers' areas differ by more than half, from all samples; images "
    "without any mark left out",
    "entropy_correlation": "pixel-wise entropy of all samples against that of the readers",
    "ece": "expected calibration error of the frequencies among all samples",
    "brier": "mean squared error of the frequencies among all samples against each reader",
    **field_scores.MEANING,
}
"""What is special about each metric, beside the convention of the distance."""


def score_batch(
    samples: Any,
    references: Any,
    n: Sequence[int],
    convention: Convention,
    calibrated: bool,
    draws: Draws = "independent",
) -> Batch:
    """All values of some images of equal shape.

    Args:
        samples: (B, N, ...) integer labels.
        references: (B, R, ...) integer labels.
        n: numbers of samples, each at most N.
        convention: what is compared, and how.
        calibrated: also compare the samples' class frequencies with the readers', which takes longer.
        draws: how the samples were drawn, see ``Draws``; only independent ones say something of fewer than all.

    Raises:
        InputError: see ``pairwise_distances``.
    """
    distances, dice = iou_and_dice(samples, references, convention)
    values: dict[Key, Floats] = {}
    for count in n:
        energy = energy_distance_from(distances, n=count, draws=draws)
        values["ged2", count] = energy.value
        values["sample_diversity", count] = energy.sample_diversity
        values["distance_to_readers", 0] = energy.distance_to_readers
        values["reader_diversity", 0] = energy.reader_diversity
        values["perfect_model", count] = perfect_energy(distances, count)
        if distances.weights is None:
            values["hungarian_iou", count] = hungarian_iou_from(distances, n=count).value
        values["best_dice", count] = best_dice_from(dice, n=count).value
    values["perfect_model_unlimited", 0] = perfect_energy(distances, None)
    values |= distribution_scores(distances, draws)
    calibration = None
    if calibrated:
        frequencies = class_frequencies(samples, convention)
        calibration = reliability(frequencies, references, convention)
        values["entropy_correlation", 0] = disagreement_correlation(frequencies, references, convention).value
    left_out = int(distances.left_out.sum())
    detections = _detections(distances)
    weighted = distances.weights is not None
    modes, equals = (mode_counts(distances), first_of_equal_modes(distances)) if weighted else (None, None)
    return Batch(values, detections, calibration, len(samples), left_out, convention, modes, equals)


def distribution_scores(distances: Distances, draws: Draws) -> dict[Key, Floats]:
    """What does not depend on the number of samples: the excess over the perfect model, and unlimited samples.

    Nothing where the samples do not allow it: one of several possible hypotheses, or dependent draws; no excess for a
    single reader.
    """
    samples, readers = distances.cross.shape[1:]
    if draws == "dependent" or (samples < 2 and draws == "independent"):
        return {}
    values = {("ged2_unlimited", 0): energy_distance_from(distances, estimator="limit", draws=draws).value}
    if readers > 1 or distances.weights is not None:
        values["ged2_unbiased", 0] = energy_distance_from(distances, estimator="unbiased", draws=draws).value
    return values


def comparisons(
    sets: Mapping[str, SetScores], groups: Groups | None, confidence: float, seed: int
) -> list[dict[str, Any]]:
    """Tests between all pairs of sets; Holm's correction is over the pairs, within each metric and n."""
    rows: list[dict[str, Any]] = []
    if len(sets) < 2:
        return rows
    tables = {label: scores.values() for label, scores in sets.items()}
    tested = {"ged2", "ged2_unbiased", "hungarian_iou", "best_dice", *field_scores.MEANING}
    tested -= set(field_scores.DESCRIPTIVE)
    for key in next(iter(tables.values())):
        if key[0] not in tested:
            continue
        values = {label: table[key] for label, table in tables.items() if key in table}
        if np.isnan(np.stack(list(values.values()))).any(axis=0).all():
            continue
        for test in compare_all(values, groups, confidence=confidence, seed=seed):
            rows.append(
                {
                    "metric": key[0],
                    "n": key[1] or None,
                    "first": test.first,
                    "second": test.second,
                    "difference": test.difference.mean,
                    "low": test.difference.low,
                    "high": test.difference.high,
                    "p_value": test.p_value,
                    "p_holm": test.p_holm,
                    "effect": test.effect,
                    "pairs": test.pairs,
                    "left_out": test.difference.left_out,
                }
            )
    return rows


def _detections(distances: Distances) -> dict[str, tuple[Floats, npt.NDArray[np.bool_]]]:
    """For a single evaluated class and two or more readers: whether they disagree, and the samples' guess."""
    readers = distances.cross.shape[2]
    if distances.sample_area.shape[2] != 1 or readers < 2:
        return {}
    return {
        "presence": presence_scores(distances),
        "area": area_scores(distances),
    }


def _ordered(values: dict[Key, Floats]) -> dict[Key, Floats]:
    names = list(MEANING)
    return dict(sorted(values.items(), key=lambda item: (names.index(item[0][0]), item[0][1])))
