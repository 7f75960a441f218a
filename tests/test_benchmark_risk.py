"""The benchmark of calibrated risks runs on a small model and says what it measured."""

import importlib.util
import json
import sys
from pathlib import Path

FILE = Path(__file__).parents[1] / "benchmarks" / "calibrated_risk.py"


def test_it_runs_and_says_what_it_measured(trained, store, tmp_path, monkeypatch):
    spec = importlib.util.spec_from_file_location("calibrated_risk", FILE)
    assert spec is not None
    assert spec.loader is not None
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    words = [str(trained / "probabilistic_unet"), str(store.path), "--risks", "0.5", "--halves", "3", "-n", "2"]
    monkeypatch.setattr(sys, "argv", [str(FILE), *words, "--most", "1", "--out", str(tmp_path / "risk.json")])
    benchmark.main()
    row = json.loads((tmp_path / "risk.json").read_text())[0]
    assert (row["risk"], row["images"], row["patients"]) == (0.5, 3, 3)
    for part in ("outer", "inner", "area"):
        assert 0 <= row[part]["smallest"] <= row[part]["mean"] <= row[part]["largest"] <= 1
