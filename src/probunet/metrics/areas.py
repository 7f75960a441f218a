"""Is the readers' area, or volume, where the samples say? Continuous ranked probability scores, and errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from probunet.core.errors import InputError
from probunet.core.numbers import positive
from probunet.metrics.distance import Distances, Floats
from probunet.metrics.energy import Draws
from probunet.metrics.values import ImageValues, defined_mean, ratio


def area_crps(
    distances: Distances,
    pixel: float = 1.0,
    *,
    unbiased: bool = True,
    relative: bool = False,
    draws: Draws = "independent",
) -> ImageValues:
    """CRPS of the samples' areas against each reader's, averaged over readers (with their weights) and classes.

    CRPS(a, y) = E|a - y| - E|a - a'| / 2, in the unit of the pixel; 0 is best, and for a single sample it is the
    absolute error. An area beyond all samples costs what it is beyond them.

    Args:
        distances: computed once; the areas of the samples and the readers are in it.
        pixel: size of a pixel (mm2) or voxel (mm3).
        unbiased: leave pairs of a sample with itself out of E|a - a'|, so that the mean does not depend on the number
            of independent samples ("fair" CRPS).
        relative: divide by the mean area of the readers; an image on which none marked the class has no such value.
        draws: how the samples were drawn; of ``"complete"`` ones all pairs count.

    Raises:
        InputError: unbiased and a single sample that is not all of them, or dependent draws; or a pixel without size.

    Source: Gneiting and Raftery 2007, Eq. 21; Ferro 2014 (the fair form). CURVAS (2024) prints another one, see
    ``gaussian_area_crps``.
    """
    samples, readers = (array.astype(np.float64) for array in (distances.sample_area, distances.reference_area))
    n = samples.shape[1]
    without_same = unbiased and draws == "independent"
    if unbiased and (draws == "dependent" or (draws == "independent" and n < 2)):
        raise InputError("the unbiased CRPS needs two or more independent samples; give more, or take unbiased=False")
    weights = np.full(readers.shape[1], 1 / readers.shape[1]) if distances.weights is None else distances.weights
    away = np.abs(samples[:, :, None] - readers[:, None]).mean(axis=1)  # (B, R, K)
    apart = np.abs(samples[:, :, None] - samples[:, None]).sum(axis=(1, 2)) / (n * (n - 1) if without_same else n * n)
    score = np.einsum("r,brk->bk", weights, away) - apart / 2
    return _averaged(score, readers, weights, pixel, relative, distances)


def area_error(distances: Distances, pixel: float = 1.0, *, relative: bool = False) -> ImageValues:
    """How far the median of the samples' areas (volumes) is from each reader's, averaged over readers and classes.

    It is the error of a reader of volumes who takes the median for an answer, and knows nothing of the spread.

    Args:
        distances: computed once; the areas of the samples and the readers are in it.
        pixel: size of a pixel (mm2) or voxel (mm3).
        relative: divide by the mean area of the readers; an image on which none marked the class has no such value.
    """
    samples, readers = (array.astype(np.float64) for array in (distances.sample_area, distances.reference_area))
    weights = np.full(readers.shape[1], 1 / readers.shape[1]) if distances.weights is None else distances.weights
    away = np.abs(np.median(samples, axis=1)[:, None] - readers)
    return _averaged(np.einsum("r,brk->bk", weights, away), readers, weights, pixel, relative, distances)


def gaussian_area_crps(distances: Distances, pixel: float = 1.0, *, relative: bool = False) -> ImageValues:
    """CRPS of CURVAS: the samples' **mean** area against a normal distribution with the readers' mean and deviation.

    It knows nothing of the samples' spread. This is the closed form; the published code integrates between three
    deviations on either side, so that an error beyond these costs nothing more there. Where all readers have one area
    it is the absolute error. Arguments as for ``area_crps``.

    Source: Riera-Marin et al. 2025 (CURVAS); Gneiting and Raftery 2007 (closed form).
    """
    samples, readers = (array.astype(np.float64) for array in (distances.sample_area, distances.reference_area))
    weights = np.full(readers.shape[1], 1 / readers.shape[1])
    middle, deviation = readers.mean(axis=1), readers.std(axis=1)
    away = samples.mean(axis=1) - middle
    z = ratio(away, deviation, 0.0)
    density = np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi)
    score = deviation * (z * (2 * ndtr(z) - 1) + 2 * density - 1 / np.sqrt(np.pi))
    score = np.where(deviation > 0, score, np.abs(away))
    return _averaged(score, readers, weights, pixel, relative, distances)


def _averaged(
    score: Floats,
    readers: Floats,
    weights: npt.NDArray[Any],
    pixel: float,
    relative: bool,
    distances: Distances,
) -> ImageValues:
    """Mean over the classes of scores (B, K) in pixels, relative to the mean areas (B, R, K) where asked for."""
    score = score * positive("pixel", pixel)
    if relative:
        mean = np.einsum("r,brk->bk", weights, readers) * pixel
        score = ratio(score, mean)
    value = np.where(distances.left_out, np.nan, defined_mean(score, axis=1))
    return ImageValues(value, np.isnan(value), distances.convention)
