"""Configuration files of a command line: which they are, and what they may not say, told with the file's name."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Collection, Iterator, Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module
from typing import Any

from probunet.core.descriptions import read_yaml
from probunet.core.errors import InputError
from probunet.core.shipped import named
from probunet.training.configurations import FOLDER

_CLASS = ("class_path", "init_args", "dict_kwargs")
"""Keys that describe an object."""


def with_files(words: list[str]) -> list[str]:
    """Configurations that come with the package as files in place of their names.

    Raises:
        InputError: a name that means nothing, or two things.
    """
    named_words = list(words)
    for i, word in enumerate(words):
        if i and words[i - 1] == "--config" and not word.startswith("-"):
            named_words[i] = str(named(word, FOLDER))
        elif word.startswith("--config="):
            named_words[i] = f"--config={named(word.partition('=')[2], FOLDER)}"
    return named_words


def check_configurations(
    words: Sequence[str],
    known: Collection[str],
    lists: Collection[str],
    blocks: Collection[str],
    objects: Collection[str],
) -> None:
    """Read the configurations within bounds, and refuse what no file may say: whose code is trusted.

    Args:
        words: of the command line.
        known: whole names of all options, data.store and the like.
        lists: options of several values.
        blocks: options of something by name.
        objects: those of them whose values are objects.

    Raises:
        InputError: one is no readable YAML; has a key that is none of the known ones, or something else than several
            values where they are needed; or describes no object, or one whose module ``--trust`` does not name.
    """
    parser = argparse.ArgumentParser(add_help=False, exit_on_error=False, allow_abbrev=False)
    parser.add_argument("--config", action="append", default=[])
    parser.add_argument("--trust", nargs="+", default=[])
    try:
        options, _ = parser.parse_known_args(words)
    except argparse.ArgumentError:  # a flag without its value, of which the whole parser speaks
        return
    for file in options.config:
        content = read_yaml(file)
        if content.get("trust"):
            raise InputError(f"{file} says whose code to trust; that is yours to say: give --trust as an option")
        for key, value in _keys(content, known):
            if not any(f"{other}.".startswith(f"{key}.") or key.startswith(f"{other}.") for other in known):
                raise InputError(f"{file}: there is no option --{key[:60]}{_nearest(key, _as_deep(key, known))}")
            if key in lists and value is not None and not isinstance(value, list):
                raise InputError(f"{file}: {key}: {str(value)[:60]} is not several values; give a list, {key}: [...]")
            option, _, rest = key.partition(".")
            if rest and option in blocks and not isinstance(content.get(option), dict):
                raise InputError(f"{file}: write {key[:60]} in a block, {option}: {{{rest[:40]}: ...}}")
        for option in objects:
            _check_objects(file, option, content.get(option))
        _check_classes(file, content, options.trust)


def _keys(content: Mapping[Any, Any], known: Collection[str], group: str = "") -> Iterator[tuple[str, Any]]:
    """Whole names and values, as deep as names are known."""
    for name, value in content.items():
        key = f"{group}{name}"
        if key.startswith("$"):
            continue
        if isinstance(value, Mapping) and any(other.startswith(f"{key}.") for other in known):
            yield from _keys(value, known, f"{key}.")
        else:
            yield key, value


def _as_deep(key: str, known: Collection[str]) -> set[str]:
    """Known names, or their beginnings, of as many words as a key has."""
    return {".".join(other.split(".")[: key.count(".") + 1]) for other in known}


def _nearest(word: str, known: Collection[str]) -> str:
    return "".join(f"; did you mean {other}?" for other in get_close_matches(word, known, 1)) or "; see --help"


def _check_objects(file: str, option: str, content: Any) -> None:
    """Refuse what names no class where objects by name are needed."""
    for name, described in content.items() if isinstance(content, dict) else ():
        if not isinstance(name, str):
            raise InputError(f"{file}: {option}: {name} is no text, and so no name; write it as '{name}'")
        if not isinstance(described, str) and not (isinstance(described, dict) and "class_path" in described):
            raise InputError(
                f"{file}: {option}.{name}: {str(described)[:60]} names no class; give class_path, for example "
                "probunet.ProbabilisticUNet, and init_args"
            )


def _check_classes(file: str, content: Any, trust: Sequence[str]) -> None:
    """Refuse class paths of a configuration that lead out of this package and were not trusted, or nowhere."""
    if isinstance(content, dict) and "class_path" in content:
        name = str(content["class_path"])
        if "." in name and not any(name.startswith(f"{module}.") for module in ("probunet", *trust)):
            raise InputError(
                f"{file} names {name[:80]}, which is no model of probunet; if you trust its code, say so: "
                f"--trust {name.partition('.')[0][:40]}"
            )
        _check_own_class(file, name, content, trust)
    for part in content.values() if isinstance(content, dict) else content if isinstance(content, list) else ():
        _check_classes(file, part, trust)


def _check_own_class(file: str, name: str, content: Mapping[str, Any], trust: Sequence[str]) -> None:
    """Refuse a class that this package lacks, and arguments that it does not take."""
    if unknown := [str(key) for key in content if key not in _CLASS]:
        raise InputError(f"{file}: '{unknown[0][:60]}' beside class_path: {name[:80]}{_nearest(unknown[0], _CLASS)}")
    home, _, last = name.rpartition(".")
    if home not in ("probunet", "probunet.models") and (home or trust):
        return
    models = import_module("probunet.models")
    if last not in models.__all__:
        raise InputError(f"{file}: there is no class {name[:80]}{_nearest(last, models.__all__)}")
    known = inspect.signature(getattr(models, last)).parameters
    arguments = content.get("init_args")
    for key in arguments if isinstance(arguments, dict) else ():
        if key not in known:
            raise InputError(f"{file}: {name} takes no argument {str(key)[:60]}; it takes {', '.join(known)}")
