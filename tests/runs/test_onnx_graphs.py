"""ONNX graphs: that they do what the model does, at any size, and that the example runs without torch."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from small_data import blob

import probunet as pu
from probunet.cli import main
from probunet.runs.onnx_graphs import write_onnx

onnxruntime = pytest.importorskip("onnxruntime")
pytest.importorskip("onnxscript")
EXAMPLE = Path(__file__).parents[2] / "examples" / "sample_onnx.py"


@pytest.fixture(scope="module")
def graphs(trained, tmp_path_factory):
    folder = tmp_path_factory.mktemp("onnx") / "graphs"
    main(["export", str(trained / "probabilistic_unet"), "--out", str(folder), "--format", "onnx"])
    return folder


def session(folder, name):
    return onnxruntime.InferenceSession(folder / f"{name}.onnx")


@pytest.mark.parametrize(("batch", "height", "width"), [(1, 32, 32), (2, 23, 48), (4, 65, 17)])
def test_logits_are_those_of_the_model(trained, graphs, batch, height, width):
    generator = torch.Generator().manual_seed(1)
    image, z = (torch.randn(batch, *rest, generator=generator) for rest in ((1, height, width), (6,)))
    with torch.inference_mode():
        distribution = pu.load(trained / "probabilistic_unet")(image)
        expected = distribution.latent.logits(z).numpy()
    features, mean, log_sigma = session(graphs, "encode").run(None, {"image": image.numpy()})
    (logits,) = session(graphs, "decode").run(None, {"features": features, "z": z.numpy()})
    assert np.abs(logits - expected).max() < 1e-4
    assert np.abs(mean - distribution.latent.prior.mean.numpy()).max() < 1e-4
    assert np.abs(log_sigma - distribution.latent.prior.stddev.log().numpy()).max() < 1e-4


def test_the_example_samples_without_torch(trained, graphs, tmp_path):
    picture = tmp_path / "image.npy"
    np.save(picture, blob(0)[0][0][:31, :29])
    code = f"import runpy, sys; sys.argv[1:] = {[str(graphs), str(picture), str(tmp_path / 'out.npy')]!r}; "
    code += f"runpy.run_path({str(EXAMPLE)!r}); assert 'torch' not in sys.modules and 'probunet' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    samples = np.load(tmp_path / "out.npy")
    assert samples.shape == (16, 31, 29)
    raw = torch.from_numpy((blob(0)[0][:, :31, :29].astype(np.float32) - 100) / 50)[None]
    noise = torch.from_numpy(np.random.default_rng(0).standard_normal((16, 6)).astype(np.float32))
    with torch.inference_mode():
        distribution = pu.load(trained / "probabilistic_unet")(raw)
        z = distribution.latent.prior.mean + distribution.latent.prior.stddev * noise
        expected = np.concatenate([distribution.latent.logits(one[None]).argmax(dim=1).numpy() for one in z])
    assert (samples != expected).mean() < 1e-3


def test_a_fixed_prior_is_standard_normal(tmp_path):
    model = pu.ProbabilisticUNet(channels=(4, 4), convolutions=1, prior="fixed").eval()
    assert write_onnx(model, tmp_path) < 1e-4
    image = np.ones((3, 1, 20, 20), np.float32)
    _, mean, log_sigma = session(tmp_path, "encode").run(None, {"image": image})
    assert mean.shape == (3, 6)
    assert not mean.any()
    assert not log_sigma.any()


def test_what_has_no_such_form_is_refused(trained, graphs, tmp_path, failing):
    out = ["--out", str(tmp_path / "out"), "--format", "onnx"]
    assert "a UNet without f_comb has no ONNX form" in failing("export", str(trained / "unet"), *out)
    assert not (tmp_path / "out").exists()
    mixture = pu.ProbabilisticUNet(channels=(4, 4), prior_family="mixture")
    with pytest.raises(pu.InputError, match="no axis-aligned Gaussian"):
        write_onnx(mixture, tmp_path)
    facts = json.loads((graphs / "probunet.json").read_text())
    assert facts["input"]["classes"] == ["background", "lesion"]
    assert facts["difference_from_pytorch"] < 1e-4
