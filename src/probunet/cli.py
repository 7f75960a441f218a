"""The command ``probunet``: it finds the command, runs it, and turns every way to end into an exit code."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Sequence
from types import FrameType
from typing import Any

from probunet.commands.listed import COMMANDS, load, summary
from probunet.core.errors import InputError, Stopped


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line.

    Exits with 0, with 2 after one sentence on the user's mistake, with 130 after Ctrl-C and 143 after SIGTERM, and with
    141 where nobody reads any more what is printed.
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
        except BrokenPipeError:  # who reads what is printed has seen enough, as head has
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(141) from None
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
