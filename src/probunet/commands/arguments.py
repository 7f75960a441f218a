"""From the signature and the docstring of a function to its command line: nothing is said twice.

Positional-only parameters are given without a flag, lists and tuples take several values, a bool is true when its
flag stands alone, a parameter of one letter has a short flag too. Help and examples are those of the docstring.
"""

from __future__ import annotations

import inspect
import re
from argparse import RawDescriptionHelpFormatter
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from functools import cache
from pathlib import Path
from types import UnionType
from typing import Any, NoReturn, Union, get_args, get_origin, get_type_hints

import yaml
from docstring_parser import parse as parse_docstring
from jsonargparse import ArgumentError, ArgumentParser, DefaultHelpFormatter, Namespace, get_loader, set_loader

from probunet.commands.configuration_files import check_configurations, with_files
from probunet.commands.parser_errors import sentence
from probunet.core.descriptions import refuse_deep
from probunet.core.errors import InputError
from probunet.core.seeds import checked_seed
from probunet.training.trainer_arguments import OWN, PRECISION_HELP, Precision

LARGEST = 2**63 - 1
"""Of all whole numbers on a command line."""
_LOAD = get_loader("yaml")


def _loaded(text: str) -> Any:
    """The value of an option, or of a file that it names."""
    refuse_deep(text)
    return _LOAD(text)


set_loader("yaml", _loaded, exceptions=(yaml.YAMLError,))


def parse(function: Callable[..., Any], name: str, words: Sequence[str]) -> dict[str, Any]:
    """Turn the words behind a command into the arguments of its function.

    Args:
        function: what the command calls.
        name: of the command, for example ``prepare slices``.
        words: what follows it on the command line.

    Returns:
        The arguments by name, in the order of the signature.

    Raises:
        InputError: an unknown key, a value of the wrong kind, or something missing, named in one sentence.
    """
    signature = inspect.signature(function).parameters
    if "--help-trainer" in words and "trainer" in signature:
        _print_trainer(name)
    parser = make_parser(function, name, help_only=bool({"-h", "--help"} & {*words}))
    hints = get_type_hints(function)
    words = with_files(list(_spelled(words, {key for key, kind in hints.items() if kind is bool})))
    _refuse_twice(words)
    lists = {key for key in signature if _how(hints[key]).get("nargs") == "+"}
    blocks = {key for key in signature if any(get_origin(kind) is dict for kind in _members(hints[key]))} - {"trainer"}
    objects = {key for key in blocks if any(_names_objects(kind) for kind in _members(hints[key]))}
    check_configurations(words, {*parser.get_defaults().keys()}, lists, blocks, objects)
    try:
        chosen = parser.parse_args(words)
        descriptions = {key: chosen.pop(key) for key in ("trainer",) if key in signature}
        _check_groups(hints, chosen)
        _refuse_nothing(hints, chosen)
        instantiated = parser.instantiate(chosen)
    except (ArgumentError, ValueError) as error:
        raise _own_error(error) or InputError(sentence(str(error))) from error
    if not isinstance(descriptions.get("trainer", Namespace()), Namespace):
        raise InputError(f"--trainer: {str(descriptions['trainer'])[:60]} is not names with values")
    if "trainer" in descriptions:  # only what differs from Lightning's own defaults
        usual = parser.get_defaults()["trainer"]
        descriptions["trainer"] = {k: v for k, v in vars(descriptions["trainer"]).items() if v != usual[k]}
    arguments = {key: descriptions.get(key, instantiated.get(key)) for key in signature}
    _check_sizes(arguments)
    return {key: _as_tuple(key, hints[key], value) for key, value in arguments.items()}


def _own_error(error: BaseException | None) -> InputError | None:
    """What an object said of its arguments, if that is how an error began."""
    while error is not None and not isinstance(error, InputError):
        error = error.__cause__ or error.__context__
    return error


def _refuse_twice(words: Sequence[str]) -> None:
    """Refuse an option that is given twice, of which the parser would keep the last alone; ``--config`` adds up.

    Raises:
        InputError: with the option.
    """
    options = [word.partition("=")[0].lstrip("-") for word in words if re.match("--?[A-Za-z]", word)]
    for option, times in Counter(options).items():
        if times > 1 and option != "config" and not option.endswith("+"):
            raise InputError(f"--{option[:80]} is given {times} times; give it once, with all of its values")


def _check_groups(hints: Mapping[str, Any], chosen: Namespace) -> None:
    """Refuse a plain value where several are needed by name, which the parser would take as it is.

    Raises:
        InputError: with the name and the value.
    """
    for key, hint in hints.items():
        if is_dataclass(hint) and not isinstance(chosen[key], Namespace):
            raise InputError(f"--{key}: {str(chosen[key])[:60]} is not names with values")


def _refuse_nothing(hints: Mapping[str, Any], chosen: Namespace, group: str = "") -> None:
    """Refuse null where a value is needed, which the parser takes for anything.

    Raises:
        InputError: with the whole name.
    """
    for key, hint in hints.items():
        value = chosen.get(key)
        if is_dataclass(kind := next((k for k in _members(hint) if is_dataclass(k)), None)) and value is not None:
            _refuse_nothing(get_type_hints(kind), value, f"{group}{key}.")
        elif key in chosen and value is None and type(None) not in _members(hint) and hint is not Any:
            raise InputError(f"--{group}{key} is null; give a value, or leave it out")


def examples(docstring: str) -> list[str]:
    """The command lines of a docstring's section ``Examples``."""
    _, _, rest = inspect.cleandoc(docstring).partition("\nExamples:\n")
    return [line.strip() for line in rest.partition("\n\n")[0].splitlines()]


@cache
def make_parser(function: Callable[..., Any], name: str, help_only: bool = False) -> ArgumentParser:
    """Make the parser of a command, once in a process.

    Args:
        function: what the command calls.
        name: of the command.
        help_only: whether the many arguments of Lightning's Trainer are one line that names their own help.
    """
    doc = parse_docstring((function.__doc__ or "").replace("    Examples:\n", "    Example:\n"))
    described = {p.arg_name: p.description or "" for p in doc.params}
    parser = ArgumentParser(
        prog=f"probunet {name}",
        description="\n\n".join(filter(None, (doc.short_description, doc.long_description))),
        epilog="examples:\n  " + "\n  ".join(examples(function.__doc__ or "")),
        formatter_class=_Formatter,
        exit_on_error=False,
    )
    parser.add_argument(
        "--config",
        action="config",
        help="YAML file with any of the arguments below, or the name of one (probunet configs)",
    )
    hints, every = get_type_hints(function), inspect.signature(function).parameters
    for key, parameter in every.items():
        how = _how(hints[key]) or ({"type": hints[key]} if len(key) == 1 else {})
        needed = parameter.default is inspect.Parameter.empty
        if parameter.kind is inspect.Parameter.POSITIONAL_ONLY:
            how = {"type": Path, **({} if needed else {"nargs": "?"}), **(how or {})}
            parser.add_argument(key, help=described.get(key), **how)
        elif how:
            default = list(parameter.default) if isinstance(parameter.default, tuple) else parameter.default
            how |= {"required": True} if needed else {"default": default}
            flags = [f"--{key}"] if len(key) > 1 else [f"-{key}", f"--{key}"]
            parser.add_argument(*flags, help=described.get(key), **how)
        elif key == "trainer" and help_only:
            parser.add_argument("--trainer.NAME", help=f"{described.get(key)} (all of them: --help-trainer)")
        elif key == "trainer":
            _add_trainer(parser)
        else:
            parser.add_function_arguments(function, as_group=False, skip={other for other in every if other != key})
    return parser


def _print_trainer(name: str) -> NoReturn:
    """Print the arguments of Lightning's Trainer and exit."""
    parser = ArgumentParser(prog=f"probunet {name}", description="Arguments of Lightning's Trainer.")
    _add_trainer(parser)
    parser.print_help()
    raise SystemExit(0)


def _how(hint: Any) -> dict[str, Any]:
    """How argparse takes a list, a tuple, a bool or a single letter; nothing where the usual way is right."""
    kinds = [kind for kind in _members(hint) if kind is not type(None)]
    if len(kinds) != 1:
        return {}
    kind, parts = get_origin(kinds[0]) or kinds[0], get_args(kinds[0])
    if kind is bool:
        return {"type": bool, "nargs": "?", "const": True}
    if kind in (list, tuple) and parts[0] in (int, float, str, Path):
        return {"type": parts[0], "nargs": "+"}
    return {"type": kind} if kind in (int, str, Path) and hint is kind else {}


def _names_objects(kind: Any) -> bool:
    """Whether it is objects by name: what they have in common is a class that has none itself."""
    return get_origin(kind) is dict and inspect.isabstract(get_args(kind)[1])


def _members(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _as_tuple(key: str, hint: Any, value: Any) -> Any:
    """Lists as the tuples that a signature asks for.

    Raises:
        InputError: another number of values.
    """
    kind = next((kind for kind in _members(hint) if get_origin(kind) is tuple), None)
    if kind is None or not isinstance(value, list):
        return value
    parts = get_args(kind)
    if parts[-1] is not Ellipsis and len(parts) != len(value):
        raise InputError(f"--{key} takes {len(parts)} values, got {len(value)}: {' '.join(map(str, value))[:80]}")
    return tuple(value)


def _check_sizes(value: Any, key: str = "") -> None:
    """Refuse whole numbers that no machine counts to, seeds that no generator takes and no processes at all."""
    if isinstance(value, dict | Namespace):
        for name, part in vars(value).items() if isinstance(value, Namespace) else value.items():
            _check_sizes(part, f"{key}.{name}".strip("."))
    elif isinstance(value, list | tuple):
        for part in value:
            _check_sizes(part, key)
    elif isinstance(value, int) and key == "seed":
        checked_seed(value)
    elif isinstance(value, int) and key in ("jobs", "workers") and (value < -1 or value == 0):
        raise InputError(f"--{key} {value} is no number of processes; give 1 or more")
    elif isinstance(value, int) and abs(value) > LARGEST:
        raise InputError(f"--{key}: {str(value)[:40]} is too large; whole numbers go up to {LARGEST}")


def _spelled(words: Sequence[str], booleans: set[str]) -> Iterator[str]:
    """``--allow-missing`` as ``--allow_missing``; a bool without value in front of another word as true."""
    for word, following in zip(words, [*words[1:], "--"], strict=False):
        if not word.startswith("--"):
            yield word
            continue
        flag, equals, value = word.partition("=")
        flag = flag.replace("-", "_").replace("__", "--", 1)
        if flag[2:] in booleans and not equals and following.lower() not in ("true", "false"):
            yield f"{flag}=true"
        else:
            yield flag + equals + value


def _add_trainer(parser: ArgumentParser) -> None:
    """Add the arguments of Lightning's Trainer, with the precision that a training may choose itself."""
    from pytorch_lightning import Trainer

    parser.add_class_arguments(Trainer, "trainer", skip={*OWN, "precision"}, instantiate=False)
    parser.add_argument("--trainer.precision", type=Precision | None, help=PRECISION_HELP)


class _Formatter(DefaultHelpFormatter, RawDescriptionHelpFormatter):
    """Keeps the line breaks of descriptions and examples."""
