"""A trained model as a folder to pass on: ``model.safetensors`` and ``probunet.json``, and nothing that could run.

The JSON names the class and its arguments, what the input has to be (intensity, pixel size, classes, crop), what it was
trained on and how well it did, and the licence. Later versions of this package read it; it refuses what is later.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as as_bytes

from probunet.core.errors import InputError
from probunet.core.files import writing_folder
from probunet.core.version import VERSION as PROBUNET
from probunet.models.base import SegmentationModel
from probunet.runs.run import Run, TrainedModel, build_model, ready, runs_in, write_json

VERSION = 1
DESCRIPTION, WEIGHTS = "probunet.json", "model.safetensors"
UNKNOWN_INPUT = {
    "intensity": {"unit": "", "offset": 0.0, "scale": 1.0},
    "crop": 128,
    "spacing_mm": None,
    "title": "not given",
    "simulated": None,
}


class SavedModel(TrainedModel):
    """An exported folder, opened for reading.

    Args:
        path: the folder.

    Raises:
        InputError: not such a folder, unreadable, or of a later version.
    """

    def __init__(self, path: Path | str) -> None:
        file = Path(path) / DESCRIPTION
        try:
            settings = json.loads(file.read_text())
        except FileNotFoundError as error:
            raise InputError(f"{path} is no exported model (no {DESCRIPTION}); see 'probunet export'") from error
        except (OSError, ValueError) as error:
            raise InputError(f"{file} cannot be read ({error}); export the model again") from error
        if not isinstance(settings, dict) or settings.get("format") != "probunet-model":
            raise InputError(f"{file} does not describe a model of probunet; see 'probunet export'")
        if settings.get("version", 0) > VERSION:
            raise InputError(f"{file} has version {settings['version']}, this is for {VERSION}; update probunet")
        super().__init__(Path(path), file, settings)

    def model(self, device: str = "cpu") -> SegmentationModel:
        """Build the model and load its weights; see the base class."""
        file = self.path / WEIGHTS
        try:
            weights = load_file(file)
        except (OSError, SafetensorError) as error:
            raise InputError(f"{file} cannot be read ({error}); export the model again") from error
        return ready(build_model(self.settings["model"]), weights, file, device)


def open_model(path: Path | str) -> TrainedModel:
    """Open a run directory, an experiment that holds exactly one, or an exported folder.

    Raises:
        InputError: no model or several models there.
    """
    if (Path(path) / DESCRIPTION).is_file():
        return SavedModel(path)
    runs = runs_in(path)
    if len(runs) > 1:
        raise InputError(f"{path} holds several models; name one of {', '.join(str(run.path) for run in runs)}")
    return runs[0]


def load(path: Path | str, device: str = "cpu") -> SegmentationModel:
    """Load the trained model of a run directory, of an experiment that holds exactly one, or of an exported folder.

    Raises:
        InputError: no model or several models there, or no readable weights.
    """
    return open_model(path).model(device)


def save(model: SegmentationModel, folder: Path | str, **facts: Any) -> None:
    """Write a model to a folder that ``load`` reads, in this version and in later ones.

    Args:
        model: trained or not.
        folder: to make.
        **facts: what is known beside the arguments of the model: ``input`` (as in a run's settings), ``training``,
            ``evaluation``, ``data``, ``licence``.

    Raises:
        InputError: the folder exists already or cannot be written.
    """
    classes = ["background", *(f"class {k}" for k in range(1, model.num_classes))]
    kind = type(model)
    module = "probunet" if kind.__module__.startswith("probunet.") else kind.__module__
    described = {
        "format": "probunet-model",
        "version": VERSION,
        "model": {"class_path": f"{module}.{kind.__qualname__}", "init_args": model.arguments},
        "input": {**UNKNOWN_INPUT, "classes": classes},
        "licence": "not given",
        "versions": {"probunet": PROBUNET, "torch": torch.__version__},
        **facts,
    }
    with writing_folder(folder) as temporary:
        weights = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
        (temporary / WEIGHTS).write_bytes(as_bytes(weights, metadata={"format": "pt"}))
        write_json(temporary / DESCRIPTION, described)


def save_run(run: Run, folder: Path, licence: str = "not given") -> None:
    """Write the trained model of a run directory with all that is known of it.

    Args:
        run: the trained model.
        folder: to make.
        licence: of the weights, as text.

    Raises:
        InputError: no readable checkpoint, or a folder that exists already or cannot be written.
    """
    scores = run.evaluation()
    measured = (
        None if scores is None else {key: scores[key] for key in ("data", "ged2", "ged2_unbiased", "conventions")}
    )
    parts = {
        key: run.settings[key] for key in ("input", "data", "optimisation", "trainer", "seed") if key in run.settings
    }
    save(run.model(), folder, **parts, training=run.training(), evaluation=measured, licence=licence)
