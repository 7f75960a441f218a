"""Hypotheses that need no model and no image; what score they get tells what a model's score is worth."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from probunet.metrics.consensus import majority

Labels = npt.NDArray[np.uint8]


Weights = npt.NDArray[np.float64] | None


def draws_from_the_readers(labels: Labels, n: int, generator: np.random.Generator, weights: Weights) -> Labels:
    """An ideal model: every sample is one of the image's own readers, drawn with replacement.

    Args:
        labels: (B, R, H, W) class ids.
        n: samples an image.
        generator: source of randomness.
        weights: (R,) probabilities of the readers (of the modes of label flips); ``None``: equal.

    Returns:
        (B, n, H, W).
    """
    chosen = generator.choice(labels.shape[1], size=(len(labels), n), p=weights)
    return labels[np.arange(len(labels))[:, None], chosen]


def always_empty(labels: Labels, n: int, generator: np.random.Generator, weights: Weights) -> Labels:
    """Background everywhere; arguments and result as in :func:`draws_from_the_readers`."""
    return np.zeros_like(labels[:, :1]).repeat(n, axis=1)


def majority_of_the_readers(labels: Labels, n: int, generator: np.random.Generator, weights: Weights) -> Labels:
    """At every pixel the class that most readers give, the lower id where they are even, as the one hypothesis.

    Arguments and result as in :func:`draws_from_the_readers`.
    """
    return majority(np.moveaxis(labels, 1, 0), weights)[:, None].repeat(n, axis=1)


REFERENCE_POINTS = {f.__name__: f for f in (draws_from_the_readers, always_empty, majority_of_the_readers)}
