"""Metrics: pure functions on label maps, and the same as torchmetrics objects. No file here knows a model."""

from typing import TYPE_CHECKING, Any

from probunet.metrics.areas import area_crps, area_error, gaussian_area_crps
from probunet.metrics.calibration import Calibration, class_frequencies, disagreement_correlation, reliability
from probunet.metrics.collective_insight import CollectiveInsight, collective_insight
from probunet.metrics.consensus import Consensus, majority, staple
from probunet.metrics.convention import FOREGROUND, Convention, Empty, Overlap
from probunet.metrics.cross_correlation import cross_correlation
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
    matched_dice_from,
    nearest_dice_from,
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
    bootstrap_seeds,
    bootstrap_sums,
    compare,
    compare_all,
    holm,
)
from probunet.metrics.sizes import Sizes, Spread, gap_share, sizes
from probunet.metrics.surface import SurfaceDistances, best_surface_distance, surface_distances
from probunet.metrics.thresholds import dice_at_thresholds
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
    "CollectiveInsight",
    "Comparison",
    "Consensus",
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
    "Sizes",
    "Spread",
    "SurfaceDistances",
    "area_crps",
    "area_disagreement",
    "area_error",
    "best_dice",
    "best_dice_from",
    "best_surface_distance",
    "bootstrap_interval",
    "bootstrap_seeds",
    "bootstrap_sums",
    "class_frequencies",
    "collective_insight",
    "compare",
    "compare_all",
    "cross_correlation",
    "dice_at_thresholds",
    "disagreement_correlation",
    "energy_distance",
    "energy_distance_from",
    "first_of_equal_modes",
    "gap_share",
    "gaussian_area_crps",
    "holm",
    "hungarian_iou",
    "hungarian_iou_from",
    "iou_and_dice",
    "majority",
    "matched_dice_from",
    "mode_counts",
    "mode_frequencies",
    "mode_frequencies_from",
    "nearest_dice_from",
    "pairwise_distance",
    "pairwise_distances",
    "perfect_energy",
    "pixel_frequencies",
    "presence_disagreement",
    "reconstruction_iou",
    "reliability",
    "sample_diversity",
    "sizes",
    "staple",
    "surface_distances",
]


def __getattr__(name: str) -> Any:
    """The torchmetrics objects, loaded when they are asked for: torchmetrics takes a second."""
    if name.endswith("Metric") and name in __all__:
        from probunet.metrics import objects

        return getattr(objects, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
