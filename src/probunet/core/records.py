"""The arguments that an object was made with, as plain data, and back: complete, typed, and of no code."""

from __future__ import annotations

import dataclasses
import inspect
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import Any, get_args, get_type_hints

import numpy as np
from pydantic import PydanticSchemaGenerationError, PydanticUserError, TypeAdapter, ValidationError

from probunet.core.errors import InputError

CLASS, ARGUMENTS = "class", "arguments"
"""Keys of a record: the name of a class, and the arguments of its constructor."""
NO_REBUILD = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.POSITIONAL_ONLY)


def record_arguments(kind: type, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Record the arguments of a call of a constructor, complete with its defaults, as a deep copy.

    NumPy scalars and arrays become numbers and lists, tuples become lists, an argument that is a dataclass becomes the
    name of its class and its own arguments.

    Args:
        kind: whose constructor.
        args: positional arguments.
        kwargs: arguments by name.

    Returns:
        From the names of the parameters to plain data, as JSON can hold it; empty where the constructor itself will
        refuse the call.

    Raises:
        InputError: an argument is no plain data or not of the declared type, or cannot be given by its name.
    """
    signature = _signature(kind)
    try:
        bound = signature.bind(*args, **kwargs)
    except TypeError:  # the call itself raises the same
        return {}
    bound.apply_defaults()
    record: dict[str, Any] = {}
    for name, value in bound.arguments.items():
        if signature.parameters[name].kind is inspect.Parameter.VAR_KEYWORD:
            record |= {key: _plain(item, f"{kind.__name__}({key}=...)") for key, item in value.items()}
        elif signature.parameters[name].kind not in NO_REBUILD:
            record[name] = _plain(value, f"{kind.__name__}({name}=...)", outermost=True)
        elif value:
            raise InputError(f"{kind.__name__} takes '{name}' by place only; let it be given by name, to be recorded")
    typed_arguments(kind, record)
    return record


def typed_arguments(kind: type, record: Mapping[str, Any]) -> dict[str, Any]:
    """Make the arguments of a constructor from their record.

    Args:
        kind: whose constructor; dataclasses that it declares are made, no other class is.
        record: see ``record_arguments``.

    Returns:
        To call the constructor with, by name.

    Raises:
        InputError: an unknown or missing argument, or a value that is not of the declared type.
    """
    signature, hints = _signature(kind), _hints(kind)
    try:
        signature.bind(**record)
    except TypeError as error:
        raise InputError(f"{kind.__name__}: {error}") from error
    return {name: _typed(value, hints.get(name, Any), f"{kind.__name__}({name}=...)") for name, value in record.items()}


def plain_record(value: Any) -> dict[str, Any]:
    """Name the class of a dataclass and list its arguments."""
    return {CLASS: type(value).__name__, ARGUMENTS: record_arguments(type(value), (), _fields(value))}


def _fields(value: Any) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value) if field.init}


def _plain(value: Any, where: str, outermost: bool = False) -> Any:
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{where} is {value}; give a finite number")
    if value is None or type(value) in (bool, int, float, str):
        return value
    if isinstance(value, list | tuple):
        return [_plain(item, where) for item in value]
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {key: _plain(item, where) for key, item in value.items()}
    if outermost and dataclasses.is_dataclass(value) and not isinstance(value, type):
        return plain_record(value)
    raise InputError(
        f"{where} is a {type(value).__name__}, which cannot be recorded; give numbers, text, lists or dictionaries"
    )


def _typed(value: Any, hint: Any, where: str) -> Any:
    if isinstance(value, dict) and set(value) == {CLASS, ARGUMENTS}:
        declared = {kind.__name__: kind for kind in _dataclasses(hint)}
        if value[CLASS] not in declared:
            raise InputError(f"{where} cannot be a {value[CLASS]}; choose one of {', '.join(declared) or 'plain data'}")
        kind = declared[value[CLASS]]
        return kind(**typed_arguments(kind, value[ARGUMENTS]))
    adapter = _adapter(hint)
    if adapter is None:
        return value
    try:
        return adapter.validate_json(json.dumps(value, allow_nan=False), strict=True)
    except ValidationError as error:
        raise InputError(f"{where} is {str(value)[:80]}: {error.errors()[0]['msg']}") from error
    except ValueError as error:
        raise InputError(f"{where} is {str(value)[:80]}, which is no plain data") from error


@cache
def _signature(kind: type) -> inspect.Signature:
    """Signature of the constructor, without ``self``."""
    whole = inspect.signature(kind.__init__)  # type: ignore[misc]
    return whole.replace(parameters=list(whole.parameters.values())[1:])


@cache
def _hints(kind: type) -> dict[str, Any]:
    """Declared types of the constructor's parameters; none where they cannot be resolved."""
    try:
        return get_type_hints(kind.__init__)  # type: ignore[misc]
    except (NameError, TypeError, AttributeError):
        return {}


@cache
def _adapter(hint: Any) -> TypeAdapter[Any] | None:
    """What checks a value against a declared type; ``None`` for types that only Python can check."""
    try:
        return None if hint is Any else TypeAdapter(hint)
    except (PydanticSchemaGenerationError, PydanticUserError):
        return None


def _dataclasses(hint: Any) -> Iterator[type[Any]]:
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        yield hint
    for part in get_args(hint):
        yield from _dataclasses(part)
