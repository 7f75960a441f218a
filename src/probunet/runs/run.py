"""A run directory: one trained model with everything needed to use it again.

- ``run.yaml``: the model (class and constructor arguments), what it was trained on and how;
- ``checkpoints/best.ckpt`` (lowest validation D_GED^2), ``checkpoints/last.ckpt`` and the one before that,
  ``checkpoints/previous.ckpt``;
- ``log/``: TensorBoard events, and ``version_<n>/metrics.csv`` for every time the training was started;
- ``training.json``: written when the training is complete;
- ``evaluation.json``: written by ``probunet evaluate``.
"""

from __future__ import annotations

from pathlib import Path
from types import UnionType
from typing import Any

import torch

from probunet.core.descriptions import read_json, read_yaml
from probunet.core.errors import InputError
from probunet.core.files import sha256
from probunet.data.manifest import sentence
from probunet.runs.checkpoints import read_checkpoint
from probunet.runs.description import TRAINING, TrainedModel, check_written
from probunet.runs.evaluated import Evaluated
from probunet.runs.specification import Trust

DESCRIPTION = "run.yaml"
COMPLETE = "training.json"
"""Is there once a training is complete."""
WRITTEN: dict[str, dict[str, type | UnionType]] = {
    COMPLETE: TRAINING,
    "evaluation.json": {"data": dict, "ged2": dict, "scores": list, "checkpoint": str, "seed": int},
}
"""What others read of the results in a run directory."""


class Run(TrainedModel):
    """A run directory, opened for reading.

    Args:
        path: the directory.
        trust: see ``probunet.runs.specification.Trust``.

    Raises:
        InputError: it is not a run directory, or ``run.yaml`` is unreadable.
    """

    def __init__(self, path: Path | str, trust: Trust = ()) -> None:
        file = Path(path) / DESCRIPTION
        if not file.is_file():
            raise InputError(f"{path} is not a run directory (no {DESCRIPTION}); train one with 'probunet train'")
        super().__init__(Path(path), file, read_yaml(file), trust)

    @property
    def log(self) -> Path:
        """Where the log of its training is."""
        return self.path / "log"

    @property
    def weights_file(self) -> Path:
        """The best checkpoint."""
        return self.best

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
        """What ``training.json`` says; ``None`` while the training is not complete.

        Raises:
            InputError: the file is damaged.
        """
        return self._json(COMPLETE)

    def evaluation(self) -> dict[str, Any] | None:
        """What ``evaluation.json`` says; ``None`` before the first evaluation.

        Raises:
            InputError: the file is damaged.
        """
        content = self._json("evaluation.json")
        if content is not None:
            with sentence(self.path / "evaluation.json", "remove it and evaluate the run again"):
                Evaluated.model_validate(content)
        return content

    def figures(self) -> dict[str, Any] | None:
        """What ``evaluation.json`` says of the weights that are here now; ``None`` where it is of others, or missing.

        Raises:
            InputError: the file is damaged.
        """
        past = self.evaluation()
        known = past is not None and self.weights_file.is_file() and past["checkpoint"] == sha256(self.weights_file)
        return past if known else None

    def _json(self, name: str) -> dict[str, Any] | None:
        file = self.path / name
        if not file.is_file():
            return None
        content = read_json(file)
        check_written(file, content, WRITTEN[name])
        return content

    def weights(self) -> tuple[Path, dict[str, torch.Tensor]]:
        """The weights of the best checkpoint; see the base class."""
        if not self.best.is_file():
            raise InputError(
                f"{self.path} has no checkpoint ({self.best.relative_to(self.path)} is missing); "
                "train the model first, or go on with its training"
            )
        try:
            weights = read_checkpoint(self.best)["state_dict"].items()
            return self.best, {name.removeprefix("model."): value for name, value in weights}
        except (KeyError, AttributeError) as error:
            raise InputError(f"{self.best} holds no weights; train the model again") from error
