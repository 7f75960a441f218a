"""``probunet plan``: a configuration for your data and this machine."""

from __future__ import annotations

from pathlib import Path

from probunet.commands.outcomes import tell_next
from probunet.core.console import say
from probunet.core.errors import InputError
from probunet.core.files import shown
from probunet.core.writing import writing_file
from probunet.data.store import Store
from probunet.training.plan import written
from probunet.training.traits import Machine, Traits


def plan(store: Path, /, out: Path | None = None, experiment: Path | None = None, device: str = "auto") -> None:
    """Write a complete configuration for a prepared store and this machine, each choice with its reason.

    Args:
        store: the prepared store.
        out: the YAML file to write; <name of the store>.yaml in the working folder if not given.
        experiment: folder that the training will make; runs/<name of the store> if not given.
        device: what will train: auto (a GPU, where there is one), cpu, cuda, cuda:N or mps.

    Raises:
        InputError: no store, nothing to train or to validate on, images too small, or a file that exists already.

    Examples:
        probunet plan data/mine
        probunet plan data/mine --out mine.yaml --experiment runs/first
    """
    name = store.resolve().name
    file = out or Path(f"{name}.yaml")
    if file.exists():
        raise InputError(f"{shown(file)} exists already; choose another --out, or remove it")
    traits = Traits.of(Store(store))
    text = written(store, traits, Machine.here(device), experiment or Path("runs") / name)
    with writing_file(file) as path:
        path.write_text(text, encoding="utf-8")
    say(f"the plan for {shown(store)} is {shown(file)}")
    tell_next("train --config", file)
