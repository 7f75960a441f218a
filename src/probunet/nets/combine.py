"""f_comb: 1x1 convolutions on [features, z broadcast] give the class logits (paper, Eq. 2).

It looks at no neighbours, so that a volume is to it an image of all rows of all slices, one below the other.

The first layer is linear, W [f; z] + b = (W_f f + b) + W_z z. The bracket is computed once per image; a
further hypothesis then costs one bias per channel and the small layers behind it.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec
from itertools import repeat
from typing import final

import torch
from torch import nn
from torch.nn import functional as F

from probunet.core.errors import InputError, first_line
from probunet.nets.decode import BLOCK, Part, labels_in_blocks
from probunet.nets.layers import cropped, initialise
from probunet.nets.unet import FeatureUNet

log = logging.getLogger(__name__)


class Combine(nn.Module):
    """1x1 convolutions with ReLU between them.

    Args:
        feature_channels: channels of the U-Net's feature map.
        latent_dims: dimensions D of the latent space.
        num_classes: classes K.
        layers: how many 1x1 convolutions, at least 2 (with one, z could only shift the logits and all
            hypotheses would be nested).
        channels: channels between the layers.

    Raises:
        InputError: fewer than 2 layers.
    """

    def __init__(
        self, feature_channels: int, latent_dims: int, num_classes: int, layers: int = 3, channels: int = 32
    ) -> None:
        super().__init__()
        if layers < 2:
            raise InputError(f"f_comb needs at least 2 layers to be non-linear in z, got {layers}")
        self.from_features = nn.Conv2d(feature_channels, channels, 1)
        self.from_latent = nn.Linear(latent_dims, channels, bias=False)
        sizes = [channels] * (layers - 1) + [num_classes]
        self.classes = num_classes
        self.rest = nn.ModuleList(nn.Conv2d(channels, size, 1) for size in sizes[1:])
        self.apply(initialise)
        with torch.no_grad():  # both halves of the first layer as one layer that sees features and z together
            inputs = feature_channels + latent_dims
            self.from_features.weight.mul_(math.sqrt(feature_channels / inputs))
            self.from_latent.weight.mul_(math.sqrt(latent_dims / inputs))

    def project(self, features: torch.Tensor) -> torch.Tensor:
        """Compute W_f f + b, the part of the first layer that all hypotheses of an image share.

        Args:
            features: (B, F, *size).

        Returns:
            (B, channels, *size).
        """
        return _as_before(self.from_features(_in_rows(features)), features)

    def forward(self, projected: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """Give the logits of one hypothesis per image; without gradients, in blocks that stay in a core's cache.

        Args:
            projected: (B, channels, *size), from :meth:`project`; a single image goes with any number of z.
            z: (B, D).

        Returns:
            (B, K, *size) logits.
        """
        shift = self.from_latent(z.to(projected.dtype))[:, :, None, None]
        return _as_before(self._in_blocks(_in_rows(projected), shift), projected)

    def _in_blocks(self, projected: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
        if torch.is_grad_enabled() or torch.compiler.is_compiling() or projected.device.type != "cpu":
            return self._behind(projected, shift)
        count, (height, width) = max(len(projected), len(shift)), projected.shape[-2:]
        if count * height * width <= BLOCK:
            return self._behind(projected, shift)
        together, rows = max(BLOCK // (height * width), 1), max(BLOCK // width, 1)
        images = projected.split(together) if len(projected) > 1 else repeat(projected)
        shifts = shift.expand(count, -1, -1, -1).split(together)
        logits = [
            torch.cat([self._behind(block, one) for block in some.split(rows, dim=2)], dim=2)
            for some, one in zip(images, shifts, strict=False)
        ]
        return torch.cat(logits)

    @torch.no_grad()
    def labels_on_gpu(self, projected: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """Tell which of two classes is more probable, for all hypotheses of all images, in one kernel.

        Args:
            projected: (B, channels, *size), from :meth:`project`.
            z: (n, B, D).

        Returns:
            (n, B, *size) uint8: 1 where the second class has the larger logit.
        """
        from probunet.nets.fused import labels_of_two  # needs Triton, which torch brings along for a GPU

        second, last = self.rest
        assert isinstance(second, nn.Conv2d)
        assert isinstance(last, nn.Conv2d)
        assert second.bias is not None
        assert last.bias is not None
        maps = projected.movedim(1, -1).flatten(1, -2).contiguous()
        labels = labels_of_two(
            maps,
            self.from_latent(z.to(projected.dtype)).to(maps.dtype),
            second.weight.flatten(1).to(maps.dtype),
            second.bias.float(),
            (last.weight[1] - last.weight[0]).flatten().float(),
            last.bias[:1].float() - last.bias[1:].float(),
        )
        return labels.unflatten(2, projected.shape[2:])

    @torch.no_grad()
    def labels(self, projected: torch.Tensor, z: torch.Tensor) -> torch.Tensor:
        """Tell which of two classes is more probable, for many hypotheses of one image, without their logits.

        The same as comparing the logits of :meth:`forward`, but for rounding, with fewer passes over the pixels: as
        relu(p + s) = max(p, -s) + s, the shift s of a hypothesis moves into the bias of the next layer, and the last
        layer computes the difference of its two logits only.

        Args:
            projected: (1, channels, *size) on the CPU, from :meth:`project`.
            z: (n, D).

        Returns:
            (n, *size) uint8: 1 where the second class has the larger logit.
        """
        size = projected.shape[2:]
        projected = _in_rows(projected).contiguous(memory_format=torch.channels_last)
        (_, channels, height, width), n = projected.shape, len(z)
        shift = self.from_latent(z.to(projected.dtype))
        second, *middle, last = (layer for layer in self.rest if isinstance(layer, nn.Conv2d))
        assert second.bias is not None
        assert last.bias is not None
        bias = torch.addmm(second.bias, shift, second.weight.flatten(1).T)
        lowest, towards = -shift[:, :, None, None], (last.weight[1] - last.weight[0]).flatten()
        threshold = (last.bias[0] - last.bias[1]).item()
        labels = torch.empty((n, height * width), dtype=torch.bool)
        for block, found in zip(
            projected.split(max(BLOCK // width, 1), dim=2),
            labels.split(max(BLOCK // width, 1) * width, dim=1),
            strict=True,
        ):
            above, difference = torch.empty_like(block), block.new_empty(found.shape[1])
            for i in range(n):
                x = F.conv2d(torch.maximum(block, lowest[i], out=above), second.weight, bias[i])
                for layer in middle:
                    x = layer(x.relu_())
                torch.mv(x.relu_().permute(0, 2, 3, 1).reshape(-1, channels), towards, out=difference)
                torch.gt(difference, threshold, out=found[i])
        return labels.view(torch.uint8).unflatten(1, size)

    def _behind(self, projected: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
        x = projected + shift
        for layer in self.rest:
            x = layer(F.relu(x, inplace=True))  # on a sum or a convolution, which need not remember what they gave
        return x


@cache
def one_kernel_works(device: torch.device) -> bool:
    """Whether Triton can be had and compiles a kernel for a device; it needs a C compiler beside the GPU."""
    if find_spec("triton") is None:
        return False
    zeros = partial(torch.zeros, device=device)
    try:
        from probunet.nets.fused import labels_of_two

        labels_of_two(zeros(1, 1, 16), zeros(1, 1, 16), zeros(16, 16), zeros(16), zeros(16), zeros(1))
    except Exception as error:  # whatever a compiler, or a GPU too old for it, has to say
        log.warning(f"note: hypotheses are decoded layer by layer, as Triton does not work here ({first_line(error)})")
        return False
    return True


def _in_rows(maps: torch.Tensor) -> torch.Tensor:
    """See (B, C, D, H, W) as (B, C, D H, W); an image stays as it is."""
    return maps.flatten(2, -2) if maps.ndim > 4 else maps


def _as_before(rows: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
    """Undo :func:`_in_rows` of maps."""
    return rows.unflatten(2, maps.shape[2:-1]) if maps.ndim > 4 else rows


@final
class Decoder:
    """f_comb on the features of images; a ``Decode`` whose variable is z.

    Args:
        combine: f_comb.
        projected: from ``Combine.project``, (B, channels, *size).
    """

    def __init__(self, combine: Combine, projected: torch.Tensor) -> None:
        self._combine, self._projected = combine, projected

    def __call__(self, variables: torch.Tensor) -> torch.Tensor:
        """Give the logits (B, K, *size) of one latent per image, (B, D); see ``Combine.forward``."""
        return self._combine(self._projected, variables)

    @property
    def fuses_on_gpu(self) -> bool:
        """Whether ``labels_on_gpu`` can be used: on a GPU with Triton, two classes, 3 layers of 16 to 128 channels."""
        channels, layers = self._projected.shape[1], len(self._combine.rest)
        fits = self._combine.classes == 2 and layers == 2 and channels in (16, 32, 64, 128)
        return fits and self._projected.device.type == "cuda" and one_kernel_works(self._projected.device)

    @property
    def fuses(self) -> bool:
        """Whether ``Combine.labels`` can be used: one image, two classes, three layers or more, float32 on the CPU."""
        ready = len(self._projected) == 1 and self._projected.device.type == "cpu"
        full = self._projected.dtype == self._combine.from_latent.weight.dtype and not torch.is_autocast_enabled("cpu")
        return ready and full and len(self._combine.rest) > 1 and self._combine.classes == 2

    def labels(self, variables: torch.Tensor) -> torch.Tensor:
        """Give the labels (n, B, *size) of latents (n, B, D); see ``Combine.labels``."""
        if self.fuses_on_gpu and variables.shape[1] == len(self._projected):
            return self._combine.labels_on_gpu(self._projected, variables)
        if self.fuses:
            return self._combine.labels(self._projected, variables[:, 0])[:, None]
        return labels_in_blocks(self, variables)

    def crop(self, part: Part) -> Decoder:
        """Keep the features of a part, and no others in memory; see ``Decode``."""
        return Decoder(self._combine, cropped(self._projected, part).clone())


@dataclass(frozen=True)
class Split:
    """A model that runs in two halves: once an image, and f_comb once a hypothesis.

    Attributes:
        unet: of the first half.
        combine: f_comb; its first layer has its share in the first half.
        latent_dims: dimensions D of z.
        gaussian: whether z is an axis-aligned Gaussian given the image.
        prior: its net, where it is one and depends on the image; ``None`` for N(0, I).
    """

    unet: FeatureUNet
    combine: Combine
    latent_dims: int
    gaussian: bool
    prior: nn.Module | None = None

    def project(self, image: torch.Tensor) -> torch.Tensor:
        """Give what all hypotheses of images (B, C, *size) share, W_f f + b, (B, channels, *size)."""
        return self.combine.project(self.unet(image))
