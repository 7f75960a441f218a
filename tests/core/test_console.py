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
