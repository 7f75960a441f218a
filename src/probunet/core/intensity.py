"""Units of pictures, and what a model sees of them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from probunet.core.errors import InputError

AIR = -1024.0
"""HU: the least value that CT keeps; around their field of view scanners write down to -3,024."""
DENSE = 3_071.0
"""HU: the largest that 12 bits hold; what is brighter and said to be padding is no metal."""
MOST_HU = 32_767.0
"""HU: the largest that signed numbers of 16 bits hold; the densest metal stays below. What is above was signed once."""
RAW = "raw value"
"""Unit of values that are known to be no HU and no grey levels; what they are instead, nobody says."""
FAR = 50.0
"""Beyond this, a value cannot be of an image that was mapped to the order of one."""


@dataclass(frozen=True)
class Intensity:
    """Linear map from raw values to what a model sees: (raw - offset) / scale.

    Attributes:
        unit: unit of the raw values, for example ``HU``.
        offset: in that unit.
        scale: in that unit, positive.

    Raises:
        InputError: no finite offset, or a scale that is not finite and above 0.
    """

    unit: str
    offset: float
    scale: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.offset) and 0 < self.scale < math.inf):
            raise InputError(
                f"intensity with offset {self.offset} and scale {self.scale}: give finite ones, scale above 0"
            )

    def normalise(self, raw: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Map raw intensities to float32 of order one; in double precision until the end."""
        return ((raw.astype(np.float64) - self.offset) / self.scale).astype(np.float32)


HOUNSFIELD = Intensity("HU", offset=-600.0, scale=400.0)
"""Of CT of the lung: -1000 HU (air) is -1, -200 HU is 1."""
