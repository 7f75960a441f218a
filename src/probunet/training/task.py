"""A thin LightningModule around any model: objective, optimiser, training log, validation D_GED^2."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from pytorch_lightning import LightningModule

from probunet.core.errors import InputError
from probunet.core.types import Image
from probunet.data.training_batches import Batch
from probunet.metrics import Convention, energy_distance
from probunet.models.base import SegmentationModel
from probunet.nets.layers import LAYOUT
from probunet.objectives.energy_score import EnergyScore
from probunet.objectives.loss import Loss
from probunet.training.nonfinite import nan_unless_finite

VALIDATION = "validation/ged2"
"""The logged quantity that the best checkpoint is chosen by; lower is better."""


@dataclass(frozen=True)
class Optimisation:
    """How to minimise the loss.

    Attributes:
        learning_rate: of Adam, at the start.
        final_learning_rate: at the end.
        schedule: ``cosine``, or ``staircase`` with ``steps`` equal stages on a logarithmic scale (the paper's
            way), or ``constant``.
        steps: stages of the staircase.
        weight_decay: L2 weight on the weights of layers, never on biases, nor on the latents of experts.
    """

    learning_rate: float = 1e-4
    final_learning_rate: float = 1e-6
    schedule: Literal["cosine", "staircase", "constant"] = "staircase"
    steps: int = 4
    weight_decay: float = 1e-5

    def __post_init__(self) -> None:
        """Refuse what has no meaning.

        Raises:
            InputError: a rate or weight that is not finite or negative, or no stage.
        """
        for name in ("learning_rate", "final_learning_rate"):
            if not 0 < getattr(self, name) < math.inf:
                raise InputError(f"optimisation.{name}={getattr(self, name)}; give a finite number above 0")
        if not 0 <= self.weight_decay < math.inf:
            raise InputError(f"optimisation.weight_decay={self.weight_decay}; give a finite number from 0 up")
        if self.steps < 1:
            raise InputError(f"optimisation.steps={self.steps} are no stages; give at least 1")

    def factor(self, progress: float) -> float:
        """Learning rate over the first one, at a share of the training (0 to 1)."""
        last = self.final_learning_rate / self.learning_rate
        if self.schedule == "constant":
            return 1.0
        if self.schedule == "cosine":
            return last + (1 - last) * (1 + math.cos(math.pi * progress)) / 2
        stage = min(int(progress * self.steps), self.steps - 1)
        return last ** (stage / max(self.steps - 1, 1))


class SegmentationTask(LightningModule):
    """Trains a model on batches of (image, one reader's label), and of all readers' labels where a score needs them.

    Args:
        model: what to train.
        optimisation: how.
        seed: of latents and everything else that a model draws in training.
        progress: the share of the training that is done, 0 to 1, the same in all processes.
        convention: of the distances, see ``Store.convention``.
        samples: hypotheses per validation image.
        energy: the energy score that is added to the model's own objective; ``None`` for that objective alone.
    """

    def __init__(
        self,
        model: SegmentationModel,
        optimisation: Optimisation,
        seed: int,
        progress: Callable[[], float],
        convention: Convention,
        samples: int = 16,
        energy: EnergyScore | None = None,
    ) -> None:
        super().__init__()
        self.model = model.to(memory_format=LAYOUT[model.dims])  # type: ignore[call-overload]
        self.optimisation, self.seed, self.progress = optimisation, seed, progress
        self.convention, self.samples, self.energy = convention, samples, energy
        self._last_time: float | None = None

    def configure_optimizers(self) -> Any:
        """Adam with L2 on weights only, and the schedule over the share of training that is done."""
        named = list(self.model.named_parameters())
        weights = [p for name, p in named if name.endswith("weight") and p.ndim > 1]
        biases = [p for name, p in named if not (name.endswith("weight") and p.ndim > 1)]
        groups: list[dict[str, Any]] = [
            {"params": weights, "weight_decay": self.optimisation.weight_decay},
            {"params": biases},
        ]
        optimiser = torch.optim.Adam(groups, lr=self.optimisation.learning_rate, fused=True)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda _: self.optimisation.factor(self.progress()))
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def training_step(self, batch: Batch, batch_idx: int) -> torch.Tensor:
        """One step of the objective, with the terms in the log."""
        generator = self._generator(self.global_step, self.global_rank)
        image = batch.image.contiguous(memory_format=LAYOUT[batch.image.ndim - 2])
        loss = self._with_energy(self._loss(image, batch, generator), image, batch.labels, generator)
        now, before = time.perf_counter(), self._last_time
        self._last_time = now
        if before is not None:
            self.log("train/images_per_second", len(image) * self.trainer.world_size / (now - before))
        self.log("step", float(self.global_step))  # Lightning's own label of a step drifts when a training resumes
        self.log("train/loss", loss.total.detach())
        self.log("train/learning_rate", self.trainer.optimizers[0].param_groups[0]["lr"])
        self.log_dict({f"train/{name}": value for name, value in loss.terms.items()})
        return nan_unless_finite(loss.total)

    def _loss(self, image: Image, batch: Batch, generator: torch.Generator) -> Loss:
        if self.model.learns_from_readers and batch.labels is not None:
            return self.model.loss_of_readers(image, batch.labels, generator)
        if self.model.reader_names and batch.reader is not None:
            return self.model.loss_of_reader(image, batch.label, batch.reader, generator)
        return self.model.loss(image, batch.label, generator)

    def _with_energy(self, loss: Loss, image: Image, labels: torch.Tensor | None, generator: torch.Generator) -> Loss:
        if self.energy is None or labels is None:
            return loss
        distribution = loss.distribution or self.model(image)
        by_reader = bool(self.model.reader_names)
        score = self.energy.of(distribution, labels, self.convention, generator, loss.strata, by_reader)
        weight = self.energy.weight_at(self.progress())
        terms = {"energy_score": score.detach(), "energy_weight": torch.tensor(weight)}
        return Loss(loss.total + weight * score, loss.terms | terms)

    def on_validation_start(self) -> None:
        """Time spent on validation is not a slow training step."""
        self._last_time = None

    def validation_step(self, batch: dict[str, Any], batch_idx: int) -> None:
        """D_GED^2 (V-statistic) of fresh samples against all readers, on unseen patients."""
        image = batch["image"].contiguous(memory_format=LAYOUT[batch["image"].ndim - 2])
        samples = self.model(image).sample(self.samples, self._generator(batch["number"], rank=0))
        ged2 = energy_distance(samples.movedim(0, 1), batch["labels"], self.convention)
        self.log("step", float(self.global_step), batch_size=len(image))
        values = ged2.value[~ged2.left_out]
        mean = float(values.mean()) if len(values) else 0.0
        weight = len(values) if batch["counts"] else 0
        self.log(VALIDATION, mean, batch_size=weight, prog_bar=True, sync_dist=True)

    def _generator(self, step: int, rank: int) -> torch.Generator:
        seeds = torch.tensor([self.seed, step, rank], dtype=torch.int64)
        mixed = int((seeds * torch.tensor([1_000_003, 7_919, 104_729])).sum())
        return torch.Generator(self.device).manual_seed(mixed)
