"""Batch normalisation over the images of all processes, so that two processes of 16 are one of 32."""

from __future__ import annotations

import torch
from torch import nn
from torch.distributed.nn.functional import all_reduce
from torch.nn.modules.batchnorm import _BatchNorm

from probunet.nets.layers import along, axes_of


class SharedBatchNorm(_BatchNorm):
    """Batch normalisation whose mean and variance are of the batches of all processes together.

    Unlike torch's own it runs on processors too, where processes talk through Gloo. Every process has to have the same
    number of values. A single process, and a model that is not in training, normalise as usual.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise (B, C, *size)."""
        if not self.training or not torch.distributed.is_initialized():
            return super().forward(x)
        values = x.float()
        processes = torch.distributed.get_world_size()
        axes = (0, *axes_of(x))
        sums = torch.stack([values.mean(dim=axes), values.square().mean(dim=axes)])
        mean, square = all_reduce(sums) / processes
        variance = (square - mean.square()).clamp(min=0)
        self._follow(mean.detach(), variance.detach(), x.numel() // x.shape[1] * processes)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        shift = self.bias - mean * scale
        return (values * along(scale[None], x) + along(shift[None], x)).to(x.dtype)

    def _follow(self, mean: torch.Tensor, variance: torch.Tensor, count: int) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        momentum = 0.1 if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(variance * count / max(count - 1, 1), momentum)


class SharedBatchNorm2d(SharedBatchNorm, nn.BatchNorm2d):
    """That of images."""


class SharedBatchNorm3d(SharedBatchNorm, nn.BatchNorm3d):
    """That of volumes."""


SHARED: dict[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm2d: SharedBatchNorm2d,
    nn.BatchNorm3d: SharedBatchNorm3d,
}


def share_batch_norm(model: nn.Module) -> None:
    """Make every batch normalisation of a model one over all processes; its parameters stay the same."""
    for module in model.modules():
        if type(module) in SHARED:
            module.__class__ = SHARED[type(module)]
