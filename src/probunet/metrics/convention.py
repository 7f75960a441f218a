"""What a distance is measured on: the one value that metrics, stores, scores, reports and files take and print."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, TypeAlias, get_args

from probunet.core.errors import InputError
from probunet.core.numbers import whole_number

Empty: TypeAlias = Literal["zero", "one", "skip"]
"""Distance of a class that neither map has.

- ``"zero"``: 0, they agree (the paper's LIDC evaluation, and most later LIDC work).
- ``"one"``: 1, as a plain intersection / (union + epsilon) gives; such a map is at distance 1 from itself.
- ``"skip"``: the class is left out of that pair's class average (the authors' Cityscapes evaluation). A pair
  for which no class is left has no distance: NaN, and the image is counted in ``left_out``.
"""

Overlap: TypeAlias = Literal["iou", "dice"]
"""Whether a distance is 1 - IoU (the paper's) or 1 - Dice."""

_EMPTY_WORDS = {
    "zero": "d = 0 if both are empty",
    "one": "d = 1 if both are empty",
    "skip": "classes absent from both left out",
}


@dataclass(frozen=True)
class Convention:
    """How two label maps are compared. Its text says it in words, for tables and files.

    Attributes:
        num_classes: labels are 0 .. num_classes - 1.
        classes: those whose distances are averaged; ``None`` becomes the foreground (1,) of two classes, all of more.
        ignore: label of pixels that are left out of the whole image where **any** reference has it, so that all
            pairs of an image are compared on the same pixels and the distance stays a metric.
        empty: what a class that neither map has contributes, see ``Empty``.
        weights: probabilities of the references, scaled to sum to 1; the references are then the whole distribution.
            ``None``: equal, and the references are a draw.
        overlap: ``"iou"`` for 1 - IoU, ``"dice"`` for 1 - Dice.

    Raises:
        InputError: a value without a meaning.

    >>> print(Convention())
    1 - IoU, classes 1 of 2, d = 0 if both are empty, no pixel ignored
    >>> print(Convention(num_classes=3, ignore=255, empty="skip"))
    1 - IoU, classes 0, 1, 2 of 3, classes absent from both left out, label 255 ignored
    """

    num_classes: int = 2
    classes: tuple[int, ...] | None = None
    ignore: int | None = None
    empty: Empty = "zero"
    weights: tuple[float, ...] | None = None
    overlap: Overlap = "iou"

    def __post_init__(self) -> None:
        if self.ignore is not None and not isinstance(self.ignore, int):
            raise InputError(f"ignore must be one label, not {type(self.ignore).__name__}; give single pixels as mask=")
        object.__setattr__(self, "num_classes", whole_number("num_classes", self.num_classes, 0))
        if self.num_classes < 2:
            raise InputError(f"num_classes={self.num_classes}, but background counts too: give 2 or more")
        if self.classes is None:
            chosen = (1,) if self.num_classes == 2 else tuple(range(self.num_classes))
        else:
            chosen = tuple(whole_number("classes", label, 0) for label in self.classes)
        if not chosen or len(set(chosen)) < len(chosen) or not all(0 <= c < self.num_classes for c in chosen):
            last = self.num_classes - 1
            raise InputError(f"classes={list(chosen)} must be one or more different labels from 0 to {last}")
        if self.ignore in chosen:
            raise InputError(f"label {self.ignore} is both evaluated and ignored; take it out of classes or ignore")
        if self.empty not in get_args(Empty):
            raise InputError(f'empty={self.empty!r} is no convention; choose "zero", "one" or "skip"')
        if self.overlap not in get_args(Overlap):
            raise InputError(f'overlap={self.overlap!r} is not known; choose "iou" or "dice"')
        object.__setattr__(self, "classes", chosen)
        if self.weights is not None:
            object.__setattr__(self, "weights", _probabilities([float(weight) for weight in self.weights]))

    @property
    def evaluated(self) -> tuple[int, ...]:
        """The classes whose distances are averaged."""
        return self.classes or ()

    def with_overlap(self, overlap: Overlap) -> Convention:
        """The same, as 1 - IoU or as 1 - Dice."""
        return replace(self, overlap=overlap)

    def __str__(self) -> str:
        words = [
            {"iou": "1 - IoU", "dice": "1 - Dice"}[self.overlap],
            f"classes {', '.join(map(str, self.evaluated))} of {self.num_classes}",
            _EMPTY_WORDS[self.empty],
            "no pixel ignored" if self.ignore is None else f"label {self.ignore} ignored",
        ]
        if self.weights is not None:
            words.append(f"{len(self.weights)} weighted references are the whole distribution")
        return ", ".join(words)

    def as_json(self) -> dict[str, Any]:
        """Plain data for a file: every field, and the words."""
        return {**asdict(self), "words": str(self)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Convention:
        """The convention that ``as_json`` described.

        Raises:
            InputError: fields are missing or have no meaning.
        """
        try:
            values = {field.name: content[field.name] for field in fields(cls)}
            for name in ("classes", "weights"):
                values[name] = None if values[name] is None else tuple(values[name])
            return cls(**values)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"this is no convention of a metric ({error!r}); score again to write it anew") from error


def _probabilities(weights: list[float]) -> tuple[float, ...]:
    total = math.fsum(weights)
    if not (math.isfinite(total) and total > 0 and all(weight >= 0 for weight in weights)):
        raise InputError("weights must be finite, not negative, and more than zero in sum")
    return tuple(weight / total for weight in weights)


FOREGROUND = Convention()
"""The paper's on LIDC-IDRI: the foreground of two classes, and two empty masks agree."""
