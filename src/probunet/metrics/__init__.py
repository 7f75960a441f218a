"""Metrics: pure functions on label maps, and the same as torchmetrics objects. No file here knows a model."""

from probunet.metrics.calibration import Calibration, class_frequencies, disagreement_correlation, reliability
from probunet.metrics.disagreement import Detection, area_disagreement, presence_disagreement
from probunet.metrics.distance import Distances, pairwise_distance, pairwise_distances
from probunet.metrics.energy import EnergyDistance, energy_distance, energy_distance_from, energy_limit
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
    mode_counts,
    mode_frequencies,
    mode_frequencies_from,
    pixel_frequencies,
)
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

__all__ = [
    "BestDiceMetric",
    "Calibration",
    "CalibrationMetric",
    "Comparison",
    "Detection",
    "DisagreementCorrelationMetric",
    "DisagreementMetric",
    "Distances",
    "EnergyDistance",
    "EnergyDistanceMetric",
    "HungarianIoUMetric",
    "ImageValues",
    "Interval",
    "ModeFrequencies",
    "ModeFrequencyMetric",
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
    "energy_limit",
    "holm",
    "hungarian_iou",
    "hungarian_iou_from",
    "mode_counts",
    "mode_frequencies",
    "mode_frequencies_from",
    "pairwise_distance",
    "pairwise_distances",
    "pixel_frequencies",
    "presence_disagreement",
    "reconstruction_iou",
    "reliability",
    "sample_diversity",
]
