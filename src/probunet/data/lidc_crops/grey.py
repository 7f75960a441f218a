"""Grey levels of neighbouring slices, each scaled by its own minimum and maximum, brought to one scale.

A crop of the layout holds (HU - minimum) / (maximum - minimum) of that crop, so the slices of a lesion differ in scale.
Neighbours show almost the same anatomy, so the linear map between them can be estimated; what cannot be known any more
is the scale of the whole stack in HU.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

ROUNDS = 10
"""Of the fit between two slices; most have settled after three."""
KEPT = 0.8
"""Share of the pixels that a round is fitted to: those that fit best in the round before."""


def matched_slices(stack: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Bring slices to the scale of their neighbours, and the stack to 0 to 255.

    Going out from the middle, every slice is mapped linearly onto the one before it.

    Args:
        stack: (D, H, W), each slice with its own scale.

    Returns:
        (D, H, W), on one scale as far as neighbours tell it.
    """
    slices = stack.astype(np.float64)
    middle = len(slices) // 2
    for k in range(middle + 1, len(slices)):
        scale, offset = linear_map(slices[k], slices[k - 1])
        slices[k] = scale * slices[k] + offset
    for k in reversed(range(middle)):
        scale, offset = linear_map(slices[k], slices[k + 1])
        slices[k] = scale * slices[k] + offset
    low, high = slices.min(), slices.max()
    return np.rint(255 * (slices - low) / max(high - low, 1e-12)).astype(np.uint8)


def linear_map(source: npt.NDArray[np.float64], target: npt.NDArray[np.float64]) -> tuple[float, float]:
    """Scale and offset that bring one slice to the values of another, from the pixels that agree best.

    The scale is the ratio of the deviations, which does not shrink with noise as a regression does; over many slices
    that would add up. Where a slice has one value only, the scale is 1.
    """
    x, y = source.ravel(), target.ravel()
    kept = np.ones(len(x), bool)
    scale, offset = 1.0, 0.0
    for _ in range(ROUNDS):
        deviation = x[kept].std()
        if deviation > 0 and y[kept].std() > 0:
            scale = float(y[kept].std() / deviation)
        offset = float(y[kept].mean() - scale * x[kept].mean())
        apart = np.abs(scale * x + offset - y)
        closest = apart <= np.quantile(apart, KEPT)
        if (closest == kept).all():
            break
        kept = closest
    return scale, offset
