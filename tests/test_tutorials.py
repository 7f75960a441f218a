"""The tutorials are notebooks: each has the code of its page, runs from top to bottom, and does what the page says."""

import json
import re
import shlex
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
import yaml
from notebooks import notebook, place

import probunet as pu
from probunet.cli import main

DOCS = Path(__file__).parents[1] / "docs"
SITE = yaml.safe_load((DOCS.parent / "mkdocs.yml").read_text(encoding="utf-8"))
TUTORIALS = SITE["extra"]["notebooks"]


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Run the cells of a notebook in an empty folder; gives the names that they left."""
    monkeypatch.chdir(tmp_path)

    def cells(page: str) -> dict[str, Any]:
        names: dict[str, Any] = {"__name__": "__main__"}
        for cell in notebook(DOCS / page).cells:
            if cell.cell_type == "code" and cell.source.startswith("!"):
                for line in cell.source.splitlines():
                    main(shlex.split(line)[1:])
            elif cell.cell_type == "code":
                exec(compile(cell.source, page, "exec"), names)
        return names

    return cells


@pytest.mark.parametrize("page", TUTORIALS)
def test_a_notebook_has_all_code_of_its_page_and_no_other(page):
    text = (DOCS / page).read_text(encoding="utf-8")
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    written = [line for language, block in blocks if language in ("python", "") for line in block.splitlines()]
    made = notebook(DOCS / page)
    code = [
        line.removeprefix("!") for cell in made.cells if cell.cell_type == "code" for line in cell.source.split("\n")
    ]
    assert code == written
    assert "python" in dict(blocks)
    prose = "\n".join(cell.source for cell in made.cells if cell.cell_type == "markdown")
    assert set(re.findall(r"^## .*", text, re.MULTILINE)) <= {*prose.splitlines()}
    assert not re.search(r"\]\((?!https?:)", prose)  # a page that does not lie beside a downloaded notebook
    assert notebook(DOCS / page) == made
    assert nbformat.reads(nbformat.writes(made), 4) == made


def test_the_site_offers_what_is_listed():
    assert "scripts/notebooks.py" in SITE["hooks"]
    tutorials = [name for entry in SITE["nav"] for name in entry.get("Tutorials", ())]
    assert set(TUTORIALS) <= {page for entry in tutorials for page in entry.values()}
    assert place("start.md") == "notebooks/start.ipynb"


def test_scoring_any_tools_samples(run, tmp_path):
    names = run("score.md")
    rows = json.loads((tmp_path / "scores.json").read_text())["scores"]["samples"]
    [mean] = [row["mean"] for row in rows if row["metric"] == "ged2" and row["n"] == 16]
    assert mean == pytest.approx(float(names["score"].value.mean()), abs=1e-6)


def test_own_readers(run, tmp_path):
    names = run("own_readers.md")
    assert (tmp_path / "readers/readers.html").is_file()
    assert (tmp_path / "runs/mine/report.html").is_file()
    assert sum(group["frequency"] for group in names["summary"]["groups"]) == pytest.approx(1)


def test_from_python(run, tmp_path):
    names = run("python.md")
    assert (tmp_path / "runs/discs/ProbabilisticUNet/run.yaml").is_file()
    store, training = names["store"], names["run"]
    assert len(store.patients()) == 30
    assert store.reader_names == ("Ada", "Ben", "Cleo", "Dan")
    assert training.training()["steps"] == 20
    assert training.spacing_mm == (0.5, 0.5)
    assert sorted(names["result"].ged2) == [4]
    assert np.isin(names["hypotheses"], [0, 1]).all()
    assert isinstance(pu.load("lesions"), pu.ProbabilisticUNet)


def test_from_published_weights_to_own_data(run):
    assert run("start.md")["tuned"].path.is_dir()


def test_a_series_to_volumes_and_back(run):
    pytest.importorskip("nibabel")
    pytest.importorskip("highdicom")
    assert len(run("series.md")["read"]) == 8


def test_what_the_energy_score_does(run, tmp_path, capsys):
    pytest.importorskip("matplotlib").use("Agg")
    names = run("energy_score.md")
    said = capsys.readouterr().out
    text = (DOCS / "energy_score.md").read_text(encoding="utf-8")
    for comment in re.findall(r"  # (2 x .*)$", text, re.MULTILINE):
        assert comment in said  # by hand for the readers: two distances of discs and 1 to the empty map
    empty = {name: (maps.sum(dim=(1, 2)) == 0).float().mean() for name, maps in names["drawn"].items()}
    assert empty["distance alone"] < 0.05
    assert 0.15 < empty["energy score"] < 0.35
    assert (tmp_path / "energy_score.png").stat().st_size > 10_000


def test_adding_a_model(run):
    assert isinstance(run("add_a_model.md")["Mine"](channels=(4, 6)), pu.SegmentationModel)
