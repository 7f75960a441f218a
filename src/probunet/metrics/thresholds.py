"""Dice of two maps of probability, cut at several thresholds: the samples' frequencies against the readers'."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from probunet.core.errors import InputError
from probunet.metrics.calibration import Probabilities, pixel_pairs
from probunet.metrics.convention import FOREGROUND, Convention
from probunet.metrics.distance import Floats
from probunet.metrics.overlap import Maps
from probunet.metrics.values import ImageValues, defined_mean, ratio

QUBIQ = tuple(k / 10 for k in range(10))
"""0, .1, ..., .9: the levels of the QUBIQ challenge (Li et al. 2024); at 0 the unions are compared."""
SOFT = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Those of Dice_soft in papers on several raters, D-Persona among them (Wu et al. 2024)."""
CURVAS = (0.1, 0.24, 0.38, 0.52, 0.66, 0.8)
"""Those of the thresholded Dice of CURVAS-PDACVI (2025): six from .1 to .8."""
_ROUNDING = 1e-9
"""A frequency of 7 of 10 is not above .7, whatever the sum of sevenths and tenths is in floating point."""


def dice_at_thresholds(
    probabilities: Probabilities,
    references: Maps,
    thresholds: Sequence[float] = QUBIQ,
    convention: Convention = FOREGROUND,
    *,
    mask: Maps | None = None,
) -> ImageValues:
    """Mean over thresholds t of the Dice between pixels with p > t and pixels that more than a share t of readers gave.

    Args:
        probabilities: (B, num_classes, ...) marginals of a model, or ``class_frequencies`` of samples.
        references: (B, R, ...) integer labels.
        thresholds: from 0 to below 1.
        convention: its classes are averaged, its weights are the probabilities of the references, and its ``empty``
            says what a class counts that is on neither side at a threshold (``"skip"``: left out there).
        mask: (B, ...) True where a pixel counts nowhere.

    Raises:
        InputError: no thresholds, one outside of 0 to 1, or see ``reliability``.

    >>> frequencies = np.array([[[0.5, 0.0], [0.5, 1.0]]])  # of class 0, of class 1, in two pixels
    >>> dice_at_thresholds(frequencies, np.array([[[1, 1], [0, 1], [0, 1], [0, 1]]]), (0.0, 0.3)).value
    array([0.83333333])
    """
    if not len(thresholds) or not all(0 <= threshold < 1 for threshold in thresholds):
        raise InputError(f"thresholds {list(thresholds)} must be one or more numbers from 0 to below 1")
    value = np.full(len(references), np.nan)
    cuts = np.array(thresholds)[:, None] + _ROUNDING
    for b, predicted, observed in pixel_pairs(probabilities, references, convention, mask):
        if predicted.shape[1]:
            of_classes = [_dice(predicted[k] > cuts, observed[k] > cuts, convention) for k in convention.evaluated]
            value[b] = defined_mean(np.concatenate(of_classes))
    return ImageValues(value, np.isnan(value), convention)


def _dice(first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_], convention: Convention) -> Floats:
    """Of the rows of two boolean arrays."""
    total = first.sum(axis=1) + second.sum(axis=1)
    both_empty = {"zero": 1.0, "one": 0.0, "skip": np.nan}[convention.empty]
    return ratio(2 * (first & second).sum(axis=1), total, both_empty)
