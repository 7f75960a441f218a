"""The speed benchmarks run and measure the same thing on both sides; their times are never a matter of tests."""

import json
from pathlib import Path

import pytest
import torch
from copies import script

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


def measured(name: str, *arguments: str) -> dict:
    code, printed, said = script(BENCHMARKS / name, *arguments).end(120)
    assert code == 0, said
    return json.loads(printed)


def test_train_step():
    small = ("--size", "32", "--batch", "2", "--channels", "4", "8", "--matrix", "256")
    found = measured("train_step.py", *small, "--repeats", "1")
    assert found["times_textbook_bf16"] == pytest.approx(found["textbook_seconds"] / found["step_seconds_bf16"])
    assert found["step_gflop"] > 0
    assert found["data_over_step"] > 0


def test_sampling():
    found = measured("sampling.py", "--size", "32", "--channels", "4", "8", "--numbers", "1", "3", "--repeats", "1")
    assert found["memory"]["3"]["labels_mib"] == 3 * 32 * 32 / 2**20
    assert found["over_encoding"]["3"] == pytest.approx(found["seconds"]["hypotheses_3"] / found["seconds"]["encoding"])


def test_the_textbook_version_is_the_same_network(monkeypatch):
    """Same parameters apart from the form of two layers, so that both sides of a ratio do the same arithmetic."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from textbook import Textbook

    from probunet import ProbabilisticUNet

    ours, theirs = (
        sum(p.numel() for p in model.parameters())
        for model in (ProbabilisticUNet(channels=[4, 8, 16]), Textbook(1, 2, [4, 8, 16]))
    )
    assert ours == theirs
    image, label = torch.randn(2, 1, 32, 32), torch.zeros(2, 32, 32, dtype=torch.uint8)
    assert torch.isfinite(Textbook(1, 2, [4, 8, 16]).loss(image, label))


def test_a_store_is_opened_and_its_first_volume_loaded(monkeypatch, volumes):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from store_open import opened

    found = opened(volumes.path, 1)
    assert found["cases"] == len(volumes.indices("test"))
    assert found["open_ms"] > 0


def test_products_are_the_arithmetic_of_a_profile(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    from profile_step import profiled

    numbers = torch.randn(64, 64)
    products, sums = (profiled(step, 2) for step in (lambda: numbers @ numbers, lambda: numbers + numbers))
    assert products["share_of_arithmetic"] > 0.5
    assert sums["share_of_arithmetic"] == 0
    assert set(sums["shares"]) == {"aten::add"}
