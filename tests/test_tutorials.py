"""The tutorials that train and sample: Python and commands run from top to bottom, and their own assertions hold."""

import re
import shlex
from pathlib import Path

import pytest

from probunet.cli import main

DOCS = Path(__file__).parents[1] / "docs"


@pytest.mark.parametrize(
    ("page", "needs", "blocks", "commands"),
    [
        ("start.md", [], 5, 0),
        ("series.md", ["nibabel", "highdicom"], 5, 2),
    ],
)
def test_the_tutorial_runs_from_top_to_bottom(page, needs, blocks, commands, tmp_path, monkeypatch):
    for package in needs:
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    ran = {"python": 0, "": 0}
    for kind, block in re.findall(r"^```(\w*)\n(.*?)^```", (DOCS / page).read_text(), re.DOTALL | re.MULTILINE):
        if kind == "python":
            exec(compile(block, page, "exec"), names)
            ran[kind] += 1
            continue
        for line in block.splitlines():
            main(shlex.split(line)[1:])
            ran[kind] += 1
    assert ran == {"python": blocks, "": commands}
