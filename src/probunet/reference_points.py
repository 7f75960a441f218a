"""Hypotheses that need no model and no image; what score they get tells what a model's score is worth."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.uint8]


def draws_from_the_readers(labels: Labels, n: int, generator: np.random.Generator) -> Labels:
    """An ideal model: every sample is one of the image's own readers, drawn with replacement.

    Args:
        labels: (B, R, H, W) class ids.
        n: samples an image.
        generator: source of randomness.

    Returns:
        (B, n, H, W).
    """
    chosen = generator.integers(labels.shape[1], size=(len(labels), n))
    return labels[np.arange(len(labels))[:, None], chosen]


def always_empty(labels: Labels, n: int, generator: np.random.Generator) -> Labels:
    """Background everywhere; arguments and result as in :func:`draws_from_the_readers`."""
    return np.zeros_like(labels[:, :1]).repeat(n, axis=1)


def majority_of_the_readers(labels: Labels, n: int, generator: np.random.Generator) -> Labels:
    """At every pixel the class that most readers give, the lower id where they are even, as the one hypothesis.

    Arguments and result as in :func:`draws_from_the_readers`.
    """
    votes = np.stack([(labels == k).sum(axis=1) for k in range(int(labels.max()) + 1)])
    return votes.argmax(axis=0).astype(np.uint8)[:, None].repeat(n, axis=1)


REFERENCE_POINTS = {f.__name__: f for f in (draws_from_the_readers, always_empty, majority_of_the_readers)}
