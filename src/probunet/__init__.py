"""probunet: ``model(image)`` is a probability distribution over segmentations."""

from importlib.metadata import version

from probunet.errors import InputError
from probunet.models import ProbabilisticUNet, SegmentationDistribution, SegmentationModel, UNet
from probunet.run import load

__version__ = version("probunet")

__all__ = [
    "InputError",
    "ProbabilisticUNet",
    "SegmentationDistribution",
    "SegmentationModel",
    "UNet",
    "__version__",
    "load",
]
