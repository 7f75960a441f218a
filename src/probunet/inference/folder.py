"""The folder of one picture's results while it is filled: hypotheses, maps, a sheet and a summary."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from itertools import repeat
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from probunet.core.array_file import ArrayFile, array_file
from probunet.core.descriptions import write_json
from probunet.core.files import shown
from probunet.core.version import VERSION as PROBUNET
from probunet.inference.calibrated import Calibrated
from probunet.inference.predictor import Prediction
from probunet.inference.request import Request
from probunet.inference.slices import Latents
from probunet.inference.writers import MAPS, OUTLINES, WRITERS, Drawn, pixel_size
from probunet.metrics.clusters import Group, groups
from probunet.metrics.measures import sizes

SUMMARY, SAMPLES = "summary.json", "samples.npy"


class Folder:
    """One folder while it is filled.

    Args:
        path: of the folder, which is there and empty.
        prediction: of the picture.
        request: what is asked of it.
    """

    def __init__(self, path: Path, prediction: Prediction, request: Request) -> None:
        self.path, self.prediction, self.request = path, prediction, request
        self.predictor, self.maps = prediction.predictor, path / MAPS
        self.fullest = 0  # the slice with most foreground
        self.calibrated = Calibrated(prediction, request.seed) if request.outlined else None

    def fill(self, noise: torch.Tensor | Latents, tell: Callable[[], None], question: dict[str, Any]) -> None:
        """Write everything.

        Args:
            noise: of the hypotheses.
            tell: called after every slice.
            question: what was asked, as plain data.
        """
        self._arrays(noise, tell)
        samples = np.load(self.path / SAMPLES, mmap_mode="r")
        shares, entropy, marginal = (self._map(name) for name in ("probabilities", "entropy", "marginal"))
        classes = self.predictor.classes
        alike = groups(samples, len(classes), self.request.group_distance) if self.request.grouped else []
        kind, origin = self.predictor.kind, self._origin(question)
        drawn = Drawn(self.prediction.picture, samples, shares, entropy, alike, classes, kind, origin)
        if self.calibrated is not None:
            inner, outer = (np.load(self.maps / f"{name}.npy", mmap_mode="r") for name in OUTLINES)
            made = self.calibrated.calibration
            drawn = replace(drawn, outlines=(inner, outer), risk=made.risk, basis=made.words)
        WRITERS[self.request.format](self.path, drawn, self.request.write)
        if "sheet" in self.request.write:
            self._sheet(drawn)
        write_json(self.path / SUMMARY, self._summary(drawn, marginal is not None, question))
        for name in ("probabilities", "entropy", *OUTLINES):
            if name not in self.request.write:
                (self.maps / f"{name}.npy").unlink(missing_ok=True)
        if "samples" not in self.request.write:
            (self.path / SAMPLES).unlink()

    def _origin(self, question: dict[str, Any]) -> str:
        """What the samples were drawn with, wherever the input lies and whatever is written of them."""
        asked = {key: question[key] for key in sorted(question.keys() - {"input", "write", "format"})}
        return json.dumps(asked, sort_keys=True)

    def _map(self, name: str) -> npt.NDArray[np.float32] | None:
        file = self.maps / f"{name}.npy"
        return np.load(file, mmap_mode="r") if file.exists() else None

    def _arrays(self, noise: torch.Tensor | Latents, tell: Callable[[], None]) -> None:
        """Go through the slices once, and write what each says straight to the disk."""
        request, (depth, height, width) = self.request, self.prediction.shape
        with ExitStack() as stack:

            def opened(file: Path, shape: tuple[int, ...], kind: type) -> ArrayFile:
                file.parent.mkdir(exist_ok=True)
                return stack.enter_context(array_file(file, shape, kind))

            whole = depth, len(self.predictor.classes), height, width
            samples = opened(self.path / SAMPLES, (request.n, depth, height, width), np.uint8)
            shares = opened(self.maps / "probabilities.npy", whole, np.float32) if request.shares else None
            entropy = opened(self.maps / "entropy.npy", (depth, height, width), np.float32) if request.shares else None
            marginal = opened(self.maps / "marginal.npy", whole, np.float32) if "marginal" in request.write else None
            masks = depth, len(self.predictor.classes) - 1, height, width
            outlines = [opened(self.maps / f"{name}.npy", masks, np.bool_) for name in OUTLINES if self.calibrated]
            most, stated = -1.0, self.calibrated.slices() if self.calibrated else repeat(None)
            for piece, said in zip(self.prediction.slices(noise, request.shares), stated, strict=False):
                for i, labels in enumerate(piece.labels):
                    samples.put((i, piece.index), labels)
                if shares is not None and entropy is not None and piece.probabilities is not None:
                    shares.put((piece.index,), piece.probabilities)
                    entropy.put((piece.index,), entropy_of(piece.probabilities))
                    foreground = float((1 - piece.probabilities[0]).sum())
                    self.fullest, most = (piece.index, foreground) if foreground > most else (self.fullest, most)
                if marginal is not None:
                    marginal.put((piece.index,), self.prediction.marginal(piece.index, request.seed))
                if said is not None:
                    for file, mask in zip(outlines, (said.inner, said.outer), strict=True):
                        file.put((piece.index,), mask)
                tell()

    def _sheet(self, drawn: Drawn) -> None:
        """What is in the field: of a volume slices and groups, else image, probability, groups and hypotheses."""
        from probunet.drawing.pixels import contact_sheet  # takes its time to load
        from probunet.drawing.volumes import volume_sheet

        assert drawn.probabilities is not None
        field = self.prediction.view.field
        alike = [(group.representative, group.frequency) for group in drawn.groups]
        file, picture = self.maps / "contact_sheet.png", drawn.picture
        if picture.shape[0] > 1:
            seen, classes = field.of(drawn.samples), len(drawn.classes)
            place = picture.unit, picture.spacing_mm
            volume_sheet(file, lambda index: field.of(picture.slice(index)), seen, alike, classes, *place)
            return
        image = field.of(picture.slice(self.fullest))
        samples, shares = field.of(drawn.samples[:, self.fullest]), field.of(drawn.probabilities[self.fullest])
        contact_sheet(file, image, samples, shares, alike)

    def _summary(self, drawn: Drawn, marginal: bool, question: dict[str, Any]) -> dict[str, Any]:
        picture, written = drawn.picture, self.request.write
        summary: dict[str, Any] = {
            "request": question,
            "model": shown(self.predictor.trained.path),
            "shape": list(picture.shape),
            "spacing_mm": picture.spacing_mm and list(picture.spacing_mm),
            "classes": drawn.classes,
            "different_hypotheses": len(
                {hashlib.sha256(hypothesis.tobytes()).digest() for hypothesis in drawn.samples}
            ),
        }
        if {"groups", "likelihood"} & written:
            likelihoods, reason = self._likelihoods(drawn)
            summary["groups"] = [self._group(g, drawn, p) for g, p in zip(drawn.groups, likelihoods, strict=True)]
            summary["log_likelihood"] = reason
        if picture.shape[0] > 1:
            summary["volume"] = self._volumes(drawn)
        if "probabilities" in written:
            summary["probabilities"] = f"of these {len(drawn.samples)} hypotheses"
        if marginal:
            summary["marginal"] = "of the model: exact, or of draws that cover it, not of these hypotheses"
        if self.calibrated is not None:
            summary["calibrated"] = self.calibrated.facts(pixel_size(picture))
        return {
            **summary,
            "notes": self.prediction.notes,
            "versions": {"probunet": PROBUNET, "torch": torch.__version__},
        }

    def _volumes(self, drawn: Drawn) -> dict[str, Any]:
        """How large the hypotheses are, by class: volume, longest diameter, and how many mark nothing."""
        spacing, above = drawn.picture.spacing_mm, self.request.above  # in mm3
        measured = {name: sizes(drawn.samples, k, spacing) for k, name in enumerate(drawn.classes) if k}
        return {name: size.as_json(above if size.unit == "mm3" else ()) for name, size in measured.items()}

    def _group(self, group: Group, drawn: Drawn, likelihood: float | None) -> dict[str, Any]:
        shown_labels = drawn.samples[group.representative]
        pixels = {name: int((shown_labels == k).sum()) for k, name in enumerate(drawn.classes) if k}
        facts: dict[str, Any] = {**vars(group), "pixels": pixels, "log_likelihood": likelihood}
        size = pixel_size(drawn.picture)
        if size is not None:
            unit, factor = size
            facts[unit] = {name: count * factor for name, count in pixels.items()}
        return facts

    def _likelihoods(self, drawn: Drawn) -> tuple[list[float | None], str]:
        """log P(representative | picture) of every group, and what it is or why it is not given."""
        reason = self.prediction.no_likelihood
        if "likelihood" not in self.request.write:
            reason = "not asked for; add likelihood to --write"
        if reason is not None:
            return [None] * len(drawn.groups), reason
        values: list[float | None] = [
            self.prediction.log_prob(np.array(drawn.samples[group.representative]), self.request.seed)
            for group in drawn.groups
        ]
        return values, "nats, importance-weighted bound, of the representative"


def entropy_of(probabilities: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Entropy in nats, (H, W), of every pixel's class, from (K, H, W)."""
    return -(probabilities * np.log(np.maximum(probabilities, np.float32(1e-30)))).sum(axis=0)
