"""Windows of images and label maps along any number of axes, which may reach beyond them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt


def cut_out(
    array: npt.NDArray[Any], first: Sequence[int], size: Sequence[int], fill: int | None = None
) -> npt.NDArray[Any]:
    """A window of an array that may reach beyond it.

    >>> cut_out(np.arange(4), [-1], [3]).tolist(), cut_out(np.arange(4), [2], [3], fill=255).tolist()
    ([0, 0, 1], [2, 3, 255])

    Args:
        array: (..., *axes).
        first: position of the window along each of the last axes, below 0 where it begins before the array.
        size: of the window along them.
        fill: what stands beyond the array; ``None`` for the nearest value that is in it.

    Returns:
        (..., *size), a copy.
    """
    axes = range(array.ndim - len(size), array.ndim)
    places = [np.arange(begin, begin + length) for begin, length in zip(first, size, strict=True)]
    nearest = [place.clip(0, array.shape[axis] - 1) for axis, place in zip(axes, places, strict=True)]
    inside: tuple[Any, ...] = (..., *(slice(int(near[0]), int(near[-1]) + 1) for near in nearest))
    part = array[inside]
    for axis, place, near in zip(axes, places, nearest, strict=True):
        if not np.array_equal(place, near):
            part = np.take(part, near - near[0], axis=axis)
            if fill is not None:
                np.moveaxis(part, axis, 0)[place != near] = fill
    return np.array(part)


def central_corner(source: Sequence[int], crop: Sequence[int]) -> tuple[int, ...]:
    """First position of the central crop along each axis; where the margin is odd, the smaller part is before it.

    Below 0 where the crop is larger than the source; then the smaller part of what is missing is before it, too.
    """
    return tuple(int((have - want) / 2) for have, want in zip(source, crop, strict=True))
