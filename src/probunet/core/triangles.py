"""Linear resampling along one axis, antialiased: a triangle as wide as the coarser of the two pixels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array


def places(before: int, after: int, step: float) -> npt.NDArray[np.float64]:
    """Middles of pixels of the target in pixels of the source, around its middle.

    Args:
        before: pixels of the source along the axis.
        after: pixels of the target.
        step: size of a pixel of the target in pixels of the source.
    """
    return (np.arange(after, dtype=np.float64) - (after - 1) / 2) * step + (before - 1) / 2


def triangles(before: int, after: int, step: float) -> csr_array:
    """Weights of the source around every pixel of the target; they add up to 1, also at the edges.

    Args:
        before: see :func:`places`; so are ``after`` and ``step``.

    Returns:
        (after, before), float64.
    """
    place, width = places(before, after, step).clip(0, before - 1), max(step, 1.0)
    reach = int(np.ceil(width))
    near = np.floor(place)[:, None] + np.arange(-reach, reach + 2)
    weights = (1 - np.abs(near - place[:, None]) / width).clip(0)
    weights[(near < 0) | (near >= before)] = 0
    weights /= weights.sum(axis=1, keepdims=True)
    rows, kept = np.broadcast_to(np.arange(after)[:, None], near.shape), weights > 0
    return csr_array((weights[kept], (rows[kept], near[kept].astype(np.int64))), shape=(after, before))
