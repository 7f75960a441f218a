"""Numbers in sentences."""

from __future__ import annotations

from collections.abc import Iterable


def by(sides: Iterable[float]) -> str:
    """Sizes along the axes as people write them.

    >>> by((128, 64)), by((0.699999988079071, 2.5))
    ('128x64', '0.7x2.5')
    """
    return "x".join(f"{side:g}" if isinstance(side, float) else str(side) for side in sides)


def counted(number: int, noun: str) -> str:
    """So many of something.

    >>> counted(1, "reader"), counted(4, "reader")
    ('1 reader', '4 readers')
    """
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
