"""Reads a pickled dict of plain values and NumPy arrays without running anything that is in the file.

A pickle is a program for a small stack machine, and Python's reader lets that program call whatever it names. This
is another machine for the same programs (their instructions are documented in ``pickletools`` of the standard
library): it has the instructions that dicts, lists, tuples, numbers, texts and bytes need, and the few calls that
NumPy's arrays are written with, which it carries out itself. Every other instruction or name is refused. Nothing is
imported or called by name, so there is nothing that a hostile file could run.

The items of the outermost dict are given one after another and then forgotten, so that a file of 5 GB needs only the
memory of the thousand items that are written in one go.
"""

from __future__ import annotations

import itertools
import math
import mmap
import pickletools
import re
import struct
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import numpy.typing as npt

from probunet.core.errors import InputError

_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_NUMBERS = {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT"}
_TEXTS = {"STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"}
_BYTES = {"BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"}
_LITERALS = _NUMBERS | _TEXTS | _BYTES
_TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_GETS = frozenset({"GET", "BINGET", "LONG_BINGET"})
_PUTS = frozenset({"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"})
_MODULE = r"numpy\.(?:core|_core)\."
_NAMES = {
    "reconstruct": re.compile(_MODULE + r"multiarray _reconstruct"),
    "scalar": re.compile(_MODULE + r"multiarray scalar"),
    "frombuffer": re.compile(_MODULE + r"numeric _frombuffer"),
    "ndarray": re.compile(r"numpy ndarray"),
    "dtype": re.compile(r"numpy dtype"),
    "encode": re.compile(r"_codecs encode"),
}
_DTYPE = re.compile(r"[<>|=]?(?:b1|[iu][1248]|f[248])")
_ARGUMENTS = {"reconstruct": 3, "scalar": 2, "frombuffer": 4, "dtype": 3, "encode": 2}
_LARGEST_SIDE, _MOST_AXES = 1 << 32, 8
_MARK = object()


class Refused(ValueError):
    """What the file does is none of the things that this reader does."""


@dataclass(eq=False)
class PickledArray:
    """An array of the file; its values come after its place in the memo is known, so they are filled in later."""

    values: npt.NDArray[Any] | None = None


@dataclass(eq=False)
class _DType:
    dtype: np.dtype[Any]


@dataclass(frozen=True)
class _Name:
    what: str


def read_items(path: Path) -> Iterator[tuple[Any, Any]]:
    """Read the items of a pickled dict in the order of the file.

    The file is gone through twice: first to see which values it comes back to, so that only these are kept.

    Args:
        path: of the file; protocols 0 to 5.

    Yields:
        Key and value, of ``None``, ``bool``, ``int``, ``float``, ``str``, ``bytes``, ``tuple``, ``list``, ``dict`` and
        ``PickledArray``. NumPy's scalars become Python's.

    Raises:
        InputError: unreadable, truncated, damaged, not a dict, or with anything else in it, such as code.
    """
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            again = {arg for name, arg in _instructions(content) if name in _GETS}
            yield from _Machine(again, len(content)).run(content)
    except Refused as error:
        raise InputError(
            f"{path} is refused: {error}; only dicts, lists, NumPy arrays and plain values are read, no code is run"
        ) from error
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist") from error
    except (OSError, ValueError, IndexError, TypeError, OverflowError, MemoryError, struct.error) as error:
        raise InputError(f"{path} cannot be read as a pickle ({str(error)[:200]}); fetch it again") from error


def _instructions(content: mmap.mmap) -> Iterator[tuple[str, Any]]:
    """Name and argument of every instruction. Lengths that reach beyond the file's end are cut short, then refused."""
    content.seek(0)
    instructions = pickletools.genops(cast(BinaryIO, content))
    while True:
        with warnings.catch_warnings(action="ignore", category=DeprecationWarning):  # escapes of damaged texts
            several = list(itertools.islice(instructions, 32))
        if not several:
            return
        for opcode, arg, _ in several:
            yield opcode.name, arg


class _Machine:
    """Stack, memo and the instructions."""

    def __init__(self, again: set[Any], budget: int) -> None:
        self.again = again
        self.budget = budget  # bytes that texts may become by encoding: an honest file needs less than its size
        self.stack: list[Any] = []
        self.memo: dict[Any, Any] = {}
        self.puts = 0

    def run(self, content: mmap.mmap) -> Iterator[tuple[Any, Any]]:
        for name, arg in _instructions(content):
            if name in _LITERALS:
                self.stack.append(arg)
            elif name in _CONSTANTS:
                self.stack.append(_CONSTANTS[name])
            elif name in ("SETITEM", "SETITEMS"):
                pairs = _pairs(self._pop_to_mark() if name == "SETITEMS" else self._pop(2))
                target = self._top(dict)
                if len(self.stack) == 1:
                    yield from pairs
                    pairs.clear()  # so that the next thousand do not come on top of these
                else:
                    target.update(pairs)
            elif name == "DICT":
                pairs = _pairs(self._pop_to_mark())
                self.stack.append({} if not self.stack else dict(pairs))
                if len(self.stack) == 1:
                    yield from pairs
            elif name == "STOP":
                if len(self.stack) != 1 or not isinstance(self.stack[0], dict):
                    raise Refused("it does not hold a dict")
            else:
                self._step(name, arg)

    def _step(self, name: str, arg: Any) -> None:
        """Carry out an instruction that can only change the stack and the memo."""
        stack = self.stack
        if name in ("PROTO", "FRAME"):
            return
        if name in _PUTS:
            self._remember(self.puts if arg is None else arg)
        elif name in _GETS:
            if arg not in self.memo:
                raise ValueError(f"value {arg} is asked for before it is there")
            stack.append(self.memo[arg])
        elif name == "MARK":
            stack.append(_MARK)
        elif name in _TUPLES:
            stack.append(tuple(self._pop(_TUPLES[name])))
        elif name == "TUPLE":
            stack.append(tuple(self._pop_to_mark()))
        elif name in ("EMPTY_LIST", "LIST"):
            stack.append(self._pop_to_mark() if name == "LIST" else [])
        elif name == "EMPTY_DICT":
            stack.append({})
        elif name in ("APPEND", "APPENDS"):
            values = self._pop_to_mark() if name == "APPENDS" else self._pop(1)
            self._top(list).extend(values)
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            parts = [arg] if name == "GLOBAL" else self._pop(2)
            stack.append(_named(" ".join(part if isinstance(part, str) else "?" for part in parts)))
        elif name == "REDUCE":
            stack.append(self._call(*self._pop(2)))
        elif name == "BUILD":
            (state,) = self._pop(1)
            _fill(self._top(object), state)
        else:
            raise Refused(f"it has the instruction {name}")

    def _remember(self, key: int) -> None:
        if key in self.again:
            self.memo[key] = self._top(object)
        self.puts += 1

    def _top(self, kind: type) -> Any:
        if not self.stack or self.stack[-1] is _MARK or not isinstance(self.stack[-1], kind):
            raise ValueError(f"a {kind.__name__} is expected on the stack")
        return self.stack[-1]

    def _pop(self, count: int) -> list[Any]:
        values = self.stack[len(self.stack) - count :] if count else []
        if len(values) != count or any(value is _MARK for value in values):
            raise ValueError("too little is on the stack")
        del self.stack[len(self.stack) - count :]
        return values

    def _pop_to_mark(self) -> list[Any]:
        values: list[Any] = []
        while self.stack[-1] is not _MARK:
            values.append(self.stack.pop())
        self.stack.pop()
        return values[::-1]

    def _call(self, name: Any, arguments: Any) -> Any:
        """Do what NumPy's arrays are written with."""
        what = name.what if isinstance(name, _Name) else "nothing known"
        if not isinstance(arguments, tuple) or len(arguments) != _ARGUMENTS.get(what):
            raise Refused(f"it calls {what} in an unknown way")
        if what == "reconstruct":
            return PickledArray()
        if what == "dtype":
            return _DType(_dtype(arguments[0]))
        if what == "scalar":
            return _array(arguments[0], (), arguments[1]).item()
        if what == "frombuffer":
            data, dtype, shape, order = arguments
            return PickledArray(_array(dtype, shape, data, order == "F"))
        text, codec = arguments
        if not isinstance(text, str) or codec not in ("latin1", "latin-1"):
            raise Refused("it encodes by something else than latin-1")
        self.budget -= len(text)
        if self.budget < 0:
            raise Refused("its texts become more than the file holds")
        return text.encode("latin-1")


def _pairs(values: list[Any]) -> list[tuple[Any, Any]]:
    keys = values[::2]
    if len(values) % 2 or not all(isinstance(key, str | int | float | bytes | None) for key in keys):
        raise ValueError("a dict needs pairs of a plain key and a value")
    return list(zip(keys, values[1::2], strict=True))


def _named(name: str) -> _Name:
    for what, pattern in _NAMES.items():
        if pattern.fullmatch(name):
            return _Name(what)
    raise Refused(f"it names {'.'.join(name.split())[:80]!r}")


def _dtype(code: Any) -> np.dtype[Any]:
    if not isinstance(code, str) or not _DTYPE.fullmatch(code):
        raise Refused(
            f"it has an array of type {code[:40]!r}" if isinstance(code, str) else "it has an array of no type"
        )
    return np.dtype(code)


def _fill(target: Any, state: Any) -> None:
    """Give an array its values, or a type its byte order."""
    if isinstance(target, _DType) and isinstance(state, tuple) and state[1:2] in (("<",), (">",), ("|",), ("=",)):
        if any(value not in (None, -1, 0) for value in state[2:]):
            raise Refused("it has an array of a structured type")
        target.dtype = target.dtype.newbyteorder(state[1])
    elif isinstance(target, PickledArray) and target.values is None and isinstance(state, tuple) and len(state) == 5:
        _, shape, dtype, columns_first, data = state
        target.values = _array(dtype, shape, data, bool(columns_first))
    else:
        raise Refused("it sets the state of something that is no array")


def _array(dtype: Any, shape: Any, data: Any, columns_first: bool = False) -> npt.NDArray[Any]:
    """Make an array of bytes that are in memory already: nothing is copied, and no size is believed."""
    if isinstance(data, str):
        data = data.encode("latin-1")  # Python 2 wrote bytes so
    if not isinstance(dtype, _DType) or not isinstance(data, bytes | bytearray):
        raise Refused("it has an array that is not made of numbers")
    if not isinstance(shape, tuple) or len(shape) > _MOST_AXES:
        raise ValueError("an array has no shape")
    if not all(type(side) is int and 0 <= side <= _LARGEST_SIDE for side in shape):
        raise ValueError("an array has an impossible shape")
    if math.prod(shape) * dtype.dtype.itemsize != len(data):
        raise ValueError(f"an array of shape {shape} and {dtype.dtype} has {len(data)} bytes")
    return np.frombuffer(data, dtype.dtype).reshape(shape, order="F" if columns_first else "C")
