"""A training step that is only tried: whether networks can be compiled here, and how long a number format takes."""

from __future__ import annotations

import torch

from probunet.data.batches import Crop
from probunet.models.base import SegmentationModel
from probunet.nets.layers import LAYOUT


def try_step(model: SegmentationModel, images: int, crop: Crop) -> None:
    """Do the model's own objective and its gradients on blank images; the energy score is not part of it.

    Args:
        model: on its device; its gradients are changed.
        images: of the step.
        crop: their size, in pixels.
    """
    device = next(model.parameters()).device
    size = (crop,) * model.dims if isinstance(crop, int) else tuple(crop)
    image = torch.zeros(images, model.in_channels, *size, device=device)
    label = torch.zeros(images, *size, dtype=torch.uint8, device=device)
    generator = torch.Generator(device).manual_seed(0)
    model.loss(image.contiguous(memory_format=LAYOUT[model.dims]), label, generator).total.backward()
