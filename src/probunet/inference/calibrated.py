"""What may be said of a reader of one picture, as ``probunet calibrate`` allows it: outlines, area, nothing at all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import numpy.typing as npt

from probunet.core.errors import InputError
from probunet.core.files import shown
from probunet.core.seeds import seed_of
from probunet.core.words import by
from probunet.inference.predictor import Prediction, Predictor
from probunet.inference.slices import SlicePrediction
from probunet.inference.writers import OUTLINES
from probunet.runs.calibration import Calibration

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Outlines:
    """Of one slice.

    Attributes:
        inner: (K - 1, H, W) pixels that a reader marked, for every class but the background.
        outer: (K - 1, H, W) pixels outside of which a reader marked nothing.
    """

    inner: Mask
    outer: Mask


class Calibrated:
    """The calibrated statements about one picture.

    They are made of as many hypotheses as they were calibrated with, drawn for them alone, so that neither the number
    of hypotheses that a user asks for nor given latents change them. Their noise comes from the seed and the values of
    the picture, not from its name: pictures that share a name would share their chance, and the risk would hold for
    none of them or for all.

    Args:
        prediction: what the model says of the picture.
        seed: of the hypotheses.
        index: the only slice that is looked at, of which then all is said; ``None``: all of them.

    Attributes:
        noise: of the hypotheses.

    Raises:
        InputError: as ``needs_calibration``, or one slice of what a model of volumes sees as a whole.
    """

    def __init__(self, prediction: Prediction, seed: int, index: int | None = None) -> None:
        calibration = needs_calibration(prediction.predictor, prediction.reader)
        if index is not None and prediction.view.volumes:
            raise InputError("a model of volumes says nothing of one slice alone; ask for the volume")
        self.calibration, self.prediction, self.index = calibration, prediction, index
        self.statements = [calibration.statement(part) for part in calibration.classes]
        values = np.ascontiguousarray(prediction.picture.slice(prediction.shape[0] // 2), np.float32)
        own = sha256(values.tobytes()).hexdigest()
        self.noise = prediction.noise(calibration.hypotheses, seed_of(seed, "calibrated"), index or 0, own)
        self._areas = np.zeros((len(self.statements), calibration.hypotheses), np.int64)
        self._pixels = np.zeros((2, len(self.statements)), np.int64)
        self._taken = False

    def slices(self) -> Iterator[Outlines]:
        """The outlines slice by slice on the picture's own grid."""
        self._areas[:], self._pixels[:], self._taken = 0, 0, True
        for piece in self._pieces():
            assert piece.probabilities is not None
            shares = piece.probabilities[1:].astype(np.float64)
            inner = np.stack([share >= said.inner for share, said in zip(shares, self.statements, strict=True)])
            outer = np.stack([share >= said.outer for share, said in zip(shares, self.statements, strict=True)])
            for k in range(len(self.statements)):
                self._areas[k] += (piece.labels == k + 1).sum(axis=(1, 2))
            self._pixels += np.stack([inner, outer]).sum(axis=(2, 3))
            yield Outlines(inner, outer)

    def _pieces(self) -> Iterable[SlicePrediction]:
        if self.index is None:
            return self.prediction.slices(self.noise, probabilities=True)
        return [self.prediction.slice(self.index, self.noise, probabilities=True)]

    def facts(self, size: tuple[str, float] | None) -> dict[str, Any]:
        """All numbers as plain data, with the risk and the data that they were calibrated on.

        Args:
            size: ``mm2`` or ``mm3``, and how much of it a pixel is; ``None`` where nobody knows.
        """
        if not self._taken:
            for _ in self.slices():  # they are counted on the way
                pass
        calibration, view = self.calibration, self.prediction.view
        whole = view.volumes or self.prediction.shape[0] == 1 or self.index is not None
        return {
            "words": calibration.words,
            "risk": calibration.risk,
            "data": calibration.data.model_dump(mode="json"),
            "hypotheses": calibration.hypotheses,
            "classes": {part.name: self._class(k, size, whole) for k, part in enumerate(calibration.classes)},
            "notes": [*calibration.notes, *self._notes(whole)],
        }

    def _class(self, k: int, size: tuple[str, float] | None, whole: bool) -> dict[str, Any]:
        said = self.statements[k]
        facts: dict[str, Any] = {
            name: _measured(float(pixels), size) for name, pixels in zip(OUTLINES, self._pixels[:, k], strict=True)
        }
        view = self.prediction.view
        area = "volume" if view.volumes else "area"
        facts |= {area: None, "nothing": None}
        if whole:
            scale = float(np.prod(view.grid.scale)) * view.through.scale  # pixels of the model in one of the picture
            depth = len(view.slices) if view.volumes else 1
            looked_at = float(depth * view.field.height * view.field.width)  # no area or volume is larger
            low, high = (min(end / scale, looked_at) for end in said.interval(self._areas[k] * scale))
            ends = {"low": _measured(low, size), "high": _measured(high, size)}
            facts[area] = {"coverage": 1 - said.risk, **ends}
            probability, least, most = said.probability_of_nothing(int((self._areas[k] == 0).sum()))
            facts["nothing"] = {"probability": probability, "low": least, "high": most}
        return facts

    def _notes(self, whole: bool) -> list[str]:
        notes = []
        seen, (least, most) = self.prediction.view.seen, self.calibration.data.sizes
        if not all(low <= size <= high for low, size, high in zip(least, seen, most, strict=True)):
            sizes = by(least) if least == most else f"{by(least)} to {by(most)}"
            unit = "px" if len(seen) == 2 else "voxels"
            notes.append(f"calibrated on fields of {sizes} {unit}; the model sees {by(seen)} {unit} here")
        if not whole:
            notes.append("calibrated on single slices: the outlines are of each slice, nothing is said of the volume")
        elif self.index is not None and self.prediction.shape[0] > 1:
            notes.append("calibrated on single slices: this is said of the slice alone, nothing of the volume")
        return notes


def needs_calibration(predictor: Predictor, reader: str | None = None) -> Calibration:
    """The calibration of a model.

    Args:
        predictor: whose model it is.
        reader: the person of whom something is to be said; ``None`` for any, the only ones it speaks of.

    Raises:
        InputError: it was not calibrated, its calibration is damaged or of another model, or a reader is named.
    """
    if reader is not None:
        raise InputError("inner and outer outlines are calibrated for any reader, not for one; leave the reader out")
    calibration = predictor.calibration
    if calibration is None:
        path = shown(predictor.trained.path)
        raise InputError(
            f"{path} was not calibrated, so that it has no inner and outer outlines; run 'probunet calibrate {path}' "
            "on patients it was not trained on"
        )
    return calibration


def _measured(pixels: float, size: tuple[str, float] | None) -> dict[str, float]:
    return {"pixels": pixels} | ({} if size is None else {size[0]: pixels * size[1]})
