"""One network from its first weights to a validated model in a run directory, by Lightning."""

from __future__ import annotations

import logging
import math
import platform
import signal
import warnings
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Timer
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from pytorch_lightning.utilities.warnings import PossibleUserWarning
from torch.utils.data import DataLoader

from probunet.core.descriptions import write_json
from probunet.core.errors import InputError, Stopped
from probunet.core.machine import peak_memory_mb
from probunet.core.processes import Tell
from probunet.core.version import VERSION as PROBUNET
from probunet.data.batches import SharedBatches
from probunet.data.store import Store
from probunet.models.base import SegmentationModel
from probunet.objectives.energy_score import EnergyScore
from probunet.runs.run import COMPLETE, Run
from probunet.training.batch_norm import share_batch_norm
from probunet.training.callbacks import StopOnSignal, Stopwatch, TellProgress, TrainingBar, ValidateLast
from probunet.training.checkpoints import BestCheckpoint, LastCheckpoint, WholeCheckpoints, newest_readable
from probunet.training.compiled import CompileNetworks
from probunet.training.data import TrainingData
from probunet.training.nonfinite import SkipNotFinite
from probunet.training.placement import ending_together, highest, is_first, leave_to_first
from probunet.training.precision import resolved
from probunet.training.task import VALIDATION, Optimisation, SegmentationTask
from probunet.training.trainer_arguments import VALIDATE_EVERY

log = logging.getLogger(__name__)

VALIDATION_BATCH = 16


@dataclass(frozen=True)
class Fit:
    """How one network is trained.

    Attributes:
        run: the run directory, in which the description of the model stands already.
        store: the prepared data.
        data: what of it to train on.
        optimisation: how to minimise.
        trainer: arguments of Lightning's Trainer.
        seed: of order, augmentation and latents.
        energy: the energy score beside the model's own objective; ``None`` for none.
        compile: compile the networks, where that works.
        tell: told how far it is; a bar shows it if ``None``.
    """

    run: Run
    store: Store
    data: TrainingData
    optimisation: Optimisation
    trainer: dict[str, Any]
    seed: int
    energy: EnergyScore | None = None
    compile: bool = False
    tell: Tell | None = None

    def __call__(self, model: SegmentationModel) -> None:
        """Train the model, or go on from the newest state in the run directory.

        Raises:
            InputError: the loss is not finite in several steps in a row, the run directory cannot be written, or the
                trainer does not take one of its arguments.
            KeyboardInterrupt: stopped by Ctrl-C; the state was saved.
            Stopped: by SIGTERM, likewise.
        """
        trainer: pl.Trainer | None = None

        def progress() -> float:
            return _progress(trainer) if trainer else 0.0

        def shared_progress() -> float:  # where time ends the training, processes do not agree to the last digit
            return highest(trainer, progress()) if trainer else 0.0

        convention = self.store.convention()
        task = SegmentationTask(model, self.optimisation, self.seed, shared_progress, convention, energy=self.energy)
        stop, watch, skip = StopOnSignal(), Stopwatch(), SkipNotFinite(self.run.path)
        best, last = BestCheckpoint(self.run), LastCheckpoint(self.run)  # in this order: the last state knows the best
        compiling = [CompileNetworks(self.data.crop, self.data.batch_size)] if self.compile else []
        bar = TellProgress(self.tell, progress) if self.tell else TrainingBar(self.run.name, progress)
        arguments = resolved(self.trainer, self.run.path, model, self.data.crop, self.data.batch_size)
        shown = [bar] if is_first() else []
        trainer = self._trainer(arguments, [stop, ValidateLast(), watch, skip, *compiling, *shown, best, last])
        if trainer.world_size > 1:
            share_batch_norm(model)
        loaders = self._loaders(trainer, model.learns_from_readers)
        resume = newest_readable(self.run)
        with ending_together(trainer, self.run), warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="pytorch_lightning")
            warnings.filterwarnings("ignore", module="torch")
            trainer.fit(task, *loaders, ckpt_path=resume, weights_only=True)
            last.save(trainer)
            score = self._validated(trainer, task, loaders[1], best) if stop.received is None else None
        if stop.received is not None:
            _stop(trainer, stop.received)
        if trainer.is_global_zero:
            summary = _summary(trainer, model, watch.seconds, skip.skipped, score)
            write_json(self.run.path / COMPLETE, summary)

    def _validated(
        self, trainer: pl.Trainer, task: SegmentationTask, images: DataLoader[Any], best: BestCheckpoint
    ) -> float | None:
        """Make sure that a finished training leaves a validated model; give its D_GED^2."""
        if best.best_model_score is None or not self.run.best.is_file():
            score = float(trainer.validate(task, images, verbose=False)[0][VALIDATION])
            trainer.save_checkpoint(self.run.best, weights_only=True)
        else:
            score = float(best.best_model_score)
        return score if math.isfinite(score) else None

    def _loaders(self, trainer: pl.Trainer, learns_from_readers: bool) -> tuple[DataLoader[Any], DataLoader[Any]]:
        part, device = (trainer.global_rank, trainer.world_size), trainer.strategy.root_device
        batches = self.data.batches(
            self.store,
            self.seed,
            lambda: trainer.global_step,
            part,
            all_readers=self.energy is not None or learns_from_readers,
            device=device if device.type == "cuda" else "cpu",  # others cannot do all that augmentation needs
        )
        images = self.data.validation(self.store)
        if part[0] == 0 and (note := images.hidden_note()):
            log.warning(note)
        shared = SharedBatches(images, VALIDATION_BATCH, part)
        return DataLoader(batches, batch_size=None), DataLoader(shared, batch_size=None)

    def _trainer(self, arguments: dict[str, Any], callbacks: list[pl.Callback]) -> pl.Trainer:
        for name in ("pytorch_lightning", "pytorch_lightning.utilities.rank_zero", "lightning.pytorch"):
            logging.getLogger(name).setLevel(logging.ERROR)
        path = self.run.path
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", category=PossibleUserWarning)  # a GPU that is not asked for is none
                return pl.Trainer(
                    **{"accelerator": "auto", "val_check_interval": VALIDATE_EVERY, **arguments},
                    max_epochs=-1,
                    check_val_every_n_epoch=None,
                    default_root_dir=path,
                    callbacks=callbacks,
                    plugins=[WholeCheckpoints(self.run)],
                    logger=[CSVLogger(path, name="log"), TensorBoardLogger(str(path), name="log", version="")],
                    enable_progress_bar=False,
                    enable_model_summary=False,
                    num_sanity_val_steps=0,
                    use_distributed_sampler=False,
                )
        except (ImportError, MisconfigurationException, TypeError, ValueError) as error:
            reason = " ".join(str(error).split())[:150]
            raise InputError(f"--trainer: {reason}; change precision, accelerator or devices") from error


def _stop(trainer: pl.Trainer, received: signal.Signals) -> None:
    """Stop after a signal, once the state is saved."""
    leave_to_first(trainer)
    sentence = f"stopped at step {trainer.global_step}; the same command goes on from there"
    if received is not signal.SIGINT:
        raise Stopped(sentence, received)
    log.info(sentence)
    raise KeyboardInterrupt


def _progress(trainer: pl.Trainer) -> float:
    """Share of the training that is done, 0 to 1, by steps or by time, whichever is further."""
    shares = [0.0]
    if trainer.max_steps > 0:
        shares.append(trainer.global_step / trainer.max_steps)
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, Timer) and callback._duration:
            shares.append(callback.time_elapsed() / callback._duration)
    return min(max(shares), 1.0)


def _summary(
    trainer: pl.Trainer, model: SegmentationModel, seconds: float, skipped: int, best: float | None
) -> dict[str, Any]:
    return {
        "steps": trainer.global_step,
        "skipped_steps": skipped,
        "seconds": round(seconds, 1),
        "parameters": sum(p.numel() for p in model.parameters()),
        "best_validation_ged2": best,
        "peak_memory_mb": peak_memory_mb(),
        "device": str(trainer.strategy.root_device),
        "precision": str(trainer.precision),
        "threads": torch.get_num_threads(),
        "versions": {
            "probunet": PROBUNET,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
    }
