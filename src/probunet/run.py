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

from probunet.data.batches import Crop
from probunet.data.store import Intensity
from probunet.errors import InputError
from probunet.files import writing_file
from probunet.models.base import SegmentationModel


class Run:
    """A run directory, opened for reading.

    Args:
        path: the directory.

    Raises:
        InputError: it is not a run directory, or ``run.yaml`` is unreadable.
    """

    def __init__(self, path: Path | str) -> None:
        self.path = Path(path)
        file = self.path / "run.yaml"
        if not file.is_file():
            raise InputError(f"{self.path} is not a run directory (no run.yaml); train one with 'probunet train'")
        try:
            self.settings: dict[str, Any] = yaml.safe_load(file.read_text())
            self.name = self.path.name
            self.intensity = Intensity(**self.settings["input"]["intensity"])
            crop = self.settings["input"]["crop"]
            self.crop: Crop = crop if isinstance(crop, int) else (crop[0], crop[1])
            self.classes: list[str] = self.settings["input"]["classes"]
        except (yaml.YAMLError, UnicodeDecodeError, KeyError, TypeError, IndexError) as error:
            raise InputError(f"{file} cannot be read ({error!r}); train the model again") from error

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
        """Build the model and load the weights of the best checkpoint, ready for use.

        Raises:
            InputError: no checkpoint, or one that cannot be read or does not fit the model.
        """
        if not self.best.is_file():
            raise InputError(
                f"{self.path} has no checkpoint ({self.best.relative_to(self.path)} is missing); "
                "train the model first, or go on with its training"
            )
        model = build_model(self.settings["model"])
        weights = read_checkpoint(self.best)["state_dict"]
        try:
            model.load_state_dict({name.removeprefix("model."): value for name, value in weights.items()})
        except RuntimeError as error:
            raise InputError(f"{self.best} does not fit the model in run.yaml; train it again") from error
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


def load(path: Path | str, device: str = "cpu") -> SegmentationModel:
    """Load the trained model of a run directory, or of an experiment that holds exactly one.

    Raises:
        InputError: no model or several models there, or no readable checkpoint.
    """
    runs = runs_in(path)
    if len(runs) > 1:
        raise InputError(f"{path} holds several models; name one of {', '.join(str(run.path) for run in runs)}")
    return runs[0].model(device)


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
