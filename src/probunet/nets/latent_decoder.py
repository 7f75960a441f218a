"""An expanding path with latents at its coarsest scales: each is a map, and depends on the coarser ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import nn
from torch.distributions import Normal

from probunet.nets.blocks import pointwise
from probunet.nets.fields import normal_field
from probunet.nets.gaussian import sigma_of
from probunet.nets.layers import joined, upsample
from probunet.nets.readers import Change, moved
from probunet.nets.scales import Scales

Choose = Callable[[int, Normal], torch.Tensor]
"""From a level (0: the coarsest) and the distribution of its latents to those that are used, each (B, D, *size).

Of a model that knows readers it may be the distributions of all of them, (R, B, D, *size)."""


class LatentDecoder(nn.Module):
    """From the scales of an ``Encoder`` down to fine features, with the latents that ``choose`` gives on the way.

    Args:
        scales: those of the encoder.
        latent_dims: channels of the latents, coarsest level first; at most one level for each scale but the finest.
        to_the_end: go on behind the last latents, to the finest scale; or stop there.
        carry_features: the next scale sees the features beside the latents; or the latents alone.

    Attributes:
        changed: what a ``Change`` sees and gives: channels of the features of every level, and numbers of its normal.
    """

    def __init__(
        self,
        scales: Scales,
        latent_dims: Sequence[int],
        to_the_end: bool = True,
        carry_features: bool = True,
    ) -> None:
        super().__init__()
        self.carry_features, self.scales = carry_features, scales
        sizes = scales.channels[::-1]
        self.changed = sizes[: len(latent_dims)], [2 * d for d in latent_dims]
        self.heads = nn.ModuleList(
            pointwise(size, 2 * d, scales.dims) for size, d in zip(sizes, latent_dims, strict=False)
        )
        blocks = []
        for i in range(1, len(scales) if to_the_end else len(latent_dims)):
            latents = latent_dims[i - 1] if i <= len(latent_dims) else 0
            incoming = latents + (sizes[i - 1] if carry_features else 0) + sizes[i]
            blocks.append(scales.make_block(len(scales) - 1 - i, incoming))
        self.blocks = nn.ModuleList(blocks)

    def forward(self, maps: list[torch.Tensor], choose: Choose, change: Change | None = None) -> torch.Tensor:
        """Decode.

        Args:
            maps: of the encoder, finest first; of a single image they go with any number of latents.
            choose: asked for the latents of every level, coarsest first.
            change: what the readers do to the distributions of the latents, of a model that knows them.

        Returns:
            Features of the finest scale, or of the scale of the last latents.
        """
        *skips, x = maps
        for i in range(max(len(self.heads), len(self.blocks) + 1)):
            if i:
                x = joined(upsample(x, self.scales.strides[-i]), skips[-i])
                x = self.blocks[i - 1](x)
            if i < len(self.heads):
                mean, raw = self.heads[i](x).float().chunk(2, dim=1)
                if change:
                    mean, raw = moved(mean, raw, change(i, x), -1 - self.scales.dims)
                z = choose(i, Normal(mean, sigma_of(raw), validate_args=False)).to(x.dtype)
                x = joined(x, z) if self.carry_features else z
        return x


def choice(variables: torch.Tensor, scales: Scales, corner: Sequence[int]) -> Choose:
    """Choose the latents of all levels.

    Args:
        variables: (m,) int64 seeds, each of a random field for every level, of which the latents are drawn; or
            (m, L) latents, those of all levels behind each other.
        scales: those of the encoder.
        corner: of the image in a larger one, along every axis, multiples of those of the coarsest scale.
    """
    taken = 0

    def draw(level: int, normal: Normal) -> torch.Tensor:
        channels, *size = normal.mean.shape[1:]
        at = scales.place(corner, len(scales) - 1 - level)
        field = normal_field(variables, level, channels, size, at)
        return normal.mean + normal.stddev * field.to(normal.mean.dtype)

    def take(level: int, normal: Normal) -> torch.Tensor:
        nonlocal taken
        shape = normal.mean.shape[-1 - scales.dims :]
        begin, taken = taken, taken + shape.numel()
        return variables[:, begin:taken].unflatten(1, shape)

    return take if variables.is_floating_point() else draw
