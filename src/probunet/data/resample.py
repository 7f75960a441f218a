"""A crop with its masks from one pixel size to another, around the crop's middle."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt
from PIL import Image

from probunet.data.prepare import Drawn


def largest_size(side: int, native: Iterable[float], spacing: float) -> int:
    """Give the largest even number of pixels of ``spacing`` mm that lies inside every crop.

    Args:
        side: pixels along the crops' shorter side.
        native: mm of the crops' pixels.
        spacing: mm of the target pixels.
    """
    return int(side * min(native) / spacing + 1e-6) // 2 * 2


def resample_crop(
    image: npt.NDArray[np.uint8], labels: npt.NDArray[np.uint8], native: float, spacing: float, size: int
) -> Drawn:
    """Bring a crop to another pixel size.

    The image by a triangle as wide as the coarser of the two pixels (Pillow's antialiased linear resampling), the
    labels by what lies under the middle of each target pixel, which is the rule for outlines on any grid
    (``contours.py``), so that nothing is made up between the labels.

    Args:
        image: (1, H, W).
        labels: (R, H, W).
        native: mm of their pixels.
        spacing: mm of the target pixels.
        size: target pixels along either side; the target must lie inside the crop.

    Returns:
        (1, size, size) and (R, size, size).
    """
    height, width = image.shape[1:]
    step = spacing / native
    half = size * step / 2
    if half > min(height, width) / 2 + 1e-6:
        raise ValueError(f"{size} px of {spacing} mm do not fit into {width}x{height} px of {native} mm")
    box = (
        max(width / 2 - half, 0),
        max(height / 2 - half, 0),
        min(width / 2 + half, width),
        min(height / 2 + half, height),
    )
    resized = Image.fromarray(image[0]).resize((size, size), Image.Resampling.BILINEAR, box=box)
    offsets = (np.arange(size) - (size - 1) / 2) * step
    rows, columns = (np.floor(side / 2 + offsets).astype(np.int64) for side in (height, width))
    return np.asarray(resized)[None], labels[:, rows[:, None], columns[None, :]]
