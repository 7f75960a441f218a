"""An experiment's models as trainings: one for a model, one for each member of an ensemble."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from probunet.core.files import writing_file
from probunet.models.ensemble import Ensemble
from probunet.runs.run import Run, build_model, read_checkpoint, write_json

Specification = dict[str, Any]
"""``class_path`` and ``init_args`` of a model."""


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

    Returns:
        By name of the model; a single training in OUT/<name>, or the members in OUT/<name>/members/<i>.
    """
    plans: dict[str, list[Training]] = {}
    for name, specification in specifications.items():
        model = build_model(specification)
        if not isinstance(model, Ensemble):
            plans[name] = [Training(out / name, specification, seed)]
            continue
        member = _member(specification)
        same = [other for other, one in specifications.items() if _is_same(one, member)]
        folders = [out / name / "members" / str(i) for i in range(len(model.members))]
        folders[0] = out / same[0] if same else folders[0]
        plans[name] = [Training(folder, member, seed + i) for i, folder in enumerate(folders)]
    return plans


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
    with writing_file(folder / "run.yaml") as file:
        file.write_text(yaml.safe_dump({**settings, "members": [str(m.path) for m in members]}, sort_keys=False))
    run = Run(folder)
    run.best.parent.mkdir(exist_ok=True)
    with writing_file(run.best) as file:
        torch.save({"state_dict": weights}, file)
    summaries = [member.training() or {} for member in members]
    summed = {key: sum(s[key] for s in summaries) for key in ("steps", "skipped_steps", "seconds", "parameters")}
    shared = {key: summaries[0][key] for key in ("device", "threads", "versions")}
    memory = max(s["peak_memory_mb"] for s in summaries)
    write_json(folder / "training.json", {**summed, "best_validation_ged2": None, "peak_memory_mb": memory, **shared})
    return run


def _member(specification: Specification) -> Specification:
    arguments = {key: value for key, value in specification["init_args"].items() if key != "members"}
    return {"class_path": specification["class_path"].replace("Ensemble", "UNet"), "init_args": arguments}


def _is_same(one: Specification, other: Specification) -> bool:
    return one["class_path"].split(".")[-1] == other["class_path"].split(".")[-1] and (
        one["init_args"] == other["init_args"]
    )
