"""Trained models by their path or name: a run directory, an exported folder, a published name, a model on the Hub."""

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
from probunet.runs.guest import DESCRIPTION as GUEST
from probunet.runs.guest import Guest, Place
from probunet.runs.hub import HUB, fetch
from probunet.runs.published import find_published, published
from probunet.runs.run import DESCRIPTION, Run
from probunet.runs.specification import Trust


def open_model(path: Path | str, trust: Trust = ()) -> TrainedModel:
    """Open a run directory, an experiment of exactly one, an exported folder, a published name or ``hub:owner/model``.

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
    exported = _exported(path, trust)
    return [exported] if exported else list(runs_in(path, trust))


def runs_in(path: Path | str, trust: Trust = ()) -> list[Run]:
    """The run directory itself, or all run directories and guests of an experiment, by name.

    Raises:
        InputError: there is none.
    """
    if _is_exported(path):
        raise InputError(
            f"{path} is an exported model, beside which no results are kept; give it to compare (--trained.NAME {path})"
        )
    path = Path(path)
    if any((path / name).is_file() for name in (DESCRIPTION, GUEST)):
        return [_run(path, trust)]
    folders = _runs_below(path)
    if not folders:
        if seed := next((folder for folder in sorted(path.glob("seed_*")) if _runs_below(folder)), None):
            raise InputError(f"{path} holds trainings of several seeds; give one of them, such as {seed}")
        raise InputError(
            f"{path} holds no trained model (no {DESCRIPTION} of a run, no {EXPORTED} of an exported one); "
            f"train one with 'probunet train', or name a published one: {', '.join(published())}"
        )
    return [_run(folder, trust) for folder in folders]


def _runs_below(path: Path) -> list[Path]:
    """Folders of the run directories and guests of an experiment."""
    return sorted({file.parent for name in (DESCRIPTION, GUEST) for file in path.glob(f"*/{name}")})


def _run(folder: Path, trust: Trust) -> Run:
    """A run, or the place of a model that was trained elsewhere."""
    if not (folder / GUEST).is_file():
        return Run(folder, trust)
    place = Place.read(folder)
    elsewhere = _exported(place.model, trust) or Run(place.model, trust)
    return Guest(folder, place, elsewhere)


def _is_exported(path: Path | str) -> bool:
    """Whether this is a published model or an exported folder, here or on the Hub."""
    return str(path).startswith(HUB) or find_published(str(path)) is not None or (Path(path) / EXPORTED).is_file()


def _exported(path: Path | str, trust: Trust) -> ExportedModel | None:
    """A published model or an exported folder, ``None`` for anything else."""
    if not _is_exported(path):
        return None
    if str(path).startswith(HUB):
        return ExportedModel(fetch(str(path).removeprefix(HUB)), trust)
    return ExportedModel(find_published(str(path)) or path, trust)


def load(path: Path | str, device: str = "cpu", trust: Trust = ()) -> SegmentationModel:
    """Load a trained model for images that were mapped by ``model.normalise``.

    Args:
        path: run directory, experiment of exactly one, exported folder, published name, or ``hub:owner/model``.
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
    """Load a model that comes with this package, from a local folder, or from the Hub.

    Args:
        name: published name (``lidc-crops``), folder, or ``owner/model`` on the Hub.
        revision: branch, tag or commit on the Hub.
        device: where the model goes.
        trust: see ``load``.

    Raises:
        InputError: huggingface-hub is not installed, nothing of this name there, or no readable model in it.
    """
    local = Path(name).is_dir() or find_published(str(name)) is not None
    return load(name if local else fetch(str(name), revision), device, trust)


def _refuse_raw_values(model: torch.nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    image = args[0] if args else kwargs.get("image")
    if isinstance(image, torch.Tensor) and image.numel() and float(image.abs().max()) > FAR:
        low, high = (float(value) for value in image.aminmax())
        raise InputError(
            f"an image with values from {low:g} to {high:g} was not mapped to what the model was trained on; give "
            "model.normalise(image), or the picture to probunet.Predictor"
        )
