"""A step whose loss or gradient is not finite leaves the weights alone; several in a row end the training."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from probunet.core.errors import InputError
from probunet.core.writing import writing_file
from probunet.data.training_batches import Batch
from probunet.training.placement import leave_to_first

log = logging.getLogger(__name__)

IN_A_ROW = 3
"""Steps without a finite gradient, one after the other, that end a training."""


def nan_unless_finite(loss: torch.Tensor) -> torch.Tensor:
    """Make every gradient of a loss that is not finite NaN, in all processes, without waiting for the GPU.

    A sum that overflows can have finite gradients, and another process sees nothing but gradients.
    """
    return loss * torch.where(torch.isfinite(loss.detach()), 1.0, torch.nan)


class SkipNotFinite(Callback):
    """Skips and counts steps that are not finite; ``IN_A_ROW`` of them dump the last batch and end the training.

    A skipped step changes neither weights nor the optimiser's moments; the next step takes the next batch.

    Args:
        folder: where the dump is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self.skipped, self.in_a_row = folder, 0, 0
        self._batch: Batch | None = None

    def on_train_batch_start(self, trainer: Trainer, pl_module: LightningModule, batch: Any, batch_idx: int) -> None:
        """Keep the batch for a dump."""
        self._batch = batch

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Take the gradients away from the optimiser where they are not finite.

        Raises:
            InputError: this was the last of ``IN_A_ROW`` such steps.
        """
        weights = [p for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
        if torch.isfinite(get_total_norm([p.grad for p in weights])):
            self.in_a_row = 0
            return
        for p in weights:
            p.grad = None
        self.skipped, self.in_a_row = self.skipped + 1, self.in_a_row + 1
        step = trainer.global_step
        if self.in_a_row < IN_A_ROW:
            log.warning(f"step {step} is skipped: its loss or its gradient is not finite")
            return
        cases = trainer.train_dataloader.dataset.names(step)  # type: ignore[union-attr]
        file = self.folder / f"not_finite_step_{step}_process_{trainer.global_rank}.pt"
        self._dump(file, step, cases, pl_module)
        leave_to_first(trainer)
        raise InputError(
            f"the loss or its gradient is not finite in {IN_A_ROW} steps in a row, the last one step {step} with the "
            f"cases {', '.join(cases)} (dumped to {file}); lower optimisation.learning_rate or look at these cases"
        )

    def _dump(self, file: Path, step: int, cases: list[str], pl_module: LightningModule) -> None:
        assert self._batch is not None
        content = {
            "step": step,
            "cases": cases,
            "image": self._batch.image.cpu(),
            "label": self._batch.label.cpu(),
            "state_dict": pl_module.state_dict(),
        }
        with writing_file(file) as temporary:
            torch.save(content, temporary)

    def state_dict(self) -> dict[str, int]:
        """What a checkpoint keeps."""
        return {"skipped": self.skipped, "in_a_row": self.in_a_row}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Go on from a checkpoint."""
        self.skipped, self.in_a_row = state_dict["skipped"], state_dict["in_a_row"]
