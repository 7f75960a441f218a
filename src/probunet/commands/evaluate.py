"""The command ``probunet evaluate``: score trained models and show what came out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from probunet.commands.tables import print_persons, print_scores
from probunet.core.cluster import in_shards
from probunet.core.console import console
from probunet.core.devices import chosen_device
from probunet.core.errors import InputError
from probunet.core.shards import Shard, read_shard
from probunet.data.manifest import Split
from probunet.data.store import Store
from probunet.evaluation.evaluate import evaluate as evaluate_model
from probunet.evaluation.fit import check_values, store_of, tell_pixels
from probunet.evaluation.groups import FEWEST
from probunet.evaluation.model_scores import Question, evaluate_run, is_evaluated, score_share
from probunet.evaluation.shown import Part
from probunet.metrics.convention import Convention
from probunet.runs.run import Run
from probunet.runs.trained import models_in


def evaluate(
    run: Path,
    /,
    data: Path | None = None,
    split: Split = "test",
    n: list[int] | None = None,
    seed: int = 0,
    device: str = "auto",
    shard: str | None = None,
    cluster: str | None = None,
    crop: Part | None = None,
    again: bool = False,
    trust: list[str] | None = None,
) -> None:
    """Score the samples of a trained model against all readers, and print the table that ``score`` prints.

    A run directory gets evaluation.json and evaluation.csv; into an exported folder nothing is written.

    What is scored is kept batch by batch until all is there: the same command goes on where it was stopped, and
    several processes can share the work (shard). Their number does not change the numbers.

    Args:
        run: run directory, exported folder, hub:owner/model, or an experiment with several runs.
        data: prepared store to evaluate on, for example patients from elsewhere; the training store if not given.
        split: which part of the store.
        n: numbers of samples, 1 4 8 16 if not given.
        seed: of the samples and of the bootstrap.
        device: where the model runs: auto (a GPU, where there is one), cpu, cuda, cuda:N or mps
        shard: this process's share, i/n with i from 0 to n - 1, or auto: as torchrun or srun say; the one that comes
            last writes the result; all of it if not given
        cluster: address of a Dask scheduler, tcp://HOST:PORT, whose workers do the work; they see the same disk
        crop: whole for all of every image, large ones tile by tile; trained for the central crop of the training; if
            not given, that crop, or all where it hides every mark of an image
        again: a shard also scores what is evaluated already; without shards that is always so
        trust: modules whose code may run, for models of your own; those of probunet need none

    Raises:
        InputError: no model, no data, data that does not fit the model, or no such shard.

    Examples:
        probunet evaluate runs/demo
        probunet evaluate runs/demo/probabilistic_unet --data data/elsewhere --split test --n 1 4 8 16
        torchrun --nproc_per_node 4 -m probunet evaluate runs/lidc --device cuda --shard auto
    """
    question = Question(split, (1, 4, 8, 16) if n is None else tuple(n), seed, crop)
    if shard and cluster:
        raise InputError("--shard and --cluster are two ways to share the work; give one of them")
    share = read_shard(shard)
    place = share.device(chosen_device(device))
    console.quiet = console.quiet or bool(share.local)  # one process of a machine speaks
    for trained in models_in(run, trust or ()):
        if not isinstance(trained, Run):
            if data is None:
                raise InputError(f"{run} is an exported model, which has no data of its own; give --data STORE")
            result = evaluate_model(trained, data, question.numbers, split=split, crop=crop, seed=seed, device=device)
            _show(str(run), result.convention, result.rows, result.grouped_by)
            continue
        store = store_of(trained, data)
        check_values(trained, store, split)
        tell_pixels(trained, store)
        if share.count > 1 and not again and is_evaluated(trained, store, question):
            console.print(f"{trained.path} is evaluated already; --again does it once more")
            continue
        if cluster:
            where = (trained.path.absolute(), store.path.absolute())
            in_shards(cluster, f"evaluating {trained.name}", _Work(*where, question, device, trust))
        if content := evaluate_run(trained, store, question, place, shard=share):
            _show(str(trained.path), store.convention(), content["scores"], content["grouped_by"])
            if "persons" in content:
                print_persons(content["persons"])
            console.print(f"all numbers are in {trained.path / 'evaluation.json'}; a page: probunet report {run}")


@dataclass(frozen=True)
class _Work:
    """Everything that a process needs to know to score its share of the batches."""

    run: Path
    store: Path
    question: Question
    device: str
    trust: list[str] | None

    def __call__(self, share: Shard) -> None:
        """Score what is missing, and leave it to the process that asked to put the parts together."""
        run, place = Run(self.run, self.trust or ()), share.device(chosen_device(self.device))
        score_share(run, Store(self.store), self.question, place, share)


def _show(title: str, convention: Convention, rows: Sequence[Mapping[str, Any]], grouped_by: str) -> None:
    print_scores(title, str(convention), rows)
    if grouped_by == "image":
        console.print(f"intervals are over single images, because there are fewer than {FEWEST} patients")
