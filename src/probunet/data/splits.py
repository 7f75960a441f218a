"""Splits by patient: no patient (or other group) is ever in two parts."""

from __future__ import annotations

import json
from collections.abc import Hashable, Sequence
from importlib import resources

import numpy as np
import numpy.typing as npt

from probunet.errors import InputError

PARTS = ("train", "val", "test")
"""Names of the parts, in the order of fractions."""


def split_by_group(
    groups: Sequence[Hashable], fractions: Sequence[float], seed: int
) -> npt.NDArray[np.int64]:
    """Put every item into one part so that items of one group (a patient) stay together.

    The distinct groups are sorted by their text and shuffled with ``seed``; the fractions count groups, not
    items, and are rounded by largest remainder, so that the parts add up. The result depends on the set of
    groups, the fractions and the seed only, not on the order of the items.

    Args:
        groups: the group of every item (for instance its patient id), length n.
        fractions: share of the groups in every part, not negative, with sum 1; ``(0, 0, 1)`` puts everything
            into the last part.
        seed: of the shuffle.

    Returns:
        (n,) int64: index into ``fractions`` for every item.

    Raises:
        InputError: fractions that are negative, not finite or do not add up to 1.
    """
    shares = np.asarray(fractions, dtype=np.float64)
    if (
        shares.ndim != 1
        or not np.isfinite(shares).all()
        or (shares < 0).any()
        or abs(shares.sum() - 1) > 1e-6
    ):
        raise InputError(f"fractions must be at least 0 and add up to 1, but they are {tuple(fractions)}")
    names = sorted({str(group) for group in groups})
    exact = shares * len(names)
    counts = np.floor(exact + 1e-9).astype(np.int64)
    for part in np.argsort(counts - exact, kind="stable")[: len(names) - counts.sum()]:
        counts[part] += 1
    order = np.random.default_rng(seed).permutation(len(names))
    part_of_name = np.empty(len(names), dtype=np.int64)
    part_of_name[order] = np.repeat(np.arange(len(shares)), counts)
    part_of = dict(zip(names, part_of_name.tolist(), strict=True))
    return np.array([part_of[str(group)] for group in groups], dtype=np.int64)


def load_reader_split() -> dict[str, tuple[str, ...]]:
    """Return the shipped split of all 1,010 LIDC-IDRI patients: 722 train, 144 val, 144 test.

    The sizes are those of Kohl et al. 2018, section 4.1; who is where is not published, so it was drawn once
    (``scripts/make_reader_annotations.py``) and is fixed in ``lidc_readers_split.json``. 135 patients have no
    outlined lesion and give no image.

    Returns:
        Patient ids like ``LIDC-IDRI-0001``, sorted, for each of ``PARTS``.
    """
    text = resources.files("probunet.data").joinpath("lidc_readers_split.json").read_text(encoding="utf-8")
    split = json.loads(text)
    return {part: tuple(split[part]) for part in PARTS}
