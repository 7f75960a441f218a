"""A model of volumes at work: the whole volume is one image with one noise, whatever its size."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import final

import numpy as np
import numpy.typing as npt
import torch

from probunet.core.array_file import array_file
from probunet.core.errors import InputError
from probunet.distributions.base import SegmentationDistribution
from probunet.inference.slices import Latents, ModelOnPicture, SlicePrediction, decoded, marginal_of, naming
from probunet.inference.view import View
from probunet.nets.tiling import VOLUME_MARGIN, needs_tiles

Seen = tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32] | None]
"""Labels (n, h, w) and probabilities (K, h, w) of a slice of the model."""


@final
class WholeVolume(ModelOnPicture):
    """A model of volumes at work; a volume that is too large is seen tile by tile, on the disk.

    Tiles have a margin that is smaller than the receptive field, and are faded into each other. The networks that look
    at the volume as a whole see it smaller.
    """

    _marginals: tuple[int, list[npt.NDArray[np.float32]]] | None = None

    @property
    def tiled(self) -> bool:
        """Whether the model sees the volume tile by tile."""
        return needs_tiles(self.view.seen)

    def image(self, index: int) -> torch.Tensor:
        """What the model sees: (1, C, d, h, w)."""
        return self._image

    @cached_property
    def _image(self) -> torch.Tensor:
        with naming(self.view.picture):
            if not self.tiled:
                return torch.from_numpy(np.stack(list(self.view.volume()), axis=1))[None].to(self.device)
            with tempfile.TemporaryDirectory(prefix="probunet-") as folder:
                return torch.from_numpy(_on_disk(Path(folder) / "volume.npy", self.view))[None]

    def distribution(self, index: int) -> SegmentationDistribution:
        """That of the volume."""
        return self._distribution

    @cached_property
    def _distribution(self) -> SegmentationDistribution:
        with self.turn(), torch.inference_mode(), naming(self.view.picture):
            if self.tiled:
                return self.model.tiled(self._image, margin=VOLUME_MARGIN, reader=self.reader)
            return self.model(self._image, reader=self.reader)

    def slices(self, noise: torch.Tensor | Latents, probabilities: bool) -> Iterator[SlicePrediction]:
        """The hypotheses of a noise, slice by slice of the picture."""
        seen = _Twice(self._seen(noise, probabilities))
        labels = self.view.volume_labels(seen.first())
        marginals = self.view.volume_probabilities(seen.second()) if probabilities else None
        for index, own in enumerate(labels):
            yield SlicePrediction(index, own, None if marginals is None else next(marginals))

    def slice(self, index: int, noise: torch.Tensor | Latents, probabilities: bool) -> SlicePrediction:
        """The hypotheses of a noise in one slice; the network does not run again where it sees the volume whole."""
        return next(piece for piece in self.slices(noise, probabilities) if piece.index == index)

    def marginal(self, index: int, seed: int) -> npt.NDArray[np.float32]:
        """Probabilities (K, H, W) of the whole distribution, of a slice.

        Raises:
            InputError: the model sees the volume tile by tile.
        """
        if self.tiled:
            raise InputError(
                f"{self.view.picture.source}: the marginal of a volume in tiles would take hundreds of passes; "
                "ask for probabilities of the hypotheses instead"
            )
        if self._marginals is None or self._marginals[0] != seed:
            shares = marginal_of(self._distribution, seed).movedim(1, 0).cpu().numpy()
            self._marginals = seed, list(self.view.volume_probabilities(shares))
        return self._marginals[1][index]

    def _seen(self, noise: torch.Tensor | Latents, probabilities: bool) -> Iterator[Seen]:
        """The hypotheses, slice by slice of the model; of a volume in tiles memory holds one strip of them."""
        for labels, shares in self._strips(noise, probabilities):
            maps, marginals = labels.cpu().numpy(), None if shares is None else shares.cpu().numpy()
            for row in range(maps.shape[1]):
                yield maps[:, row], None if marginals is None else marginals[:, row]

    def _strips(
        self, noise: torch.Tensor | Latents, probabilities: bool
    ) -> Iterator[tuple[torch.Tensor, torch.Tensor | None]]:
        """Labels (n, rows, h, w) and probabilities (K, rows, h, w)."""
        if not self.tiled:
            labels, shares = zip(*decoded(self._distribution, noise, probabilities, self.turn), strict=True)
            n = sum(map(len, labels))
            yield torch.cat(labels), sum(shares[1:], shares[0]) / n if probabilities else None
            return
        space = self._distribution.latent
        if isinstance(noise, Latents):
            assert space is not None
            strips = space.stream(noise.z)
        else:
            strips = self._distribution.stream(noise)
        while True:
            with self.turn(), torch.inference_mode():
                strip = next(strips, None)
            if strip is None:
                return
            yield strip[0][:, 0], strip[1][0] if probabilities else None
            del strip  # the next one needs its memory


class _Twice:
    """The two parts of what is seen, each in its own time; what only one of them took so far is kept."""

    def __init__(self, seen: Iterator[Seen]) -> None:
        self._seen = seen
        self._kept: tuple[list[npt.NDArray[np.uint8]], list[npt.NDArray[np.float32]]] = [], []

    def first(self) -> Iterator[npt.NDArray[np.uint8]]:
        """Labels."""
        while self._kept[0] or self._more():
            yield self._kept[0].pop(0)

    def second(self) -> Iterator[npt.NDArray[np.float32]]:
        """Probabilities."""
        while self._kept[1] or self._more():
            yield self._kept[1].pop(0)

    def _more(self) -> bool:
        piece = next(self._seen, None)
        if piece is None:
            return False
        self._kept[0].append(piece[0])
        if piece[1] is not None:
            self._kept[1].append(piece[1])
        return True


def _on_disk(file: Path, view: View) -> npt.NDArray[np.float32]:
    """What a model sees of a volume, (C, d, h, w), in a file that is gone once nobody looks at it any more."""
    with array_file(file, (view.picture.channels, *view.seen), np.float32) as written:
        for index, values in enumerate(view.volume()):
            for channel, plane in enumerate(values):
                written.put((channel, index), plane)
    return np.load(file, mmap_mode="c")
