"""A trained model at work on pictures: own grid and units in, hypotheses on that grid out; one way for all callers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import final

import numpy as np
import numpy.typing as npt
import torch

from probunet.core.devices import chosen_device
from probunet.core.errors import InputError
from probunet.core.samples import array_of_samples
from probunet.core.seeds import checked_seed, seed_of
from probunet.distributions.base import SegmentationDistribution
from probunet.inference.view import View, with_channels
from probunet.io.pictures import Picture, picture_of
from probunet.io.search import read_picture
from probunet.models.base import SegmentationModel
from probunet.nets.tiling import TILE
from probunet.runs.calibration import Calibration, read_calibration, weights_identity
from probunet.runs.description import TrainedModel
from probunet.runs.specification import Trust
from probunet.runs.trained import open_model

Labels = npt.NDArray[np.uint8]
TOGETHER = 8
"""Hypotheses that are decoded in one step."""
LIKELIHOOD_DRAWS, MARGINAL_DRAWS = 64, 256
"""Of the estimators of log P(Y | X), and of the marginal of a model that has no exact one."""


@final
class Predictor:
    """A trained model that segments pictures; owns intensity, pixel size and classes.

    Args:
        trained: what goes with the weights.
        device: where the model runs: auto, cpu, cuda, cuda:1, mps.
        turn: held during every step of computation (an encoding, a few hypotheses); a server of many threads gives
            a lock, so that long work of one lets others pass.

    Raises:
        InputError: no such device, or weights that cannot be read.
    """

    def __init__(
        self,
        trained: TrainedModel,
        device: str = "auto",
        turn: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self.trained, self.device, self.turn = trained, torch.device(chosen_device(device)), turn
        self.model: SegmentationModel = trained.model(str(self.device))

    @classmethod
    def load(cls, path: Path | str, device: str = "auto", trust: Trust = ()) -> Predictor:
        """Load a run directory, an exported folder or a published name.

        Args:
            path: or name.
            device: where the model runs.
            trust: modules by name, or classes, whose code may run; models of this package need none.

        Raises:
            InputError: no model or several models there, no readable weights, or no such device.
        """
        return cls(open_model(path, trust), device)

    @property
    def kind(self) -> str:
        """Name of the model's class."""
        return type(self.model).__name__

    @property
    def classes(self) -> list[str]:
        """Names of the classes, background first."""
        return list(self.trained.classes)

    @cached_property
    def identity(self) -> str:
        """Checksum of the weights."""
        return weights_identity(self.model)

    @cached_property
    def calibration(self) -> Calibration | None:
        """What may be said of a reader, as ``probunet calibrate`` wrote it; ``None`` where it did not.

        Raises:
            InputError: it is damaged, or of other weights.
        """
        return read_calibration(self.trained, self.identity)

    def __call__(
        self,
        picture: Picture | Path | str | npt.NDArray[np.number],
        *,
        spacing: tuple[float, ...] | None = None,
        unit: str | None = None,
        at: tuple[int, int] | None = None,
        size: tuple[int, int] | None = None,
        reader: str | None = None,
    ) -> Prediction:
        """What the model says about a picture; nothing is computed before it is asked for.

        Args:
            picture: from ``probunet.io``, a file of one (a DICOM series: its folder), or an array (C, H, W) or
                (slices, C, H, W) of raw values.
            spacing: of an array: mm between (slices,) rows and columns; ``None`` where nobody knows.
            unit: of an array: ``HU``, ``grey level`` or the unit of the model's own data; needed where the model was
                trained on Hounsfield units.
            at: row and column of the middle of the only field to look at; ``None`` for the whole picture.
            size: height and width of that field in the model's pixels; of the training crops if not given.
            reader: the person whose drawing is meant, where the model knows persons; any of them if not given.

        Raises:
            InputError: a picture that cannot be read or does not fit the model, a place outside of it, or a reader
                whom the model does not know.
        """
        if reader is not None:
            self.model.number_of(reader)
        if isinstance(picture, np.ndarray):
            picture = self._of_array(picture, spacing, unit)
        elif spacing is not None or unit is not None:
            raise InputError("spacing and unit are of arrays; a file says them itself")
        elif not isinstance(picture, Picture):
            picture = read_picture(Path(picture), self.model.in_channels)
        return Prediction(self, View(self.trained, with_channels(picture, self.model.in_channels), at, size), reader)

    def _of_array(self, values: npt.NDArray[np.number], spacing: tuple[float, ...] | None, unit: str | None) -> Picture:
        if unit is None and self.trained.intensity.unit == "HU":
            raise InputError("the model was trained on Hounsfield units; say that the array is in them with unit='HU'")
        if spacing is not None and (len(spacing) not in (2, 3) or not all(0 < mm < np.inf for mm in spacing)):
            raise InputError(f"spacing={spacing} is no pixel size; give mm between (slices,) rows and columns")
        whole = None if spacing is None else (None if len(spacing) == 2 else spacing[0], spacing[-2], spacing[-1])
        return picture_of(values, unit=unit or "", spacing=whole)


@dataclass(frozen=True)
class Latents:
    """Latents (n, 1, D) that are decoded in place of a noise; the same for all slices of a picture."""

    z: torch.Tensor


@dataclass(frozen=True)
class SlicePrediction:
    """What hypotheses say of one slice of a picture, on its whole grid.

    Attributes:
        index: of the slice.
        labels: (n, H, W) uint8 class ids.
        probabilities: (K, H, W) float32, the softmax averaged over these hypotheses; ``None`` if not asked for.
    """

    index: int
    labels: Labels
    probabilities: npt.NDArray[np.float32] | None


@final
class Prediction:
    """What a model says about one picture, on the picture's own grid.

    The network runs once for every slice. The noise of a hypothesis is the same for all slices of a picture, so that
    every slice keeps exactly the distribution that the model gives it, while a hypothesis stays one opinion.

    Args:
        predictor: whose model is asked.
        view: how it sees the picture.
        reader: the person whose drawing is meant; ``None`` for any.
    """

    def __init__(self, predictor: Predictor, view: View, reader: str | None = None) -> None:
        self.predictor, self.view, self.reader = predictor, view, reader
        self.picture = view.picture
        self._last: tuple[int, SegmentationDistribution] | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Slices, height and width of the picture."""
        return self.picture.shape

    @property
    def tiled(self) -> bool:
        """Whether the model sees a slice tile by tile."""
        return max(self.view.grid.seen) > TILE[2]

    @property
    def notes(self) -> list[str]:
        """What the user should know: resampled, unit not known, ... More may come with later slices."""
        return sorted(self.view.notes)

    def image(self, index: int = 0) -> torch.Tensor:
        """What the model sees of a slice: (1, C, h, w) float32 on its own grid.

        Raises:
            InputError: units that are not the model's, or a slice that cannot be read.
        """
        with self._naming():
            return torch.from_numpy(self.view.image(index))[None].to(self.predictor.device)

    def distribution(self, index: int = 0) -> SegmentationDistribution:
        """The distribution of a slice on the model's own grid; the last slice that was asked for is kept.

        Raises:
            InputError: as :meth:`image`, or a slice that the model refuses.
        """
        with self.predictor.turn():
            if self._last is None or self._last[0] != index:
                self._last = None  # two of them need not fit into memory
                image, model = self.image(index), self.predictor.model
                with torch.inference_mode(), self._naming():
                    self._last = index, (model.tiled if self.tiled else model)(image, reader=self.reader)
            return self._last[1]

    def noise(self, n: int, seed: int = 0, index: int = 0) -> torch.Tensor:
        """Draw the noise of n hypotheses of the whole picture, from the seed and the picture's name.

        Args:
            n: how many.
            seed: of the hypotheses.
            index: of the slice that is looked at first; the noise is the same for every slice.

        Raises:
            InputError: n is below 1, or no seed.
        """
        own = seed_of(checked_seed(seed), self.picture.name)
        with torch.inference_mode():
            return self.distribution(index).noise(n, torch.Generator(self.predictor.device).manual_seed(own))

    def latents(self, z: npt.NDArray[np.float32], index: int = 0) -> Latents:
        """Latents (n, D) to decode in place of noise.

        Args:
            z: the latents.
            index: of the slice that is looked at first.

        Raises:
            InputError: the model has no latent space, or one of another dimension, or numbers that are not finite.
        """
        space = self.distribution(index).latent
        if space is None:
            raise InputError(f"latents need a model with one latent space; {self.predictor.trained.path} has none")
        if z.ndim != 2 or z.shape[1] != space.dims or not len(z) or not np.isfinite(z).all():
            raise InputError(
                f"latents of shape {z.shape} do not fit {self.predictor.trained.path}; finite ones with {space.dims} "
                "numbers a latent are needed"
            )
        return Latents(torch.from_numpy(np.ascontiguousarray(z, np.float32))[:, None].to(self.predictor.device))

    def slices(self, noise: torch.Tensor | Latents, probabilities: bool = False) -> Iterator[SlicePrediction]:
        """The hypotheses of a noise, slice by slice; memory holds one slice.

        Args:
            noise: from :meth:`noise`, or :meth:`latents` in its place.
            probabilities: whether those of these hypotheses are wanted too.
        """
        for index in range(self.shape[0]):
            yield self.slice(index, noise, probabilities)

    def slice(self, index: int, noise: torch.Tensor | Latents, probabilities: bool = False) -> SlicePrediction:
        """The hypotheses of a noise in one slice; see :meth:`slices`. The labels do not depend on ``probabilities``."""
        labels: list[npt.NDArray[np.uint8]] = []
        total: torch.Tensor | None = None
        for seen, shares in self._steps(index, noise, probabilities):
            labels.append(seen.cpu().numpy())
            if shares is not None:
                total = shares if total is None else total + shares
        marginals = None
        if total is not None:
            marginals = self.view.probabilities((total / sum(map(len, labels))).cpu().numpy())
        return SlicePrediction(index, self.view.labels(np.concatenate(labels)), marginals)

    def _steps(
        self, index: int, noise: torch.Tensor | Latents, probabilities: bool
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor | None]]:
        """Labels (k, h, w) of a few hypotheses after the other, and the sum of their softmax (K, h, w).

        All callers go in these steps: other ones would round differently.
        """
        distribution = self.distribution(index)
        if self.tiled and not isinstance(noise, Latents):  # both at once: every question runs the network on all tiles
            with self.predictor.turn(), torch.inference_mode():
                strips = list(distribution.stream(noise))
            labels = torch.cat([seen[:, 0] for seen, _ in strips], dim=-2)
            shares = torch.cat([share[0] for _, share in strips], dim=-2) * len(labels)
            yield labels, shares if probabilities else None
            return
        drawn, source = (noise.z, distribution.latent) if isinstance(noise, Latents) else (noise, distribution)
        assert source is not None
        for some in drawn.split(TOGETHER):
            with self.predictor.turn(), torch.inference_mode():
                yield (
                    source.labels(some)[:, 0],
                    source.probabilities(some)[0] * len(some) if probabilities else None,
                )

    def labels(self, noise: torch.Tensor | Latents) -> Labels:
        """The hypotheses of a noise: (n, slices, H, W) uint8 class ids."""
        return array_of_samples(np.stack([piece.labels for piece in self.slices(noise)], axis=1))

    def probabilities(self, noise: torch.Tensor | Latents) -> npt.NDArray[np.float32]:
        """The softmax averaged over the hypotheses of a noise: (slices, K, H, W) float32."""
        pieces = (piece.probabilities for piece in self.slices(noise, probabilities=True))
        return np.stack([shares for shares in pieces if shares is not None])

    def marginal(self, index: int = 0, seed: int = 0) -> npt.NDArray[np.float32]:
        """Probabilities (K, H, W) of the whole distribution of a slice: exact, or of many draws that cover it."""
        generator = torch.Generator(self.predictor.device).manual_seed(seed_of(checked_seed(seed), "marginal"))
        with torch.inference_mode():
            shares = self.distribution(index).probabilities(None, MARGINAL_DRAWS, generator)[0]
        return self.view.probabilities(shares.float().cpu().numpy())

    def sample(self, n: int, seed: int = 0) -> Labels:
        """Draw n hypotheses: (n, slices, H, W) uint8 class ids; the same seed gives the same ones.

        Raises:
            InputError: n is below 1, or no seed.
        """
        return self.labels(self.noise(n, seed))

    def log_prob(self, labels: Labels, seed: int = 0) -> float:
        """log P(labels | picture) in nats of a picture of one slice: exact, or a lower bound in expectation.

        Args:
            labels: (1, H, W) class ids; only the field that is looked at counts.
            seed: of the estimator, where there is one.

        Raises:
            InputError: labels of another shape, or a picture for which this is not given, with the reason.
        """
        if (reason := self.no_likelihood) is not None:
            raise InputError(f"{self.picture.source}: {reason}")
        if labels.shape != self.shape:
            raise InputError(f"labels of shape {labels.shape} do not fit {self.picture.source}; give {self.shape}")
        label = torch.from_numpy(np.ascontiguousarray(self.view.field.of(labels))).to(self.predictor.device)
        generator = torch.Generator(self.predictor.device).manual_seed(seed_of(checked_seed(seed), "log_prob"))
        with torch.inference_mode():
            value = float(self.distribution(0).log_prob(label, LIKELIHOOD_DRAWS, generator))
        return min(value, 0.0)  # of a probability, which an estimate from few draws can pass

    @property
    def no_likelihood(self) -> str | None:
        """Why there is no likelihood of a picture's labels; ``None`` where there is one."""
        if self.shape[0] > 1:
            return "not given for volumes: the model speaks of single slices"
        return None if self.view.grid.same else "not given: the hypotheses were resampled"

    @contextmanager
    def _naming(self) -> Iterator[None]:
        """Put the name of the picture in front of what is wrong with it."""
        try:
            yield
        except InputError as error:
            source = str(self.picture.source)
            raise InputError(str(error) if source in str(error) else f"{source}: {error}") from error
