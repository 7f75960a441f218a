"""The models: one file each, all behind the interface of ``probunet.models.base``."""

from probunet.distributions.base import SegmentationDistribution
from probunet.distributions.hierarchical import HierarchicalSegmentation
from probunet.distributions.latent import LatentSegmentation
from probunet.distributions.mixture import MixtureSegmentation
from probunet.models.base import SegmentationModel
from probunet.models.dropout_unet import DropoutUNet
from probunet.models.ensemble import Ensemble
from probunet.models.hierarchical_probabilistic_unet import HierarchicalProbabilisticUNet
from probunet.models.image2image_vae import Image2ImageVAE
from probunet.models.m_heads import MHeads
from probunet.models.mixture_of_experts import ExpertSegmentation, MixtureOfExperts
from probunet.models.phiseg import PHiSeg
from probunet.models.probabilistic_unet import ProbabilisticUNet
from probunet.models.stochastic_segmentation_network import StochasticSegmentationNetwork
from probunet.models.unet import UNet
from probunet.objectives.loss import Loss

__all__ = [
    "DropoutUNet",
    "Ensemble",
    "ExpertSegmentation",
    "HierarchicalProbabilisticUNet",
    "HierarchicalSegmentation",
    "Image2ImageVAE",
    "LatentSegmentation",
    "Loss",
    "MHeads",
    "MixtureOfExperts",
    "MixtureSegmentation",
    "PHiSeg",
    "ProbabilisticUNet",
    "SegmentationDistribution",
    "SegmentationModel",
    "StochasticSegmentationNetwork",
    "UNet",
]
