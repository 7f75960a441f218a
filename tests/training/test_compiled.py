"""Compiled networks: the same training, and a note instead of a failure where there is no compiler."""

from functools import partialmethod

import pytest
import torch
from torch import nn

from probunet.cli import main
from probunet.runs.checkpoints import read_checkpoint
from probunet.runs.run import Run

# of Lightning, and of torch's compiler about its own parts
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::DeprecationWarning", "ignore::FutureWarning")


def trained_weights(file, out, *arguments: str) -> dict[str, torch.Tensor]:
    only = ["--only", "probabilistic_unet", "--trainer.max_steps", "3"]
    main(["train", "--config", str(file), "--out", str(out), *only, *arguments])
    run = Run(out / "probabilistic_unet")
    assert run.training()["steps"] == 3
    return read_checkpoint(run.last)["state_dict"]


def test_where_there_is_no_compiler_a_note_says_so_and_nothing_changes(experiment_file, tmp_path, monkeypatch, capsys):
    usual = trained_weights(experiment_file, tmp_path / "usual")
    assert "note" not in capsys.readouterr().err
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", ("no-such-compiler",))
    monkeypatch.setattr("torch._inductor.config.force_disable_caches", True)
    found = trained_weights(experiment_file, tmp_path / "compiled", "--compile", "true")
    told = " ".join(capsys.readouterr().err.split())
    assert "note: the networks cannot be compiled here and run as they are" in told
    assert all(torch.equal(found[name], value) for name, value in usual.items())


def test_networks_are_compiled_and_the_training_stays_the_same(experiment_file, tmp_path, monkeypatch, capsys):
    compiled = []

    def backend(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> object:
        """Runs what it is given as it is: quick, and to the last digit the same."""
        compiled.append(graph)
        return graph.forward

    usual = trained_weights(experiment_file, tmp_path / "usual")
    monkeypatch.setattr(nn.Module, "compile", partialmethod(nn.Module.compile, backend=backend))
    found = trained_weights(experiment_file, tmp_path / "compiled", "--compile", "true")
    assert "note" not in capsys.readouterr().err
    assert len(compiled) >= 3  # U-Net, prior net, posterior net
    assert found.keys() == usual.keys()
    for name, value in usual.items():
        torch.testing.assert_close(found[name], value)
