"""Seeds of pieces of work, so that each draws the same numbers whoever does it, and in which order."""

from __future__ import annotations

import hashlib

import numpy as np

from probunet.core.errors import InputError

HIGHEST = 2**63 - 1
"""Of the seeds that every generator takes."""


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
        InputError: it is negative or above 2**63 - 1.
    """
    if not 0 <= seed <= HIGHEST:
        raise InputError(f"--seed {seed} is no seed; give a whole number from 0 to {HIGHEST}")
    return seed
