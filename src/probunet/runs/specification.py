"""The only record of a model: the name of its class and its arguments, complete and as plain data.

Nothing is imported because a record says so. A class of this package goes by its bare name and is looked up in
``probunet.models``. A class of the user's goes by its module and name, and is made only where the user gave the class,
or named its module, at the call (``trust``).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib import import_module
from typing import Any, TypeAlias, TypeGuard

import torch
from torch import nn
from torch.nn.modules.module import register_module_parameter_registration_hook

from probunet import models
from probunet.core.errors import InputError
from probunet.core.records import ARGUMENTS, CLASS, typed_arguments
from probunet.models.base import SegmentationModel

Trust: TypeAlias = Sequence[str | type[SegmentationModel]]
"""Modules or packages by name, or classes, whose code a user wants to run."""
LARGEST = 1 << 12
"""Of numbers in a stranger's description: channels, members, dimensions."""
SPARE = 4
"""Times as many values as a model keeps may come and go while it is made."""


@dataclass(frozen=True)
class Specification:
    """A model as plain data.

    Attributes:
        name: of the class; bare for one of this package, with its module for others.
        arguments: of the constructor, complete.
    """

    name: str
    arguments: dict[str, Any]

    @classmethod
    def of(cls, model: SegmentationModel) -> Specification:
        """Record a model."""
        kind = type(model)
        return cls(kind.__name__ if _is_ours(kind) else f"{kind.__module__}.{kind.__name__}", model.arguments)

    @classmethod
    def read(cls, record: Mapping[str, Any]) -> Specification:
        """Take the record of ``as_plain``, once it was checked."""
        return cls(record[CLASS], record[ARGUMENTS])

    def as_plain(self) -> dict[str, Any]:
        """The record for YAML and JSON."""
        return {CLASS: self.name, ARGUMENTS: self.arguments}

    @property
    def kind(self) -> str:
        """Name of the class without its module."""
        return self.name.rpartition(".")[2]

    def build(self, trust: Trust = (), values: int | None = None) -> SegmentationModel:
        """Make the untrained model.

        Args:
            trust: see ``Trust``.
            values: how many values its weights have; a class of this package that would hold more is refused before
                anything is allocated.

        Raises:
            InputError: a class that is not known or trusted, arguments that it does not take, or more values.
        """
        kind = class_of(self.name, trust)
        try:
            arguments = typed_arguments(kind, self.arguments)
            if values is not None and _is_ours(kind):
                _check_numbers(self.arguments)
                _check_size(kind, arguments, values)
            return kind(**arguments)
        except InputError:
            raise
        except Exception as error:  # whatever a class says to arguments that it cannot use
            reason = " ".join(str(error).split())[:160] or repr(error)
            raise InputError(f"a {self.kind} cannot be made from its arguments: {reason}") from error


def class_of(name: str, trust: Trust = ()) -> type[SegmentationModel]:
    """Find the class of a model by its name.

    Raises:
        InputError: no class of this package, and none that is trusted.
    """
    for trusted in trust:
        if not isinstance(trusted, str) and trusted.__name__ == name.rpartition(".")[2]:
            return trusted
    module, _, bare = name.rpartition(".")
    if module in ("", "probunet"):
        ours = getattr(models, bare, None) if bare in models.__all__ else None
        if _is_model(ours):
            return ours
        raise InputError(f"there is no model {bare} in probunet; choose one of {', '.join(known_models())}")
    if not any(isinstance(t, str) and (module == t or module.startswith(t + ".")) for t in trust):
        raise InputError(
            f"{name} is no model of probunet, and no code runs because a file names it; if you trust it, say so: "
            f"--trust {module.partition('.')[0]} (in Python: trust=[{bare}])"
        )
    try:
        kind = getattr(import_module(module), bare, None)
    except Exception as error:  # a module may raise anything while it is imported
        raise InputError(f"{module} cannot be imported: {' '.join(str(error).split())[:160]}") from error
    if not _is_model(kind):
        raise InputError(f"{module} has no model {bare} (a class derived from probunet.SegmentationModel)")
    return kind


def known_models() -> list[str]:
    """Names of the models of this package."""
    return [name for name in models.__all__ if _is_model(getattr(models, name))]


def _is_model(kind: Any) -> TypeGuard[type[SegmentationModel]]:
    return isinstance(kind, type) and issubclass(kind, SegmentationModel) and kind is not SegmentationModel


def _is_ours(kind: type) -> bool:
    return getattr(models, kind.__name__, None) is kind


def _check_numbers(value: Any) -> None:
    for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        if isinstance(item, int | float) and abs(item) > LARGEST:
            raise InputError(f"a model with {item:g} as an argument is described; {LARGEST:,} is the limit")
        _check_numbers(item)


def _check_size(kind: type[SegmentationModel], arguments: dict[str, Any], values: int) -> None:
    """Refuse a model of more parameters than there are values, without allocating it."""
    with torch.device("meta"), _at_most(SPARE * values), suppress(NotImplementedError):  # flows need more than that
        count = sum(parameter.numel() for parameter in kind(**arguments).parameters())
        if count > values:
            raise InputError(f"a model of {count:,} values is described, of which {values:,} are there")


@contextmanager
def _at_most(values: int) -> Iterator[None]:
    """Refuse a model while it is made, as soon as its parameters hold more values than this."""
    sizes: Counter[tuple[int, str]] = Counter()
    total = 0

    def add(module: nn.Module, name: str, parameter: nn.Parameter | None) -> None:
        nonlocal total
        size = 0 if parameter is None else parameter.numel()
        total += size - sizes[id(module), name]  # one that is set again counts once
        sizes[id(module), name] = size
        if total > values:
            raise InputError(f"a model of more than {values:,} values is described, which are not there")

    handle = register_module_parameter_registration_hook(add)
    try:
        yield
    finally:
        handle.remove()
