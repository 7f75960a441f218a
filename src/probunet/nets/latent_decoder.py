"""An expanding path with latents at its coarsest scales: each is a map, and depends on the coarser ones."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.distributions import Normal
from torch.nn import functional as F

from probunet.nets.fields import normal_field
from probunet.nets.gaussian import sigma_of
from probunet.nets.unet import Block, joined, plain_block

Choose = Callable[[int, Normal], torch.Tensor]
"""From a level (0: the coarsest) and the distribution of its latents to those that are used, each (B, D, h, w)."""


class LatentDecoder(nn.Module):
    """From the scales of an ``Encoder`` down to fine features, with the latents that ``choose`` gives on the way.

    Args:
        channels: channels of each scale, finest first.
        latent_dims: channels of the latents, coarsest level first; at most one level for each scale but the finest.
        convolutions: 3x3 convolutions with ReLU at each scale.
        block: their form.
        to_the_end: go on behind the last latents, to the finest scale; or stop there.
        carry_features: the next scale sees the features beside the latents; or the latents alone.
    """

    def __init__(
        self,
        channels: Sequence[int],
        latent_dims: Sequence[int],
        convolutions: int = 3,
        block: Block = plain_block,
        to_the_end: bool = True,
        carry_features: bool = True,
    ) -> None:
        super().__init__()
        self.carry_features = carry_features
        sizes = list(channels)[::-1]
        self.heads = nn.ModuleList(nn.Conv2d(size, 2 * d, 1) for size, d in zip(sizes, latent_dims, strict=False))
        blocks = []
        for i, (coarse, fine) in enumerate(itertools.pairwise(sizes if to_the_end else sizes[: len(latent_dims)])):
            latents = latent_dims[i] if i < len(latent_dims) else 0
            blocks.append(block(latents + (coarse if carry_features else 0) + fine, fine, convolutions))
        self.blocks = nn.ModuleList(blocks)

    def forward(self, scales: list[torch.Tensor], choose: Choose) -> torch.Tensor:
        """Decode.

        Args:
            scales: feature maps, finest first; of a single image they go with any number of latents.
            choose: asked for the latents of every level, coarsest first.

        Returns:
            Features of the finest scale, or of the scale of the last latents.
        """
        *skips, x = scales
        for i in range(max(len(self.heads), len(self.blocks) + 1)):
            if i:
                x = joined(F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False), skips[-i])
                x = self.blocks[i - 1](x)
            if i < len(self.heads):
                mean, raw = self.heads[i](x).float().chunk(2, dim=1)
                z = choose(i, Normal(mean, sigma_of(raw), validate_args=False)).to(x.dtype)
                x = joined(x, z) if self.carry_features else z
        return x


def choice(variables: torch.Tensor, coarsest: int, corner: tuple[int, int] = (0, 0)) -> Choose:
    """Choose the latents of all levels.

    Args:
        variables: (m,) int64 seeds, each of a random field for every level, of which the latents are drawn; or
            (m, L) latents, those of all levels behind each other.
        coarsest: side of a pixel of the coarsest level, in pixels of the image.
        corner: row and column of the image in a larger one, multiples of ``coarsest``.
    """
    taken = 0

    def draw(level: int, normal: Normal) -> torch.Tensor:
        channels, *size = normal.mean.shape[1:]
        side = coarsest >> level
        at = (corner[0] // side, corner[1] // side)
        return normal.mean + normal.stddev * normal_field(variables, level, channels, (size[0], size[1]), at).to(
            normal.mean.dtype
        )

    def take(level: int, normal: Normal) -> torch.Tensor:
        nonlocal taken
        shape = normal.mean.shape[1:]
        begin, taken = taken, taken + shape.numel()
        return variables[:, begin:taken].unflatten(1, shape)

    return take if variables.is_floating_point() else draw
