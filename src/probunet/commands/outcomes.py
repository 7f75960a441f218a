"""What commands say at their end: what came out, how much, and where it is."""

from __future__ import annotations

from pathlib import Path

from probunet.core.console import say
from probunet.data.store import Store
from probunet.runs.run import Run


def tell_store(store: Store) -> None:
    """Say how many images and patients a new store holds, in which split, and how many were left out."""
    splits, left_out = store.manifest["splits"], store.manifest["left_out_no_reader_marked_anything"]
    counts = ", ".join(f"{counted['cases']:,} {split}" for split, counted in splits.items())
    patients = sum(counted["patients"] for counted in splits.values())
    kind = "volumes" if store.dims == 3 else "images"
    text = f"{store.path}: {len(store.cases):,} {kind} of {patients:,} patients ({counts})"
    say(text + (f"; {left_out:,} left out, on which nobody marked anything" if left_out else ""))


def tell_training(run: Run) -> None:
    """Say how good a trained model became, and where it is; nothing of a training that is not complete."""
    if (training := run.training()) is None:
        return
    best = training["best_validation_ged2"]
    figure = "" if best is None else f", best D_GED^2 {best:.4f} on validation images"
    say(f"{run.name}: {training['steps']:,} steps{figure}; its weights are {run.best}")


def tell_report(page: Path) -> None:
    """Say where the report is."""
    say(f"the report is {page}")
