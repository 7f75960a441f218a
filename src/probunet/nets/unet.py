"""f_U-Net(X; theta): the feature map, of the height and width of the image (paper, section 2)."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.nn import functional as F

MINIMUM_SIZE = 16
"""Smallest height and width of an image, in pixels."""

INNERMOST = 3
"""How many encoder blocks, and how many decoder blocks, count as the innermost ones (paper, section 4)."""

Block = Callable[[int, int, int], nn.Module]
"""Makes the convolutions of one scale, from their channels before and behind and their number."""

Disturb = Callable[[torch.Tensor, int, int], torch.Tensor]
"""What happens to the input of an innermost block, for example dropout: from (B, C, h, w), the number of the block and
its scale (0: the finest). Keeps the shape, but a single image may become several."""


def initialise(module: nn.Module) -> None:
    """Initialise one layer: He normal weights, biases from a truncated normal with sigma 0.001.

    The paper names orthogonal weights; the authors' code notes that He normal works better. A layer that is only
    measured (on the device "meta") has no values, and is left alone.
    """
    if isinstance(module, nn.Conv2d | nn.Linear) and not module.weight.is_meta:
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.trunc_normal_(module.bias, std=0.001, a=-0.002, b=0.002)


def pad_to_multiple(x: torch.Tensor, multiple: int) -> torch.Tensor:
    """Repeat the last row and column until height and width are multiples of ``multiple``.

    Args:
        x: (B, C, H, W).
        multiple: what the pooling of the network divides by.
    """
    height, width = x.shape[-2:]
    right, bottom = -width % multiple, -height % multiple
    return F.pad(x, (0, right, 0, bottom), mode="replicate") if right or bottom else x


def joined(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Concatenate maps (B, C, H, W) along C; a single one goes with any number of the others."""
    if first.shape[0] != second.shape[0]:  # no len(), which would fix the batch of an exported graph
        batch = max(first.shape[0], second.shape[0])
        first, second = first.expand(batch, -1, -1, -1), second.expand(batch, -1, -1, -1)
    return torch.cat([first, second], dim=1)


def plain_block(in_channels: int, out_channels: int, convolutions: int) -> nn.Module:
    """Make 3x3 convolutions with a ReLU behind each."""
    layers: list[nn.Module] = []
    for i in range(convolutions):
        layers += [
            nn.Conv2d(in_channels if i == 0 else out_channels, out_channels, 3, padding=1),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


def normalised_block(in_channels: int, out_channels: int, convolutions: int) -> nn.Module:
    """Make 3x3 convolutions with batch normalisation (Ioffe and Szegedy 2015) and a ReLU behind each."""
    layers: list[nn.Module] = []
    for i in range(convolutions):
        layers += [
            nn.Conv2d(in_channels if i == 0 else out_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)


def block_with(batch_norm: bool) -> Block:
    """Choose the form of the blocks."""
    return normalised_block if batch_norm else plain_block


class Encoder(nn.Module):
    """The contracting path, shared in form by the U-Net, the prior net and the posterior net.

    Args:
        in_channels: channels of the input.
        channels: channels of each scale, finest first; average pooling halves the size between scales.
        convolutions: 3x3 convolutions with ReLU at each scale.
        block: their form.
    """

    def __init__(
        self, in_channels: int, channels: Sequence[int], convolutions: int = 3, block: Block = plain_block
    ) -> None:
        super().__init__()
        sizes = [in_channels, *channels]
        self.blocks = nn.ModuleList(block(before, after, convolutions) for before, after in itertools.pairwise(sizes))
        self.multiple = 2 ** (len(channels) - 1)

    def forward(self, x: torch.Tensor, disturb: Disturb | None = None) -> list[torch.Tensor]:
        """Encode.

        Args:
            x: (B, C, H, W), H and W multiples of ``self.multiple``.
            disturb: applied to the inputs of the innermost blocks.

        Returns:
            The feature maps of all scales, finest first; scale i is (B, channels[i], H / 2**i, W / 2**i).
        """
        scales: list[torch.Tensor] = []
        for i, block in enumerate(self.blocks):
            incoming = F.avg_pool2d(scales[-1], 2) if scales else x
            inner = i >= len(self.blocks) - INNERMOST
            scales.append(block(disturb(incoming, i, i) if disturb and inner else incoming))
        return scales


class FeatureUNet(nn.Module):
    """Contracting and expanding path with skip connections; gives features, not classes.

    Args:
        in_channels: channels of the image.
        channels: channels of each scale, finest first.
        convolutions: 3x3 convolutions with ReLU at each scale, down and up.
        block: their form.
    """

    def __init__(
        self, in_channels: int, channels: Sequence[int], convolutions: int = 3, block: Block = plain_block
    ) -> None:
        super().__init__()
        self.encoder = Encoder(in_channels, channels, convolutions, block)
        coarse_to_fine = list(channels)[::-1]
        self.decoder = nn.ModuleList(
            block(coarse + fine, fine, convolutions) for coarse, fine in itertools.pairwise(coarse_to_fine)
        )
        self.out_channels = channels[0]
        self.apply(initialise)

    def forward(self, x: torch.Tensor, disturb: Disturb | None = None) -> torch.Tensor:
        """Compute the feature map.

        Args:
            x: (B, C, H, W), any H and W; padded and cropped inside.
            disturb: applied to the inputs of the innermost blocks of both paths.

        Returns:
            (B, channels[0], H, W).
        """
        height, width = x.shape[-2:]
        scales = self.encoder(pad_to_multiple(x, self.encoder.multiple), disturb)
        return self.expand(scales, disturb)[..., :height, :width]

    def expand(self, scales: list[torch.Tensor], disturb: Disturb | None = None) -> torch.Tensor:
        """Compute the feature map of the size of the finest of the encoder's scales; see :meth:`forward`."""
        *skips, deepest = scales
        for i, (block, skip) in enumerate(zip(self.decoder, reversed(skips), strict=True)):
            up = F.interpolate(deepest, scale_factor=2, mode="bilinear", align_corners=False)
            incoming = joined(skip, up)
            if disturb and i < INNERMOST:
                incoming = disturb(incoming, len(scales) + i, len(skips) - 1 - i)
            deepest = block(incoming)
        return deepest
