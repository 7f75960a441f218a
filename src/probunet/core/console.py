"""What people read while something is at work: progress with one look everywhere, and notes.

Progress is shown wherever the work is done. Notes go through ``logging``, as the children of the logger ``probunet``;
a command shows all of them here, a Python program those that it asks for.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from typing import Any

from rich.console import Console, RenderableType
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Column

console = Console(stderr=True, force_jupyter=None if find_spec("ipywidgets") else False)
"""Where progress and messages for people go; results go to standard output.
A notebook without ipywidgets gets what a log gets; ``rich`` would warn at every bar."""


def say(text: str) -> None:
    """Print a sentence as it is, in one line however long; what is no UTF-8 in a path as ``?``."""
    console.print(text.encode("utf-8", "replace").decode(), markup=False, highlight=False, soft_wrap=True)


class _Shown(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        say(record.getMessage())


@contextmanager
def speaking(quiet: bool = False) -> Iterator[None]:
    """Show notes while a command is at work; nothing but its results, and no progress, if it is to be quiet."""
    logger, handler = logging.getLogger("probunet"), _Shown()
    level, propagate, silent = logger.level, logger.propagate, console.quiet
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate, console.quiet = False, quiet
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
        logger.propagate, console.quiet = propagate, silent


SECONDS_A_LINE = 60.0
"""Between two lines of a task in a log; the first comes after a sixth of them."""


class _Bar(Progress):
    """A bar in a terminal; in a log, which cannot be drawn over, a line of every task now and then."""

    def __init__(self, *columns: ProgressColumn, **options: Any) -> None:
        self._next: dict[TaskID, float] = {}
        super().__init__(*columns, console=console, **options)

    def get_renderables(self) -> Iterable[RenderableType]:
        """What is drawn, asked for several times a second also where nothing can be; see the base class."""
        if not (console.is_terminal or console.is_jupyter):
            self._tell()
        return super().get_renderables()

    def _tell(self) -> None:
        now = time.monotonic()
        for task in self.tasks:
            if now >= self._next.setdefault(task.id, now + SECONDS_A_LINE / 6) and not task.finished:
                self._next[task.id] = now + SECONDS_A_LINE
                console.print(self.make_tasks_table([task]))


def progress_bar() -> Progress:
    """Make a bar with counts and the time left."""
    return _Bar(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("elapsed"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )


def state_bar() -> Progress:
    """Make a bar for each of a few long tasks, with its ``state`` in words; a narrow window cuts names, not numbers."""
    bar: list[ProgressColumn] = [BarColumn()] if console.width >= 120 else []
    return _Bar(
        TextColumn("{task.description}", table_column=Column(ratio=1, no_wrap=True, min_width=8)),
        *bar,
        TaskProgressColumn(),
        TextColumn("{task.fields[state]}"),
        TextColumn("left"),
        TimeRemainingColumn(),
        refresh_per_second=2,
        expand=True,
    )
