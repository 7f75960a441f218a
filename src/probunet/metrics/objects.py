"""The same metrics as ``torchmetrics.Metric`` objects, for training loops: batches in, one number out.

Each takes label maps with the image axis first, a ``Convention``, and the other arguments of its function. The
functions give more (terms, intervals by patient); use them on saved samples, and these during training.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import torch
from torchmetrics import Metric

from probunet.core.errors import InputError
from probunet.metrics.calibration import Calibration, class_frequencies, disagreement_correlation, reliability
from probunet.metrics.convention import FOREGROUND, Convention
from probunet.metrics.disagreement import area_scores, detection, presence_scores
from probunet.metrics.distance import Floats, pairwise_distances
from probunet.metrics.energy import Draws, Estimator, Subsets, energy_distance
from probunet.metrics.matching import best_dice, hungarian_iou, reconstruction_iou, sample_diversity
from probunet.metrics.modes import mode_counts, pixel_frequencies


class _Sums(Metric, ABC):
    """Sums over images, which add up over batches and processes.

    ``torchmetrics.MetricCollection`` takes metrics whose states have equal names and values after the first batch for
    one metric, and from then on updates only one of them. Different metrics do have equal sums for a while, for
    example where nobody marked anything. So the name of the state says which metric it is of, with its arguments.
    """

    is_differentiable = False
    full_state_update = False

    def __init__(self, shape: tuple[int, ...], *arguments: Any) -> None:
        super().__init__()
        self._state = _state_name(self, arguments)
        self.add_state(self._state, torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum")

    @property
    def sums(self) -> torch.Tensor:
        """What was summed so far, over all processes after ``compute`` began."""
        state: torch.Tensor = getattr(self, self._state)
        return state

    def add(self, numbers: npt.NDArray[Any]) -> None:
        """Add a batch's sums."""
        setattr(self, self._state, self.sums + torch.from_numpy(np.asarray(numbers, np.float64)).to(self.sums.device))


class _ImageMean(_Sums):
    """Mean of one value for each image where it is defined; ``left_out`` counts the other images."""

    def __init__(self, convention: Convention = FOREGROUND, *arguments: Any) -> None:
        super().__init__((3,), convention, *arguments)
        self.convention = convention

    @abstractmethod
    def values(self, samples: torch.Tensor, references: torch.Tensor) -> Floats:
        """(B,) values, NaN where the metric is not defined."""

    def update(self, samples: torch.Tensor, references: torch.Tensor) -> None:
        """Add a batch: samples (B, N, ...) and references (B, R, ...)."""
        value = self.values(samples, references)
        missing = np.isnan(value)
        self.add(np.array([value[~missing].sum(), (~missing).sum(), missing.sum()]))

    @property
    def left_out(self) -> int:
        """Images for which the metric was not defined."""
        return int(self.sums[2])

    def compute(self) -> torch.Tensor:
        """The mean over all images seen where the metric is defined."""
        total, count, left_out = self.sums
        if count == 0:
            raise InputError(f"none of the {int(left_out)} images has a defined value")
        return total / count


class EnergyDistanceMetric(_ImageMean):
    """Mean D_GED^2, see ``energy_distance``.

    >>> metric = EnergyDistanceMetric(n=2, convention=Convention(empty="one"))
    >>> metric.update(torch.ones(1, 2, 4, 4, dtype=torch.uint8), torch.ones(1, 3, 4, 4, dtype=torch.uint8))
    >>> float(metric.compute())
    0.0
    """

    higher_is_better = False

    def __init__(
        self,
        n: int | None = None,
        estimator: Estimator = "v",
        subsets: Subsets = "all",
        draws: Draws = "independent",
        convention: Convention = FOREGROUND,
    ) -> None:
        super().__init__(convention, n, estimator, subsets, draws)
        self.n, self.estimator, self.subsets, self.draws = n, estimator, subsets, draws

    def values(self, samples: torch.Tensor, references: torch.Tensor) -> Floats:
        """(B,) energy distances."""
        options = {"n": self.n, "estimator": self.estimator, "subsets": self.subsets, "draws": self.draws}
        return energy_distance(samples, references, self.convention, **options).value  # type: ignore[arg-type]


class HungarianIoUMetric(_ImageMean):
    """Mean Hungarian-matched IoU, see ``hungarian_iou``."""

    higher_is_better = True

    def values(self, samples: torch.Tensor, references: torch.Tensor) -> Floats:
        """(B,) matched IoU."""
        return hungarian_iou(samples, references, self.convention).value


class BestDiceMetric(_ImageMean):
    """Mean over images and readers of the best sample's Dice, see ``best_dice``."""

    higher_is_better = True

    def values(self, samples: torch.Tensor, references: torch.Tensor) -> Floats:
        """(B,) best Dice."""
        return best_dice(samples, references, self.convention).value


class SampleDiversityMetric(_ImageMean):
    """Mean distance between samples, see ``sample_diversity``; the references are not looked at."""

    def values(self, samples: torch.Tensor, references: torch.Tensor) -> Floats:
        """(B,) diversity."""
        return sample_diversity(samples, self.convention).value


class ReconstructionIoUMetric(_ImageMean):
    """Mean IoU of reconstructions with their readers, see ``reconstruction_iou``."""

    higher_is_better = True

    def values(self, samples: torch.Tensor, references: torch.Tensor) -> Floats:
        """(B,) IoU."""
        return reconstruction_iou(samples, references, self.convention).value


class DisagreementCorrelationMetric(_ImageMean):
    """Mean correlation of the samples' and the readers' entropy, see ``disagreement_correlation``."""

    higher_is_better = True

    def values(self, samples: torch.Tensor, references: torch.Tensor) -> Floats:
        """(B,) correlations."""
        return disagreement_correlation(class_frequencies(samples, self.convention), references, self.convention).value


class ModeFrequencyMetric(_Sums):
    """Frequencies of nearest modes and their total variation from the known ones, see ``mode_frequencies``."""

    probabilities: torch.Tensor

    def __init__(self, probabilities: Sequence[float], convention: Convention = FOREGROUND) -> None:
        super().__init__((len(probabilities),), convention, tuple(probabilities))
        self.convention = convention
        known = torch.as_tensor(probabilities, dtype=torch.float64)
        self.register_buffer("probabilities", known / known.sum(), persistent=False)

    def update(self, samples: torch.Tensor, references: torch.Tensor) -> None:
        """Add a batch: samples (B, N, ...) and modes (B, R, ...)."""
        self.add(mode_counts(pairwise_distances(samples, references, self.convention)).sum(axis=0))

    def compute(self) -> dict[str, torch.Tensor]:
        """``frequencies`` (R,) and ``total_variation``."""
        frequencies = self.sums / self.sums.sum()
        return {
            "frequencies": frequencies,
            "total_variation": 0.5 * (frequencies - self.probabilities).abs().sum(),
        }


class PixelFrequencyMetric(_Sums):
    """Counts of kept and flipped pixels, see ``pixel_frequencies``."""

    def __init__(self, switches: Sequence[tuple[int, int]]) -> None:
        super().__init__((len(switches), 3), tuple(switches))
        self.switches = list(switches)

    def update(self, samples: torch.Tensor, label: torch.Tensor) -> None:
        """Add a batch: samples (B, N, ...) and the label before flips (B, ...)."""
        self.add(pixel_frequencies(label, samples, self.switches))

    def compute(self) -> torch.Tensor:
        """(S, 3) counts."""
        return self.sums.long()


class CalibrationMetric(_Sums):
    """Expected calibration error and Brier score of the samples' marginals, see ``reliability``."""

    def __init__(self, bins: int = 15, convention: Convention = FOREGROUND) -> None:
        super().__init__((4, bins), convention)
        self.bins, self.convention = bins, convention

    def update(self, samples: torch.Tensor, references: torch.Tensor) -> None:
        """Add a batch: samples (B, N, ...) and references (B, R, ...)."""
        frequencies = class_frequencies(samples, self.convention)
        compared = reliability(frequencies, references, self.convention, bins=self.bins)
        self.add(np.stack([compared.count, compared.predicted, compared.observed, compared.squared]).sum(axis=1))

    def compute(self) -> dict[str, torch.Tensor]:
        """``ece``, ``brier`` and the reliability ``curve`` (bins, 3)."""
        count, predicted, observed, squared = self.sums.cpu().numpy()[:, None]
        whole = Calibration(count, predicted, observed, squared, self.convention)
        return {
            "ece": torch.tensor(whole.ece(resamples=1).mean, dtype=torch.float64),
            "brier": torch.tensor(whole.brier(resamples=1).mean, dtype=torch.float64),
            "curve": torch.from_numpy(whole.curve()),
        }


class DisagreementMetric(Metric):
    """AUROC and average precision of "do the readers disagree", on presence or on area.

    See ``presence_disagreement`` and ``area_disagreement``. Values that cannot be computed (no positive or no
    negative image) are NaN: a lone number, never part of a mean.
    """

    is_differentiable = False
    full_state_update = False
    higher_is_better = True

    def __init__(self, on: Literal["presence", "area"] = "presence", convention: Convention = FOREGROUND) -> None:
        super().__init__()
        self.on, self.convention = on, convention
        self.set_dtype(torch.float64)  # also of what a process without images sends to the others
        self._state = _state_name(self, (on, convention))
        self.add_state(self._state, [], dist_reduce_fx="cat")

    def update(self, samples: torch.Tensor, references: torch.Tensor) -> None:
        """Add a batch: samples (B, N, ...) and references (B, R, ...)."""
        distances = pairwise_distances(samples, references, self.convention)
        score, positive = presence_scores(distances) if self.on == "presence" else area_scores(distances)
        getattr(self, self._state).append(torch.from_numpy(np.stack([score, positive], axis=1).ravel()).to(self.device))

    def compute(self) -> dict[str, torch.Tensor]:
        """``auroc`` and ``average_precision``."""
        state = getattr(self, self._state)
        pairs = (torch.cat(list(state)) if len(state) else torch.zeros(0)) if isinstance(state, list) else state
        score, positive = pairs.cpu().numpy().reshape(-1, 2).T
        detected = detection(score, positive > 0, len(score))
        numbers = {"auroc": detected.auroc, "average_precision": detected.average_precision}
        return {name: torch.tensor(np.nan if x is None else x) for name, x in numbers.items()}


def _state_name(metric: Metric, arguments: tuple[Any, ...]) -> str:
    """A name that two metrics share only if they are the same metric; an identifier, as torchmetrics asks."""
    kind = type(metric)
    words = repr((kind.__module__, kind.__qualname__, *arguments))
    return f"sums_{hashlib.sha256(words.encode()).hexdigest()[:16]}"
