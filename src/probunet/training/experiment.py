"""Train the models of an experiment, each in a run directory, reusing what is complete and resuming what was begun."""

from __future__ import annotations

import logging
import shutil
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from probunet.core.descriptions import write_yaml
from probunet.core.errors import InputError
from probunet.core.files import check_out_folder
from probunet.core.processes import Tell
from probunet.data.store import Store
from probunet.models.base import SegmentationModel
from probunet.objectives.energy_score import EnergyScore
from probunet.runs.description import FORMAT, VERSION
from probunet.runs.run import COMPLETE, DESCRIPTION, Run
from probunet.runs.specification import Specification, Trust
from probunet.runs.trained import open_model
from probunet.training.data import TrainingData
from probunet.training.fit import Fit
from probunet.training.members import Training, assemble, trainings
from probunet.training.placement import is_first, without_placement
from probunet.training.start import Start
from probunet.training.task import Optimisation
from probunet.training.trainer_arguments import check_trainer

log = logging.getLogger(__name__)


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
        start: the trained model whose weights all models begin with; ``None`` for random ones.
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
        start: Start | None = None,
    ) -> None:
        self.out, self.data, self.optimisation, self.trainer, self.seed = out, data, optimisation, trainer, seed
        self.energy, self.compile, self.trust, self.start = energy, compile, trust, start
        check_out_folder(out, [data.store])
        self.store = Store(data.store)

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
            **({"start": self.start.described()} if self.start else {}),
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
            "patients": {split: self.store.patients(split) for split in ("train", "validation")}
            | (self.start.patients() if self.start else {}),
        }

    def check(self, training: Training) -> None:
        """Refuse a model that cannot be trained here, before any training begins.

        Raises:
            InputError: the model cannot be made or does not fit the data, the data does not fit the batches, or the
                run directory holds a model trained with other settings.
        """
        model = training.specification.build(self.trust)
        channels, classes = self.store.channels, len(self.store.classes)
        if (model.in_channels, model.num_classes) != (channels, classes):
            raise InputError(
                f"model '{training.folder.name}' takes {model.in_channels} channel(s) and {model.num_classes} classes, "
                f"{self.store.path} has {channels} and {classes}; change in_channels or num_classes of the model"
            )
        if model.dims != self.store.dims:
            raise InputError(
                f"model '{training.folder.name}' has {model.dims} dimensions, the images of {self.store.path} "
                f"{self.store.dims}; set dims of the model to {self.store.dims}"
            )
        _check_readers(model, self.store)
        if self.start:
            self.start.check(self.store)
            self.start.begin(training.folder.name, model)
        self.data.batches(self.store, training.seed)
        self.data.validation(self.store)
        if _was_begun(training.folder):
            _refuse_other_settings(self.run(training), self.settings(training))
            if ended := self._longer(training):
                log.warning(f"note: {training.folder} stays as it is, trained for more steps already: {ended:,}")

    def is_complete(self, training: Training) -> bool:
        """Whether the training ended under the same arguments of the trainer, or after more steps."""
        if not (training.folder / DESCRIPTION).is_file():
            return False
        run = self.run(training)
        same = without_placement(run.settings["trainer"]) == without_placement(self.trainer)
        return run.training() is not None and (same or self._longer(training) > 0)

    def _longer(self, training: Training) -> int:
        """The steps of a training that ended after more of them than are asked for, else 0: a state cannot go back."""
        ended, asked = self.run(training).training(), self.trainer.get("max_steps", -1)
        return int(ended["steps"]) if ended and 0 < asked < ended["steps"] else 0

    def train(self, training: Training, tell: Tell | None = None) -> Run:
        """Train one network, go on with it, or reuse it when it is complete.

        Args:
            training: what, where and with which seed.
            tell: told how far it is; a bar shows it if not given.

        Raises:
            InputError: the loss is not finite in several steps in a row, or the run directory cannot be written.
            KeyboardInterrupt: stopped by Ctrl-C; the state was saved.
            Stopped: by SIGTERM, likewise.
        """
        if self.is_complete(training):
            log.info(f"{training.folder} is trained already and is reused")
            return self.run(training)
        torch.manual_seed(training.seed)
        model = training.specification.build(self.trust)
        if self.start:
            self.start.begin(training.folder.name, model)
        if is_first():  # a longer training that is stopped is not complete, though the shorter one was
            (training.folder / COMPLETE).unlink(missing_ok=True)
        write_yaml(training.folder / DESCRIPTION, self.settings(training))
        run, energy = self.run(training), self.energy_of(training.folder)
        fit = Fit(
            run, self.store, self.data, self.optimisation, self.trainer, training.seed, energy, self.compile, tell
        )
        try:
            fit(model)
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


def _check_readers(model: SegmentationModel, store: Store) -> None:
    """Refuse a model of persons for a store that does not name them, or names others.

    Raises:
        InputError: as said.
    """
    if model.reader_names and store.reader_names is None:
        raise InputError(f"{store.path} does not say which person drew a reading; leave out the model's reader_names")
    if model.reader_names and model.reader_names != store.reader_names:
        raise InputError(
            f"the model's reader_names are {', '.join(model.reader_names)}, those of {store.path} "
            f"{', '.join(store.reader_names or ())}; name them in the order of the store"
        )


def _was_begun(folder: Path) -> bool:
    """Whether a run directory holds a state of a training."""
    return (folder / DESCRIPTION).is_file() and any((folder / "checkpoints").glob("*.ckpt"))


def _leave_nothing(run: Run, out: Path) -> None:
    """Remove what a training wrote that ended before it had anything to keep."""
    (run.path / DESCRIPTION).unlink(missing_ok=True)
    (run.path / "precision.json").unlink(missing_ok=True)
    shutil.rmtree(run.path / "log", ignore_errors=True)
    for folder in (run.best.parent, run.path, out):
        with suppress(OSError):  # what else is in it stays
            folder.rmdir()


def _refuse_other_settings(run: Run, settings: dict[str, Any]) -> None:
    for part in ("model", "data", "optimisation", "energy", "start", "seed", "input", "identity"):
        if run.settings.get(part) != settings.get(part):
            raise InputError(
                f"{run.path} was trained with another '{part}' than is asked for now; "
                "choose another --out, or remove it"
            )


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
    start: Path | str | None = None,
) -> list[Run]:
    """Train the models of an experiment; what is complete is reused, what was begun goes on.

    Raises:
        InputError: something does not fit; the message says what.

    Returns:
        The run directories, in the first of several processes; nothing in the others.
    """
    if not models:
        raise InputError("there is no model to train; name one or more under 'models'")
    specifications = {name: Specification.of(model) for name, model in models.items()}
    names = list(specifications) if only is None else only
    if unknown := set(names) - set(specifications):
        raise InputError(f"there is no model {', '.join(sorted(unknown))}; choose from {', '.join(specifications)}")
    if energy:
        energy.check(specifications)
    check_trainer(trainer)
    begun_with = Start.of(open_model(start, trust)) if start else None
    experiment = Experiment(Path(out), data, optimisation, trainer, seed, energy, compile, trust, begun_with)
    plans = trainings(experiment.out, specifications, seed)
    if set_aside and is_first():
        _set_aside(experiment, [one for plan in plans.values() for one in plan])
    for name in names:
        for training in plans[name]:
            experiment.check(training)
    if begun_with and is_first() and (note := begun_with.note(experiment.store.intensity)):
        log.warning(note)
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
