"""docs/python.md: every block runs, in its order, and does what the page says."""

import re
from pathlib import Path

import numpy as np

import probunet as pu

PAGE = Path(__file__).parents[1] / "docs" / "python.md"


def test_the_page_runs_from_top_to_bottom(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    assert len(blocks) == 7
    names: dict = {}
    for block in blocks:
        exec(compile(block, str(PAGE), "exec"), names)
    assert (tmp_path / "runs/discs/ProbabilisticUNet/run.yaml").is_file()
    store, run = names["store"], names["run"]
    assert len(store.patients()) == 30
    assert store.reader_names == ("Ada", "Ben", "Cleo", "Dan")
    assert run.training()["steps"] == 20
    assert run.spacing_mm == (0.5, 0.5)
    assert sorted(names["result"].ged2) == [4]
    assert np.isin(names["hypotheses"], [0, 1]).all()
    assert isinstance(pu.load("lesions"), pu.ProbabilisticUNet)
    loop = blocks[-1].splitlines()
    assert loop.index("    distance.reset(), model.train()") - loop.index("for epoch in range(2):") < 15
