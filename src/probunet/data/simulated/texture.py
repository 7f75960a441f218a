"""Correlated random fields, cut from a bank that is computed once per process.

Filtering fresh noise for every image would cost more than all the rest of the simulation. A field is
therefore a window of a larger periodic field at a random place, mirrored and transposed at random.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Field = npt.NDArray[np.float32]

_SIDE = 512
_BANK_SEED = 20181031


@lru_cache(maxsize=64)
def _bank(sigma: float, ring: bool) -> Field:
    """(1024, 1024): 2 x 2 copies of one periodic noise with mean 0 and variance 1, so windows need not wrap."""
    rng = np.random.default_rng([_BANK_SEED, round(sigma * 1000), int(ring)])
    field = rng.standard_normal((_SIDE, _SIDE), dtype=np.float32)
    if sigma > 0:
        narrow = ndimage.gaussian_filter(field, sigma, mode="wrap", truncate=3)
        field = narrow - 0.8 * ndimage.gaussian_filter(field, 2 * sigma, mode="wrap", truncate=3) if ring else narrow
    field -= field.mean()
    field /= field.std()
    return np.ascontiguousarray(np.tile(field, (2, 2)))


def random_field(rng: np.random.Generator, size: int, sigma: float, ring: bool = False) -> Field:
    """Give stationary Gaussian noise with mean 0 and variance 1.

    Args:
        rng: decides which part of the bank.
        size: rows and columns; above 512 the field repeats itself.
        sigma: correlation length in pixels (standard deviation of the Gaussian filter), rounded to 15 steps
            per factor of ten so that the bank stays small.
        ring: take away the lowest frequencies, as the ramp filter of CT reconstruction does to noise.

    Returns:
        (size, size) float32.
    """
    rounded = 0.0 if sigma < 0.2 else float(10 ** (round(np.log10(sigma) * 15) / 15))
    bank = _bank(min(rounded, _SIDE / 8), ring)
    row, column, kind = rng.integers((_SIDE, _SIDE, 8)).tolist()
    if size > _SIDE:
        bank = np.pad(bank, ((0, size), (0, size)), mode="wrap")
    window = bank[row : row + size, column : column + size]
    if kind & 1:
        window = window[::-1]
    if kind & 2:
        window = window[:, ::-1]
    return window.T if kind & 4 else window
