"""The parts of the method: feature U-Net, Gaussian nets, f_comb. Nothing here is trained alone."""

from probunet.nets.combine import Combine
from probunet.nets.gaussian import GaussianNet, standard_normal
from probunet.nets.prior import placed
from probunet.nets.unet import Encoder, FeatureUNet

__all__ = ["Combine", "Encoder", "FeatureUNet", "GaussianNet", "placed", "standard_normal"]
