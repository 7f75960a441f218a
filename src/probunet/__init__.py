"""probunet: ``model(image)`` is a probability distribution over segmentations."""

from importlib.metadata import version

from probunet.core.errors import InputError
from probunet.core.memory import keep_freed_memory
from probunet.models import (
    DropoutUNet,
    Ensemble,
    HierarchicalProbabilisticUNet,
    Image2ImageVAE,
    MHeads,
    MixtureOfExperts,
    PHiSeg,
    ProbabilisticUNet,
    SegmentationDistribution,
    SegmentationModel,
    StochasticSegmentationNetwork,
    UNet,
)
from probunet.runs.exported import load, save
from probunet.runs.hub import from_pretrained, push_to_hub

__version__ = version("probunet")
keep_freed_memory()

__all__ = [
    "DropoutUNet",
    "Ensemble",
    "HierarchicalProbabilisticUNet",
    "Image2ImageVAE",
    "InputError",
    "MHeads",
    "MixtureOfExperts",
    "PHiSeg",
    "ProbabilisticUNet",
    "SegmentationDistribution",
    "SegmentationModel",
    "StochasticSegmentationNetwork",
    "UNet",
    "__version__",
    "from_pretrained",
    "load",
    "push_to_hub",
    "save",
]
