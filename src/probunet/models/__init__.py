"""The models: one file each, all behind the interface of ``probunet.models.base``."""

from probunet.distributions.base import SegmentationDistribution
from probunet.models.base import SegmentationModel
from probunet.models.dropout_unet import DropoutUNet
from probunet.models.ensemble import Ensemble
from probunet.models.hierarchical_probabilistic_unet import HierarchicalProbabilisticUNet
from probunet.models.image2image_vae import Image2ImageVAE
from probunet.models.m_heads import MHeads
from probunet.models.mixture_of_experts import MixtureOfExperts
from probunet.models.phiseg import PHiSeg
from probunet.models.probabilistic_unet import ProbabilisticUNet
from probunet.models.stochastic_segmentation_network import StochasticSegmentationNetwork
from probunet.models.unet import UNet
from probunet.objectives.elbo import ELBO
from probunet.objectives.geco import GECO
from probunet.objectives.loss import Loss
from probunet.objectives.pixels import All, TopK

__all__ = [
    "ELBO",
    "GECO",
    "All",
    "DropoutUNet",
    "Ensemble",
    "HierarchicalProbabilisticUNet",
    "Image2ImageVAE",
    "Loss",
    "MHeads",
    "MixtureOfExperts",
    "PHiSeg",
    "ProbabilisticUNet",
    "SegmentationDistribution",
    "SegmentationModel",
    "StochasticSegmentationNetwork",
    "TopK",
    "UNet",
]
