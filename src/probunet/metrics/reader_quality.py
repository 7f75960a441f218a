"""What the readers of one case say of each other: who marks more than the others, and who marks something else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from probunet.core.errors import InputError
from probunet.core.types import IGNORE
from probunet.metrics.consensus import Consensus, staple_quality
from probunet.metrics.distance import Floats
from probunet.metrics.values import ratio

Labels: TypeAlias = npt.NDArray[np.integer[Any]]
Kind: TypeAlias = Literal["copy", "elsewhere", "far", "size"]
"""What is striking about a reading.

- ``"copy"``: it equals another reader's bit for bit.
- ``"elsewhere"``: no pixel of it was marked by anybody else who marked something.
- ``"far"``: its mean IoU with the others is below .6 of what they have among each other.
- ``"size"``: it is more than 1.5 times as large as the largest other one, or 1.5 times as small as the smallest.
"""
SIZE, FAR = 1.5, 0.6


@dataclass(frozen=True)
class Quality:
    """What one case says of each of R readers, for one class; NaN where it says nothing."""

    sensitivity: Floats
    """(R,) share of the reference's pixels that the reader marked."""
    specificity: Floats
    """(R,) share of the pixels outside of the reference that the reader did not mark."""
    log_ratio: Floats
    """(R,) log of the reader's area over the mean area of the others who marked something."""
    empty: npt.NDArray[np.bool_]
    """(R,) whether the reader marked nothing."""
    alone: npt.NDArray[np.bool_]
    """(R,) whether the reader marked nothing while everybody else marked something."""


@dataclass(frozen=True)
class Finding:
    """A reading that is not like the others.

    Attributes:
        kind: see ``Kind``.
        reader: number of the reader.
        other: of the one whose copy it is; the first of the two is the reader.
        value: the share of the others' IoU (far), the ratio of the areas (size); ``None`` for the other kinds.
    """

    kind: Kind
    reader: int
    other: int | None = None
    value: float | None = None


def reader_quality(labels: Labels, label: int = 1, reference: Consensus = "majority") -> Quality:
    """Compare each reader with the others.

    Args:
        labels: (R, ...) class ids of two or more readers; pixels with ``IGNORE`` in any of them count nowhere.
        label: the class.
        reference: ``"majority"``: the pixels that more than half of the **other** readers marked, so that nobody is
            compared with himself. ``"staple"``: STAPLE's own estimate of each reader, from all of them.

    Raises:
        InputError: there are fewer than two readers, or STAPLE needs SimpleITK, which is not installed.

    >>> quality = reader_quality(np.array([[1, 1, 1, 1, 0, 0], [1, 1, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0]]))
    >>> quality.sensitivity, quality.specificity, np.exp(quality.log_ratio)
    (array([1., 1., 1.]), array([0.5, 1. , 1. ]), array([2.        , 0.66666667, 0.66666667]))
    """
    marks, outside = _marks(labels, label)
    area = marks.sum(axis=1)
    if reference == "staple":
        sensitivity, specificity = staple_quality(np.pad(marks, ((0, 0), (0, outside))))
    else:
        others = marks.sum(axis=0) - marks
        agreed = 2 * others > len(marks) - 1
        sensitivity = ratio((marks & agreed).sum(axis=1), agreed.sum(axis=1))
        specificity = ratio((~marks & ~agreed).sum(axis=1) + outside, (~agreed).sum(axis=1) + outside)
    seen = area > 0
    of_others = ratio(area.sum() - area, seen.sum() - seen)
    with np.errstate(divide="ignore"):
        log_ratio = np.log(np.where(seen & (of_others > 0), area, np.nan) / of_others)
    return Quality(sensitivity, specificity, log_ratio, ~seen, ~seen & (seen.sum() == len(marks) - 1))


def outliers(labels: Labels, label: int = 1) -> list[Finding]:
    """Readings of one case that are not like the others; arguments as for ``reader_quality``.

    The kinds ``far`` and ``size`` need two or more others who marked something. A reading that lies elsewhere is not
    named a second time as far.

    Raises:
        InputError: there are fewer than two readers.

    >>> cells = np.array([[1, 1, 1, 0, 0, 0], [1, 1, 1, 0, 0, 0], [0, 0, 0, 0, 1, 1]])
    >>> [(finding.kind, finding.reader, finding.other) for finding in outliers(cells)]
    [('copy', 0, 1), ('elsewhere', 2, None)]
    """
    marks, _ = _marks(labels, label)
    area = marks.sum(axis=1)
    seen = np.flatnonzero(area)
    shared = marks.astype(np.float32) @ marks.astype(np.float32).T  # exact below 2^24 pixels, and only compared with 0
    findings = [
        Finding("copy", int(i), int(j))
        for n, i in enumerate(seen)
        for j in seen[n + 1 :]
        if area[i] == area[j] and np.array_equal(marks[i], marks[j])
    ]
    overlap = shared / np.maximum(area[:, None] + area[None] - shared, 1)
    for i in seen:
        others = seen[seen != i]
        if not len(others):
            continue
        if not shared[i, others].any():
            findings.append(Finding("elsewhere", int(i)))
        elif len(others) > 1:
            among = overlap[np.ix_(others, others)]
            expected = (among.sum() - np.trace(among)) / (len(others) * (len(others) - 1))
            mine = float(overlap[i, others].mean())
            if mine < FAR * expected:
                findings.append(Finding("far", int(i), value=mine / float(expected)))
        if len(others) > 1:
            for factor, striking in ((area[i] / area[others].max(), 1), (area[i] / area[others].min(), -1)):
                if striking * np.log(factor) > np.log(SIZE):
                    findings.append(Finding("size", int(i), value=float(factor)))
    return findings


def _marks(labels: Labels, label: int) -> tuple[npt.NDArray[np.bool_], int]:
    """Of the pixels that all know: (R, P) who marked those that anybody marked, and how many nobody did."""
    flat = np.asarray(labels).reshape(len(labels), -1)
    if len(flat) < 2:
        raise InputError(f"readers can be compared where there are two or more, not {len(flat)}")
    marked = (flat == label).any(axis=0)
    known = (flat[:, marked] != IGNORE).all(axis=0)
    outside = int((flat[:, ~marked] != IGNORE).all(axis=0).sum())
    return np.asarray(flat[:, marked][:, known] == label), outside
