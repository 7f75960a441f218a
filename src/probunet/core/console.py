"""What people read while something is at work: progress with one look everywhere, and notes.

Progress is shown wherever the work is done. Notes go through ``logging``, as the children of the logger ``probunet``;
a command shows all of them here, a Python program those that it asks for.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
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


def progress_bar() -> Progress:
    """Make a bar with counts and the time left; shows its last state only where there is no terminal."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("elapsed"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
    )


def state_bar() -> Progress:
    """Make a bar for each of a few long tasks, with its ``state`` in words; a narrow window cuts names, not numbers."""
    bar: list[ProgressColumn] = [BarColumn()] if console.width >= 120 else []
    return Progress(
        TextColumn("{task.description}", table_column=Column(ratio=1, no_wrap=True, min_width=8)),
        *bar,
        TaskProgressColumn(),
        TextColumn("{task.fields[state]}"),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
        refresh_per_second=2,
        expand=True,
    )
