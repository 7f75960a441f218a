"""Commands in processes of their own, copies of one that has loaded everything: loading it anew takes seconds each.

Exit codes, signals and what they print are those of ``python -m probunet``. The process that is copied is the one that
``probunet.core.processes`` and other users of multiprocessing's fork server have, too.
"""

import multiprocessing as mp
import os
import runpy
import signal
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import torch

from probunet.cli import main

CONTEXT = mp.get_context("forkserver")
LOADED = ["pytest", "probunet.commands.compare", "probunet.commands.sample", "probunet.testing"]
"""Modules of the process that is copied."""


def begin() -> None:
    """Start the process that is copied, with all of its modules, unless it runs already."""
    CONTEXT.set_forkserver_preload(LOADED)
    forkserver.ensure_running()


class Copy:
    """A function at work in a copy.

    Attributes:
        pid: number of its process.
    """

    def __init__(self, work: Callable[..., Any], *arguments: Any, variables: Mapping[str, str] = os.environ) -> None:
        begin()
        self._said = [tempfile.NamedTemporaryFile("r") for _ in range(2)]  # noqa: SIM115  # closed in end()
        names = [file.name for file in self._said]
        self._process = CONTEXT.Process(target=_work, args=(names, str(Path.cwd()), dict(variables), work, arguments))
        self._process.start()
        self.pid = self._process.pid

    def runs(self) -> bool:
        """Whether it has not ended yet."""
        return self._process.is_alive()

    def send(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def end(self, timeout: float = 60) -> tuple[int, str, str]:
        """Wait for its end; give its exit code, and what it wrote to standard output and to standard error."""
        self._process.join(timeout)
        code = self._process.exitcode
        if code is None:
            self._process.kill()
            self._process.join()
        said = [file.read() for file in self._said]
        for file in self._said:
            file.close()
        self._process.close()
        assert code is not None, f"still at work after {timeout} s: {said}"
        return code, *said


def command(*words: Any, variables: Mapping[str, str] = os.environ) -> Copy:
    """Run ``probunet`` with these words in a copy."""
    return Copy(main, [str(word) for word in words], variables=variables)


def script(file: Path, *words: str) -> Copy:
    """Run a file with these words in a copy."""
    return Copy(_script, str(file), words)


def _script(file: str, words: Sequence[str]) -> None:
    sys.argv[:] = [file, *words]
    sys.path.insert(0, str(Path(file).parent))
    runpy.run_path(file, run_name="__main__")


def _work(
    said: Sequence[str], folder: str, variables: Mapping[str, str], work: Callable[..., Any], arguments: Sequence[Any]
) -> None:
    for number, name in enumerate(said, 1):
        os.dup2(os.open(name, os.O_WRONLY | os.O_APPEND), number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(variables)
    sys.path.insert(0, folder)  # as python -m does
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may have it ignored
    torch.set_num_threads(1)
    work(*arguments)
