import importlib.util
from pathlib import Path

import pytest

from probunet.metrics import FOREGROUND, Convention

PATH = Path(__file__).parents[1] / "benchmarks" / "metrics.py"


@pytest.mark.parametrize("case", ["lesions", "noise", "streets"])
def test_benchmark_runs_and_agrees_with_the_plain_loop(case):
    spec = importlib.util.spec_from_file_location("benchmark_metrics", PATH)
    bench = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(bench)
    convention = Convention(24, (0, 2, 10, 19), empty="skip") if case == "streets" else FOREGROUND
    found = bench.measure(getattr(bench, case), 1 if case == "streets" else 3, 1, convention)
    assert found["largest_difference_from_plain_loop"] < 1e-12
    assert found["seconds"] > 0
