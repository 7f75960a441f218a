"""How far a network sees: what a logit depends on around its voxel."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from torch import nn

from probunet.nets.blocks import Kernel, kernels_of
from probunet.nets.unet import Encoder


@dataclass(frozen=True)
class ReceptiveField:
    """What a network needs around a voxel, along every axis.

    Attributes:
        coarsest: size of a voxel of the coarsest scale, in voxels of the image.
        radius: how far, in voxels, a logit can see, at most over all places of the pooling grid.
    """

    coarsest: tuple[int, ...]
    radius: tuple[int, ...]


def receptive_field_of(encoder: Encoder, decoder: Iterable[nn.Module]) -> ReceptiveField:
    """The receptive field of an encoder and the blocks of an expanding path, coarsest first."""
    up, down = ([kernels_of(block) for block in blocks] for blocks in (decoder, encoder.blocks))
    radii = []
    for axis in range(encoder.scales.dims):
        strides = [stride[axis] for stride in encoder.scales.strides]
        reach_up, reach_down = ([reach_of(kernels, axis) for kernels in path] for path in (up, down))
        radii.append(_radius(reach_up, reach_down, strides))
    return ReceptiveField(encoder.scales.multiple, tuple(radii))


def reach_of(kernels: Iterable[Kernel], axis: int) -> int:
    """How far convolutions one behind the other see along an axis."""
    return sum(kernel[axis] // 2 for kernel in kernels)


def _radius(up: Sequence[int], down: Sequence[int], strides: Sequence[int]) -> int:
    """How far a feature sees along one axis.

    Follows the first and last voxel that a feature depends on backwards along the longest path: a convolution of
    length 3 adds one on each side at its scale, linear interpolation looks at two coarse voxels, pooling at two fine
    ones; neither looks anywhere along an axis of stride 1.

    Args:
        up: what the convolutions of each expanding block add, coarsest first.
        down: likewise of each contracting block, finest first.
        strides: between every two scales, 1 or 2.
    """
    finest, radius = len(down) - 1 - len(up), 0
    coarser = list(strides[finest:])
    for place in range(2 ** sum(stride == 2 for stride in coarser)):
        low = high = place
        for reach, stride in zip(reversed(up), coarser, strict=True):  # finest first
            low, high = low - reach, high + reach
            if stride == 2:
                low, high = (low - 1) // 2, (high + 1) // 2
        for reach, stride in zip(down[:finest:-1], reversed(coarser), strict=True):
            low, high = _pooled(low - reach, high + reach, stride)
        radius = max(radius, place - low, high - place)
    for reach, stride in zip(down[finest:0:-1], strides[:finest][::-1], strict=True):  # an expanding path that ends
        radius = _pooled(0, radius + reach, stride)[1]  # before the finest scale
    return radius + down[0]


def _pooled(low: int, high: int, stride: int) -> tuple[int, int]:
    """The first and last voxel of the finer scale that voxels from ``low`` to ``high`` are the averages of."""
    return stride * low, stride * high + stride - 1
