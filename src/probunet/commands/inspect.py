"""``probunet inspect``: what a trained model is."""

from __future__ import annotations

import re
import textwrap
from typing import Any

import yaml

from probunet.core.records import ARGUMENTS, CLASS
from probunet.runs.about import about
from probunet.runs.trained import open_model


def inspect(model: str, /, trust: list[str] | None = None) -> None:
    """Say what a trained model is for, and print its class and arguments as a configuration has them.

    What is said are comments of YAML, so that the output is the part ``models`` of a configuration: ``probunet train
    --config mine.yaml --start MODEL`` needs the same class and arguments.

    Args:
        model: a run, an exported folder, a published name, or hub:owner/name.
        trust: modules whose code may run, for models of your own; those of probunet need none.

    Raises:
        InputError: no model.

    Examples:
        probunet inspect lidc-crops
        probunet inspect runs/demo/unet
    """
    trained = open_model(model, trust or ())
    for title, lines in about(trained).items():
        print(f"# {title}")
        for line in lines:
            print(textwrap.fill(line, 118, initial_indent="#   ", subsequent_indent="#   ", break_on_hyphens=False))
    specification = trained.specification
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", specification.kind).lower()
    part = {"models": {name: configured(specification.as_plain())}}
    print(yaml.safe_dump(part, sort_keys=False, default_flow_style=None, width=118), end="")


def configured(value: Any) -> Any:
    """A record as a configuration writes it, records inside of it included."""
    if isinstance(value, list | tuple):
        return [configured(part) for part in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {CLASS, ARGUMENTS}:
        path = value[CLASS] if "." in value[CLASS] else f"probunet.{value[CLASS]}"
        return {"class_path": path, "init_args": configured(value[ARGUMENTS])}
    return {key: configured(part) for key, part in value.items()}
