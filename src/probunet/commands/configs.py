"""``probunet configs``: the configurations that come with the package."""

from __future__ import annotations

import json
from pathlib import Path

from probunet.core.shipped import named, shipped
from probunet.training.configurations import FOLDER


def configs(name: str | None = None, /, schema: bool = False) -> None:
    """List the configurations that come with probunet, or print one to copy and change.

    Args:
        name: which to print; a line about each if not given.
        schema: print the JSON schema of a training's configuration, with which an editor completes and checks one.

    Raises:
        InputError: there is none of that name.

    Examples:
        probunet configs
        probunet configs demo
        probunet configs --schema
    """
    if schema:
        from probunet.commands.json_schema import training_schema

        print(json.dumps(training_schema(), indent=2))
        return
    if name is not None:
        print(named(Path(name).name, FOLDER).read_text(encoding="utf-8"), end="")
        return
    for each, file in shipped(FOLDER).items():
        print(f"{each:<24} {_summary(file)}")
    print("take one with --config NAME; change one: probunet configs NAME > mine.yaml")


def _summary(file: Path) -> str:
    """The first sentence of the comment at the top of a configuration."""
    lines = []
    for line in file.read_text(encoding="utf-8").splitlines():
        if not line.startswith("# "):
            break
        lines.append(line[2:].strip())
    return " ".join(lines).partition(". ")[0].partition(": ")[0].rstrip(".")
