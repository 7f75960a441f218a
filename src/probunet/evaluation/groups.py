"""What intervals and tests take as independent: patients, or single images where there are too few patients."""

from __future__ import annotations

from collections.abc import Sequence

FEWEST = 20
"""Patients from which on they are drawn as a whole: with three no test can reach p < .25, and no interval is right."""


def independent_groups(patients: Sequence[str]) -> tuple[list[str], str]:
    """What is drawn together, and its name.

    Args:
        patients: of every image (for streets, the city).

    Returns:
        The patient of every image, and ``"patient"``; or a name of its own for every image, and ``"image"``, where
        there are fewer than ``FEWEST`` patients. Intervals are then too narrow where images of one are alike.

    >>> independent_groups(["ulm", "ulm", "bonn"])
    (['0', '1', '2'], 'image')
    """
    if len(set(patients)) >= FEWEST:
        return list(patients), "patient"
    return [str(i) for i in range(len(patients))], "image"
