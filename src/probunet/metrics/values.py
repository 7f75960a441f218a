"""One number for each image, and which images have none."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from probunet.core.errors import InputError
from probunet.metrics.convention import Convention


@dataclass(frozen=True)
class ImageValues:
    """A metric's value for each of B images."""

    value: npt.NDArray[np.float64]
    """(B,) NaN where ``left_out``."""
    left_out: npt.NDArray[np.bool_]
    """(B,) images for which the metric is not defined."""
    convention: Convention
    """What was measured."""

    def mean(self) -> float:
        """Mean over the images that are not left out.

        Raises:
            InputError: every image is left out.
        """
        return mean_of_defined(self.value, self.left_out)


def mean_of_defined(value: npt.NDArray[np.float64], left_out: npt.NDArray[Any]) -> float:
    """Mean of the values that are defined.

    Raises:
        InputError: none is.
    """
    if left_out.all():
        raise InputError(f"none of the {len(value)} images has a defined value under this convention")
    return float(value[~left_out].mean())


def defined_mean(values: npt.NDArray[np.float64], axis: int = -1) -> npt.NDArray[np.float64]:
    """Mean along an axis of what is no NaN; NaN where nothing is."""
    known = ~np.isnan(values)
    count = known.sum(axis=axis)
    return ratio(np.where(known, values, 0).sum(axis=axis), count)


def ratio(part: npt.NDArray[Any], whole: npt.NDArray[Any] | float, without: float = np.nan) -> npt.NDArray[np.float64]:
    """Part by whole, element by element; ``without`` where there is no whole."""
    part, whole = np.asarray(part), np.broadcast_to(whole, np.shape(part))
    return np.divide(part, whole, out=np.full(part.shape, without), where=whole > 0)
