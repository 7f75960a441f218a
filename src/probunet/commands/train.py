"""``probunet train``: the models of an experiment."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from probunet.commands.outcomes import tell_next, tell_training
from probunet.core.console import console
from probunet.models.base import SegmentationModel
from probunet.objectives.energy_score import EnergyScore
from probunet.training.data import TrainingData
from probunet.training.experiment import train as train_models
from probunet.training.placement import is_first
from probunet.training.task import Optimisation


def train(
    out: Path,
    data: TrainingData,
    models: dict[str, SegmentationModel],
    optimisation: Optimisation,
    trainer: dict[str, Any],
    seed: int = 0,
    only: list[str] | None = None,
    set_aside: bool = False,
    energy: EnergyScore | None = None,
    compile: bool = False,
    trust: list[str] | None = None,
    start: str | None = None,
) -> None:
    """Train the models of an experiment; what is complete is reused, what was begun goes on.

    Args:
        out: folder of the experiment; every model gets a run directory OUT/<name>.
        data: what to train on.
        models: name, class and constructor arguments of every model.
        optimisation: how to minimise the loss.
        trainer: arguments of Lightning's Trainer: max_time, max_steps, devices, precision, ...
        seed: of initial weights, order, augmentation and latents.
        only: train these models only; all when not given.
        set_aside: when OUT holds models trained on other data or settings, rename it (OUT-1, OUT-2, ...)
            instead of refusing.
        energy: the energy score against all readers, added to the models' own objective; none if not given.
        compile: compile the networks (torch.compile), which takes minutes at the start and pays on a GPU; where it
            does not work, a note says so and they run as they are.
        trust: modules whose code may run, for models of your own; those of probunet need none.
        start: trained model with the same networks whose weights are begun with: a run, an exported folder or a
            published name. A model of volumes may begin with one of slices. Random ones if not given.

    Raises:
        InputError: something does not fit; the message says what.

    Examples:
        probunet train --config demo
        probunet train --config demo --out runs/longer --trainer.max_steps 20000
        probunet train --config demo --only unet --print_config
    """
    console.quiet = console.quiet or not is_first()
    for run in train_models(
        out, data, models, optimisation, trainer, seed, only, set_aside, energy, compile, trust or (), start
    ):
        tell_training(run)
    tell_next("evaluate", out)
