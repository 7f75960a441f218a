"""probunet: ``model(image)`` is a probability distribution over segmentations."""

from importlib.metadata import version

from probunet.errors import InputError
from probunet.hub import from_pretrained, push_to_hub
from probunet.models import (
    DropoutUNet,
    Ensemble,
    Image2ImageVAE,
    MHeads,
    ProbabilisticUNet,
    SegmentationDistribution,
    SegmentationModel,
    UNet,
)
from probunet.saved import load

__version__ = version("probunet")

__all__ = [
    "DropoutUNet",
    "Ensemble",
    "Image2ImageVAE",
    "InputError",
    "MHeads",
    "ProbabilisticUNet",
    "SegmentationDistribution",
    "SegmentationModel",
    "UNet",
    "__version__",
    "from_pretrained",
    "load",
    "push_to_hub",
]
