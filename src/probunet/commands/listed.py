"""Every command: its name, and the function whose signature and docstring are its help.

A function is imported only when its command is called, so that the list of commands needs nothing but this file.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

COMMANDS = {
    "prepare readers": "prepare:readers",
    "prepare streets": "prepare:streets",
    "prepare slices": "prepare_lidc:slices",
    "prepare lidc": "prepare_lidc:lidc",
    "prepare import": "prepare_lidc:import_crops",
    "prepare folder": "prepare:folder",
    "prepare labelled": "prepare:labelled",
    "prepare cityscapes": "prepare:cityscapes",
    "prepare inspect": "prepare:inspect",
    "prepare pictures": "prepare:pictures",
    "prepare verify": "prepare:verify",
    "configs": "configs:configs",
    "plan": "plan:plan",
    "train": "train:train",
    "adapt": "adapt:adapt",
    "compare": "compare:compare",
    "evaluate": "evaluate:evaluate",
    "sample": "sample:sample",
    "inspect": "inspect:inspect",
    "export": "export:export",
    "explore": "explore:explore",
    "score": "score:score",
    "report": "report:report",
    "doctor": "doctor:doctor",
    "completion": "completion:completion",
    "readers": "readers:readers",
    "calibrate": "calibrate:calibrate",
}
"""Module of ``probunet.commands`` and function of every command."""


def load(name: str) -> Callable[..., Any]:
    """Import the function of a command.

    Raises:
        InputError: a package of an extra is missing, without which the command cannot work.
    """
    from probunet.core.packages import needed_by

    module, function = COMMANDS[name].split(":")
    with needed_by(f"probunet {name}"):
        loaded: Callable[..., Any] = getattr(import_module(f"probunet.commands.{module}"), function)
    return loaded


def summary(name: str) -> str:
    """First line of the help of a command, read from its source without importing it."""
    module, function = COMMANDS[name].split(":")
    tree = ast.parse((Path(__file__).parent / f"{module}.py").read_text(encoding="utf-8"))
    written = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == function)
    return (ast.get_docstring(written) or "").split("\n")[0].rstrip(".")
