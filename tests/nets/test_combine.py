"""Where hypotheses are decoded by one kernel, and what happens where that cannot be."""

import sys
from importlib.machinery import ModuleSpec
from types import SimpleNamespace

import pytest
import torch

from probunet.nets import combine


@pytest.fixture(autouse=True)
def asked_anew():
    combine.one_kernel_works.cache_clear()
    yield
    combine.one_kernel_works.cache_clear()


def test_without_triton_there_is_no_kernel(monkeypatch, caplog):
    monkeypatch.setattr(combine, "find_spec", lambda name: None)
    assert not combine.one_kernel_works(torch.device("cpu"))
    assert not caplog.records


def test_a_kernel_that_cannot_be_compiled_is_said_once_and_left_out(monkeypatch, caplog):
    def fails(*_):
        raise RuntimeError("Failed to find C compiler\nlonger story")

    monkeypatch.setattr(combine, "find_spec", lambda name: ModuleSpec(name, None))
    monkeypatch.setitem(sys.modules, "probunet.nets.fused", SimpleNamespace(labels_of_two=fails))
    for _ in range(2):
        assert not combine.one_kernel_works(torch.device("cpu"))
    [said] = caplog.messages
    assert said == (
        "note: hypotheses are decoded layer by layer, as Triton does not work here (Failed to find C compiler)"
    )
