"""What is asked of every picture."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from probunet.inference.writers import OUTLINES, Format, check_format

Kind: TypeAlias = Literal[
    "samples", "groups", "probabilities", "entropy", "marginal", "sheet", "likelihood", "inner", "outer"
]


@dataclass(frozen=True)
class Request:
    """What is asked of every picture.

    Attributes:
        n: how many hypotheses.
        seed: of the hypotheses; each picture draws from a generator of its own, made of this and its name.
        z: (n, D) latents to decode in place of draws, or ``None``.
        at: row and column, or slice, row and column, of the middle of the only field to segment, of the size that the
            model was trained on.
        group_distance: average 1 - IoU from which on two hypotheses are in different groups.
        format: in which hypotheses and maps are written beside the arrays.
        write: what is written.
        reader: the person who is meant to draw; ``None`` for any of those whom the model knows.
        above: volumes whose probability to be exceeded is wanted, in mm3 (in voxels where these have no size).

    Raises:
        InputError: the package that writes the format is not installed.
    """

    n: int
    seed: int
    z: npt.NDArray[np.float32] | None
    at: tuple[int, ...] | None
    group_distance: float
    format: Format
    write: frozenset[Kind]
    reader: str | None = None
    above: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        check_format(self.format)

    @property
    def shares(self) -> bool:
        """Whether the probabilities of the hypotheses are needed."""
        return bool({"probabilities", "entropy", "sheet"} & self.write)

    @property
    def outlined(self) -> bool:
        """Whether calibrated outlines are needed."""
        return bool(self.write & set(OUTLINES))

    @property
    def grouped(self) -> bool:
        """Whether groups of like hypotheses are needed."""
        return bool({"groups", "likelihood", "sheet"} & self.write) or self.format in ("dicomseg", "dicomlabelmap")

    def as_json(self) -> dict[str, Any]:
        """As plain data."""
        z = None if self.z is None else self.z.tolist()
        lists = {"at": self.at and list(self.at), "write": sorted(self.write), "above": list(self.above)}
        return {**asdict(self), "z": z, **lists}
