"""A trained model at work on pictures: own grid and units in, hypotheses on that grid out; one way for all callers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import nullcontext
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
from probunet.inference.slices import Labels, Latents, ModelOnPicture, SliceBySlice, SlicePrediction, Turn
from probunet.inference.view import View, with_channels
from probunet.inference.whole import WholeVolume
from probunet.io.pictures import Picture, picture_of
from probunet.io.search import read_picture
from probunet.models.base import SegmentationModel
from probunet.runs.calibration import Calibration, read_calibration, weights_identity
from probunet.runs.description import TrainedModel
from probunet.runs.specification import Trust
from probunet.runs.trained import open_model

LIKELIHOOD_DRAWS = 64
"""Of the estimator of log P(Y | X)."""


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
        turn: Turn = nullcontext,
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

    @property
    def calibration(self) -> Calibration | None:
        """What may be said of a reader, as ``probunet calibrate`` wrote it last; ``None`` where it did not. Read anew.

        Raises:
            InputError: it is damaged, or of another model.
        """
        return read_calibration(self.trained, self.identity)

    def __call__(
        self,
        picture: Picture | Path | str | npt.NDArray[np.number],
        *,
        spacing: tuple[float, ...] | None = None,
        unit: str | None = None,
        at: tuple[int, ...] | None = None,
        size: tuple[int, ...] | None = None,
        reader: str | None = None,
    ) -> Prediction:
        """What the model says about a picture; nothing is computed before it is asked for.

        Args:
            picture: from ``probunet.io``, a file of one (a DICOM series: its folder), or an array (C, H, W) or
                (slices, C, H, W) of raw values.
            spacing: of an array: mm between (slices,) rows and columns; ``None`` where nobody knows.
            unit: of an array: ``HU``, ``grey level`` or the unit of the model's own data, taken at your word; needed
                where the model was trained on Hounsfield units.
            at: row and column of the middle of the only field to look at, in all slices; for a model of volumes also
                (slice, row, column); ``None`` for the whole picture.
            size: height and width of that field in the model's pixels, or depth, height and width; of the training
                crops if not given.
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
        elif not isinstance(picture, Picture | Path | str):
            raise InputError(f"{type(picture).__name__} is no picture; give a file or an array (a tensor's .numpy())")
        elif not isinstance(picture, Picture):
            picture = read_picture(Path(picture), self.model.in_channels)
        return Prediction(self, View(self.trained, with_channels(picture, self.model.in_channels), at, size), reader)

    def _of_array(self, values: npt.NDArray[np.number], spacing: tuple[float, ...] | None, unit: str | None) -> Picture:
        if unit is None and self.trained.intensity.unit == "HU":
            raise InputError("the model was trained on Hounsfield units; say that the array is in them with unit='HU'")
        sides = tuple(spacing) if spacing is not None and np.ndim(spacing) == 1 else ()
        if spacing is not None and (len(sides) not in (2, 3) or not all(0 < mm < np.inf for mm in sides)):
            raise InputError(f"spacing={spacing} is no pixel size; give mm between (slices,) rows and columns")
        whole = None if spacing is None else (None if len(spacing) == 2 else spacing[0], spacing[-2], spacing[-1])
        return picture_of(values, unit=unit or "", spacing=whole)


@final
class Prediction:
    """What a model says about one picture, on the picture's own grid.

    To a model of volumes the picture is one image. One of images runs once for every slice, with the same noise of a
    hypothesis for all of them, so that every slice keeps exactly the distribution that the model gives it, while a
    hypothesis stays one opinion.

    Args:
        predictor: whose model is asked.
        view: how it sees the picture.
        reader: the person whose drawing is meant; ``None`` for any.
    """

    def __init__(self, predictor: Predictor, view: View, reader: str | None = None) -> None:
        self.predictor, self.view, self.reader = predictor, view, reader
        self.picture = view.picture
        looks: type[ModelOnPicture] = WholeVolume if view.volumes else SliceBySlice
        self._looks = looks(predictor.model, view, reader, predictor.device, predictor.turn)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Slices, height and width of the picture."""
        return self.picture.shape

    @property
    def tiled(self) -> bool:
        """Whether the model sees a slice, or the volume, tile by tile."""
        return self._looks.tiled

    @property
    def notes(self) -> list[str]:
        """What the user should know: resampled, unit not known, ... More may come with later slices."""
        return sorted(self.view.notes)

    def image(self, index: int = 0) -> torch.Tensor:
        """What the model sees of a slice: (1, C, h, w) float32 on its own grid; of volumes the whole, (1, C, d, h, w).

        Raises:
            InputError: units that are not the model's, or a slice that cannot be read.
        """
        return self._looks.image(index)

    def distribution(self, index: int = 0) -> SegmentationDistribution:
        """The distribution of a slice, or of the whole volume, on the model's own grid; the last one is kept.

        Raises:
            InputError: as :meth:`image`, or a slice that the model refuses.
        """
        return self._looks.distribution(index)

    def noise(self, n: int, seed: int = 0, index: int = 0, of: str | None = None) -> torch.Tensor:
        """Draw the noise of n hypotheses of the whole picture, from the seed and the picture's name.

        Args:
            n: how many.
            seed: of the hypotheses.
            index: of the slice that is looked at first; the noise is the same for every slice.
            of: what stands in the place of the name.

        Raises:
            InputError: n is below 1, or no seed.
        """
        own = seed_of(checked_seed(seed), self.picture.name if of is None else of)
        with torch.inference_mode():
            return self.distribution(index).noise(n, torch.Generator().manual_seed(own))

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
        """The hypotheses of a noise, slice by slice; memory holds one slice, or a few of a volume.

        Args:
            noise: from :meth:`noise`, or :meth:`latents` in its place.
            probabilities: whether those of these hypotheses are wanted too.
        """
        return self._looks.slices(noise, probabilities)

    def slice(self, index: int, noise: torch.Tensor | Latents, probabilities: bool = False) -> SlicePrediction:
        """The hypotheses of a noise in one slice; see :meth:`slices`. The labels do not depend on ``probabilities``."""
        return self._looks.slice(index, noise, probabilities)

    def labels(self, noise: torch.Tensor | Latents) -> Labels:
        """The hypotheses of a noise: (n, slices, H, W) uint8 class ids."""
        return array_of_samples(np.stack([piece.labels for piece in self.slices(noise)], axis=1))

    def probabilities(self, noise: torch.Tensor | Latents) -> npt.NDArray[np.float32]:
        """The softmax averaged over the hypotheses of a noise: (slices, K, H, W) float32."""
        pieces = (piece.probabilities for piece in self.slices(noise, probabilities=True))
        return np.stack([shares for shares in pieces if shares is not None])

    def marginal(self, index: int = 0, seed: int = 0) -> npt.NDArray[np.float32]:
        """Probabilities (K, H, W) of the whole distribution of a slice: exact, or of many draws that cover it.

        Raises:
            InputError: no seed, or a volume so large that the model sees it tile by tile.
        """
        return self._looks.marginal(index, seed)

    def sample(self, n: int, seed: int = 0) -> Labels:
        """Draw n hypotheses: (n, slices, H, W) uint8 class ids; the same seed gives the same ones.

        Raises:
            InputError: n is below 1, or no seed.
        """
        return self.labels(self.noise(n, seed))

    def log_prob(self, labels: Labels, seed: int = 0) -> float:
        """log P(labels | picture) in nats of a slice or a volume: exact, or a lower bound in expectation.

        Args:
            labels: (slices, H, W) class ids; only the field that is looked at counts.
            seed: of the estimator, where there is one.

        Raises:
            InputError: labels of another shape, or a picture for which this is not given, with the reason.
        """
        if (reason := self.no_likelihood) is not None:
            raise InputError(f"{self.picture.source}: {reason}")
        if labels.shape != self.shape or labels.dtype.kind not in "bui":
            raise InputError(
                f"{labels.dtype} labels of shape {labels.shape} do not fit {self.picture.source}; give class ids of "
                f"{self.shape}"
            )
        seen = self.view.labels_seen(labels)
        label = torch.from_numpy(seen[None] if self.view.volumes else seen).to(self.predictor.device)
        generator = torch.Generator().manual_seed(seed_of(checked_seed(seed), "log_prob"))
        with torch.inference_mode():
            value = float(self.distribution(0).log_prob(label, LIKELIHOOD_DRAWS, generator))
        return min(value, 0.0)  # of a probability, which an estimate from few draws can pass

    @property
    def no_likelihood(self) -> str | None:
        """Why there is no likelihood of a picture's labels; ``None`` where there is one."""
        if self.shape[0] > 1 and not self.view.volumes:
            return "not given for volumes: the model speaks of single slices"
        if self.tiled and self.view.volumes:
            return "not given: the model sees the volume tile by tile"
        return None if self.view.same else "not given: the hypotheses were resampled"
