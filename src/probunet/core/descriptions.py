"""Text, JSON and YAML: written whole; read within bounds, whoever wrote it, or refused with the reason.

Every description of this package (configurations, class tables, manifests, runs, splits, flips) is read here.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import yaml

from probunet.core.errors import InputError
from probunet.core.files import regular_file, shown
from probunet.core.writing import writing_file

LARGEST = 2**26
"""Bytes of a text."""
DEEPEST = 40
"""Lists and mappings inside of each other."""
MOST = 2_000_000
"""Values of a JSON text, and of a YAML text with its aliases written out."""
_MARKS = {b"\xef\xbb\xbf": "utf-8-sig", b"\xff\xfe": "utf-16", b"\xfe\xff": "utf-16"}


def read_text(path: str | Path, largest: int = LARGEST) -> str:
    """Read a text in UTF-8, or in what its byte order mark says, as Excel and other programs write it.

    Args:
        path: of a regular file.
        largest: bytes it may have.

    Raises:
        InputError: no regular file, too large, or no text.
    """
    file = regular_file(path)
    try:
        with file.open("rb") as handle:
            content = handle.read(largest + 1)
    except OSError as error:
        raise InputError(f"{shown(file)} cannot be read: {error.strerror or error}") from error
    if len(content) > largest:
        raise InputError(f"{shown(file)} has more than {largest:,} bytes, too many for such a text")
    encoding = next((name for mark, name in _MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        return content.decode(encoding).replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise InputError(f"{shown(file)} is no text in UTF-8 (byte {error.start}); save it again as UTF-8") from error


def read_json(path: str | Path, largest: int = LARGEST) -> dict[str, Any]:
    """Read a JSON object.

    Raises:
        InputError: as :func:`read_text`; no JSON, no object, a key twice, a number that is none, or nested too deep.
    """
    text = read_text(path, largest)
    return _checked(path, "JSON", lambda: json.loads(text, object_pairs_hook=_unique, parse_constant=_no_number))


def read_yaml(path: str | Path, largest: int = 2**20) -> dict[str, Any]:
    """Read a YAML mapping of plain values (no tags of Python).

    Raises:
        InputError: as :func:`read_text`; no YAML, no mapping, a key twice, nested too deep, or aliases that refer to
            themselves or would grow beyond :data:`MOST` values.
    """
    text = read_text(path, largest)

    def parsed() -> Any:
        refuse_deep(text)
        return yaml.load(text, _SafeLoader)

    return _checked(path, "YAML", parsed)


def refuse_deep(text: str) -> None:
    """Look how deep the values of a YAML text are inside of each other, before a parser in C follows it down unbounded.

    Raises:
        yaml.YAMLError: deeper than :data:`DEEPEST`, or no YAML.
    """
    depth = -1  # of the outermost one 0
    for event in yaml.parse(text, _SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise yaml.YAMLError(f"it is nested more than {DEEPEST} levels deep")


def write_json(file: Path, content: Mapping[str, Any]) -> None:
    """Write JSON, all or nothing."""
    with writing_file(file) as temporary:
        temporary.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n")


def write_yaml(file: Path, content: Mapping[str, Any]) -> None:
    """Write YAML in the order of the content and without aliases, all or nothing."""
    with writing_file(file) as temporary:
        temporary.write_text(yaml.dump(content, Dumper=_PlainDumper, sort_keys=False))


class _PlainDumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def _checked(path: str | Path, kind: str, parse: Callable[[], Any]) -> dict[str, Any]:
    try:
        value = parse()
        _size(value, 0, {})
    except RecursionError as error:
        raise InputError(f"{shown(path)} is nested more than {DEEPEST} levels deep") from error
    except (ValueError, yaml.YAMLError) as error:
        raise InputError(f"{shown(path)} is no valid {kind}: {_reason(error)}") from error
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise InputError(f"{shown(path)} holds no {kind} with named values at its top; write 'name: value' pairs")
    return value


def _reason(error: Exception) -> str:
    """A short account of a parser: what, and where."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"{error.problem or error.context}, line {error.problem_mark.line + 1}"
    return " ".join(str(error).split())[:120]


def _size(value: Any, depth: int, known: dict[int, int | None]) -> int:
    """Count the values inside of a value, those behind an alias each time that it occurs.

    Raises:
        ValueError: too many of them, too deep, or inside of themselves.
    """
    if not isinstance(value, dict | list):
        return 1
    if depth > DEEPEST:
        raise ValueError(f"it is nested more than {DEEPEST} levels deep")
    if id(value) in known:
        count = known[id(value)]
        if count is None:
            raise ValueError("an alias refers to what it is part of")
        return count
    known[id(value)] = None
    count = 1 + sum(_size(part, depth + 1, known) for part in (value.values() if isinstance(value, dict) else value))
    if count > MOST:
        raise ValueError(f"its aliases, written out, are more than {MOST:,} values")
    known[id(value)] = count
    return count


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)[:40]!r} is there twice")
    return content


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is no number in JSON")


class _SafeLoader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # in C where it is there
    """Plain values only, each key once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if (key.tag, key.value) in seen:
                    problem = f"the key {key.value[:40]!r} is there twice"
                    raise yaml.constructor.ConstructorError(None, None, problem, key.start_mark)
                seen.add((key.tag, key.value))
        return super().construct_mapping(node, deep)
