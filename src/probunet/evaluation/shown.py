"""What of an image is scored, and how a model sees it: the central crop of its training, or all of it in tiles."""

from __future__ import annotations

import logging
import math
from typing import Literal, TypeAlias, get_args

import torch

from probunet.core.errors import InputError
from probunet.core.intensity import Intensity
from probunet.data.batches import Crop, EvaluationImages
from probunet.data.manifest import Split
from probunet.data.store import Store
from probunet.distributions.base import SegmentationDistribution
from probunet.models.base import SegmentationModel
from probunet.nets.layers import LAYOUT
from probunet.nets.tiling import needs_tiles

log = logging.getLogger(__name__)

Part: TypeAlias = Literal["whole", "trained"]
"""Of an image: all of it, or the central crop of the training size."""
BATCH = 32
PIXELS = BATCH * 256 * 512
"""Of a batch at most; of larger images there are fewer in a batch."""


def images_to_score(
    store: Store, split: Split, trained: Crop | None, wanted: Part | Crop | None, intensity: Intensity | None
) -> EvaluationImages:
    """The images of an evaluation.

    Args:
        store: the data.
        split: part of it.
        trained: crop of the training; ``None`` where nobody knows.
        wanted: what of an image; ``None`` for whole volumes, and of images for the crop of the training, or the whole
            image where that crop hides all marks of one: crops around something keep their size, images of one's own
            are not scored beside the marks.
        intensity: see :class:`EvaluationImages`.

    Raises:
        InputError: the crop is larger than the images, or there is no such split.
    """
    if wanted is None and store.dims == 3:
        wanted = "whole"  # patches of the training are pieces of a volume
    if isinstance(wanted, str) and wanted not in get_args(Part):
        raise InputError(f"crop={wanted!r} is no part of an image; give whole, trained, or a size in pixels")
    crop = wanted if wanted is not None and not isinstance(wanted, str) else None if wanted == "whole" else trained
    images = EvaluationImages(store, split, crop, intensity=intensity)
    if note := images.hidden_note():
        if wanted is not None:
            log.warning(note)
            return images
        hidden, shown = images.hidden_marks()
        images = EvaluationImages(store, split, intensity=intensity)
        log.warning(
            f"note: {hidden:,} of the {shown:,} images with marks have all of them outside of the central crop of the "
            f"training; whole images of {'x'.join(map(str, images.size))} px are scored; "
            "--crop trained scores that crop"
        )
    return images


def batch_size(images: EvaluationImages) -> int:
    """Images in a batch."""
    return max(1, min(BATCH, PIXELS // math.prod(images.size)))


def distribution_of(model: SegmentationModel, image: torch.Tensor) -> SegmentationDistribution:
    """What a model says of images (B, C, *size); of large ones tile by tile, which gives the same."""
    image = image.contiguous(memory_format=LAYOUT[image.ndim - 2])
    return model.tiled(image) if needs_tiles(image.shape[2:]) else model(image)
