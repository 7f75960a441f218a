"""The model behind the page: a predictor whose answers about a case are remembered, asked by many threads in turn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from probunet.core.errors import InputError
from probunet.explore.cases import Shown
from probunet.explore.limits import Turns
from probunet.explore.recent import Recent
from probunet.explore.volumes import MOST_VOXELS
from probunet.inference.predictor import Latents, Prediction, Predictor
from probunet.inference.view import Field
from probunet.runs.description import TrainedModel

MAXIMUM_SAMPLES = 128
MAXIMUM_FIELD = 512
"""Pixels along either side of what the model sees at once: 32 features of that are 34 MB for the browser."""
REMEMBERED_BYTES = 256 * 2**20
READERS_AT_MOST = 32
"""Readers whose posterior is shown."""


@dataclass(frozen=True)
class Place:
    """The part of a picture that the model sees.

    Attributes:
        slice: its number, ``None`` for the middle one.
        row: of the field's centre, ``None`` for the middle of the slice.
        column: likewise.
        size: of the field along either side, in the model's pixels; ``None`` for what it was trained on.
    """

    slice: int | None = None
    row: int | None = None
    column: int | None = None
    size: int | None = None


@dataclass(frozen=True)
class Encoded:
    """What the model says about one field of one slice."""

    prediction: Prediction
    index: int

    @property
    def field(self) -> Field:
        """Where it is, in pixels of the picture."""
        return self.prediction.view.field


@dataclass(frozen=True)
class Draws:
    """Hypotheses of one field, on the picture's pixels.

    Attributes:
        labels: (n, h, w) uint8 class ids.
        latents: (n, D) float32, or ``None`` for a model without a latent space.
        probabilities: (K, h, w) float32 of these hypotheses.
    """

    labels: npt.NDArray[np.uint8]
    latents: npt.NDArray[np.float32] | None
    probabilities: npt.NDArray[np.float32]


class Engine:
    """A trained model that many threads may ask.

    Args:
        trained: a run directory, an exported folder or a published model, opened.
        device: where the model runs.
    """

    def __init__(self, trained: TrainedModel, device: str = "cpu") -> None:
        self.turns = Turns()
        self.predictor = Predictor(trained, device, self.turns.turn)
        self.trained, self.model = trained, self.predictor.model
        self._encoded: Recent[Encoded] = Recent(REMEMBERED_BYTES)
        self._draws: Recent[Draws] = Recent(REMEMBERED_BYTES // 2)
        self._volumes: Recent[npt.NDArray[np.uint8]] = Recent(REMEMBERED_BYTES)

    @property
    def crop(self) -> tuple[int, int]:
        """Height and width that the model was trained on, in pixels."""
        return self.trained.plane

    def encode(self, key: str, case: Shown, place: Place) -> Encoded:
        """Run the networks on a field, once.

        Args:
            key: of the case.
            case: what is looked at.
            place: which part of it.

        Raises:
            InputError: a picture that does not fit the model, or a slice that is not there.
        """
        if encoded := self._encoded.get((key, place)):
            return encoded
        depth, height, width = case.picture.shape
        index = depth // 2 if place.slice is None else place.slice
        if not 0 <= index < depth:
            raise InputError(f"there is no slice {index} among {depth}")
        row = height // 2 if place.row is None else min(place.row, height - 1)
        column = width // 2 if place.column is None else min(place.column, width - 1)
        size = self.crop if place.size is None else (place.size, place.size)
        size = min(size[0], MAXIMUM_FIELD), min(size[1], MAXIMUM_FIELD)
        encoded = Encoded(self.predictor(case.picture, at=(row, column), size=size), index)
        encoded.prediction.distribution(index)
        seen = encoded.prediction.view.grid.seen
        self._encoded.put((key, place), encoded, 256 * seen[0] * seen[1])  # 64 floats a pixel, roughly
        return encoded

    def features(self, encoded: Encoded) -> npt.NDArray[np.float32] | None:
        """Give W_f f + b of f_comb's first layer, (h, w, channels), where the page can go on from them.

        ``None`` for a model without f_comb, and where labels have to come back from another grid.
        """
        split = self.model.split
        if split is None or not encoded.prediction.view.grid.same:
            return None
        image = encoded.prediction.image(encoded.index)
        with self.turns.turn(), torch.inference_mode():
            projected = split.project(image)
        return np.ascontiguousarray(projected[0].float().permute(1, 2, 0).cpu().numpy())

    def draw(self, key: str, encoded: Encoded, n: int, seed: int) -> Draws:
        """Draw hypotheses, once: those that ``probunet sample`` writes for the same seed and place."""
        if draws := self._draws.get((key, encoded, n, seed)):
            return draws
        prediction = encoded.prediction
        noise = prediction.noise(n, seed, encoded.index)
        piece = prediction.slice(encoded.index, noise, probabilities=True)
        assert piece.probabilities is not None
        latent = prediction.distribution(encoded.index).latent
        with torch.inference_mode():
            latents = None if latent is None else latent.place(noise)[:, 0].float().cpu().numpy()
        draws = Draws(encoded.field.of(piece.labels), latents, encoded.field.of(piece.probabilities))
        self._draws.put((key, encoded, n, seed), draws, piece.labels.nbytes + piece.probabilities.nbytes)
        return draws

    def volume(self, key: str, encoded: Encoded, n: int, seed: int) -> npt.NDArray[np.uint8] | None:
        """Give the hypotheses of :meth:`draw` in all slices: (n, slices, h, w), once.

        ``None`` for a single slice, and where they are too many voxels to wait for.
        """
        field, depth = encoded.field, encoded.prediction.shape[0]
        if depth == 1 or n * depth * field.height * field.width > MOST_VOXELS:
            return None
        named = key, field, n, seed
        labels = self._volumes.get(named)
        if labels is None:
            labels = self._slices(encoded, encoded.prediction.noise(n, seed, encoded.index))
            self._volumes.put(named, labels, labels.nbytes)
        return labels

    def _slices(self, encoded: Encoded, noise: torch.Tensor | Latents) -> npt.NDArray[np.uint8]:
        pieces = encoded.prediction.slices(noise)
        return np.stack([encoded.field.of(piece.labels) for piece in pieces], axis=1)

    def decode_volume(self, encoded: Encoded, z: Sequence[float]) -> npt.NDArray[np.uint8]:
        """Give the labels (slices, h, w) of one latent; errors of :meth:`decode`."""
        return self._slices(encoded, encoded.prediction.latents(np.array([list(z)], np.float32), encoded.index))[0]

    def decode(self, encoded: Encoded, z: Sequence[float]) -> npt.NDArray[np.uint8]:
        """Give the labels (h, w) of one latent.

        Raises:
            InputError: the model has no latent space, or one of another dimension.
        """
        latents = encoded.prediction.latents(np.array([list(z)], np.float32), encoded.index)
        return encoded.field.of(encoded.prediction.slice(encoded.index, latents).labels)[0]

    def latent(self, encoded: Encoded, case: Shown) -> dict[str, Any] | None:
        """Give prior and readers' posteriors as lists: mean and sigma, each (D,). ``None`` without a latent space."""
        latent = encoded.prediction.distribution(encoded.index).latent
        if latent is None:
            return None
        readers = case.readers[: READERS_AT_MOST if latent.infers else 0, encoded.index]
        with self.turns.turn(), torch.inference_mode():
            seen = [encoded.prediction.view.labels_seen(labels) for labels in readers]
            posteriors = [latent.posterior(torch.from_numpy(labels)[None].to(self.predictor.device)) for labels in seen]
            return {
                "prior": _listed(*latent.moments()),
                "readers": [_listed(posterior.mean, posterior.stddev) for posterior in posteriors],
            }


def _listed(mean: torch.Tensor, sigma: torch.Tensor) -> dict[str, list[float]]:
    """Mean and sigma of a single image, (1, D), as lists."""
    return {"mean": mean[0].tolist(), "sigma": sigma[0].tolist()}
