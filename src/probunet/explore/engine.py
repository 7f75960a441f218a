"""The model behind the page: one call at a time, and what it said about a case is remembered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from probunet.core.errors import InputError
from probunet.distributions.base import SegmentationDistribution
from probunet.explore.cases import Shown
from probunet.explore.recent import Recent
from probunet.inference.view import in_units
from probunet.runs.description import TrainedModel

MAXIMUM_SAMPLES = 128
MAXIMUM_FIELD = 512
"""Pixels along either side of what the model sees at once: 32 features of that are 34 MB for the browser."""
REMEMBERED_BYTES = 512 * 2**20


@dataclass(frozen=True)
class Field:
    """The part of a picture that the model sees.

    Attributes:
        row: of its centre, ``None`` for the middle of the picture.
        column: of its centre, likewise.
        size: pixels along either side, ``None`` for what the model was trained on.
    """

    row: int | None = None
    column: int | None = None
    size: int | None = None


@dataclass(frozen=True)
class Box:
    """A field on the pixels of a picture, in pixels."""

    top: int
    left: int
    height: int
    width: int

    def of(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Cut it out of (..., H, W)."""
        return values[..., self.top : self.top + self.height, self.left : self.left + self.width]


@dataclass(frozen=True)
class Encoded:
    """What the model says about one field.

    Attributes:
        box: where it is.
        image: (1, C, h, w) as the model saw it.
        distribution: over its segmentations.
        note: what was done to the intensities beyond the model's own normalisation, or an empty text.
    """

    box: Box
    image: torch.Tensor
    distribution: SegmentationDistribution
    note: str


@dataclass(frozen=True)
class Draws:
    """Hypotheses of one field.

    Attributes:
        labels: (n, h, w) uint8 class ids.
        latents: (n, D) float32, or ``None`` for a model without a latent space.
        probabilities: (K, h, w) float32, averaged over the same latents where there are any.
    """

    labels: npt.NDArray[np.uint8]
    latents: npt.NDArray[np.float32] | None
    probabilities: npt.NDArray[np.float32]


class Engine:
    """A trained model that many threads may ask.

    Args:
        run: a run directory or an exported folder, opened.
        device: where the model runs.
    """

    def __init__(self, run: TrainedModel, device: str = "cpu") -> None:
        self.run, self.device = run, torch.device(device)
        self.model = run.model(device)
        self._lock = Lock()
        self._encoded: Recent[Encoded] = Recent(REMEMBERED_BYTES)
        self._draws: Recent[Draws] = Recent(REMEMBERED_BYTES // 2)

    @property
    def crop(self) -> tuple[int, int]:
        """Height and width that the model was trained on, in pixels."""
        return (self.run.crop, self.run.crop) if isinstance(self.run.crop, int) else self.run.crop

    def box(self, picture: Shown, field: Field) -> Box:
        """Place a field on a picture, moved and cut where it would leave it."""
        height, width = picture.values.shape[-2:]
        wanted = self.crop if field.size is None else (field.size, field.size)
        h, w = (min(a, b, MAXIMUM_FIELD) for a, b in zip(wanted, (height, width), strict=True))
        row = height // 2 if field.row is None else field.row
        column = width // 2 if field.column is None else field.column
        return Box(min(max(row - h // 2, 0), height - h), min(max(column - w // 2, 0), width - w), h, w)

    def encode(self, key: str, picture: Shown, field: Field) -> Encoded:
        """Run the networks on a field, once.

        Args:
            key: of the case.
            picture: of the case.
            field: what to look at.

        Raises:
            InputError: a picture that does not fit the model.
        """
        box = self.box(picture, field)
        if found := self._encoded.get((key, box)):
            return found
        raw, note = self._in_units_of_model(picture, box)
        with self._lock, torch.inference_mode():
            image = torch.from_numpy(self.run.intensity.normalise(raw))[None].to(self.device)
            encoded = Encoded(box, image, self.model(image), note)
        self._encoded.put((key, box), encoded, 256 * box.height * box.width)  # 64 floats a pixel, roughly
        return encoded

    def features(self, encoded: Encoded) -> npt.NDArray[np.float32] | None:
        """Give W_f f + b of f_comb's first layer, (h, w, channels), or ``None`` where a model has no f_comb."""
        split = self.model.split
        if split is None:
            return None
        with self._lock, torch.inference_mode():
            projected = split.project(encoded.image)
        return np.ascontiguousarray(projected[0].float().permute(1, 2, 0).cpu().numpy())

    def draw(self, key: str, encoded: Encoded, n: int, seed: int) -> Draws:
        """Draw hypotheses, once. With the same seed, fewer are the first of more."""
        if found := self._draws.get((key, encoded.box, n, seed)):
            return found
        generator = torch.Generator(self.device).manual_seed(seed)
        distribution = encoded.distribution
        with self._lock, torch.inference_mode():
            noise = distribution.noise(MAXIMUM_SAMPLES, generator)[:n]
            latent = distribution.latent
            draws = Draws(
                distribution.labels(noise)[:, 0].cpu().numpy(),
                None if latent is None else latent.place(noise)[:, 0].float().cpu().numpy(),
                distribution.probabilities(noise)[0].float().cpu().numpy(),
            )
        self._draws.put((key, encoded.box, n, seed), draws, draws.labels.nbytes + draws.probabilities.nbytes)
        return draws

    def decode(self, encoded: Encoded, z: Sequence[float]) -> npt.NDArray[np.uint8]:
        """Give the labels (h, w) of one latent.

        Raises:
            InputError: the model has no latent space, or one of another dimension.
        """
        latent = encoded.distribution.latent
        if latent is None:
            raise InputError("this model has no latent space; its hypotheses can only be drawn")
        if len(z) != latent.dims or not np.isfinite(z).all():
            raise InputError(f"a latent of {len(z)} numbers was given; {latent.dims} finite ones are needed")
        with self._lock, torch.inference_mode():
            return latent.labels(torch.tensor([[list(z)]], device=self.device))[0, 0].cpu().numpy()

    def latent(self, encoded: Encoded, picture: Shown) -> dict[str, Any] | None:
        """Give prior and readers' posteriors as lists: mean and sigma, each (D,). ``None`` without a latent space."""
        latent = encoded.distribution.latent
        if latent is None:
            return None
        with self._lock, torch.inference_mode():
            readers = encoded.box.of(picture.readers) if latent.infers else []
            posteriors = [latent.posterior(torch.from_numpy(np.array(one))[None].to(self.device)) for one in readers]
            return {
                "prior": _listed(*latent.moments()),
                "readers": [_listed(p.mean, p.stddev) for p in posteriors],
            }

    def _in_units_of_model(self, picture: Shown, box: Box) -> tuple[npt.NDArray[Any], str]:
        """Raw values of a field in the unit that the model was trained on, and what was done for it."""
        raw = box.of(picture.values)
        if self.model.in_channels == 1 and len(raw) == 3 and (raw[0] == raw[1]).all() and (raw[0] == raw[2]).all():
            raw = raw[:1]
        values, shown = in_units(raw, picture.picture.unit, self.run.intensity.unit)
        return (
            values,
            f"{shown[0]:g} to {shown[1]:g} {picture.picture.unit} shown to the model as 0 to 255" if shown else "",
        )


def _listed(mean: torch.Tensor, sigma: torch.Tensor) -> dict[str, list[float]]:
    """Mean and sigma of a single image, (1, D), as lists."""
    return {"mean": mean[0].tolist(), "sigma": sigma[0].tolist()}
