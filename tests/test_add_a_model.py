"""The model of docs/add_a_model.md, as it is written there, through everything that takes a model."""

import re
import sys
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from probunet.cli import main
from probunet.evaluation.model_scores import Question, evaluate_run
from probunet.runs.guest import invite
from probunet.runs.onnx_graphs import write_onnx
from probunet.runs.run import Run
from probunet.runs.trained import open_model

GUIDE = Path(__file__).parents[1] / "docs/add_a_model.md"


@pytest.fixture
def kind(tmp_path, monkeypatch):
    """The class of the guide, from a file of its own."""
    code, _ = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), flags=re.DOTALL)
    (tmp_path / "model_of_the_guide.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    yield import_module("model_of_the_guide").Mine
    del sys.modules["model_of_the_guide"]


@pytest.fixture
def model(kind):
    torch.manual_seed(0)
    return kind(channels=(4, 6)).eval()


TRAINING = """
out: {out}
data: {{store: {store}, crop: 24, batch_size: 4, validation_images: 2, augmentation: {{probability: 0}}}}
models:
  mine: {{class_path: model_of_the_guide.Mine, init_args: {{channels: [4, 6]}}}}
trainer: {{accelerator: cpu, max_steps: 2, val_check_interval: 2, log_every_n_steps: 1}}
"""


def test_it_goes_through_every_command(kind, store, tmp_path):
    out, mine = tmp_path / "run", str(tmp_path / "run" / "mine")
    (tmp_path / "training.yaml").write_text(TRAINING.format(out=out, store=store.path))
    trust = ["--trust", "model_of_the_guide"]
    main(["train", "--config", str(tmp_path / "training.yaml"), *trust])
    main(["evaluate", str(out), "--n", "1", "2", *trust])
    main(["report", str(out), *trust])
    assert "mine" in (out / "report.html").read_text()
    Image.fromarray(np.full((24, 24), 100, np.uint8)).save(tmp_path / "crop.png")
    main(["sample", mine, str(tmp_path / "crop.png"), "-n", "2", "--out", str(tmp_path / "hypotheses"), *trust])
    assert np.load(tmp_path / "hypotheses" / "crop" / "samples.npy").shape == (2, 1, 24, 24)
    main(["export", mine, "--out", str(tmp_path / "exported"), *trust])
    guest = invite(tmp_path / "both" / "mine", open_model(tmp_path / "exported", [kind]), "exported", store.path, 24)
    assert evaluate_run(guest, store, Question("test", (1, 2)), "cpu")["scores"] == Run(mine).evaluation()["scores"]


def test_it_has_an_onnx_form(model, tmp_path):
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
