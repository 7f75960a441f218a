"""Numbers that a caller gives, refused where they have no meaning."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from numbers import Integral, Real

from probunet.core.errors import InputError


def is_whole(value: object) -> bool:
    """Whether something is a whole number; true and false are none."""
    return isinstance(value, Integral) and not isinstance(value, bool)


def whole_number(name: str, value: object, least: int = 1) -> int:
    """Give a whole number back.

    Raises:
        InputError: it is none, or below ``least``.

    >>> whole_number("bins", 15)
    15
    """
    if not is_whole(value) or int(value) < least:  # type: ignore[call-overload]
        raise InputError(f"{name}={str(value)[:40]} must be a whole number, {least} or more")
    return int(value)  # type: ignore[call-overload]


def checked_spacing(spacing: Sequence[float | None] | None, axes: int) -> tuple[float, ...]:
    """Give the size of a pixel along every axis back, in mm; 1 along each where nobody knows.

    Raises:
        InputError: not a finite number above 0 for every axis.

    >>> checked_spacing(None, 2)
    (1.0, 1.0)
    """
    if spacing is None:
        return (1.0,) * axes
    if isinstance(spacing, str) or not isinstance(spacing, Iterable) or len(sizes := tuple(spacing)) != axes:
        raise InputError(f"spacing {str(spacing)[:40]} does not fit maps with {axes} axes; give a size in mm an axis")
    return tuple(positive("spacing", size) for size in sizes)


def positive(name: str, value: object) -> float:
    """Give a finite number above 0 back.

    Raises:
        InputError: it is none.

    >>> positive("pixel", 0.5)
    0.5
    """
    if not isinstance(value, Real) or isinstance(value, bool) or not 0 < float(value) < math.inf:
        raise InputError(f"{name}={str(value)[:40]} must be a finite number above 0")
    return float(value)
