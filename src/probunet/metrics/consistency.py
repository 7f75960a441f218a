"""Can a published row of D_GED^2 be: two columns of one model at different numbers of samples bind each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from probunet.core.errors import InputError


@dataclass(frozen=True)
class RowCheck:
    """What two columns of a row say of the model.

    D_n = L + D / n, where L is the distance that ever more samples tend to, and D = E d(S, S') lies between 0 and 1.

    Attributes:
        few: the smaller number of samples.
        many: the larger one.
        lowest: smallest E d(S, S') that gives both values as they are rounded.
        highest: largest one.
        limit: the distance that ever more samples tend to, from the values as printed.
    """

    few: int
    many: int
    lowest: float
    highest: float
    limit: float

    @property
    def possible(self) -> bool:
        """Whether some E d(S, S') from 0 to 1 gives both values."""
        return self.lowest <= 1 and self.highest >= 0


def is_possible(checks: Sequence[RowCheck]) -> bool:
    """Whether one E d(S, S') from 0 to 1 gives all columns of a row, as every two of them allow it."""
    return max(0.0, *(check.lowest for check in checks)) <= min(1.0, *(check.highest for check in checks))


def check_row(row: Mapping[int, float], rounding: float | Mapping[int, float] = 0.0005) -> list[RowCheck]:
    """Compare every two columns of a published row; see :func:`is_possible` for all of them together.

    Holds for the V-statistic of independent samples with a distance from 0 to 1 that is 0 between equal maps, for any
    readers. A model with few hypotheses that draws all of them alike may have L + D/n only up to their number.

    Args:
        row: D_GED^2 by number of samples.
        rounding: largest error of a printed value, half of its last digit: of all, or by number of samples.

    Raises:
        InputError: fewer than two columns, a number of samples below 1, or a value below 0 or above 2.

    >>> [check.possible for check in check_row({16: 0.206, 32: 0.188, 100: 0.162})]
    [True, True, False]
    """
    if len(row) < 2:
        raise InputError("one column says nothing by itself; give two or more, such as 16:.206 100:.162")
    for n, value in row.items():
        if n < 1 or not 0 <= value <= 2:
            raise InputError(f"{n}:{value} is no D_GED^2; give a number of samples and a value from 0 to 2")

    def error(n: int) -> float:
        return rounding if isinstance(rounding, int | float) else rounding[n]

    checks = []
    for few, many in combinations(sorted(row), 2):
        per = 1 / few - 1 / many
        diversity = (row[few] - row[many]) / per
        margin = (error(few) + error(many)) / per
        checks.append(RowCheck(few, many, diversity - margin, diversity + margin, row[few] - diversity / few))
    return checks
