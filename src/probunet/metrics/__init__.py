"""Metrics: pure functions on label maps, and the same as torchmetrics objects. No file here knows a model."""

from typing import TYPE_CHECKING, Any

from probunet.metrics.calibration import Calibration, class_frequencies, disagreement_correlation, reliability
from probunet.metrics.convention import FOREGROUND, Convention, Empty, Overlap
from probunet.metrics.disagreement import Detection, area_disagreement, presence_disagreement
from probunet.metrics.distance import Distances, iou_and_dice, pairwise_distance, pairwise_distances
from probunet.metrics.energy import (
    Draws,
    EnergyDistance,
    Estimator,
    energy_distance,
    energy_distance_from,
    perfect_energy,
)
from probunet.metrics.matching import (
    best_dice,
    best_dice_from,
    hungarian_iou,
    hungarian_iou_from,
    reconstruction_iou,
    sample_diversity,
)
from probunet.metrics.modes import (
    ModeFrequencies,
    first_of_equal_modes,
    mode_counts,
    mode_frequencies,
    mode_frequencies_from,
    pixel_frequencies,
)
from probunet.metrics.significance import (
    Comparison,
    Interval,
    bootstrap_interval,
    bootstrap_sums,
    compare,
    compare_all,
    holm,
)
from probunet.metrics.values import ImageValues

if TYPE_CHECKING:
    from probunet.metrics.objects import (
        BestDiceMetric,
        CalibrationMetric,
        DisagreementCorrelationMetric,
        DisagreementMetric,
        EnergyDistanceMetric,
        HungarianIoUMetric,
        ModeFrequencyMetric,
        PixelFrequencyMetric,
        ReconstructionIoUMetric,
        SampleDiversityMetric,
    )

__all__ = [
    "FOREGROUND",
    "BestDiceMetric",
    "Calibration",
    "CalibrationMetric",
    "Comparison",
    "Convention",
    "Detection",
    "DisagreementCorrelationMetric",
    "DisagreementMetric",
    "Distances",
    "Draws",
    "Empty",
    "EnergyDistance",
    "EnergyDistanceMetric",
    "Estimator",
    "HungarianIoUMetric",
    "ImageValues",
    "Interval",
    "ModeFrequencies",
    "ModeFrequencyMetric",
    "Overlap",
    "PixelFrequencyMetric",
    "ReconstructionIoUMetric",
    "SampleDiversityMetric",
    "area_disagreement",
    "best_dice",
    "best_dice_from",
    "bootstrap_interval",
    "bootstrap_sums",
    "class_frequencies",
    "compare",
    "compare_all",
    "disagreement_correlation",
    "energy_distance",
    "energy_distance_from",
    "first_of_equal_modes",
    "holm",
    "hungarian_iou",
    "hungarian_iou_from",
    "iou_and_dice",
    "mode_counts",
    "mode_frequencies",
    "mode_frequencies_from",
    "pairwise_distance",
    "pairwise_distances",
    "perfect_energy",
    "pixel_frequencies",
    "presence_disagreement",
    "reconstruction_iou",
    "reliability",
    "sample_diversity",
]


def __getattr__(name: str) -> Any:
    """The torchmetrics objects, loaded when they are asked for: torchmetrics takes a second."""
    if name.endswith("Metric") and name in __all__:
        from probunet.metrics import objects

        return getattr(objects, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
