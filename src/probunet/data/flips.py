"""Stochastic label flips: a single label map becomes a distribution with known modes (paper, section 4.2).

Each flip turns all pixels of one class of an image into a class of its own ("sidewalk" into "sidewalk flipped"),
with a given probability, independently of the others: S flips give 2^S modes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from probunet.core.errors import InputError

PAPER = {"sidewalk": 8 / 17, "person": 7 / 17, "car": 6 / 17, "vegetation": 5 / 17, "road": 4 / 17}
"""Probabilities of the paper's five flips, by the Cityscapes name of the class."""


@dataclass(frozen=True)
class Flip:
    """One class that is sometimes labelled as another.

    Attributes:
        class_id: of the class as it is stored.
        flipped_id: what it becomes.
        probability: how often, between 0 and 1.
    """

    class_id: int
    flipped_id: int
    probability: float


def with_flips(classes: Sequence[str], probabilities: Mapping[str, float]) -> tuple[tuple[str, ...], tuple[Flip, ...]]:
    """Add one class for every flip behind the given ones.

    Args:
        classes: names of the stored classes, by id.
        probabilities: of the flips, by the name of the class.

    Returns:
        Names of all classes, and the flips in the order of ``probabilities``.

    Raises:
        InputError: a flip of a class that is not there, or a probability outside (0, 1).
    """
    names, flips = list(classes), []
    for name, probability in probabilities.items():
        if name not in classes:
            raise InputError(f"there is no class '{name}' to flip; the classes are {', '.join(classes)}")
        if not 0 < probability < 1:
            raise InputError(f"class '{name}' cannot flip with probability {probability}; give a number in (0, 1)")
        flips.append(Flip(classes.index(name), len(names), probability))
        names.append(f"{name} flipped")
    return tuple(names), tuple(flips)


def modes(label: npt.NDArray[np.uint8], flips: Sequence[Flip]) -> npt.NDArray[np.uint8]:
    """All ways to flip a label map; mode k flips number s where bit s of k is set.

    Args:
        label: (H, W) class ids.
        flips: S of them.

    Returns:
        (2^S, H, W).
    """
    table = np.tile(np.arange(256, dtype=np.uint8), (2 ** len(flips), 1))
    for s, flip in enumerate(flips):
        table[_is_flipped(s, len(flips)), flip.class_id] = flip.flipped_id
    return table[:, label]


def mode_probabilities(flips: Sequence[Flip]) -> npt.NDArray[np.float64]:
    """(2^S,) probability of each of :func:`modes`; they sum to 1."""
    result = np.ones(2 ** len(flips))
    for s, flip in enumerate(flips):
        result *= np.where(_is_flipped(s, len(flips)), flip.probability, 1 - flip.probability)
    return result


def _is_flipped(s: int, count: int) -> npt.NDArray[np.bool_]:
    return (np.arange(2**count) >> s & 1).astype(bool)
