"""Sections of a volume: what its other two planes show of the picture, the readings and the hypotheses of a field."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
from fastapi import Depends, FastAPI, Response
from fastapi import Path as InPath

from probunet.core.errors import InputError
from probunet.explore.asked import LARGEST_PLACE, A, D, computing
from probunet.explore.engine import Encoded
from probunet.explore.schema import array_answer, binary


class Cut:
    """Along which row or column of the slices a volume is cut: coronal and sagittal where slices are axial."""

    def __init__(
        self,
        axis: Annotated[Literal["row", "column"], InPath(description="what is the same in all of the section")],
        position: Annotated[
            int, InPath(ge=0, le=LARGEST_PLACE, description="its number in the picture, within the field")
        ],
    ) -> None:
        self.axis, self.position = axis, position

    def of(self, values: npt.NDArray[Any], encoded: Encoded) -> npt.NDArray[Any]:
        """The section (..., slices, w), or (..., slices, h), of values (..., slices, h, w) of a field.

        Raises:
            InputError: the cut does not go through the field.
        """
        first, size = {
            "row": (encoded.field.top, encoded.field.height),
            "column": (encoded.field.left, encoded.field.width),
        }[self.axis]
        place = self.position - first
        if not 0 <= place < size:
            inside = f"from {first} to {first + size - 1}"
            raise InputError(f"{self.axis} {self.position} does not go through the field; give one {inside}")
        return values[..., place, :] if self.axis == "row" else values[..., place]


C = Annotated[Cut, Depends()]


def add_sections(app: FastAPI) -> None:
    """Let an app answer for sections."""
    where = "/api/cases/{case}/sections/{axis}/{position}"

    @app.get(f"{where}/picture", dependencies=[Depends(computing)], **array_answer("float32"))
    def picture(asked: A, cut: C) -> Response:
        """Raw intensities of a section of the field: float32 (C, slices, w or h), little endian."""
        encoded, shown = asked.encoded()
        values = np.moveaxis(asked.engine.values(asked.key, shown), 1, 0)
        return binary(cut.of(encoded.field.of(values), encoded).astype("<f4"))

    @app.get(f"{where}/readers", dependencies=[Depends(computing)], **array_answer("uint8"))
    def readers(asked: A, cut: C) -> Response:
        """What the readers who looked said of a section of the field: uint8 class ids (R, slices, w or h)."""
        encoded, shown = asked.encoded()
        return binary(cut.of(encoded.field.of(shown.readers), encoded))

    @app.get(f"{where}/labels", dependencies=[Depends(computing)], **array_answer("uint8"))
    def labels(drawn: D, cut: C) -> Response:
        """The hypotheses on a section of the field: uint8 class ids (n, slices, w or h)."""
        encoded, _ = drawn.encoded()
        whole = drawn.engine.volume(drawn.key, encoded, drawn.n, drawn.seed)
        if whole is None:
            raise InputError("a single slice, or more voxels than the page can hold, has no sections of hypotheses")
        return binary(cut.of(whole.labels, encoded))
