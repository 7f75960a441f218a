"""Metrics: pure functions on label maps, and the same as torchmetrics objects. No file here knows a model.

Every name is loaded from its file when it is first used: preparing data needs the convention of the metric, not torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from probunet.metrics.areas import area_crps as area_crps
    from probunet.metrics.areas import area_error as area_error
    from probunet.metrics.areas import gaussian_area_crps as gaussian_area_crps
    from probunet.metrics.calibration import Calibration as Calibration
    from probunet.metrics.calibration import class_frequencies as class_frequencies
    from probunet.metrics.calibration import disagreement_correlation as disagreement_correlation
    from probunet.metrics.calibration import reliability as reliability
    from probunet.metrics.consensus import Consensus as Consensus
    from probunet.metrics.consensus import majority as majority
    from probunet.metrics.consensus import staple as staple
    from probunet.metrics.convention import FOREGROUND as FOREGROUND
    from probunet.metrics.convention import Convention as Convention
    from probunet.metrics.convention import Empty as Empty
    from probunet.metrics.convention import Overlap as Overlap
    from probunet.metrics.correlation import cross_correlation as cross_correlation
    from probunet.metrics.disagreement import Detection as Detection
    from probunet.metrics.disagreement import area_disagreement as area_disagreement
    from probunet.metrics.disagreement import presence_disagreement as presence_disagreement
    from probunet.metrics.distance import Distances as Distances
    from probunet.metrics.distance import iou_and_dice as iou_and_dice
    from probunet.metrics.distance import pairwise_distance as pairwise_distance
    from probunet.metrics.distance import pairwise_distances as pairwise_distances
    from probunet.metrics.energy import Draws as Draws
    from probunet.metrics.energy import EnergyDistance as EnergyDistance
    from probunet.metrics.energy import Estimator as Estimator
    from probunet.metrics.energy import energy_distance as energy_distance
    from probunet.metrics.energy import energy_distance_from as energy_distance_from
    from probunet.metrics.energy import perfect_energy as perfect_energy
    from probunet.metrics.insight import CollectiveInsight as CollectiveInsight
    from probunet.metrics.insight import collective_insight as collective_insight
    from probunet.metrics.matching import best_dice as best_dice
    from probunet.metrics.matching import best_dice_from as best_dice_from
    from probunet.metrics.matching import hungarian_iou as hungarian_iou
    from probunet.metrics.matching import hungarian_iou_from as hungarian_iou_from
    from probunet.metrics.matching import matched_dice_from as matched_dice_from
    from probunet.metrics.matching import nearest_dice_from as nearest_dice_from
    from probunet.metrics.matching import reconstruction_iou as reconstruction_iou
    from probunet.metrics.matching import sample_diversity as sample_diversity
    from probunet.metrics.measures import Sizes as Sizes
    from probunet.metrics.measures import Spread as Spread
    from probunet.metrics.measures import gap_share as gap_share
    from probunet.metrics.measures import sizes as sizes
    from probunet.metrics.modes import ModeFrequencies as ModeFrequencies
    from probunet.metrics.modes import first_of_equal_modes as first_of_equal_modes
    from probunet.metrics.modes import mode_counts as mode_counts
    from probunet.metrics.modes import mode_frequencies as mode_frequencies
    from probunet.metrics.modes import mode_frequencies_from as mode_frequencies_from
    from probunet.metrics.modes import pixel_frequencies as pixel_frequencies
    from probunet.metrics.objects import BestDiceMetric as BestDiceMetric
    from probunet.metrics.objects import CalibrationMetric as CalibrationMetric
    from probunet.metrics.objects import DisagreementCorrelationMetric as DisagreementCorrelationMetric
    from probunet.metrics.objects import DisagreementMetric as DisagreementMetric
    from probunet.metrics.objects import EnergyDistanceMetric as EnergyDistanceMetric
    from probunet.metrics.objects import HungarianIoUMetric as HungarianIoUMetric
    from probunet.metrics.objects import ModeFrequencyMetric as ModeFrequencyMetric
    from probunet.metrics.objects import PixelFrequencyMetric as PixelFrequencyMetric
    from probunet.metrics.objects import ReconstructionIoUMetric as ReconstructionIoUMetric
    from probunet.metrics.objects import SampleDiversityMetric as SampleDiversityMetric
    from probunet.metrics.significance import Comparison as Comparison
    from probunet.metrics.significance import Interval as Interval
    from probunet.metrics.significance import bootstrap_interval as bootstrap_interval
    from probunet.metrics.significance import bootstrap_seeds as bootstrap_seeds
    from probunet.metrics.significance import bootstrap_sums as bootstrap_sums
    from probunet.metrics.significance import compare as compare
    from probunet.metrics.significance import compare_all as compare_all
    from probunet.metrics.significance import holm as holm
    from probunet.metrics.surface import SurfaceDistances as SurfaceDistances
    from probunet.metrics.surface import best_surface_distance as best_surface_distance
    from probunet.metrics.surface import surface_distances as surface_distances
    from probunet.metrics.thresholds import dice_at_thresholds as dice_at_thresholds
    from probunet.metrics.values import ImageValues as ImageValues

_HOMES = {
    "areas": ("area_crps", "area_error", "gaussian_area_crps"),
    "calibration": ("Calibration", "class_frequencies", "disagreement_correlation", "reliability"),
    "consensus": ("Consensus", "majority", "staple"),
    "convention": ("Convention", "Empty", "FOREGROUND", "Overlap"),
    "correlation": ("cross_correlation",),
    "disagreement": ("Detection", "area_disagreement", "presence_disagreement"),
    "distance": ("Distances", "iou_and_dice", "pairwise_distance", "pairwise_distances"),
    "energy": ("Draws", "EnergyDistance", "Estimator", "energy_distance", "energy_distance_from", "perfect_energy"),
    "insight": ("CollectiveInsight", "collective_insight"),
    "matching": (
        "best_dice",
        "best_dice_from",
        "hungarian_iou",
        "hungarian_iou_from",
        "matched_dice_from",
        "nearest_dice_from",
        "reconstruction_iou",
        "sample_diversity",
    ),
    "measures": ("Sizes", "Spread", "gap_share", "sizes"),
    "modes": (
        "ModeFrequencies",
        "first_of_equal_modes",
        "mode_counts",
        "mode_frequencies",
        "mode_frequencies_from",
        "pixel_frequencies",
    ),
    "objects": (
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
    ),
    "significance": (
        "Comparison",
        "Interval",
        "bootstrap_interval",
        "bootstrap_seeds",
        "bootstrap_sums",
        "compare",
        "compare_all",
        "holm",
    ),
    "surface": ("SurfaceDistances", "best_surface_distance", "surface_distances"),
    "thresholds": ("dice_at_thresholds",),
    "values": ("ImageValues",),
}
"""Public names by their file."""
_FILES = {name: file for file, names in _HOMES.items() for name in names}

__all__ = sorted(_FILES)


def __getattr__(name: str) -> Any:
    """Load a public name from its file."""
    if name not in _FILES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(f"{__name__}.{_FILES[name]}"), name)
    return value


def __dir__() -> list[str]:
    """The public names, loaded or not."""
    return sorted({*globals(), *__all__})
