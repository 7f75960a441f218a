"""The models: one file each, all behind the interface of ``probunet.models.base``."""

from probunet.models.base import Loss, SegmentationDistribution, SegmentationModel
from probunet.models.probabilistic_unet import ProbabilisticUNet
from probunet.models.unet import UNet

__all__ = ["Loss", "ProbabilisticUNet", "SegmentationDistribution", "SegmentationModel", "UNet"]
