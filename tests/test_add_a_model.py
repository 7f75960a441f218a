"""The model of docs/add_a_model.md, as it is written there, through everything that takes a model."""

import re
import sys
from importlib import import_module
from pathlib import Path

import pytest
import torch

import probunet as pu
from probunet.evaluation.model_draws import score_distribution
from probunet.metrics import Convention
from probunet.objectives.energy_score import EnergyScore
from probunet.runs.onnx_graphs import write_onnx

GUIDE = Path(__file__).parents[1] / "docs/add_a_model.md"


@pytest.fixture
def kind(tmp_path, monkeypatch):
    """The class of the guide, from a file of its own."""
    (code,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), flags=re.DOTALL)
    (tmp_path / "model_of_the_guide.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    yield import_module("model_of_the_guide").Mine
    del sys.modules["model_of_the_guide"]


@pytest.fixture
def model(kind):
    torch.manual_seed(0)
    return kind(channels=(4, 6)).eval()


def test_it_trains_with_and_without_energy(kind, generator):
    model, image = kind(channels=(4, 6)), torch.randn(2, 1, 16, 16, generator=generator)
    label = (image[:, 0] > 0).to(torch.uint8)
    loss = model.loss(image, label, generator)
    score = EnergyScore(samples=2).of(loss.distribution, label[:, None], Convention(), generator)
    (loss.total + score).backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_it_runs_in_tiles_and_slices_and_is_scored(model, generator):
    image = torch.randn(1, 1, 90, 70, generator=generator)
    with torch.inference_mode():
        whole, tiles = model(image), model.tiled(image, tile=32)
        noise = whole.noise(4, generator)
        torch.testing.assert_close(tiles.probabilities(noise), whole.probabilities(noise), atol=1e-5, rtol=0)
        readers = whole.labels(noise).movedim(0, 1).numpy()
        samples, _ = score_distribution(whole, readers, [1, 4], Convention(), generator)
    assert samples.shape == (1, 4, 90, 70)
    with torch.inference_mode():  # the next slice of a volume, with the same noise
        assert torch.equal(model(image.clone()).labels(noise), whole.labels(noise))


def test_it_is_saved_and_loaded_and_has_an_onnx_form(kind, model, tmp_path, generator):
    pu.save(model, tmp_path / "saved")
    image = torch.randn(1, 1, 20, 20, generator=generator)
    other = pu.load(tmp_path / "saved", trust=[kind])
    seeds = [torch.Generator().manual_seed(1) for _ in range(2)]
    with torch.inference_mode():
        assert torch.equal(model(image).sample(3, seeds[0]), other(image).sample(3, seeds[1]))
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    assert write_onnx(model, tmp_path) < 1e-4


def test_the_page_finds_its_latent_space_and_its_f_comb(model):
    with torch.inference_mode():
        latent = model(torch.zeros(1, 1, 16, 16)).latent
    assert latent.dims == 3
    assert latent.axes is not None
    assert not latent.infers
    assert model.split.project(torch.zeros(1, 1, 16, 16)).shape == (1, 4, 16, 16)
