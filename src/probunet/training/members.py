"""An experiment's models as trainings: one for a model, one for each member of an ensemble."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from probunet.core.descriptions import write_json, write_yaml
from probunet.core.errors import InputError
from probunet.core.names import safe_name
from probunet.models.ensemble import Ensemble
from probunet.models.unet import UNet
from probunet.runs.checkpoints import read_checkpoint, write_checkpoint
from probunet.runs.run import COMPLETE, DESCRIPTION, Run
from probunet.runs.specification import Specification


@dataclass(frozen=True)
class Training:
    """One network to train.

    Attributes:
        folder: its run directory.
        specification: what to train.
        seed: of initial weights, order, augmentation and latents.
    """

    folder: Path
    specification: Specification
    seed: int


def trainings(out: Path, specifications: Mapping[str, Specification], seed: int) -> dict[str, list[Training]]:
    """List what has to be trained for each model.

    Member i of an ensemble has the seed ``seed + i``. Its first member is therefore the same as the deterministic
    U-Net of the experiment, where there is one with the same arguments, and is not trained twice.

    Raises:
        InputError: the name of a model is no name of a folder.

    Returns:
        By name of the model; a single training in OUT/<name>, or the members in OUT/<name>/members/<i>.
    """
    plans: dict[str, list[Training]] = {}
    for name, specification in specifications.items():
        checked_name(name)
        if specification.name != Ensemble.__name__:
            plans[name] = [Training(out / name, specification, seed)]
            continue
        arguments = dict(specification.arguments)
        count = arguments.pop("members")
        member = Specification(UNet.__name__, arguments)
        same = [other for other, known in specifications.items() if known == member]
        folders = [out / name / "members" / str(i) for i in range(count)]
        folders[0] = out / same[0] if same else folders[0]
        plans[name] = [Training(folder, member, seed + i) for i, folder in enumerate(folders)]
    return plans


def checked_name(name: str) -> str:
    """Give the name of a model back.

    Raises:
        InputError: it is no name of a folder.
    """
    if safe_name(name) != name:
        raise InputError(f"'{name[:60]}' cannot be the name of a model, as it cannot be one of a folder; rename it")
    return name


def assemble(folder: Path, settings: dict[str, Any], members: list[Run]) -> Run:
    """Put trained members together as one run directory of an ensemble.

    Args:
        folder: run directory to write.
        settings: for its ``run.yaml``.
        members: complete run directories, in order.
    """
    weights = {}
    for i, member in enumerate(members):
        for name, value in read_checkpoint(member.best)["state_dict"].items():
            weights[f"model.members.{i}.{name.removeprefix('model.')}"] = value
    (folder / COMPLETE).unlink(missing_ok=True)
    write_yaml(folder / DESCRIPTION, {**settings, "members": [str(m.path) for m in members]})
    run = Run(folder)
    write_checkpoint(run.best, {"state_dict": weights})
    summaries = [member.training() or {} for member in members]
    summed = {key: sum(s[key] for s in summaries) for key in ("steps", "skipped_steps", "seconds", "parameters")}
    shared = {key: summaries[0][key] for key in ("device", "threads", "versions")}
    memory = max(s["peak_memory_mb"] for s in summaries)
    write_json(folder / COMPLETE, {**summed, "best_validation_ged2": None, "peak_memory_mb": memory, **shared})
    return run
