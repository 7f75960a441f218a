"""The command ``probunet``: the name of a command, and the function whose signature and docstring are its help.

A function is imported only when its command is called, so that the list of commands loads next to nothing.
"""

from __future__ import annotations

import ast
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any

from probunet.core.errors import InputError, Stopped

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
    "export": "export:export",
    "explore": "explore:explore",
    "score": "score:score",
    "report": "report:report",
    "doctor": "doctor:doctor",
    "readers": "readers:readers",
    "calibrate": "calibrate:calibrate",
}
"""Module of ``probunet.commands`` and function of every command."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line.

    Exits with 0, with 2 after one sentence on the user's mistake, with 130 after Ctrl-C and 143 after SIGTERM.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    quiet = "--quiet" in words
    words = [word for word in words if word != "--quiet"]
    signals = Signals()
    with signals:
        try:
            _run(words, signals, quiet)
        except KeyboardInterrupt:
            _stop(130, "interrupted; what was finished is kept, nothing half-written is left")
        except OSError as error:
            if error.filename is None or error.strerror is None:
                raise
            _stop(2, _readable(f"error: {os.fsdecode(error.filename)}: {error.strerror}"))
        except InputError as error:
            _stop(2, _readable(f"error: {error}"))
        except Stopped as stopped:
            _stop(stopped.exit_code, str(stopped))
    if signals.received is not None:  # swallowed by what was at work when it came
        raise SystemExit(128 + signals.received)


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
    tree = ast.parse((Path(__file__).parent / "commands" / f"{module}.py").read_text(encoding="utf-8"))
    written = next(node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == function)
    return (ast.get_docstring(written) or "").split("\n")[0].rstrip(".")


def parse(name: str, words: Sequence[str]) -> dict[str, Any]:
    """Turn the words behind the name of a command into the arguments of its function.

    Raises:
        InputError: an unknown option, a value of the wrong kind, or something missing.
    """
    from probunet.commands import arguments

    return arguments.parse(load(name), name, words)


def _run(words: list[str], signals: Signals, quiet: bool) -> None:
    if words[:1] == ["--version"]:
        from probunet.core.version import VERSION

        print(f"probunet {VERSION}")
        return
    name = next((n for n in (" ".join(words[:2]), " ".join(words[:1])) if n in COMMANDS), None)
    if name is None:
        _list(words)
        return
    from probunet.core import console, machine, memory

    machine.spare_the_others()
    memory.keep_freed_memory()
    function, chosen = load(name), parse(name, words[len(name.split()) :])
    import inspect

    signals.at_work = True
    parameters = inspect.signature(function).parameters.values()
    positional = [chosen.pop(p.name) for p in parameters if p.kind is p.POSITIONAL_ONLY]
    with console.speaking(quiet):
        function(*positional, **chosen)


def _list(words: list[str]) -> None:
    """Print the commands, or those of a group.

    Raises:
        InputError: there is no such command.
    """
    group = " ".join(words[:1])
    listed = [name for name in COMMANDS if name.startswith(f"{group} ")]
    wrong = words[1:2] not in ([], ["-h"], ["--help"]) if listed else words and group not in ("-h", "--help")
    listed = listed or list(COMMANDS)
    if wrong:
        raise InputError(f"there is no command '{' '.join(words[:2])[:60]}'; choose one of {', '.join(listed)}")
    print("usage: probunet COMMAND ...\n\ncommands:")
    print("\n".join(f"  {name:<18} {summary(name)}" for name in listed))
    print("\n'probunet COMMAND --help' shows the arguments and examples of a command;")
    print("--quiet in any of them leaves out progress and notes.")


def _readable(sentence: str) -> str:
    """A sentence in one line, in which a name or path that fills the screen has lost its middle."""
    return " ".join(word if len(word) <= 160 else f"{word[:60]}...{word[-60:]}" for word in sentence.split())


def _stop(code: int, message: str) -> None:
    print(message.encode(sys.stderr.encoding or "utf-8", "replace").decode(), file=sys.stderr, flush=True)
    raise SystemExit(code)


class Signals:
    """Ctrl-C and SIGTERM end the command, also where they come while something swallows exceptions.

    Attributes:
        at_work: whether there is something to clean up; before, while modules are loaded, a signal ends the process
            at once, as some modules take an exception in their import for their own failure.
        received: number of the last signal; ``None`` when there was none.
    """

    at_work = False
    received: int | None = None

    def __enter__(self) -> None:
        if threading.current_thread() is threading.main_thread():
            self.before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
            self.hook, sys.unraisablehook = sys.unraisablehook, self._once_more
            for number in self.before:
                signal.signal(number, self._receive)

    def __exit__(self, *_: object) -> None:
        if threading.current_thread() is threading.main_thread():
            sys.unraisablehook = self.hook
            for number, handler in self.before.items():
                signal.signal(number, handler)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self.received = number
        if not self.at_work:
            print("interrupted before anything was done", file=sys.stderr, flush=True)
            os._exit(128 + number)
        if number == signal.SIGINT:
            raise KeyboardInterrupt
        _stop(143, "terminated; what was finished is kept, nothing half-written is left")

    def _once_more(self, unraisable: Any) -> None:
        """Send a signal again that came up where Python can raise nothing, as in the end of an object."""
        if self.received is not None and isinstance(unraisable.exc_value, KeyboardInterrupt | SystemExit):
            threading.Timer(0.1, os.kill, (os.getpid(), self.received)).start()
        else:
            self.hook(unraisable)
