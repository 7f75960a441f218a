"""Seeds of pieces of work, so that each draws the same numbers whoever does it, and in which order."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

import numpy as np

from probunet.core.errors import InputError
from probunet.core.numbers import is_whole

HIGHEST = 2**63 - 1
"""Of the seeds that every generator takes."""
MOST_HYPOTHESES = 1 << 20
"""Of one picture; what is above was meant as something else, and fits into no memory."""


def seed_of(seed: int, piece: int | str) -> int:
    """Mix a seed with the number or the name of a piece of work.

    Args:
        seed: of the whole work, from 0.
        piece: number of a batch or of a step, from 0, or name of a picture.

    Returns:
        A seed below 2**63, which is the same on every machine.
    """
    if isinstance(piece, str):
        text = f"{seed} {piece}".encode("utf-8", "surrogatepass")
        return int.from_bytes(hashlib.sha256(text).digest()[:7], "big")
    return int(np.random.SeedSequence([seed, piece]).generate_state(1, np.uint64)[0] >> np.uint64(1))


def checked_seed(seed: int) -> int:
    """Give a seed back that every generator takes.

    Raises:
        InputError: it is no whole number, negative, or above 2**63 - 1.
    """
    if not is_whole(seed) or not 0 <= seed <= HIGHEST:
        raise InputError(f"--seed {str(seed)[:40]} is no seed; give a whole number from 0 to {HIGHEST}")
    return int(seed)


def checked_count(n: int) -> int:
    """Give a number of hypotheses back that can be drawn.

    Raises:
        InputError: it is no whole number, below 1, or above ``MOST_HYPOTHESES``.
    """
    if not is_whole(n) or not 1 <= n <= MOST_HYPOTHESES:
        raise InputError(
            f"the number of hypotheses must be at least 1 and at most {MOST_HYPOTHESES:,}, got {str(n)[:40]}"
        )
    return int(n)


def checked_counts(n: Iterable[int]) -> tuple[int, ...]:
    """Give numbers of hypotheses back, each once and ascending.

    Raises:
        InputError: there is none, or one is no such number, see :func:`checked_count`.
    """
    if not isinstance(n, Iterable) or isinstance(n, str):
        raise InputError(f"n={n!r}: give several numbers of hypotheses, for example n=({n!r},)")
    counts = tuple(sorted({checked_count(count) for count in n}))
    if not counts:
        raise InputError("there is no number of hypotheses; give one or more, for example 1 4 8 16")
    return counts
