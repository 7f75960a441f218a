"""A trained model at work on pictures: their own grid and units in, labels on that grid out, modes and likelihoods."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from probunet.core.console import console
from probunet.core.descriptions import write_json
from probunet.core.errors import InputError
from probunet.core.seeds import seed_of
from probunet.core.version import VERSION as PROBUNET
from probunet.inference.streaming import Strip, stream_samples, write_strips
from probunet.inference.view import View, with_channels
from probunet.inference.writers import FORMATS, Drawn, Format
from probunet.io.pictures import Picture
from probunet.metrics.clusters import Mode, modes
from probunet.models.base import SegmentationModel
from probunet.runs.description import TrainedModel

LIKELIHOOD_PIXELS = 256 * 256
"""Fields up to this size get the likelihood of their modes: each takes 64 runs of the decoder on the whole field, a
minute for a slice of 512x512 px on one core."""


@dataclass(frozen=True)
class Request:
    """What is asked of every image.

    Attributes:
        n: how many hypotheses.
        seed: of the hypotheses; each image draws from a generator of its own, made of this and its name.
        z: (n, D) latents to decode in place of draws, or ``None``.
        at: row and column of the middle of the only field to segment, of the size that the model was trained on.
        mode_distance: average 1 - IoU from which on two hypotheses are different modes.
        format: in which the hypotheses are written beside the arrays.
    """

    n: int
    seed: int
    z: npt.NDArray[np.float32] | None
    at: tuple[int, int] | None
    mode_distance: float
    format: Format


class Sampler:
    """A trained model that segments pictures.

    Args:
        run: the trained model.
        device: cpu, cuda, ...
    """

    def __init__(self, run: TrainedModel, device: str) -> None:
        self.run, self.device = run, device
        self.model: SegmentationModel = run.model(self.device)

    @cached_property
    def identity(self) -> str:
        """Checksum of the weights."""
        digest = hashlib.sha256()
        for value in self.model.state_dict().values():
            digest.update(value.cpu().numpy().tobytes())
        return digest.hexdigest()

    def is_done(self, folder: Path, picture: Picture, request: Request) -> bool:
        """Whether a folder holds the answer to this very question.

        Raises:
            InputError: it holds the answer to another one.
        """
        if not folder.exists():
            return False
        try:
            found = json.loads((folder / "summary.json").read_text())["request"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"{folder} exists and is no result of this command; remove it or choose another --out"
            ) from error
        if found != self._question(picture, request):
            raise InputError(
                f"{folder} holds samples that were asked for differently; remove it or choose another --out"
            )
        return True

    def _question(self, picture: Picture, request: Request) -> dict[str, Any]:
        return {
            "input": str(picture.source),
            "weights": self.identity,
            "n": request.n,
            "seed": request.seed,
            "z": None if request.z is None else request.z.tolist(),
            "at": None if request.at is None else list(request.at),
            "mode_distance": request.mode_distance,
            "format": request.format,
        }

    def write(self, folder: Path, picture: Picture, request: Request, tell: Any) -> None:
        """Write everything about one picture into a folder.

        Raises:
            InputError: the picture cannot be read or does not fit the model.
        """
        picture = with_channels(picture, self.model.in_channels)
        try:
            view = View(self.run, self.device, picture, request.at)
            strips = self._told(self._strips(view, request), tell)
            files = folder / "samples.npy", folder / "probabilities.npy"
            write_strips(strips, request.n, self.model.num_classes, picture.shape, *files)
        except InputError as error:
            raise InputError(f"{picture.source}: {error}") from error
        samples, probabilities = (np.load(file, mmap_mode="r") for file in files)
        _write_entropy(folder / "entropy.npy", probabilities)
        groups = modes(samples, self.model.num_classes, request.mode_distance)
        drawn = Drawn(picture, samples, probabilities, groups, self.run.classes, self.run.specification.kind)
        FORMATS[request.format].write(folder, drawn)
        _sheet(folder / "contact_sheet.png", drawn, view.field)
        view.notes.update(picture.notes)
        for note in sorted(view.notes):
            console.print(f"note: {picture.source.name}: {note}", markup=False, highlight=False)
        likelihoods, reason = self._likelihoods(view, request.seed, samples, groups)
        write_json(
            folder / "summary.json",
            {
                "request": self._question(picture, request),
                "model": str(self.run.path),
                "shape": list(picture.shape),
                "spacing_mm": picture.spacing_mm and list(picture.spacing_mm[1:]),
                "slice_mm": picture.spacing_mm and picture.spacing_mm[0],
                "classes": self.run.classes,
                "different_hypotheses": len({hashlib.sha256(one.tobytes()).digest() for one in samples}),
                "modes": [self._mode(m, drawn, p) for m, p in zip(groups, likelihoods, strict=True)],
                "log_likelihood": "nats, importance-weighted bound, of the representative"
                if reason is None
                else reason,
                "notes": sorted(view.notes),
                "versions": {"probunet": PROBUNET, "torch": torch.__version__},
            },
        )

    def _mode(self, mode: Mode, drawn: Drawn, likelihood: float | None) -> dict[str, Any]:
        shown = drawn.samples[mode.representative]
        pixels = {name: int((shown == k).sum()) for k, name in enumerate(self.run.classes) if k}
        facts: dict[str, Any] = {**vars(mode), "pixels": pixels, "log_likelihood": likelihood}
        size = drawn.pixel_size()
        if size is not None:
            unit, factor = size
            facts[unit] = {name: count * factor for name, count in pixels.items()}
        return facts

    def _told(self, strips: Iterator[Strip], tell: Any) -> Iterator[Strip]:
        for strip in strips:
            yield strip
            tell()

    def _strips(self, view: View, request: Request) -> Iterator[Strip]:
        """Whole slices on the picture's own grid, one after the other."""
        generator = torch.Generator(self.device).manual_seed(seed_of(request.seed, view.picture.name))
        inputs = (view.slice(index) for index in range(view.picture.shape[0]))
        given = (self._given(x, i, request.z) for i, x in enumerate(inputs)) if request.z is not None else None
        yield from map(view.back, given or _whole_slices(stream_samples(self.model, inputs, request.n, generator)))

    def _given(self, image: torch.Tensor, index: int, z: npt.NDArray[np.float32]) -> Strip:
        with torch.inference_mode():
            latent = self.model(image[None]).latent
            if latent is None:
                raise InputError(f"--z needs a model with one latent space; {self.run.path} has none")
            if z.shape[1] != latent.dims:
                raise InputError(
                    f"--z has {z.shape[1]} numbers a latent; the model of {self.run.path} has {latent.dims}"
                )
            latents = torch.from_numpy(z).to(self.device)[:, None]
            labels, shares = latent.labels(latents)[:, 0], latent.probabilities(latents)[0]
        return Strip(index, 0, labels.cpu().numpy(), shares.cpu().numpy())

    def _likelihoods(
        self, view: View, seed: int, samples: npt.NDArray[np.uint8], groups: list[Mode]
    ) -> tuple[list[float | None], str | None]:
        """log P(representative | image) of every mode, or why it is not given."""
        nothing: list[float | None] = [None] * len(groups)
        if view.picture.shape[0] > 1:
            return nothing, "not given for volumes: the model speaks of single slices"
        if view.scale is not None:
            return nothing, "not given: the hypotheses were resampled"
        top, left, rows, columns = view.field
        if rows * columns > LIKELIHOOD_PIXELS:
            return nothing, f"not given for more than {LIKELIHOOD_PIXELS:,} pixels"
        generator = torch.Generator(self.device).manual_seed(seed)
        with torch.inference_mode():
            distribution = self.model(view.slice(0)[None])
            chosen = [samples[m.representative, 0, top : top + rows, left : left + columns] for m in groups]
            labels = [torch.from_numpy(np.array(one))[None].to(self.device) for one in chosen]
            # of a probability, so at most 0, which an estimate from few draws can pass
            return [min(float(distribution.log_prob(label, 64, generator)), 0.0) for label in labels], None


def _whole_slices(strips: Iterator[Strip]) -> Iterator[Strip]:
    """Put the strips of each slice together."""
    waiting: list[Strip] = []
    for strip in strips:
        if waiting and strip.index != waiting[0].index:
            yield _joined(waiting)
            waiting = []
        waiting.append(strip)
    if waiting:
        yield _joined(waiting)


def _joined(strips: list[Strip]) -> Strip:
    labels = np.concatenate([strip.labels for strip in strips], axis=1)
    return Strip(strips[0].index, 0, labels, np.concatenate([strip.probabilities for strip in strips], axis=1))


def _write_entropy(file: Path, probabilities: npt.NDArray[np.float32]) -> None:
    """Entropy of every pixel's class in nats."""
    entropy = np.lib.format.open_memmap(
        file, mode="w+", dtype=np.float32, shape=(len(probabilities), *probabilities.shape[2:])
    )
    for one, shares in zip(entropy, probabilities, strict=True):
        one[:] = -(shares * np.log(np.maximum(shares, 1e-30))).sum(axis=0)
    entropy.flush()


def _sheet(file: Path, drawn: Drawn, field: tuple[int, int, int, int]) -> None:
    """Image, probability, modes and hypotheses of the field, on the slice on which most is not background."""
    from probunet.drawing.pixels import contact_sheet

    top, left, rows, columns = field
    fullest = int(np.argmax([float((1 - one[0]).sum()) for one in drawn.probabilities]))
    shown = (slice(top, top + rows), slice(left, left + columns))
    image, samples = drawn.picture.slice(fullest)[:, *shown], drawn.samples[:, fullest, *shown]
    groups = [(mode.representative, mode.frequency) for mode in drawn.modes]
    contact_sheet(file, image, samples, drawn.probabilities[fullest][:, *shown], groups)
