"""A run directory: one trained model with everything needed to use it again.

- ``run.yaml``: the model (class and constructor arguments), what it was trained on and how;
- ``checkpoints/best.ckpt`` (lowest validation D_GED^2), ``checkpoints/last.ckpt`` and the one before that,
  ``checkpoints/previous.ckpt``;
- ``log/``: TensorBoard events, and ``version_<n>/metrics.csv`` for every time the training was started;
- ``training.json``: written when the training is complete;
- ``evaluation.json``: written by ``probunet evaluate``.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from jsonargparse import ArgumentParser, Namespace

from probunet.core.errors import InputError
from probunet.core.files import writing_file
from probunet.core.intensity import Intensity
from probunet.data.batches import Crop
from probunet.models.base import SegmentationModel


class TrainedModel:
    """What goes with a model's weights: how it was made, and what its input was.

    Args:
        path: where it is kept.
        file: that the settings were read from, for messages.
        settings: ``model`` (class path and arguments) and ``input`` (intensity, crop, classes, spacing).

    Raises:
        InputError: something is missing.
    """

    def __init__(self, path: Path, file: Path, settings: dict[str, Any]) -> None:
        self.path, self.name, self.settings = path, path.name, settings
        try:
            self.intensity = Intensity(**settings["input"]["intensity"])
            crop = settings["input"]["crop"]
            self.crop: Crop = crop if isinstance(crop, int) else (crop[0], crop[1])
            self.classes: list[str] = settings["input"]["classes"]
        except (KeyError, TypeError, IndexError) as error:
            raise InputError(f"{file} cannot be read ({error!r}); train or export the model again") from error

    def model(self, device: str = "cpu") -> SegmentationModel:
        """Build the model and load its weights, ready for use.

        Raises:
            InputError: no weights, or some that cannot be read or do not fit the model.
        """
        raise NotImplementedError


class Run(TrainedModel):
    """A run directory, opened for reading.

    Args:
        path: the directory.

    Raises:
        InputError: it is not a run directory, or ``run.yaml`` is unreadable.
    """

    def __init__(self, path: Path | str) -> None:
        file = Path(path) / "run.yaml"
        if not file.is_file():
            raise InputError(f"{path} is not a run directory (no run.yaml); train one with 'probunet train'")
        try:
            settings = yaml.safe_load(file.read_text())
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise InputError(f"{file} cannot be read ({error!r}); train the model again") from error
        super().__init__(Path(path), file, settings)

    @property
    def best(self) -> Path:
        """The checkpoint with the lowest validation D_GED^2."""
        return self.path / "checkpoints" / "best.ckpt"

    @property
    def last(self) -> Path:
        """The checkpoint that a training goes on from."""
        return self.path / "checkpoints" / "last.ckpt"

    @property
    def previous(self) -> Path:
        """The checkpoint before the last one, for the case that the last one is damaged."""
        return self.path / "checkpoints" / "previous.ckpt"

    def training(self) -> dict[str, Any] | None:
        """What ``training.json`` says; ``None`` while the training is not complete."""
        return self._json("training.json")

    def evaluation(self) -> dict[str, Any] | None:
        """What ``evaluation.json`` says; ``None`` before the first evaluation."""
        return self._json("evaluation.json")

    def _json(self, name: str) -> dict[str, Any] | None:
        file = self.path / name
        return json.loads(file.read_text()) if file.is_file() else None

    def model(self, device: str = "cpu") -> SegmentationModel:
        """Build the model and load the weights of the best checkpoint; see the base class."""
        if not self.best.is_file():
            raise InputError(
                f"{self.path} has no checkpoint ({self.best.relative_to(self.path)} is missing); "
                "train the model first, or go on with its training"
            )
        weights = read_checkpoint(self.best)["state_dict"]
        named = {name.removeprefix("model."): value for name, value in weights.items()}
        return ready(build_model(self.settings["model"]), named, self.best, device)


def ready(model: SegmentationModel, weights: Mapping[str, torch.Tensor], file: Path, device: str) -> SegmentationModel:
    """Give a model its weights.

    Raises:
        InputError: they do not fit; names the file.
    """
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        raise InputError(f"{file} does not fit the model that is described beside it; make it again") from error
    return model.eval().to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def runs_in(path: Path | str) -> list[Run]:
    """The run directory itself, or all run directories of an experiment, by name.

    Raises:
        InputError: there is none.
    """
    path = Path(path)
    if (path / "run.yaml").is_file():
        return [Run(path)]
    found = sorted(file.parent for file in path.glob("*/run.yaml"))
    if not found:
        raise InputError(f"{path} holds no trained model (no run.yaml); train one with 'probunet train'")
    return [Run(folder) for folder in found]


def build_model(specification: Mapping[str, Any]) -> SegmentationModel:
    """Make an untrained model from its class path and constructor arguments.

    Raises:
        InputError: no such class or argument, or a value that the class refuses.
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(SegmentationModel, "model")
    try:
        return parser.instantiate(parser.parse_object(Namespace(model=dict(specification)))).model
    except Exception as error:
        raise InputError(f"the model cannot be made: {' '.join(str(error).split())}") from error


def read_checkpoint(file: Path) -> dict[str, Any]:
    """Read a checkpoint without running code from it.

    Raises:
        InputError: unreadable or truncated.
    """
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, KeyError, ValueError, pickle.UnpicklingError) as error:
        reason = (str(error) or repr(error)).splitlines()[0]
        raise InputError(f"{file} cannot be read ({reason}); train the model again") from error


def write_json(file: Path, content: Mapping[str, Any]) -> None:
    """Write JSON, all or nothing."""
    with writing_file(file) as temporary:
        temporary.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")
