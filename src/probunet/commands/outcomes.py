"""What commands say at their end: what came out, how much, and where it is."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from probunet.core.console import say
from probunet.data.store import Store

if TYPE_CHECKING:
    from probunet.runs.run import Run


def tell_store(store: Store) -> None:
    """Say how many images and patients a new store holds, in which split, and how many were left out."""
    splits, left_out = store.manifest["splits"], store.manifest["left_out_no_reader_marked_anything"]
    counts = ", ".join(f"{counted['cases']:,} {split}" for split, counted in splits.items())
    patients = sum(counted["patients"] for counted in splits.values())
    kind = "volumes" if store.dims == 3 else "images"
    text = f"{store.path}: {len(store.cases):,} {kind} of {patients:,} patients ({counts})"
    say(text + (f"; {left_out:,} left out, on which nobody marked anything" if left_out else ""))
    if all(splits.get(split, {"cases": 0})["cases"] for split in ("train", "validation")):
        tell_next("plan", store.path)


def tell_training(run: Run) -> None:
    """Say how good a trained model became, and where it is; nothing of a training that is not complete."""
    if (training := run.training()) is None:
        return
    best = training["best_validation_ged2"]
    figure = "" if best is None else f", best D_GED^2 {best:.4f} on validation images"
    say(f"{run.name}: {training['steps']:,} steps{figure}; its weights are {run.best}")


def tell_next(command: str, *arguments: Path | str) -> None:
    """Say what to type next."""
    say("next: " + shlex.join(["probunet", *command.split(), *map(str, arguments)]))


def tell_report(page: Path) -> None:
    """Say where the report is."""
    say(f"the report is {page}")
