"""A model of images at work on a picture, slice by slice; the noise of a hypothesis is that of every slice."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import final

import numpy as np
import numpy.typing as npt
import torch

from probunet.core.errors import InputError
from probunet.core.files import shown
from probunet.core.seeds import checked_seed, seed_of
from probunet.distributions.base import SegmentationDistribution
from probunet.inference.view import View
from probunet.io.pictures import Picture
from probunet.models.base import SegmentationModel
from probunet.nets.tiling import needs_tiles

Labels = npt.NDArray[np.uint8]
Turn = Callable[[], AbstractContextManager[None]]
TOGETHER = 8
"""Hypotheses that are decoded in one step."""
MARGINAL_DRAWS = 256
"""Of the marginal of a model that has no exact one."""


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


@contextmanager
def naming(picture: Picture) -> Iterator[None]:
    """Put the name of a picture in front of what is wrong with it."""
    try:
        yield
    except InputError as error:
        source = shown(picture.source)
        raise InputError(str(error) if source in str(error) else f"{source}: {error}") from error


def marginal_of(distribution: SegmentationDistribution, seed: int) -> torch.Tensor:
    """Probabilities (K, *size) of a whole distribution: exact, or of many draws that cover it."""
    generator = torch.Generator().manual_seed(seed_of(checked_seed(seed), "marginal"))
    with torch.inference_mode():
        return distribution.probabilities(None, MARGINAL_DRAWS, generator)[0].float()


class ModelOnPicture(ABC):
    """What a model says of a picture.

    Args:
        model: asked.
        view: how it sees the picture.
        reader: the person whose drawing is meant; ``None`` for any.
        device: of the model.
        turn: held during every step of computation.
    """

    def __init__(
        self, model: SegmentationModel, view: View, reader: str | None, device: torch.device, turn: Turn
    ) -> None:
        self.model, self.view, self.reader, self.device, self.turn = model, view, reader, device, turn

    @property
    @abstractmethod
    def tiled(self) -> bool:
        """Whether the model sees its image tile by tile."""

    @abstractmethod
    def image(self, index: int) -> torch.Tensor:
        """What the model sees where a slice of the picture is: (1, C, *size)."""

    @abstractmethod
    def distribution(self, index: int) -> SegmentationDistribution:
        """That of this image."""

    @abstractmethod
    def slices(self, noise: torch.Tensor | Latents, probabilities: bool) -> Iterator[SlicePrediction]:
        """The hypotheses of a noise, slice by slice of the picture."""

    @abstractmethod
    def slice(self, index: int, noise: torch.Tensor | Latents, probabilities: bool) -> SlicePrediction:
        """The hypotheses of a noise in one slice of the picture."""

    @abstractmethod
    def marginal(self, index: int, seed: int) -> npt.NDArray[np.float32]:
        """Probabilities (K, H, W) of the whole distribution, of a slice of the picture.

        Raises:
            InputError: the model would have to run too often.
        """


@final
class SliceBySlice(ModelOnPicture):
    """A model of images at work: the network runs once for every slice."""

    _last: tuple[int, SegmentationDistribution] | None = None

    @property
    def tiled(self) -> bool:
        """Whether the model sees a slice tile by tile."""
        return needs_tiles(self.view.grid.seen)

    def image(self, index: int) -> torch.Tensor:
        """What the model sees of a slice: (1, C, h, w)."""
        with naming(self.view.picture):
            return torch.from_numpy(self.view.image(index))[None].to(self.device)

    def distribution(self, index: int) -> SegmentationDistribution:
        """That of a slice; the last that was asked for is kept."""
        with self.turn():
            if self._last is None or self._last[0] != index:
                self._last = None  # two of them need not fit into memory
                image = self.image(index)
                with torch.inference_mode(), naming(self.view.picture):
                    self._last = index, (self.model.tiled if self.tiled else self.model)(image, reader=self.reader)
            return self._last[1]

    def slices(self, noise: torch.Tensor | Latents, probabilities: bool) -> Iterator[SlicePrediction]:
        """The hypotheses of a noise, slice by slice."""
        return (self.slice(index, noise, probabilities) for index in range(self.view.picture.shape[0]))

    def slice(self, index: int, noise: torch.Tensor | Latents, probabilities: bool) -> SlicePrediction:
        """The hypotheses of a noise in one slice."""
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
            with self.turn(), torch.inference_mode():
                strips = list(distribution.stream(noise))
            labels = torch.cat([seen[:, 0] for seen, _ in strips], dim=-2)
            shares = torch.cat([share[0] for _, share in strips], dim=-2) * len(labels)
            yield labels, shares if probabilities else None
            return
        yield from decoded(distribution, noise, probabilities, self.turn)

    def marginal(self, index: int, seed: int) -> npt.NDArray[np.float32]:
        """Probabilities (K, H, W) of the whole distribution of a slice."""
        return self.view.probabilities(marginal_of(self.distribution(index), seed).cpu().numpy())


def decoded(
    distribution: SegmentationDistribution, noise: torch.Tensor | Latents, probabilities: bool, turn: Turn
) -> Iterator[tuple[torch.Tensor, torch.Tensor | None]]:
    """Labels (k, *size) of a few hypotheses after the other, and the sum of their softmax (K, *size)."""
    drawn, source = (noise.z, distribution.latent) if isinstance(noise, Latents) else (noise, distribution)
    assert source is not None
    for some in drawn.split(TOGETHER):
        with turn(), torch.inference_mode():
            yield (
                source.labels(some)[:, 0],
                source.probabilities(some)[0] * len(some) if probabilities else None,
            )
