"""What differs between images (B, C, H, W) and volumes (B, C, D, H, W), and what is made of it: one table, by dims."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import EllipsisType
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

Conv: dict[int, type[Any]] = {2: nn.Conv2d, 3: nn.Conv3d}
BatchNorm: dict[int, type[Any]] = {2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
LAYOUT = {2: torch.channels_last, 3: torch.contiguous_format}
"""How the values of images and of weights lie in memory, so that convolutions are fast."""
POOL = {2: F.avg_pool2d, 3: F.avg_pool3d}
LINEAR = {2: "bilinear", 3: "trilinear"}
CONVOLUTIONS = (nn.Conv2d, nn.Conv3d)
"""Of any dims, for ``isinstance``."""


def initialise(module: nn.Module) -> None:
    """Initialise one layer: He normal weights, biases from a truncated normal with sigma 0.001.

    The paper names orthogonal weights; the authors' code notes that He normal works better. A layer that is only
    measured (on the device "meta") has no values, and is left alone.
    """
    if isinstance(module, (*CONVOLUTIONS, nn.Linear)) and not module.weight.is_meta:
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.trunc_normal_(module.bias, std=0.001, a=-0.002, b=0.002)


def average_pool(x: torch.Tensor, strides: Sequence[int]) -> torch.Tensor:
    """Average over windows of the size of the strides.

    Args:
        x: (B, C, *size), multiples of the strides.
        strides: one number an axis; 1 leaves the axis as it is.
    """
    return POOL[x.ndim - 2](x, tuple(strides))


def upsample(x: torch.Tensor, strides: Sequence[int]) -> torch.Tensor:
    """Enlarge (B, C, *size) by the strides, interpolating linearly along every axis."""
    return F.interpolate(x, scale_factor=tuple(map(float, strides)), mode=LINEAR[x.ndim - 2], align_corners=False)


def axes_of(x: torch.Tensor) -> tuple[int, ...]:
    """The axes of (B, C, *size) behind B and C."""
    return tuple(range(2, x.ndim))


def pad_to_multiple(x: torch.Tensor, multiple: Sequence[int]) -> torch.Tensor:
    """Repeat the last voxels along every axis until its length is a multiple.

    Args:
        x: (B, C, *size).
        multiple: what the pooling of the network divides by, one number an axis.
    """
    missing = [-length % each for length, each in zip(x.shape[2:], multiple, strict=True)]
    if not any(missing):
        return x
    return F.pad(x, [pad for after in reversed(missing) for pad in (0, after)], mode="replicate")


def cropped(x: torch.Tensor, part: Iterable[slice]) -> torch.Tensor:
    """Keep a part of (..., *size), given by one slice for each of its last axes."""
    index: tuple[EllipsisType | slice, ...] = (..., *part)
    return x[index]


def cut(x: torch.Tensor, size: Sequence[int]) -> torch.Tensor:
    """Keep the first voxels of (..., *size) along each of its last axes."""
    return cropped(x, map(slice, size))


def joined(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """Concatenate maps (B, C, *size) along C; a single one goes with any number of the others."""
    if first.shape[0] != second.shape[0]:  # no len(), which would fix the batch of an exported graph
        batch = max(first.shape[0], second.shape[0])
        first, second = (x.expand(batch, *x.shape[1:]) for x in (first, second))
    return torch.cat([first, second], dim=1)


def along(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """Give values (B, C) axes of length 1 behind them, as many as (B, C, *size) has."""
    return values[(..., *[None] * (like.ndim - 2))]
