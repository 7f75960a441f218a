"""What may be said of a reader of a case, where the model was calibrated: outlines, area, nothing at all."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from fastapi import Depends, FastAPI, Response

from probunet.core.errors import InputError
from probunet.explore.asked import A, Seed, computing
from probunet.explore.engine import Encoded
from probunet.explore.recent import Recent
from probunet.explore.schema import REFUSALS, array_answer, binary
from probunet.explore.volumes import MOST_VOXELS
from probunet.inference.calibrated import Calibrated, needs_calibration
from probunet.inference.predictor import Predictor
from probunet.inference.writers import pixel_size

REMEMBERED_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Stated:
    """The statements about one field.

    Attributes:
        outlines: (slices, 2, K - 1, h, w) whether pixels lie inside of the inner and the outer outline; of a model of
            images the one slice that is looked at.
        facts: all numbers as ``probunet sample`` writes them, with the risk and the data that they are from.
    """

    outlines: npt.NDArray[np.bool_]
    facts: dict[str, Any]


class Statements:
    """Statements, of which the last ones are remembered; those of ``probunet sample`` for the same place and seed."""

    def __init__(self) -> None:
        self._stated: Recent[Stated] = Recent(REMEMBERED_BYTES)

    def of(self, key: str, encoded: Encoded, seed: int) -> Stated:
        """About the field of a case: about its volume if the model is of volumes, else about the slice.

        Raises:
            InputError: as ``needs_calibration``, or more voxels than the page can hold.
        """
        prediction = encoded.prediction
        index = None if prediction.view.volumes else encoded.index
        calibration = needs_calibration(prediction.predictor, prediction.reader).checksum  # of now: it may be replaced
        named = key, encoded.field, index, seed, calibration
        stated = self._stated.get(named)
        if stated is None:
            stated = _stated(encoded, index, seed)
            self._stated.put(named, stated, stated.outlines.nbytes)
        return stated


def _stated(encoded: Encoded, index: int | None, seed: int) -> Stated:
    prediction, field = encoded.prediction, encoded.field
    hypotheses = needs_calibration(prediction.predictor, prediction.reader).hypotheses
    depth = prediction.shape[0] if index is None else 1
    if hypotheses * depth * math.prod((field.height, field.width)) > MOST_VOXELS:
        raise InputError(
            f"{hypotheses} hypotheses of {depth} slices of {field.height}x{field.width} px are more than the page can "
            "hold; use probunet sample --write inner outer"
        )
    made = Calibrated(prediction, seed, index)
    slices = [field.of(np.stack([said.inner, said.outer])).copy() for said in made.slices()]
    return Stated(np.stack(slices), made.facts(pixel_size(prediction.picture, flat=index is not None)))


def described(predictor: Predictor) -> dict[str, Any]:
    """Risk and data of a model's calibration; where it has none, a sentence on how to make one."""
    try:
        calibration = needs_calibration(predictor)
    except InputError as error:
        return {"calibration": None, "no_calibration": str(error)}
    return {"calibration": {"risk": calibration.risk, "words": calibration.words}, "no_calibration": None}


def add_calibrated(app: FastAPI) -> None:
    """Let an app answer for calibrated statements."""
    statements = Statements()

    @app.get("/api/cases/{case}/calibrated", dependencies=[Depends(computing)], responses=REFUSALS)
    def calibrated(asked: A, seed: Seed = 0) -> dict[str, Any]:
        """What may be said of a reader, with the risk and the data that it was calibrated on.

        For every class: pixels (mm2, mm3) inside of the inner and the outer outline, an interval of a reader's area or
        volume with its coverage, and the probability that a reader marks nothing, with its bounds.
        """
        encoded, _ = asked.encoded()
        return {"field": vars(encoded.field), **statements.of(asked.key, encoded, seed).facts}

    @app.get("/api/cases/{case}/outlines", dependencies=[Depends(computing)], **array_answer("uint8"))
    def outlines(asked: A, seed: Seed = 0) -> Response:
        """The calibrated outlines of a slice as masks: uint8 (2, K - 1, h, w), inner and outer, without background."""
        encoded, _ = asked.encoded()
        made = statements.of(asked.key, encoded, seed).outlines
        return binary(made[encoded.index if len(made) > 1 else 0].astype(np.uint8))
