"""Compare models: train some under the same conditions, take others as they are, evaluate all on the same images."""

from __future__ import annotations

from collections.abc import Collection
from functools import partial
from pathlib import Path
from typing import Any

from rich.table import Table as RichTable

from probunet.commands.outcomes import tell_report
from probunet.commands.tables import print_seeds
from probunet.core.console import console
from probunet.core.errors import InputError
from probunet.core.processes import Task, Tell, run_in_processes
from probunet.data.manifest import Split
from probunet.data.store import Store
from probunet.evaluation.fit import check_fit, check_patients, check_values, tell_pixels
from probunet.evaluation.model_scores import Question, evaluate_in_process, is_evaluated
from probunet.evaluation.shown import Part
from probunet.models.base import SegmentationModel
from probunet.objectives.energy_score import EnergyScore
from probunet.runs.description import TrainedModel
from probunet.runs.guest import DESCRIPTION as GUEST
from probunet.runs.guest import check_place, invite
from probunet.runs.run import Run
from probunet.runs.specification import Specification, Trust
from probunet.runs.trained import open_model
from probunet.training.data import TrainingData
from probunet.training.experiment import Experiment
from probunet.training.members import Training, checked_name, trainings
from probunet.training.task import Optimisation
from probunet.training.trainer_arguments import check_trainer


def compare(
    out: Path,
    data: TrainingData,
    optimisation: Optimisation,
    trainer: dict[str, Any],
    models: dict[str, SegmentationModel] | None = None,
    trained: dict[str, str] | None = None,
    seed: int = 0,
    seeds: list[int] | None = None,
    n: tuple[int, ...] = (1, 4, 8, 16),
    split: Split = "test",
    crop: Part | None = None,
    workers: int | None = None,
    energy: EnergyScore | None = None,
    compile: bool = False,
    trust: list[str] | None = None,
) -> None:
    """Train all models on the same data with the same schedule and seed, evaluate them, and write the report.

    What was done before is reused, what was begun goes on: after Ctrl-C, or any other end, give the same command
    again. Writes OUT/<model>/ (run directories), OUT/report.html, OUT/tables and OUT/figures.

    Args:
        out: folder of the comparison.
        data: what to train on.
        optimisation: how to minimise the loss.
        trainer: arguments of Lightning's Trainer: max_steps, max_time, devices, precision, ...
        models: name, class and constructor arguments of every model to train.
        trained: name, and run directory, exported folder or hub:owner/model, of every model that is trained already
            and takes part as it is. It is only read, evaluated on the same crops, and must not know their patients.
        seed: of initial weights, order, augmentation, latents, evaluation and bootstrap.
        seeds: several of them in its place: a comparison with each in OUT/seed_<seed>, and OUT/seeds.csv over all, with
            intervals over trainings and patients together.
        n: numbers of samples to evaluate with.
        split: part of the store to evaluate on.
        crop: what of every image is scored, whole or trained; as evaluate has it
        workers: trainings side by side; one per GPU, or one per processor core where there is no GPU, if not given.
        energy: the energy score against all readers, added to the models' own objective; none if not given.
        compile: compile the networks (torch.compile) for the training, where that works.
        trust: modules whose code may run, for models of your own; those of probunet need none.

    Raises:
        InputError: something does not fit; the message says what.

    Examples:
        probunet compare --config compare_readers_quick
        probunet compare --config compare_streets_quick --out runs/mine --workers 1
        probunet compare --config compare_beyond_quick --crop trained --seeds 0 1 2
        probunet compare --config compare_slices_quick --crop trained --trained.published lesions
    """
    if seeds is not None and (seed or len(set(seeds)) != len(seeds) or not seeds):
        raise InputError(f"seeds={seeds} with seed={seed}: give either one seed, or several different ones")
    folders = {seed: Path(out)} if seeds is None else {begun: Path(out) / f"seed_{begun}" for begun in seeds}
    questions = {begun: Question(split, n, begun, crop) for begun in folders}
    for begun, folder in folders.items():
        if seeds is not None:
            console.print(f"seed {begun}", highlight=False)
        experiment = Experiment(folder, data, optimisation, trainer, begun, energy, compile, trust or ())
        _compare(experiment, models or {}, trained or {}, questions[begun], workers)
    if seeds is None:
        return
    from probunet.report.seeds import write_seeds

    file = Path(out) / "seeds.csv"
    numbers = [k for k in sorted(set(n)) if k > 1]
    columns = ["ged2_unbiased", "ged2_unlimited", *(f"ged2_n{k}" for k in numbers)]
    print_seeds(write_seeds(folders, file), [*columns, *(f"hungarian_iou_n{k}" for k in numbers[-1:])])
    console.print(f"all numbers over seeds are in {file}", highlight=False)


def _compare(
    experiment: Experiment,
    models: dict[str, SegmentationModel],
    trained: dict[str, str],
    question: Question,
    workers: int | None,
) -> None:
    """Compare with one seed; see :func:`compare`."""
    out, data, trust = experiment.out, experiment.data, experiment.trust
    specifications = {name: Specification.of(model) for name, model in models.items()}
    if experiment.energy:
        experiment.energy.check(specifications)
    guests = _checked_guests(out, trained, specifications, Store(data.store), question.split, trust)
    _tell_parameters(models | {name: guest.model() for name, guest in guests.items()})
    if specifications:
        _train_missing(experiment, specifications, workers)
    runs = [Run(out / name, trust) for name in specifications]
    for name, guest in guests.items():
        runs.append(invite(out / name, guest, trained[name], data.store, data.crop))
    _evaluate_missing(runs, data.store, question, workers)
    from probunet.report.page import write_report  # matplotlib takes a second to load

    tell_report(write_report(out, trust=trust))


def _checked_guests(
    out: Path, trained: dict[str, str], models: Collection[str], store: Store, split: Split, trust: Trust
) -> dict[str, TrainedModel]:
    """Open the models that are trained already, before any other is trained.

    Raises:
        InputError: no model, none that fits the data, a name that is no folder's or is another model's, or nothing to
            compare at all.
    """
    if not (models or trained):
        raise InputError("there is nothing to compare; give models to train, or trained ones (--trained.NAME PATH)")
    if both := sorted(set(models) & set(trained)):
        raise InputError(f"'{both[0]}' is to be trained and trained already; give one of them another name")
    for name in models:
        if (out / name / GUEST).is_file():
            raise InputError(f"{out / name} belongs to a model that was trained elsewhere; give yours another name")
    guests = {}
    for name, path in trained.items():
        check_place(out / checked_name(name))
        guests[name] = open_model(path, trust)
        check_fit(guests[name], store, split)
        check_patients(guests[name], store, split)
        check_values(guests[name], store, split)
        tell_pixels(guests[name], store)
    return guests


def _train_missing(experiment: Experiment, models: dict[str, Specification], workers: int | None) -> None:
    """Train what is not complete, each network once, and put ensembles together."""
    check_trainer(experiment.trainer)
    plans = trainings(experiment.out, models, experiment.seed)
    every = {training.folder: training for plan in plans.values() for training in plan}
    for training in every.values():
        experiment.check(training)
    missing = [training for training in every.values() if not experiment.is_complete(training)]
    tasks = [Task(str(t.folder.relative_to(experiment.out)), partial(_train, experiment, t)) for t in missing]
    run_in_processes("training", tasks, workers)
    for name, plan in plans.items():
        experiment.assemble(name, models[name], plan)


def _tell_parameters(models: dict[str, SegmentationModel]) -> None:
    """Parameter counts side by side, before anything is trained."""
    table = RichTable("model", "class", "parameters", box=None)
    for name, model in models.items():
        table.add_row(name, type(model).__name__, f"{sum(p.numel() for p in model.parameters()):,}")
    console.print(table)


def _train(experiment: Experiment, training: Training, tell: Tell) -> None:
    experiment.train(training, tell)


def _evaluate_missing(runs: list[Run], store: Path, question: Question, workers: int | None) -> None:
    tasks = []
    for run in runs:
        if not is_evaluated(run, Store(store), question):
            tasks.append(Task(run.name, partial(evaluate_in_process, run, store, question)))
    if len(tasks) < len(runs):
        console.print(f"{len(runs) - len(tasks)} of {len(runs)} models are evaluated already")
    run_in_processes("evaluating", tasks, workers)
