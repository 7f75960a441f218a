"""What networks see beside the image: labels as channels, latents as constant channels."""

from __future__ import annotations

import torch
from torch.nn import functional as F

from probunet.core.types import IGNORE, Label, Latent
from probunet.nets.tiling import reduced


def one_hot(label: Label, num_classes: int) -> torch.Tensor:
    """One channel per class; all zero where the label is ignored.

    Args:
        label: (B, H, W) class ids or ``IGNORE``.

    Returns:
        (B, K, H, W) float32.
    """
    known = (label != IGNORE).unsqueeze(-1)
    ids = torch.where(label == IGNORE, 0, label).long()
    return (F.one_hot(ids, num_classes) * known).movedim(-1, 1).float()


def centred(label: Label, num_classes: int, image: torch.Tensor) -> torch.Tensor:
    """What a posterior net sees of a label: one channel per class, from -1/2 to 1/2.

    Args:
        label: (B, H, W) class ids or ``IGNORE``.
        num_classes: classes K.
        image: that it is seen with, (B, C, h, w); where it is smaller, the label is averaged over areas.

    Returns:
        (B, K, h, w) in the type of the image.
    """
    return reduced(one_hot(label, num_classes).to(image.dtype), max(image.shape[-2:])) - 0.5


def with_latent(image: torch.Tensor, z: Latent) -> torch.Tensor:
    """Append one constant channel per latent dimension.

    Args:
        image: (B, C, H, W); a single image goes with any number of z.
        z: (B, D).

    Returns:
        (B, C + D, H, W).
    """
    tiled = z.to(image.dtype)[:, :, None, None].expand(-1, -1, *image.shape[-2:])
    return torch.cat([image.expand(len(z), -1, -1, -1), tiled], dim=1)
