"""What networks see beside the image: labels as channels, latents as constant channels."""

from __future__ import annotations

import torch

from probunet.core.types import Label, Latent
from probunet.nets.layers import along
from probunet.nets.tiling import reduced


def one_hot(label: Label, num_classes: int) -> torch.Tensor:
    """One channel per class; all zero where the label is ignored.

    Args:
        label: (B, *size) class ids or ``IGNORE``.

    Returns:
        (B, K, *size) float32.
    """
    classes = torch.arange(num_classes, device=label.device)  # F.one_hot looks at values, for which a GPU has to wait
    return (label.unsqueeze(-1) == classes).movedim(-1, 1).float()


def centred(label: Label, num_classes: int, image: torch.Tensor) -> torch.Tensor:
    """What a posterior net sees of a label: one channel per class, from -1/2 to 1/2.

    Args:
        label: (B, *size) class ids or ``IGNORE``.
        num_classes: classes K.
        image: that it is seen with, (B, C, *size); where it is smaller, the label is averaged over areas.

    Returns:
        (B, K, *size) in the type of the image.
    """
    return reduced(one_hot(label, num_classes).to(image.dtype), max(image.shape[2:])) - 0.5


def with_latent(image: torch.Tensor, z: Latent) -> torch.Tensor:
    """Append one constant channel per latent dimension.

    Args:
        image: (B, C, *size); a single image goes with any number of z.
        z: (B, D).

    Returns:
        (B, C + D, *size).
    """
    constant = along(z.to(image.dtype), image).expand(-1, -1, *image.shape[2:])
    return torch.cat([image.expand(len(z), *image.shape[1:]), constant], dim=1)
