"""Label maps with fewer pixels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def majority_of_blocks(labels: npt.NDArray[np.uint8], factor: int) -> npt.NDArray[np.uint8]:
    """The most frequent class of every block of ``factor`` times ``factor`` pixels, the lowest id where they are even.

    Args:
        labels: (H, W), both multiples of ``factor``.
        factor: pixels along the side of a block.
    """
    height, width = labels.shape[0] // factor, labels.shape[1] // factor
    blocks, present = labels.reshape(height, factor, width, factor), np.unique(labels)
    votes = np.stack([(blocks == k).sum(axis=(1, 3)) for k in present])
    return present[votes.argmax(axis=0)]
