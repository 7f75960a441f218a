"""A trained model as a folder to pass on: ``model.safetensors`` and ``probunet.json``, and nothing that could run.

The JSON names the class and its arguments, what the input has to be (intensity, pixel size, classes, crop), what it was
trained on and how well it did, and the licence. Later versions of this package read it; it refuses what is later.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as from_bytes
from safetensors.torch import save as as_bytes

from probunet.core.descriptions import read_json, write_json
from probunet.core.errors import InputError
from probunet.core.files import shown
from probunet.core.version import VERSION as PROBUNET
from probunet.core.writing import writing_folder
from probunet.models.base import SegmentationModel
from probunet.runs.calibration import CALIBRATION, Calibration, read_calibration, weights_identity
from probunet.runs.description import FORMAT, TRAINING, VERSION, TrainedModel, check_description, check_written
from probunet.runs.model_card import CARD, model_card
from probunet.runs.run import Run
from probunet.runs.specification import Specification, Trust

log = logging.getLogger(__name__)

DESCRIPTION, WEIGHTS = "probunet.json", "model.safetensors"
USE = """```
probunet sample FOLDER picture --out hypotheses
```

```python
import probunet as pu

hypotheses = pu.Predictor.load("FOLDER")("picture").sample(16)
```"""
UNKNOWN_INPUT = {
    "intensity": {"unit": "", "offset": 0.0, "scale": 1.0},
    "crop": 128,
    "spacing_mm": None,
    "title": "not given",
    "simulated": None,
}


class ExportedModel(TrainedModel):
    """An exported folder, opened for reading.

    Args:
        path: the folder.
        trust: see ``probunet.runs.specification.Trust``.

    Raises:
        InputError: not such a folder, unreadable, or of a later version.
    """

    def __init__(self, path: Path | str, trust: Trust = ()) -> None:
        file = Path(path) / DESCRIPTION
        if not file.is_file():
            raise InputError(f"{path} is no exported model (no {DESCRIPTION}); see 'probunet export'")
        super().__init__(Path(path), file, read_json(file), trust)

    @property
    def weights_file(self) -> Path:
        """The file of its weights."""
        return self.path / WEIGHTS

    def training(self) -> dict[str, Any] | None:
        """What the description says of its training; see the base class."""
        training = self.settings.get("training")
        if training is not None:
            check_written(self.path / DESCRIPTION, training, TRAINING)
        return training

    def weights(self) -> tuple[Path, dict[str, torch.Tensor]]:
        """The weights of the folder; see the base class."""
        file = self.weights_file
        if not file.is_file():
            raise InputError(f"{file} cannot be read (it is missing); export the model again")
        try:
            content = file.read_bytes()
            expected = (self.settings.get("weights") or {}).get("sha256")
            if hashlib.sha256(content).hexdigest() != expected:
                raise InputError(f"{file} is not what {DESCRIPTION} has the checksum of; export or fetch it again")
            return file, from_bytes(content)
        except (OSError, SafetensorError) as error:
            raise InputError(f"{file} cannot be read ({error}); export the model again") from error


def save(model: SegmentationModel, folder: Path | str, calibration: Calibration | None = None, **facts: Any) -> None:
    """Write a model to a folder that ``load`` reads, in this version and in later ones, with a model card for people.

    Args:
        model: trained or not.
        folder: to make.
        calibration: of these weights, see ``probunet calibrate``.
        **facts: what is known beside the arguments of the model: ``input`` (as in a run's settings), ``training``,
            ``evaluation``, ``data``, ``licence``.

    Raises:
        InputError: the folder exists already or cannot be written.
    """
    classes = ["background", *(f"class {k}" for k in range(1, model.num_classes))]
    weights = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    content = as_bytes(weights, metadata={"format": "pt"})
    described = {
        "format": FORMAT,
        "version": VERSION,
        "model": Specification.of(model).as_plain(),
        "input": {**UNKNOWN_INPUT, "classes": classes},
        "weights": {"sha256": hashlib.sha256(content).hexdigest()},
        "licence": "not given",
        "versions": {"probunet": PROBUNET, "torch": torch.__version__},
        **facts,
    }
    check_description(Path(folder) / DESCRIPTION, described)
    with writing_folder(folder) as temporary:
        (temporary / WEIGHTS).write_bytes(content)
        write_json(temporary / DESCRIPTION, described)
        (temporary / CARD).write_text(model_card(described, Path(folder).name, USE), encoding="utf-8")
        if calibration is not None:
            write_json(temporary / CALIBRATION, calibration.model_dump(mode="json"))


def save_run(run: Run, folder: Path, licence: str = "not given") -> None:
    """Write the trained model of a run directory with all that is known of it.

    Args:
        run: the trained model.
        folder: to make.
        licence: of the weights, as text.

    Raises:
        InputError: no readable checkpoint, or a folder that exists already or cannot be written.
    """
    scores = run.figures()
    if scores is None and run.evaluation() is not None:
        log.warning(f"note: the evaluation of {shown(run.path)} is of other weights and is left out; evaluate it again")
    measured = None if scores is None else {key: scores[key] for key in ("data", "ged2", "ged2_unbiased", "convention")}
    facts = facts_of(run) | {"training": run.training(), "evaluation": measured, "licence": licence}
    model = run.model()
    save(model, folder, read_calibration(run, weights_identity(model)), **facts)


def facts_of(trained: TrainedModel) -> dict[str, Any]:
    """What is passed on of how a model was trained; of its patients nothing but their checksums."""
    kept = ("input", "data", "identity", "patients", "optimisation", "energy", "trainer", "start", "seed", "licence")
    facts = {key: trained.settings[key] for key in kept if key in trained.settings}
    if "patients" in facts:
        facts["patients"] = trained.checksums()
    return facts
