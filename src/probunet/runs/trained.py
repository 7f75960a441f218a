"""Trained models by their path or name: a run directory, an exported folder, or a model on the Hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from probunet.core.errors import InputError
from probunet.core.intensity import FAR
from probunet.models.base import SegmentationModel
from probunet.runs.description import TrainedModel
from probunet.runs.exported import DESCRIPTION as EXPORTED
from probunet.runs.exported import ExportedModel
from probunet.runs.hub import HUB, fetch
from probunet.runs.run import DESCRIPTION, Run
from probunet.runs.specification import Trust


def open_model(path: Path | str, trust: Trust = ()) -> TrainedModel:
    """Open a run directory, an experiment that holds exactly one, an exported folder, or ``hub:owner/model``.

    Args:
        path: or name.
        trust: modules by name, or classes, whose code may run; models of this package need none.

    Raises:
        InputError: no model or several models there.
    """
    models = models_in(path, trust)
    if len(models) > 1:
        listed = ", ".join(str(model.path) for model in models[:8])
        raise InputError(f"{path} holds several models; name one of {listed}")
    return models[0]


def models_in(path: Path | str, trust: Trust = ()) -> list[TrainedModel]:
    """The model itself, or all models of an experiment, by name.

    Raises:
        InputError: there is none.
    """
    if str(path).startswith(HUB):
        return [ExportedModel(fetch(str(path).removeprefix(HUB)), trust)]
    path = Path(path)
    if (path / EXPORTED).is_file():
        return [ExportedModel(path, trust)]
    return list(runs_in(path, trust))


def runs_in(path: Path | str, trust: Trust = ()) -> list[Run]:
    """The run directory itself, or all run directories of an experiment, by name.

    Raises:
        InputError: there is none.
    """
    path = Path(path)
    if (path / DESCRIPTION).is_file():
        return [Run(path, trust)]
    folders = sorted(file.parent for file in path.glob(f"*/{DESCRIPTION}"))
    if not folders:
        raise InputError(
            f"{path} holds no trained model (no {DESCRIPTION} of a run, no {EXPORTED} of an exported one); "
            "train one with 'probunet train'"
        )
    return [Run(folder, trust) for folder in folders]


def load(path: Path | str, device: str = "cpu", trust: Trust = ()) -> SegmentationModel:
    """Load a trained model for images that were mapped by ``model.normalise``.

    Args:
        path: run directory, experiment that holds exactly one, exported folder, or ``hub:owner/model``.
        device: where the model goes.
        trust: modules by name, or classes, whose code may run; models of this package need none.

    Returns:
        Ready for use; it refuses images of raw values, which it would segment without a word otherwise.

    Raises:
        InputError: no model or several models there, or no readable weights.
    """
    model = open_model(path, trust).model(device)
    if model.intensity is not None and (model.intensity.offset, model.intensity.scale) != (0.0, 1.0):
        model.register_forward_pre_hook(_refuse_raw_values, with_kwargs=True)
    return model


def from_pretrained(
    name: Path | str, revision: str | None = None, device: str = "cpu", trust: Trust = ()
) -> SegmentationModel:
    """Load a model from a local folder, or from the Hub.

    Args:
        name: folder, or ``owner/model`` on the Hub.
        revision: branch, tag or commit on the Hub.
        device: where the model goes.
        trust: see ``load``.

    Raises:
        InputError: huggingface-hub is not installed, nothing of this name there, or no readable model in it.
    """
    return load(name if Path(name).is_dir() else fetch(str(name), revision), device, trust)


def _refuse_raw_values(model: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    image = args[0] if args else kwargs.get("image")
    if isinstance(image, torch.Tensor) and image.numel() and float(image.abs().max()) > FAR:
        low, high = (float(value) for value in image.aminmax())
        raise InputError(
            f"an image with values from {low:g} to {high:g} was not mapped to what the model was trained on; give "
            "model.normalise(image), or the picture to probunet.Predictor"
        )
