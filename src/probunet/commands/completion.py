"""``probunet completion``: what a shell completes when a command is typed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints

from jsonargparse import ArgumentParser

from probunet.commands.arguments import make_parser
from probunet.commands.listed import COMMANDS, load, summary
from probunet.core.errors import InputError
from probunet.core.packages import require

SHELLS = ("bash", "tcsh", "zsh")


def completion(shell: str, /) -> None:
    """Print the script that completes commands, options, their values and files in a shell.

    The script is made once and asks nothing of Python when a key is pressed. A command whose extra is not installed
    is completed without its options.

    Args:
        shell: bash, tcsh or zsh.

    Raises:
        InputError: another shell, or the extra ``completion`` is missing.

    Examples:
        probunet completion bash > ~/.local/share/bash-completion/completions/probunet
        probunet completion zsh > ~/.zfunc/_probunet
    """
    if str(shell) not in SHELLS:
        raise InputError(f"there is no completion for {str(shell)[:40]}; choose one of {', '.join(SHELLS)}")
    shtab = require("shtab", "probunet completion")
    print(shtab.complete(_whole(shtab.FILE), shell))


def _whole(files: Any) -> ArgumentParser:
    """All commands as one parser, of which paths are completed by files."""
    whole = ArgumentParser(prog="probunet")
    level = {"": whole.add_subcommands(required=False)}
    for group in dict.fromkeys(name.partition(" ")[0] for name in COMMANDS if " " in name):
        parser = ArgumentParser(prog=f"probunet {group}")
        level[""].add_subcommand(group, parser, help=f"commands that {group} data")
        level[group] = parser.add_subcommands(required=False)
    for name in COMMANDS:
        group, _, last = name.rpartition(" ")
        level[group].add_subcommand(last, _parser(name, files), help=summary(name))
    return whole


def _parser(name: str, files: Any) -> ArgumentParser:
    try:
        function = load(name)
    except InputError:  # an extra is missing
        return ArgumentParser(prog=f"probunet {name}")
    parser, hints = make_parser(function, name), get_type_hints(function)
    for action in parser._actions:
        values = [*_atoms(hints.get(action.dest))]
        if Path in values or action.dest == "config":
            action.complete = files  # type: ignore[attr-defined]
        elif action.choices is None:
            action.choices = [value for value in values if isinstance(value, str)] or None
    return parser


def _atoms(hint: Any) -> Iterator[Any]:
    """What a type is made of: classes, and the values of literals."""
    if not get_args(hint):
        yield hint
    for part in get_args(hint):
        yield from _atoms(part)
