"""Batch normalisation over the images of all processes, so that two processes of 16 are one of 32."""

from __future__ import annotations

import torch
from torch import nn
from torch.distributed.nn.functional import all_reduce


class SharedBatchNorm2d(nn.BatchNorm2d):
    """Batch normalisation whose mean and variance are of the batches of all processes together.

    Unlike torch's own it runs on processors too, where processes talk through Gloo. Every process has to have the same
    number of values. A single process, and a model that is not in training, normalise as usual.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise (B, C, H, W)."""
        if not self.training or not torch.distributed.is_initialized():
            return super().forward(x)
        values = x.float()
        processes = torch.distributed.get_world_size()
        sums = torch.stack([values.mean(dim=(0, 2, 3)), values.square().mean(dim=(0, 2, 3))])
        mean, square = all_reduce(sums) / processes
        variance = (square - mean.square()).clamp(min=0)
        self._follow(mean.detach(), variance.detach(), x.numel() // x.shape[1] * processes)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        shift = self.bias - mean * scale
        return (values * scale[:, None, None] + shift[:, None, None]).to(x.dtype)

    def _follow(self, mean: torch.Tensor, variance: torch.Tensor, count: int) -> None:
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        momentum = 0.1 if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(variance * count / max(count - 1, 1), momentum)


def share_batch_norm(model: nn.Module) -> None:
    """Make every batch normalisation of a model one over all processes; its parameters stay the same."""
    for module in model.modules():
        if type(module) is nn.BatchNorm2d:
            module.__class__ = SharedBatchNorm2d
