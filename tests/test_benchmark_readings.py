"""The store whose images keep some of their readings."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from probunet.data.store import Store

FILE = Path(__file__).parents[1] / "benchmarks" / "few_readings.py"


def test_training_images_keep_one_reading_and_test_images_all(store, tmp_path):
    words = [sys.executable, FILE, store.path, tmp_path / "one", "--readings", "1"]
    subprocess.run(words, check=True, capture_output=True, timeout=120)  # as it is typed: a worker imports no script
    one = Store(tmp_path / "one")
    assert [case.name for case in one.cases] == [case.name for case in store.cases]
    for row, case in enumerate(one.cases):
        assert one.present[row].sum() == (store.present[row].sum() if case.split == "test" else 1)
        kept = one.present[row]
        assert np.array_equal(one.labels[row][kept], store.labels[row][kept])
    assert np.array_equal(one.images, store.images)
    assert one.manifest["spacing_mm"] == store.manifest["spacing_mm"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--readings", "0"], "at least one reading"),
        (["--readings", "-1"], "at least one reading"),
        (["--seed", "-3"], "a seed from 0"),
        ([], "exists already"),
    ],
)
def test_what_is_refused(store, tmp_path, words, said):
    out = tmp_path / "one" if words else tmp_path
    done = subprocess.run([sys.executable, FILE, store.path, out, *words], capture_output=True, text=True, timeout=120)
    assert done.returncode == 2
    assert said in done.stderr
    assert not (tmp_path / "one").exists()
