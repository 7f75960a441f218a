"""Train the models of an experiment, each in a run directory, reusing what is complete and resuming what was begun."""

from __future__ import annotations

import logging
import math
import platform
import shutil
import signal
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import Timer
from pytorch_lightning.loggers import CSVLogger, TensorBoardLogger
from pytorch_lightning.utilities.exceptions import MisconfigurationException
from torch.utils.data import DataLoader

from probunet.core.descriptions import write_json, write_yaml
from probunet.core.errors import InputError
from probunet.core.files import check_out_folder
from probunet.core.machine import peak_memory_mb
from probunet.core.processes import Tell
from probunet.core.version import VERSION as PROBUNET
from probunet.data.augment import Augmentation
from probunet.data.batches import Crop, EvaluationImages, SharedBatches, TrainingBatches
from probunet.data.store import Store
from probunet.models.base import LearnsFromReaders, SegmentationModel
from probunet.objectives.energy_score import EnergyScore
from probunet.runs.description import FORMAT, VERSION
from probunet.runs.run import DESCRIPTION, Run
from probunet.runs.specification import Specification, Trust
from probunet.training.batch_norm import share_batch_norm
from probunet.training.callbacks import StopOnSignal, Stopwatch, TellProgress, TrainingBar
from probunet.training.checkpoints import BestCheckpoint, LastCheckpoint, WholeCheckpoints, newest_readable
from probunet.training.compiled import CompileNetworks
from probunet.training.members import Training, assemble, trainings
from probunet.training.nonfinite import SkipNotFinite
from probunet.training.placement import ending_together, highest, is_first, without_placement
from probunet.training.task import VALIDATION, Optimisation, SegmentationTask
from probunet.training.trainer_arguments import VALIDATE_EVERY, check_trainer

log = logging.getLogger(__name__)

VALIDATION_BATCH = 16


@dataclass(frozen=True)
class TrainingData:
    """What to train on.

    Attributes:
        store: folder of the prepared store.
        crop: height and width that the model sees, in pixels; one number for both.
        batch_size: images a step, over all processes.
        augmentation: how strongly to deform.
        validation_images: how many images of the validation split are used for D_GED^2, spread evenly.
    """

    store: Path
    crop: Crop
    batch_size: int = 32
    augmentation: Augmentation = field(default_factory=Augmentation)
    validation_images: int = 256


class Experiment:
    """Several models, one data set, one schedule.

    Args:
        out: folder of the experiment; every model gets a run directory in it.
        data: what to train on.
        optimisation: how to minimise.
        trainer: arguments of Lightning's Trainer.
        seed: of initial weights, order, augmentation and latents.
        energy: the energy score beside the models' own objective; ``None`` for none.
        compile: compile the networks, where that works.
        trust: see ``probunet.runs.specification.Trust``.
    """

    def __init__(
        self,
        out: Path,
        data: TrainingData,
        optimisation: Optimisation,
        trainer: dict[str, Any],
        seed: int,
        energy: EnergyScore | None = None,
        compile: bool = False,
        trust: Trust = (),
    ) -> None:
        self.out, self.data, self.optimisation, self.trainer, self.seed = out, data, optimisation, trainer, seed
        self.energy, self.compile, self.trust = energy, compile, trust
        check_out_folder(out, [data.store])
        self.store = Store(data.store)
        check_trainer(trainer)

    def run(self, training: Training) -> Run:
        """Open the run directory of a training."""
        return Run(training.folder, self.trust)

    def energy_of(self, folder: Path) -> EnergyScore | None:
        """Give the energy score that a run directory's model is trained with."""
        chosen = self.energy and (
            self.energy.models is None or folder.relative_to(self.out).parts[0] in self.energy.models
        )
        return self.energy if chosen else None

    def settings(self, training: Training) -> dict[str, Any]:
        """Everything that a run depends on, as plain values."""
        data = plain(asdict(self.data))
        data["store"] = str(self.data.store)
        manifest, energy = self.store.manifest, self.energy_of(training.folder)
        return {
            "format": FORMAT,
            "version": VERSION,
            "model": training.specification.as_plain(),
            "data": data,
            "optimisation": plain(asdict(self.optimisation)),
            **({"energy": plain(asdict(replace(energy, models=None)))} if energy else {}),
            "trainer": plain(self.trainer),
            **({"compile": True} if self.compile else {}),
            "seed": training.seed,
            "input": {
                "crop": data["crop"],
                "classes": self.store.classes,
                "intensity": manifest["intensity"],
                "spacing_mm": manifest["spacing_mm"],
                "title": manifest["title"],
                "simulated": manifest["simulated"],
            },
            "identity": self.store.identity().as_json(),
            "patients": {split: self.store.patients(split) for split in ("train", "validation")},
        }

    def check(self, training: Training) -> None:
        """Refuse a model that cannot be trained here, before any training begins.

        Raises:
            InputError: the model cannot be made or does not fit the data, the data does not fit the batches, or the
                run directory holds a model trained with other settings.
        """
        model = training.specification.build(self.trust)
        channels, classes = int(self.store.images.shape[1]), len(self.store.classes)
        if (model.in_channels, model.num_classes) != (channels, classes):
            raise InputError(
                f"model '{training.folder.name}' takes {model.in_channels} channel(s) and {model.num_classes} classes, "
                f"{self.store.path} has {channels} and {classes}; change in_channels or num_classes of the model"
            )
        self._batches(training.seed, lambda: 0, (0, 1))
        EvaluationImages(self.store, "validation", self.data.crop, self.data.validation_images)
        if _was_begun(training.folder):
            _refuse_other_settings(self.run(training), self.settings(training))

    def is_complete(self, training: Training) -> bool:
        """Whether the training ended under the same arguments of the trainer."""
        if not (training.folder / DESCRIPTION).is_file():
            return False
        run = self.run(training)
        same = without_placement(run.settings["trainer"]) == without_placement(self.trainer)
        return same and run.training() is not None

    def train(self, training: Training, tell: Tell | None = None) -> Run:
        """Train one network, go on with it, or reuse it when it is complete.

            Args:
                training: what, where and with which seed.
                tell: told how far it is; a bar shows it if not given.

            The arguments are those of the command ``probunet train``.

        Raises:
                InputError: the loss is not finite in several steps in a row, or the run directory cannot be written.
                KeyboardInterrupt: stopped by the user; the state was saved.
        """
        if self.is_complete(training):
            log.info(f"{training.folder} is trained already and is reused")
            return self.run(training)
        torch.manual_seed(training.seed)
        model = training.specification.build(self.trust)
        write_yaml(training.folder / DESCRIPTION, self.settings(training))
        run = self.run(training)
        try:
            self._fit(run, model, training.seed, tell)
        except BaseException:
            if not _was_begun(run.path) and is_first():
                _leave_nothing(run, self.out)
            raise
        return run

    def assemble(self, name: str, specification: Specification, plan: list[Training]) -> None:
        """Put the members of an ensemble together once they are complete; nothing to do for other models."""
        whole = Training(self.out / name, specification, self.seed)
        if plan != [whole] and all(map(self.is_complete, plan)) and not self.is_complete(whole):
            members = [self.run(training) for training in plan]
            assemble(whole.folder, self.settings(whole), members)

    def _fit(self, run: Run, model: SegmentationModel, seed: int, tell: Tell | None) -> None:
        trainer: pl.Trainer | None = None

        def progress() -> float:
            return training_progress(trainer) if trainer else 0.0

        def shared_progress() -> float:  # where time ends the training, processes do not agree to the last digit
            return highest(trainer, progress()) if trainer else 0.0

        convention, energy = self.store.convention(), self.energy_of(run.path)
        task = SegmentationTask(model, self.optimisation, seed, shared_progress, convention, energy=energy)
        stop, watch, skip = StopOnSignal(), Stopwatch(), SkipNotFinite(run.path)
        compiling = [CompileNetworks(self.data.crop, self.data.batch_size)] if self.compile else []
        bars: list[pl.Callback] = [TellProgress(tell, progress) if tell else TrainingBar(run.name, progress)]
        trainer = self._make_trainer(run, [stop, watch, skip, *compiling, *(bars if is_first() else [])])
        if trainer.world_size > 1:
            share_batch_norm(model)
        loaders = self._loaders(trainer, seed, all_readers=energy is not None or isinstance(model, LearnsFromReaders))
        resume = newest_readable(run)
        with ending_together(trainer, run), warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="pytorch_lightning")
            warnings.filterwarnings("ignore", module="torch")
            trainer.fit(task, *loaders, ckpt_path=resume, weights_only=True)
            trainer.save_checkpoint(run.last)
            best = self._validated(trainer, task, run, loaders[1]) if stop.received is None else None
        if stop.received is not None:
            if not trainer.is_global_zero:
                raise SystemExit(0)  # an error code would make Lightning kill the process that launched this one
            log.info(f"stopped at step {trainer.global_step}; the same command goes on from there")
            raise KeyboardInterrupt if stop.received is signal.SIGINT else SystemExit(128 + stop.received)
        if trainer.is_global_zero:
            write_json(run.path / "training.json", _summary(trainer, model, watch.seconds, skip.skipped, best))

    def _validated(
        self, trainer: pl.Trainer, task: SegmentationTask, run: Run, images: DataLoader[Any]
    ) -> float | None:
        """Make sure that a finished training leaves a validated model; give its D_GED^2."""
        checkpoint = next(c for c in trainer.callbacks if isinstance(c, BestCheckpoint))  # type: ignore[attr-defined]
        score = checkpoint.best_model_score
        if score is None or not run.best.is_file():
            best = trainer.validate(task, images, verbose=False)[0][VALIDATION]
            trainer.save_checkpoint(run.best, weights_only=True)
        else:
            best = float(score)
        return best if math.isfinite(best) else None

    def _batches(
        self,
        seed: int,
        first_step: Callable[[], int],
        part: tuple[int, int],
        all_readers: bool = False,
        device: str | torch.device = "cpu",
    ) -> TrainingBatches:
        data = self.data
        return TrainingBatches(
            self.store,
            data.crop,
            data.batch_size,
            data.augmentation,
            seed,
            first_step=first_step,
            part=part,
            all_readers=all_readers,
            device=device,
        )

    def _loaders(self, trainer: pl.Trainer, seed: int, all_readers: bool) -> tuple[DataLoader[Any], DataLoader[Any]]:
        part, device = (trainer.global_rank, trainer.world_size), trainer.strategy.root_device
        where = device if device.type == "cuda" else "cpu"  # others cannot do all that augmentation needs
        batches = self._batches(seed, lambda: trainer.global_step, part, all_readers, where)
        images = EvaluationImages(self.store, "validation", self.data.crop, self.data.validation_images)
        if part[0] == 0 and (note := images.hidden_note()):
            log.warning(note)
        shared = SharedBatches(images, VALIDATION_BATCH, batches.part)
        return DataLoader(batches, batch_size=None), DataLoader(shared, batch_size=None)

    def _make_trainer(self, run: Run, callbacks: list[pl.Callback]) -> pl.Trainer:
        for name in ("pytorch_lightning", "pytorch_lightning.utilities.rank_zero", "lightning.pytorch"):
            logging.getLogger(name).setLevel(logging.ERROR)
        chosen = {"accelerator": "auto", "val_check_interval": VALIDATE_EVERY, **self.trainer}
        return _trainer(
            **chosen,
            max_epochs=-1,
            check_val_every_n_epoch=None,
            default_root_dir=run.path,
            callbacks=[*callbacks, BestCheckpoint(run), LastCheckpoint(run)],
            plugins=[WholeCheckpoints(run)],
            logger=[CSVLogger(run.path, name="log"), TensorBoardLogger(str(run.path), name="log", version="")],
            enable_progress_bar=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            use_distributed_sampler=False,
        )


def _trainer(**arguments: Any) -> pl.Trainer:
    """Make Lightning's Trainer.

    Raises:
        InputError: a device, a precision or another argument that it does not take, or that needs a package.
    """
    try:
        return pl.Trainer(**arguments)
    except (ImportError, MisconfigurationException, TypeError, ValueError) as error:
        reason = " ".join(str(error).split())[:150]
        raise InputError(f"--trainer: {reason}; change precision, accelerator or devices") from error


def training_progress(trainer: pl.Trainer) -> float:
    """Share of the training that is done, 0 to 1, by steps or by time, whichever is further."""
    shares = [0.0]
    if trainer.max_steps > 0:
        shares.append(trainer.global_step / trainer.max_steps)
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, Timer) and callback._duration:
            shares.append(callback.time_elapsed() / callback._duration)
    return min(max(shares), 1.0)


def _was_begun(folder: Path) -> bool:
    """Whether a run directory holds a state of a training."""
    return (folder / DESCRIPTION).is_file() and any((folder / "checkpoints").glob("*.ckpt"))


def _leave_nothing(run: Run, out: Path) -> None:
    """Remove what a training wrote that ended before it had anything to keep."""
    (run.path / DESCRIPTION).unlink(missing_ok=True)
    shutil.rmtree(run.path / "log", ignore_errors=True)
    for folder in (run.best.parent, run.path, out):
        with suppress(OSError):  # what else is in it stays
            folder.rmdir()


def _refuse_other_settings(run: Run, settings: dict[str, Any]) -> None:
    for part in ("model", "data", "optimisation", "energy", "seed", "input", "identity"):
        if run.settings.get(part) != settings.get(part):
            raise InputError(
                f"{run.path} was trained with another '{part}' than is asked for now; "
                "choose another --out, or remove it"
            )


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
        "threads": torch.get_num_threads(),
        "versions": {
            "probunet": PROBUNET,
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
    }


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
    trust: Trust = (),
) -> list[Run]:
    """Train the models of an experiment; what is complete is reused, what was begun goes on.

    Raises:
        InputError: something does not fit; the message says what.

    Returns:
        The run directories, in the first of several processes; nothing in the others.
    """
    specifications = {name: Specification.of(model) for name, model in models.items()}
    names = list(specifications) if only is None else only
    if unknown := set(names) - set(specifications):
        raise InputError(f"there is no model {', '.join(sorted(unknown))}; choose from {', '.join(specifications)}")
    if energy:
        energy.check(specifications)
    experiment = Experiment(Path(out), data, optimisation, trainer, seed, energy, compile, trust)
    plans = trainings(experiment.out, specifications, seed)
    if set_aside and is_first():
        _set_aside(experiment, [one for plan in plans.values() for one in plan])
    for name in names:
        for training in plans[name]:
            experiment.check(training)
    for name in names:
        for training in plans[name]:
            experiment.train(training)
        if is_first():
            experiment.assemble(name, specifications[name], plans[name])
    return [Run(experiment.out / name, experiment.trust) for name in names] if is_first() else []


def plain(value: Any) -> Any:
    """Turn settings into what YAML can hold: dictionaries, lists and single values."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def _set_aside(experiment: Experiment, plan: list[Training]) -> None:
    for training in plan:
        if not (training.folder / DESCRIPTION).is_file():
            continue
        try:
            settings = experiment.settings(training)
            _refuse_other_settings(experiment.run(training), settings)
        except InputError:
            number = 1
            while (other := experiment.out.with_name(f"{experiment.out.name}-{number}")).exists():
                number += 1
            experiment.out.rename(other)
            log.warning(f"{experiment.out} held models with other data or settings; it is now {other}")
            return
