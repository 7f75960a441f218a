"""What is shown while something is at work."""

from io import StringIO

import pytest
from rich.console import Console

from probunet.core import console


@pytest.mark.parametrize("name", ["unet", "hierarchical_probabilistic_unet_with_a_long_name"])
@pytest.mark.parametrize("width", [80, 160])
def test_a_window_of_80_columns_cuts_no_number(name, width, monkeypatch):
    shown = Console(file=StringIO(), width=width)
    monkeypatch.setattr(console, "console", shown)
    state = "step 12000 · loss 2271 · D_GED² 0.534"
    with console.state_bar() as bar:
        bar.add_task(name, total=1.0, completed=0.25, state=state)
    [line] = shown.file.getvalue().splitlines()
    assert len(line) <= width
    assert f" 25% {state} left -:--:--" in line
    assert line.startswith(name[:8])


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands until it is moved on."""
    seconds = [1000.0]
    monkeypatch.setattr(console.time, "monotonic", lambda: seconds[0])

    def wait(step: float) -> None:
        seconds[0] += step

    return wait


@pytest.mark.parametrize("make", [console.progress_bar, console.state_bar])
def test_a_log_gets_a_line_a_minute(make, clock, monkeypatch):
    log = Console(file=StringIO(), width=100)
    monkeypatch.setattr(console, "console", log)
    with make() as bar:
        task = bar.add_task("unet", total=200, state="")
        for second in range(1, 151):
            clock(1)
            bar.update(task, completed=second, state=f"step {second}")
            bar.refresh()  # a thread of the bar does
        assert len(log.file.getvalue().splitlines()) == 3  # after 10, 70 and 130 seconds
        bar.advance(task, 50)
    lines = log.file.getvalue().splitlines()
    assert len(lines) == 4  # and the last state
    assert all(line.startswith("unet") for line in lines)


def test_a_log_gets_a_line_a_minute_also_where_nothing_is_counted_for_long(clock, monkeypatch):
    log = Console(file=StringIO(), width=100)
    monkeypatch.setattr(console, "console", log)
    with console.progress_bar() as bar:
        bar.add_task("sampling", total=1)
        for _ in range(150):
            clock(1)
            bar.refresh()
        assert len(log.file.getvalue().splitlines()) == 3


def test_what_takes_seconds_is_one_line_in_a_log(clock, monkeypatch):
    log = Console(file=StringIO(), width=100)
    monkeypatch.setattr(console, "console", log)
    with console.progress_bar() as bar:
        for _ in bar.track(range(9), description="evaluating"):
            clock(1)
    assert len(log.file.getvalue().splitlines()) == 1


def test_a_terminal_has_one_bar_that_moves(clock, monkeypatch):
    shown = Console(file=StringIO(), width=100, force_terminal=True)
    monkeypatch.setattr(console, "console", shown)
    with console.progress_bar() as bar:
        task = bar.add_task("unet", total=10)
        for _ in range(10):
            clock(100)
            bar.advance(task)
    assert shown.file.getvalue().count("\n") <= 2
