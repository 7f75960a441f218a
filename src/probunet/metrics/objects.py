"""The same metrics as ``torchmetrics.Metric`` objects: only sums, which add up over batches and processes.

Each takes label maps with the image axis first, and the arguments of its function. The functions give more
(terms, intervals by patient); use them on saved samples, and these during training.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import torch
from torchmetrics import Metric

from probunet.core.errors import InputError
from probunet.metrics.calibration import Calibration, class_frequencies, disagreement_correlation, reliability
from probunet.metrics.disagreement import area_scores, detection, presence_scores
from probunet.metrics.distance import Floats, pairwise_distances
from probunet.metrics.energy import Estimator, Subsets, energy_distance
from probunet.metrics.matching import best_dice, hungarian_iou, reconstruction_iou, sample_diversity
from probunet.metrics.modes import mode_counts, pixel_frequencies

__all__ = [
    "BestDiceMetric",
    "CalibrationMetric",
    "DisagreementCorrelationMetric",
    "DisagreementMetric",
    "EnergyDistanceMetric",
    "HungarianIoUMetric",
    "ModeFrequencyMetric",
    "PixelFrequencyMetric",
    "ReconstructionIoUMetric",
    "SampleDiversityMetric",
]


class _ImageMean(Metric, ABC):
    """Mean of one value for each image where it is defined; ``left_out`` counts the other images."""

    is_differentiable = False
    full_state_update = False
    total: torch.Tensor
    count: torch.Tensor
    left_out: torch.Tensor

    def __init__(self, **convention: Any) -> None:
        super().__init__()
        self.convention = convention
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("left_out", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    @abstractmethod
    def values(self, samples: torch.Tensor, references: torch.Tensor) -> Floats:
        """(B,) values, NaN where the metric is not defined."""

    def update(self, samples: torch.Tensor, references: torch.Tensor) -> None:
        """Add a batch: samples (B, N, ...) and references (B, R, ...)."""
        value = self.values(samples, references)
        missing = np.isnan(value)
        self.total += float(value[~missing].sum())
        self.count += int((~missing).sum())
        self.left_out += int(missing.sum())

    def compute(self) -> torch.Tensor:
        """The mean over all images seen where the metric is defined."""
        if self.count == 0:
            raise InputError(f"none of the {int(self.left_out)} images has a defined value")
        return self.total / self.count


class EnergyDistanceMetric(_ImageMean):
    """Mean D_GED^2, see ``energy_distance``."""

    higher_is_better = False

    def __init__(
        self,
        n: int | None = None,
        estimator: Estimator = "v",
        subsets: Subsets = "all",
        **convention: Any,
    ) -> None:
        super().__init__(**convention)
        self.n, self.estimator, self.subsets = n, estimator, subsets

    def values(self, samples: torch.Tensor, references: torch.Tensor) -> Floats:
        """(B,) energy distances."""
        return energy_distance(
            samples, references, n=self.n, estimator=self.estimator, subsets=self.subsets, **self.convention
        ).value


class HungarianIoUMetric(_ImageMean):
    """Mean Hungarian-matched IoU, see ``hungarian_iou``."""

    higher_is_better = True

    def values(self, samples: torch.Tensor, references: torch.Tensor) -> Floats:
        """(B,) matched IoU."""
        return hungarian_iou(samples, references, **self.convention).value


class BestDiceMetric(_ImageMean):
    """Mean over images and readers of the best sample's Dice, see ``best_dice``."""

    higher_is_better = True

    def values(self, samples: torch.Tensor, references: torch.Tensor) -> Floats:
        """(B,) best Dice."""
        return best_dice(samples, references, **self.convention).value


class SampleDiversityMetric(_ImageMean):
    """Mean distance between samples, see ``sample_diversity``; the references are not looked at."""

    def values(self, samples: torch.Tensor, references: torch.Tensor) -> Floats:
        """(B,) diversity."""
        return sample_diversity(samples, **self.convention).value


class ReconstructionIoUMetric(_ImageMean):
    """Mean IoU of reconstructions with their readers, see ``reconstruction_iou``."""

    higher_is_better = True

    def values(self, samples: torch.Tensor, references: torch.Tensor) -> Floats:
        """(B,) IoU."""
        return reconstruction_iou(samples, references, **self.convention).value


class DisagreementCorrelationMetric(_ImageMean):
    """Mean correlation of the samples' and the readers' entropy, see ``disagreement_correlation``."""

    higher_is_better = True

    def values(self, samples: torch.Tensor, references: torch.Tensor) -> Floats:
        """(B,) correlations."""
        frequencies = class_frequencies(samples, self.convention.get("num_classes", 2))
        return disagreement_correlation(frequencies, references, **self.convention).value


class ModeFrequencyMetric(Metric):
    """Frequencies of nearest modes and their total variation from the truth, see ``mode_frequencies``."""

    is_differentiable = False
    full_state_update = False
    counts: torch.Tensor
    probabilities: torch.Tensor

    def __init__(self, probabilities: Sequence[float], **convention: Any) -> None:
        super().__init__()
        self.convention = convention
        truth = torch.as_tensor(probabilities, dtype=torch.float64)
        self.register_buffer("probabilities", truth / truth.sum(), persistent=False)
        self.add_state("counts", torch.zeros(len(truth), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, samples: torch.Tensor, references: torch.Tensor) -> None:
        """Add a batch: samples (B, N, ...) and modes (B, R, ...)."""
        counts = mode_counts(pairwise_distances(samples, references, **self.convention))
        self.counts += torch.from_numpy(counts.sum(axis=0)).to(self.counts.device)

    def compute(self) -> dict[str, torch.Tensor]:
        """``frequencies`` (R,) and ``total_variation``."""
        frequencies = self.counts / self.counts.sum().double()
        return {
            "frequencies": frequencies,
            "total_variation": 0.5 * (frequencies - self.probabilities).abs().sum(),
        }


class PixelFrequencyMetric(Metric):
    """Counts of kept and flipped pixels, see ``pixel_frequencies``."""

    is_differentiable = False
    full_state_update = False
    counts: torch.Tensor

    def __init__(self, switches: Sequence[tuple[int, int]]) -> None:
        super().__init__()
        self.switches = list(switches)
        self.add_state("counts", torch.zeros(len(self.switches), 3, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, samples: torch.Tensor, label: torch.Tensor) -> None:
        """Add a batch: samples (B, N, ...) and the label before flips (B, ...)."""
        counts = pixel_frequencies(label, samples, self.switches)
        self.counts += torch.from_numpy(counts).to(self.counts.device)

    def compute(self) -> torch.Tensor:
        """(S, 3) counts."""
        return self.counts


class CalibrationMetric(Metric):
    """Expected calibration error and Brier score of the samples' marginals, see ``reliability``."""

    is_differentiable = False
    full_state_update = False
    sums: torch.Tensor

    def __init__(self, bins: int = 15, **convention: Any) -> None:
        super().__init__()
        self.bins, self.convention = bins, convention
        self.add_state("sums", torch.zeros(4, bins, dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, samples: torch.Tensor, references: torch.Tensor) -> None:
        """Add a batch: samples (B, N, ...) and references (B, R, ...)."""
        frequencies = class_frequencies(samples, self.convention.get("num_classes", 2))
        found = reliability(frequencies, references, bins=self.bins, **self.convention)
        sums = np.stack([found.count, found.predicted, found.observed, found.squared]).sum(axis=1)
        self.sums += torch.from_numpy(sums).to(self.sums.device)

    def compute(self) -> dict[str, torch.Tensor]:
        """``ece``, ``brier`` and the reliability ``curve`` (bins, 3)."""
        parts = self.sums.cpu().numpy()[:, None]
        found = Calibration(parts[0], parts[1], parts[2], parts[3], "")
        return {
            "ece": torch.tensor(found.ece(resamples=1).mean, dtype=torch.float64),
            "brier": torch.tensor(found.brier(resamples=1).mean, dtype=torch.float64),
            "curve": torch.from_numpy(found.curve()),
        }


class DisagreementMetric(Metric):
    """AUROC and average precision of "do the readers disagree", on presence or on area.

    See ``presence_disagreement`` and ``area_disagreement``. Values that cannot be computed (no positive or no
    negative image) are NaN: a lone number, never part of a mean.
    """

    is_differentiable = False
    full_state_update = False
    higher_is_better = True
    score: list[torch.Tensor]
    positive: list[torch.Tensor]

    def __init__(self, on: Literal["presence", "area"] = "presence", **convention: Any) -> None:
        super().__init__()
        self.on, self.convention = on, convention
        self.add_state("score", [], dist_reduce_fx="cat")
        self.add_state("positive", [], dist_reduce_fx="cat")

    def update(self, samples: torch.Tensor, references: torch.Tensor) -> None:
        """Add a batch: samples (B, N, ...) and references (B, R, ...)."""
        distances = pairwise_distances(samples, references, **self.convention)
        found = presence_scores(distances) if self.on == "presence" else area_scores(distances)
        self.score.append(torch.from_numpy(found[0]).to(self.device))
        self.positive.append(torch.from_numpy(found[1]).to(self.device))

    def compute(self) -> dict[str, torch.Tensor]:
        """``auroc`` and ``average_precision``."""
        score, positive = (
            torch.cat(list(x)).cpu().numpy() if isinstance(x, list) else x.cpu().numpy()
            for x in (self.score, self.positive)
        )
        found = detection(score, positive, 0, "")
        numbers = {"auroc": found.auroc, "average_precision": found.average_precision}
        return {name: torch.tensor(np.nan if x is None else x) for name, x in numbers.items()}
