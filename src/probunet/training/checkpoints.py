"""Checkpoints that survive whatever happens: written whole or not at all, and the one before the last is kept."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

from pytorch_lightning import LightningModule, Trainer
from pytorch_lightning.callbacks import Checkpoint, ModelCheckpoint
from pytorch_lightning.plugins.io import TorchCheckpointIO
from pytorch_lightning.trainer.states import TrainerFn

from probunet.core.errors import InputError
from probunet.core.writing import remove_remains
from probunet.runs.checkpoints import read_checkpoint, write_checkpoint
from probunet.runs.run import Run
from probunet.training.callbacks import validation_follows
from probunet.training.placement import highest
from probunet.training.task import VALIDATION

log = logging.getLogger(__name__)

SAVE_EVERY = 60.0
"""Seconds of training after which the last state is saved between two validations."""


class WholeCheckpoints(TorchCheckpointIO):
    """Writes a checkpoint beside its place, forces it to disk and renames it; the last one becomes the previous one.

    Args:
        run: the run directory of the training.
    """

    def __init__(self, run: Run) -> None:
        self.run = run

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write one.

        Raises:
            InputError: the run directory is gone, or it cannot be written; the checkpoints before are untouched.
        """
        if not (self.run.path / "run.yaml").is_file():
            raise InputError(
                f"{self.run.path} is gone (no run.yaml), so step {checkpoint['global_step']} cannot be saved; "
                "look whether its disk is still there, then give the same command again"
            )
        target = Path(path)
        write_checkpoint(target, checkpoint, kept=self.run.previous if target == self.run.last else None)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        """Read one, and check that it is what was written."""
        return read_checkpoint(Path(path))


class BestCheckpoint(ModelCheckpoint):
    """Keeps the checkpoint with the lowest validation D_GED^2, also after the run directory was moved.

    Args:
        run: the run directory of the training.
    """

    def __init__(self, run: Run) -> None:
        super().__init__(
            dirpath=run.best.parent,
            filename=run.best.stem,
            monitor=VALIDATION,
            mode="min",
            enable_version_counter=False,
        )
        self.best = run.best

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a checkpoint: its value of the best one counts where this file is, wherever it was."""
        value = state_dict["best_model_score"]
        known = value is not None and self.best.is_file()
        path = str(self.best) if known else ""
        here = {
            "dirpath": self.dirpath,
            "best_model_path": path,
            "kth_best_model_path": path,
            "last_model_path": "",
            "best_model_score": value if known else None,
            "best_k_models": {path: value} if known else {},
        }
        super().load_state_dict({**state_dict, **here})


class LastCheckpoint(Checkpoint):
    """Keeps the last state: at every validation, and in between whenever some time has passed.

    Args:
        run: the run directory of the training.
    """

    def __init__(self, run: Run) -> None:
        self.run, self.saved, self.step = run, time.monotonic(), -1

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        """Save after a step, unless a validation follows, which a training resumed from here would leave out."""
        if highest(trainer, time.monotonic() - self.saved) >= SAVE_EVERY and not validation_follows(trainer):
            self.save(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save what the validation was of."""
        if trainer.state.fn == TrainerFn.FITTING:
            self.save(trainer)

    def save(self, trainer: Trainer) -> None:
        """Save the state, unless it is saved; the one before stays another one."""
        if trainer.global_step != self.step:
            trainer.save_checkpoint(self.run.last)
            self.saved, self.step = time.monotonic(), trainer.global_step


def newest_readable(run: Run) -> Path | None:
    """Find the checkpoint to go on from, and tell when it is not the last one; ``None`` where nothing was begun.

    What a killed training left half-written is removed.

    Raises:
        InputError: there are checkpoints and none can be read.
    """
    for file in (run.best, run.last, run.previous):
        remove_remains(file)
    found = [file for file in (run.last, run.previous) if file.is_file()]
    for file in found:
        try:
            step = read_checkpoint(file)["global_step"]
        except InputError:
            log.warning(f"{file} is damaged and is passed over")
            continue
        log.info(f"{run.path} goes on from step {step}, {file.name}")
        return file
    if found:
        raise InputError(f"no checkpoint of {run.path} can be read; remove {found[0].parent} to train it anew")
    return None
