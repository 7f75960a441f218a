"""Where a training runs: in one process or several, which of them speaks and writes, and how they end together."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.plugins.environments import LightningEnvironment
from pytorch_lightning.utilities.rank_zero import rank_zero_only

from probunet.core.errors import InputError
from probunet.runs.run import Run

PLACEMENT = ("accelerator", "devices", "num_nodes", "strategy")
"""Arguments of the trainer that say where a training runs, not what comes out."""


def is_first() -> bool:
    """Whether this is the first of all processes, or the only one."""
    return not getattr(rank_zero_only, "rank", 0)


def without_placement(trainer: dict[str, Any]) -> dict[str, Any]:
    """Arguments of the trainer without those that say where it runs."""
    return {key: value for key, value in trainer.items() if key not in PLACEMENT}


def highest(trainer: pl.Trainer, number: float) -> float:
    """The highest number of all processes; every process has to ask."""
    if trainer.world_size == 1:
        return number
    tensor = torch.tensor(number, dtype=torch.float32, device=trainer.strategy.root_device)
    return float(trainer.strategy.reduce(tensor, reduce_op="max"))


def leave_to_first(trainer: pl.Trainer) -> None:
    """End this process where Lightning launched it and the first one is about to say the same.

    Lightning launches its processes for one training, with the command or script of the first. An error code of one of
    them would make it kill the first, which still has something to say. A process that a user launched goes on.
    """
    environment = getattr(trainer.strategy, "cluster_environment", None)
    if not trainer.is_global_zero and isinstance(environment, LightningEnvironment):
        raise SystemExit(0)


@contextmanager
def ending_together(trainer: pl.Trainer, run: Run) -> Iterator[None]:
    """End the processes that this one launched when it fails, as they would wait for it for ever.

    Raises:
        InputError: the run directory cannot be written.
        KeyboardInterrupt: Ctrl-C, which Lightning turns into an exit.
    """
    try:
        yield
    except BaseException as error:
        if trainer.strategy.launcher is not None:
            trainer.strategy.launcher.kill(signal.SIGKILL)
        if isinstance(error, SystemExit) and error.code == 1:
            raise KeyboardInterrupt from error
        if not isinstance(error, OSError):
            raise
        raise InputError(
            f"cannot write to {run.path}: {error.strerror or error}; free some space, or bring the folder back, "
            "and give the same command again"
        ) from error
