"""The scales of a network: channels, kernels, and by how much each scale is coarser than the one before it.

Voxels of a volume are often longer through the plane than in it. An axis is pooled only once its spacing is within a
factor of two of the finest, and convolutions do not look along it before (the rule of nnU-Net, Isensee et al. 2021). So
the spacing is all that an anisotropic network needs to know.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from torch import nn

from probunet.core.errors import InputError
from probunet.nets.blocks import Block, Kernel, plain_block

Dims: TypeAlias = Literal[2, 3]
"""Axes of an image: height and width, or depth, height and width."""

NEAR = 2.0
"""A spacing of less than so many times the finest is near to it."""


@dataclass(frozen=True)
class Scales:
    """The form that the U-Net, the prior net and the posterior net of a model share; see :func:`make_scales`.

    Attributes:
        channels: of each scale, finest first.
        convolutions: at each scale.
        kernels: of the convolutions of each scale.
        strides: between every two scales: voxels of the finer one, along every axis, for one of the coarser.
        block: form of the convolutions of a scale.
    """

    channels: tuple[int, ...]
    convolutions: int
    kernels: tuple[Kernel, ...]
    strides: tuple[tuple[int, ...], ...]
    block: Block = plain_block

    def __len__(self) -> int:
        """How many there are."""
        return len(self.channels)

    @property
    def dims(self) -> int:
        """Axes of an image."""
        return len(self.kernels[0])

    @property
    def multiple(self) -> tuple[int, ...]:
        """What the lengths of an image are padded to, and the size of the coarsest scale's voxel in the finest's."""
        return self.factor(len(self) - 1)

    def factor(self, scale: int) -> tuple[int, ...]:
        """Size of a voxel of a scale in voxels of the finest."""
        return tuple(math.prod(stride[axis] for stride in self.strides[:scale]) for axis in range(self.dims))

    def place(self, corner: Sequence[int], scale: int) -> tuple[int, ...]:
        """Where a corner, given in voxels of the finest scale, lies on a scale."""
        return tuple(at // side for at, side in zip(corner, self.factor(scale), strict=True))

    def make_block(self, scale: int, in_channels: int) -> nn.Module:
        """Make the convolutions of a scale."""
        return self.block(in_channels, self.channels[scale], self.convolutions, self.kernels[scale])


def make_scales(
    channels: Sequence[int],
    convolutions: int = 3,
    dims: Dims = 2,
    spacing: Sequence[float] | None = None,
    block: Block = plain_block,
) -> Scales:
    """Choose kernels and strides for a spacing.

    Args:
        channels: of each scale, finest first.
        convolutions: at each scale.
        dims: axes of an image.
        spacing: mm between voxels along every axis, in the order (D, H, W) or (H, W); as long along all of them if
            not given.
        block: form of the convolutions of a scale.

    Raises:
        InputError: a spacing that is not one positive number an axis.

    >>> make_scales((8, 8, 8), dims=3, spacing=(2.5, 0.7, 0.7)).kernels
    ((1, 3, 3), (3, 3, 3), (3, 3, 3))
    >>> make_scales((8, 8, 8), dims=3, spacing=(2.5, 0.7, 0.7)).strides
    ((1, 2, 2), (2, 2, 2))
    """
    now = [1.0] * dims if spacing is None else list(spacing)
    if len(now) != dims or not all(0 < length < math.inf for length in now):
        axes = "depth, height and width" if dims == 3 else "height and width"
        raise InputError(f"spacing={now} does not fit dims={dims}; give the mm between voxels along {axes}")
    kernels: list[Kernel] = []
    strides: list[tuple[int, ...]] = []
    seen = [False] * dims
    for _ in channels:
        near = [length < NEAR * min(now) for length in now]
        seen = [before or here for before, here in zip(seen, near, strict=True)]
        kernels.append(tuple(3 if looks else 1 for looks in seen))
        strides.append(tuple(2 if here else 1 for here in near))
        now = [length * stride for length, stride in zip(now, strides[-1], strict=True)]
    return Scales(tuple(channels), convolutions, tuple(kernels), tuple(strides[:-1]), block)
