"""f_U-Net(X; theta): the feature map, of the size of the image (paper, section 2)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import nn

from probunet.nets.layers import average_pool, cut, initialise, joined, pad_to_multiple, upsample
from probunet.nets.scales import Scales

MINIMUM_SIZE = 16
"""Smallest height and width of an image, in pixels; a volume may have any number of slices."""

INNERMOST = 3
"""How many encoder blocks, and how many decoder blocks, count as the innermost ones (paper, section 4)."""

Disturb = Callable[[torch.Tensor, int, int], torch.Tensor]
"""What happens to the input of an innermost block, for example dropout: from (B, C, *size), the number of the block and
its scale (0: the finest). Keeps the shape, but a single image may become several."""


class Encoder(nn.Module):
    """The contracting path, shared in form by the U-Net, the prior net and the posterior net.

    Args:
        in_channels: channels of the input.
        scales: its form; average pooling between them.
    """

    def __init__(self, in_channels: int, scales: Scales) -> None:
        super().__init__()
        self.scales = scales
        incoming = [in_channels, *scales.channels]
        self.blocks = nn.ModuleList(scales.make_block(i, incoming[i]) for i in range(len(scales)))

    def forward(self, x: torch.Tensor, disturb: Disturb | None = None) -> list[torch.Tensor]:
        """Encode.

        Args:
            x: (B, C, *size); padded inside, see ``pad_to_multiple``.
            disturb: applied to the inputs of the innermost blocks.

        Returns:
            The feature maps of all scales, finest first; scale i is (B, channels[i], *size / factor(i)).
        """
        maps: list[torch.Tensor] = []
        for i, block in enumerate(self.blocks):
            if maps:
                incoming = average_pool(maps[-1], self.scales.strides[i - 1])
            else:
                incoming = pad_to_multiple(x, self.scales.multiple)
            inner = i >= len(self.blocks) - INNERMOST
            maps.append(block(disturb(incoming, i, i) if disturb and inner else incoming))
        return maps


class FeatureUNet(nn.Module):
    """Contracting and expanding path with skip connections; gives features, not classes.

    Args:
        in_channels: channels of the image.
        scales: form of both paths.
    """

    def __init__(self, in_channels: int, scales: Scales) -> None:
        super().__init__()
        self.encoder = Encoder(in_channels, scales)
        sizes = scales.channels
        self.decoder = nn.ModuleList(
            scales.make_block(fine, sizes[fine + 1] + sizes[fine]) for fine in reversed(range(len(scales) - 1))
        )
        self.out_channels = sizes[0]
        self.apply(initialise)

    def forward(self, x: torch.Tensor, disturb: Disturb | None = None) -> torch.Tensor:
        """Compute the feature map.

        Args:
            x: (B, C, *size), of any size; padded and cropped inside.
            disturb: applied to the inputs of the innermost blocks of both paths.

        Returns:
            (B, channels[0], *size).
        """
        return cut(self.expand(self.encoder(x, disturb), disturb), x.shape[2:])

    def expand(self, maps: list[torch.Tensor], disturb: Disturb | None = None) -> torch.Tensor:
        """Compute the feature map of the size of the finest of the encoder's maps; see :meth:`forward`."""
        *skips, deepest = maps
        for i, (block, skip) in enumerate(zip(self.decoder, reversed(skips), strict=True)):
            scale = len(skips) - 1 - i
            incoming = joined(skip, upsample(deepest, self.encoder.scales.strides[scale]))
            if disturb and i < INNERMOST:
                incoming = disturb(incoming, len(maps) + i, scale)
            deepest = block(incoming)
        return deepest
