"""The README's commands exist, parse, and its Python runs."""

import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from probunet.cli import parse
from probunet.commands.listed import COMMANDS
from probunet.training.configurations import FOLDER

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINES = [
    (page.name, line.split("#")[0].split(" > ")[0].strip())
    for page in PAGES
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    if not language
    for line in block.splitlines()
]
COMMAND_LINES = sorted({line for _, line in LINES if line.startswith("probunet ")})


def test_the_main_commands_are_on_the_first_screen():
    first = "\n".join((ROOT / "README.md").read_text().splitlines()[:12])
    assert "make demo" in first
    assert "make test" in first


def test_make_has_the_targets_that_the_readme_names():
    makefile = (ROOT / "Makefile").read_text()
    targets = {word for _, line in LINES if line.startswith("make ") for word in line.split()[1:2]}
    assert targets >= {"demo", "test"}
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
    assert "make test" in (ROOT / ".ci" / "run").read_text()


def test_ci_runs_the_test_command_of_the_readme():
    assert (ROOT / ".ci" / "run").read_text().strip().endswith("make test")


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_commands_parse(line, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(FOLDER / "demo.yaml", "mine.yaml")  # what the command before, probunet plan, writes
    words = shlex.split(line)[1:]
    name = next(n for n in (" ".join(words[:2]), words[0]) if n in COMMANDS)
    with torch.device("meta"):  # models of full size without their weights, which take seconds
        parse(name, words[len(name.split()) :])


@pytest.fixture
def python(trained, tmp_path, monkeypatch):
    """Run the Python of a page where its commands left pictures and a run; gives the names that it left."""
    (tmp_path / "pictures").mkdir()
    np.save(tmp_path / "pictures" / "crop.npy", np.random.default_rng(0).normal(-700, 100, (1, 128, 128)))
    (tmp_path / "runs").symlink_to(trained.parent)
    monkeypatch.chdir(tmp_path)

    def run(page: Path) -> dict:
        names: dict = {}
        for code in re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL):
            exec(code.replace("runs/demo", "runs/run"), names)
        return names

    return run


def test_the_python_runs_from_top_to_bottom(python, capsys):
    python(ROOT / "README.md")
    assert len(capsys.readouterr().out.strip("[]\n").split()) == 16


def test_the_python_of_the_first_page_runs(python):
    assert python(ROOT / "docs" / "index.md")["hypotheses"].shape == (16, 1, 128, 128)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for target in re.findall(r"\]\((?!https?://)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target
