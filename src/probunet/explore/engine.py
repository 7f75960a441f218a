"""The model behind the page: a predictor whose answers about a case are remembered, asked by many threads in turn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt
import torch

from probunet.core.errors import InputError
from probunet.explore.cases import Shown
from probunet.explore.limits import Turns
from probunet.explore.recent import Recent
from probunet.explore.volumes import MOST_VOXELS, facts
from probunet.inference.predictor import Latents, Prediction, Predictor
from probunet.inference.view import Field, checked_slice
from probunet.runs.description import TrainedModel

MAXIMUM_SAMPLES = 128
MAXIMUM_FIELD = 512
"""Pixels along either side of what the model sees at once: 32 features of that are 34 MB for the browser."""
REMEMBERED_BYTES = 256 * 2**20
REMEMBERED_FACTS = 64
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
        reader: the person whose drawing is meant; ``None`` for any.
    """

    slice: int | None = None
    row: int | None = None
    column: int | None = None
    size: int | None = None
    reader: str | None = None


@dataclass(frozen=True)
class Encoded:
    """What the model says about one field: of one slice, or of all slices at once if it is a model of volumes."""

    prediction: Prediction
    index: int
    """The slice that is looked at."""

    @property
    def field(self) -> Field:
        """Where it is, in pixels of the picture."""
        return self.prediction.view.field


@dataclass(frozen=True)
class Volume:
    """Hypotheses of one field in all slices.

    Attributes:
        labels: (n, slices, h, w) uint8 class ids.
        probabilities: (slices, K, h, w) float32 of these hypotheses, or ``None`` where nobody asked.
    """

    labels: npt.NDArray[np.uint8]
    probabilities: npt.NDArray[np.float32] | None

    @property
    def nbytes(self) -> int:
        """Bytes."""
        return self.labels.nbytes + (0 if self.probabilities is None else self.probabilities.nbytes)


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
        self._volumes: Recent[Volume] = Recent(REMEMBERED_BYTES)
        self._values: Recent[npt.NDArray[Any]] = Recent(REMEMBERED_BYTES)
        self._facts: Recent[dict[str, Any]] = Recent(REMEMBERED_FACTS)
        # of volumes; what is said of one goes with it
        self._features: WeakKeyDictionary[Prediction, npt.NDArray[np.float32]] = WeakKeyDictionary()
        self._latents: WeakKeyDictionary[Prediction, dict[str, Any] | None] = WeakKeyDictionary()

    @property
    def crop(self) -> tuple[int, int]:
        """Height and width that the model was trained on, in pixels."""
        return self.trained.plane

    def values(self, key: str, case: Shown) -> npt.NDArray[Any]:
        """Give all raw values (slices, C, H, W) of a case, read once.

        Raises:
            InputError: they cannot be read, or are more than the page can hold.
        """
        picture, values = case.picture, self._values.get(key)
        if values is None:
            size = math.prod(picture.shape) * picture.channels * picture.dtype.itemsize
            if size > REMEMBERED_BYTES:
                raise InputError(
                    f"{size >> 20} MiB are more of a volume than the page cuts; its slices are shown all the same"
                )
            values = picture.values()
            self._values.put(key, values, size)
        return values

    def encode(self, key: str, case: Shown, place: Place) -> Encoded:
        """Run the networks on a field, once.

        Args:
            key: of the case.
            case: what is looked at.
            place: which part of it.

        Raises:
            InputError: a picture that does not fit the model, a place outside of it, or a reader whom the model does
                not know.
        """
        if encoded := self._encoded.get((key, place)):
            return encoded
        if self.model.dims == 3 and place.slice is not None:  # of the same prediction, whichever slice is looked at
            whole = self.encode(key, case, replace(place, slice=None))
            return Encoded(whole.prediction, checked_slice(place.slice, case.picture.shape[0]))
        depth, height, width = case.picture.shape
        index = depth // 2 if place.slice is None else checked_slice(place.slice, depth)
        row = height // 2 if place.row is None else place.row
        column = width // 2 if place.column is None else place.column
        size = self.crop if place.size is None else (place.size, place.size)
        size = min(size[0], MAXIMUM_FIELD), min(size[1], MAXIMUM_FIELD)
        encoded = Encoded(self.predictor(case.picture, at=(row, column), size=size, reader=place.reader), index)
        encoded.prediction.distribution(index)
        seen = encoded.prediction.view.seen
        self._encoded.put((key, place), encoded, 256 * math.prod(seen))  # 64 floats a pixel, roughly
        return encoded

    def features(self, encoded: Encoded) -> npt.NDArray[np.float32] | None:
        """Give W_f f + b of f_comb's first layer, (h, w, channels), where the page can go on from them.

        ``None`` for a model without f_comb, and where labels have to come back from another grid.
        """
        if not self.decodes_in_page(encoded):
            return None
        split, prediction = self.model.split, encoded.prediction
        assert split is not None
        features = self._features.get(prediction)
        if features is None:
            image = prediction.image(encoded.index)
            with self.turns.turn(), torch.inference_mode():
                projected = split.project(image)[0].float()
            features = np.ascontiguousarray(projected.movedim(0, -1).cpu().numpy())
        if self.model.dims == 2:
            return features
        self._features[prediction] = features
        return np.asarray(features[encoded.index])

    def decodes_in_page(self, encoded: Encoded) -> bool:
        """Whether the page can go on from features: there is f_comb, and labels come back from no other grid."""
        return self.model.split is not None and encoded.prediction.view.same and not encoded.prediction.tiled

    def draw(self, key: str, encoded: Encoded, n: int, seed: int) -> Draws:
        """Draw hypotheses, once: those that ``probunet sample`` writes for the same seed and place."""
        if draws := self._draws.get((key, encoded, n, seed)):
            return draws
        prediction, field = encoded.prediction, encoded.field
        noise = prediction.noise(n, seed, encoded.index)
        if self.model.dims == 3:
            whole = self.volume(key, encoded, n, seed)
            if whole is None or whole.probabilities is None:
                raise InputError(
                    f"{n} hypotheses of {prediction.shape[0]} slices of {field.height}x{field.width} px are more than "
                    "the page can hold; ask for fewer of them, or use probunet sample"
                )
            labels, shares = whole.labels[:, encoded.index], whole.probabilities[encoded.index]
        else:
            piece = prediction.slice(encoded.index, noise, probabilities=True)
            assert piece.probabilities is not None
            labels, shares = field.of(piece.labels), field.of(piece.probabilities)
        latent = prediction.distribution(encoded.index).latent
        with torch.inference_mode():
            latents = None if latent is None else latent.place(noise)[:, 0].float().cpu().numpy()
        draws = Draws(labels, latents, shares)
        self._draws.put((key, encoded, n, seed), draws, labels.nbytes + shares.nbytes)
        return draws

    def volume(self, key: str, encoded: Encoded, n: int, seed: int) -> Volume | None:
        """Give the hypotheses of :meth:`draw` in all slices, once.

        ``None`` for a single slice, and where they are too many voxels to wait for.
        """
        field, depth = encoded.field, encoded.prediction.shape[0]
        if depth == 1 or n * depth * field.height * field.width > MOST_VOXELS:
            return None
        named = key, field, encoded.prediction.reader, n, seed
        whole = self._volumes.get(named)
        if whole is None:
            noise = encoded.prediction.noise(n, seed, encoded.index)
            whole = self._slices(encoded, noise, self.model.dims == 3)
            self._volumes.put(named, whole, whole.nbytes)
        return whole

    def facts(
        self, key: str, case: Shown, encoded: Encoded, n: int, seed: int, distance: float
    ) -> dict[str, Any] | None:
        """Give sizes and groups of :meth:`volume` and sizes of the readings, once; ``None`` where there is none."""
        named = key, encoded.field, encoded.prediction.reader, n, seed, distance
        known = self._facts.get(named)
        if known is None and (whole := self.volume(key, encoded, n, seed)) is not None:
            known = facts(whole.labels, case.readers, case.picture, len(self.predictor.classes), distance)
            self._facts.put(named, known, 1)
        return known

    def _slices(self, encoded: Encoded, noise: torch.Tensor | Latents, probabilities: bool = False) -> Volume:
        labels, shares = [], []
        for piece in encoded.prediction.slices(noise, probabilities):
            labels.append(encoded.field.of(piece.labels))
            if piece.probabilities is not None:
                shares.append(encoded.field.of(piece.probabilities).copy())
        return Volume(np.stack(labels, axis=1), np.stack(shares) if shares else None)

    def decode_volume(self, encoded: Encoded, z: Sequence[float]) -> npt.NDArray[np.uint8]:
        """Give the labels (slices, h, w) of one latent; errors of :meth:`decode`."""
        latents = encoded.prediction.latents(np.array([list(z)], np.float32), encoded.index)
        return self._slices(encoded, latents).labels[0]

    def decode(self, encoded: Encoded, z: Sequence[float]) -> npt.NDArray[np.uint8]:
        """Give the labels (h, w) of one latent.

        Raises:
            InputError: the model has no latent space, or one of another dimension.
        """
        latents = encoded.prediction.latents(np.array([list(z)], np.float32), encoded.index)
        return encoded.field.of(encoded.prediction.slice(encoded.index, latents).labels)[0]

    def latent(self, encoded: Encoded, case: Shown) -> dict[str, Any] | None:
        """Give prior and readers' posteriors as lists: mean and sigma, each (D,). ``None`` without a latent space."""
        if self.model.dims == 2:
            return self._latent(encoded, case.readers[:, encoded.index])
        if encoded.prediction not in self._latents:
            self._latents[encoded.prediction] = self._latent(encoded, case.readers)
        return self._latents[encoded.prediction]

    def _latent(self, encoded: Encoded, readers: npt.NDArray[np.uint8]) -> dict[str, Any] | None:
        latent, view = encoded.prediction.distribution(encoded.index).latent, encoded.prediction.view
        if latent is None:
            return None
        readers = readers[: READERS_AT_MOST if latent.infers and view.through.same else 0]
        with self.turns.turn(), torch.inference_mode():
            seen = [view.labels_seen(labels) for labels in readers]
            posteriors = [latent.posterior(torch.from_numpy(labels)[None].to(self.predictor.device)) for labels in seen]
            return {
                "prior": _listed(*latent.moments()),
                "readers": [_listed(posterior.mean, posterior.stddev) for posterior in posteriors],
            }


def _listed(mean: torch.Tensor, sigma: torch.Tensor) -> dict[str, list[float]]:
    """Mean and sigma of a single image, (1, D), as lists."""
    return {"mean": mean[0].tolist(), "sigma": sigma[0].tolist()}
