"""Training, evaluation, sampling and comparison on a GPU, by the commands, of images and of volumes."""

import csv
import json
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from copies import begin
from gpu_device import DEVICE, KIND
from small_data import blob, png

from probunet.cli import main
from probunet.runs.checkpoints import read_checkpoint
from probunet.runs.run import Run

pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("default")]
SMALL = {"channels": [4, 4], "convolutions": 1}


@pytest.fixture(autouse=True)
def full_float32(monkeypatch):
    """See ``test_models``."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def settings(folder: Path, store, **trainer) -> Path:
    """Settings that train two models, with batch normalisation, augmentation and the energy score."""
    small = {**SMALL, "dims": store.dims, "in_channels": store.channels, "num_classes": len(store.classes)}
    content = {
        "out": str(folder / "out"),
        "data": {
            "store": str(store.path),
            "crop": [24, 24] if store.dims == 2 else [4, 16, 16],
            "batch_size": 2,
            "validation_images": 2,
            "augmentation": {"mirror": True, "turn": True},
        },
        "models": {
            "unet": {"class_path": "probunet.ProbabilisticUNet", "init_args": {**small, "latent_dims": 2}},
            "experts": {
                "class_path": "probunet.MixtureOfExperts",
                "init_args": {**small, "experts": 2, "draws": 1, "batch_norm": True},
            },
        },
        "optimisation": {"learning_rate": 1e-2, "schedule": "constant"},
        "energy": {"weight": 10, "samples": 2},
        "trainer": {"accelerator": KIND, "max_steps": 4, "val_check_interval": 2, "log_every_n_steps": 1, **trainer},
    }
    folder.mkdir(exist_ok=True)
    (folder / "settings.yaml").write_text(yaml.safe_dump(content))
    return folder / "settings.yaml"


@pytest.fixture(scope="module", params=["images", "volumes"])
def experiment(request, store, volumes, tmp_path_factory) -> Path:
    """Two models trained and evaluated on the GPU."""
    data = store if request.param == "images" else volumes
    file = settings(tmp_path_factory.mktemp("gpu") / request.param, data)
    main(["train", "--config", str(file)])
    main(["evaluate", str(file.parent / "out"), "--n", "1", "4", "--device", DEVICE])
    return file.parent / "out"


def on_gpu(name: str) -> bool:
    return torch.device(name).type == torch.device(DEVICE).type


def test_a_run_of_the_gpu_is_the_same_on_the_processor(experiment):
    for name in ("unet", "experts"):
        run = Run(experiment / name)
        assert on_gpu(run.training()["device"])
        evaluation = run.evaluation()
        assert on_gpu(evaluation["timing"]["device"])
        main(["evaluate", str(run.path), "--n", "1", "4", "--device", "cpu", "--seed", "0"])
        again = Run(run.path).evaluation()
        for n in ("1", "4"):
            assert again["ged2"][n]["mean"] == pytest.approx(evaluation["ged2"][n]["mean"], abs=0.02)
        here, there = run.model("cpu"), run.model(DEVICE)
        image = torch.randn(2, here.in_channels, *(12,) * (here.dims - 2), 24, 24)
        with torch.inference_mode():
            said = [
                model(image.to(d)).sample(8, torch.Generator().manual_seed(1)).cpu()
                for model, d in ((here, "cpu"), (there, DEVICE))
            ]
        assert (said[0] == said[1]).float().mean() > 0.99


def picture(experiment: Path, folder: Path) -> tuple[Path, str]:
    """A picture of the kind that the models were trained on, so large that they see it in tiles."""
    if Run(experiment / "unet").model().dims == 2:
        (folder / "large.png").write_bytes(png(np.tile(blob(1)[0][0], (18, 19))))
        return folder / "large.png", "png"
    nibabel = pytest.importorskip("nibabel")
    for channel in range(2):
        values = np.tile(blob(channel)[0][0], (6, 6))[..., None].repeat(30, axis=-1).astype(np.int16)
        image = nibabel.Nifti1Image(values, np.diag([0.5, 0.5, 2.0, 1.0]))
        image.to_filename(folder / f"large_000{channel}.nii.gz")
    return folder / "large_0000.nii.gz", "nifti"


def test_samples_a_large_picture_in_tiles_as_on_the_processor(experiment, tmp_path):
    file, form = picture(experiment, tmp_path)
    inputs = [str(file)] if form == "png" else [str(file), str(file).replace("0000", "0001")]
    drawn = []
    for device in (DEVICE, "cpu"):
        out = tmp_path / f"on-{device}"
        words = ["--out", str(out), "-n", "2", "--format", form, "--device", device, "--write", "samples", "groups"]
        main(["sample", str(experiment / "experts"), *inputs, *words, "probabilities"])
        [samples] = out.rglob("samples.npy")
        drawn.append((np.load(samples), np.load(next(out.rglob("probabilities.npy")))))
    (first, shares), (second, expected) = drawn
    assert first.shape == second.shape
    assert np.mean(first == second) > 0.99
    assert np.abs(shares - expected).max() < 0.02


def test_samples_small_pictures_together(experiment, tmp_path):
    if Run(experiment / "unet").model().dims == 3:
        pytest.skip("volumes are not put together")
    for i in range(3):
        (tmp_path / f"{i}.png").write_bytes(png(blob(i)[0][0]))
    kinds = ("samples", "groups", "probabilities", "entropy", "sheet", "likelihood", "marginal")
    drawn = []
    for device in (DEVICE, "cpu"):
        out = tmp_path / f"on-{device}"
        pictures = [str(tmp_path / f"{i}.png") for i in range(3)]
        words = ["--out", str(out), "-n", "4", "--device", device, "--write", *kinds]
        main(["sample", str(experiment / "unet"), *pictures, *words])
        drawn.append([np.load(file) for file in sorted(out.rglob("*.npy"))])
    for first, second in zip(*drawn, strict=True):
        same = first == second if first.dtype == np.uint8 else np.abs(first - second) < 0.02
        assert np.mean(same) > 0.99


@pytest.mark.parametrize("data", ["store", "volumes"])
@pytest.mark.parametrize("precision", ["bf16-mixed", "auto"])
def test_precisions(precision, data, request, tmp_path):
    file = settings(tmp_path / "trained", request.getfixturevalue(data), precision=precision)
    main(["train", "--config", str(file), "--only", "experts"])
    run = Run(tmp_path / "trained" / "out" / "experts")
    chosen = run.training()["precision"]
    if precision == "auto":
        trial = json.loads((run.path / "precision.json").read_text())
        assert on_gpu(trial["device"])
        assert set(trial["seconds"]) == {"32-true", "bf16-mixed"}
        assert chosen == trial["precision"]
    else:
        assert chosen == precision
    assert run.training()["skipped_steps"] == 0
    with next((run.path / "log").rglob("metrics.csv")).open(newline="") as log:
        losses = [float(row["train/loss"]) for row in csv.DictReader(log) if row["train/loss"]]
    assert len(losses) == 4
    assert np.isfinite(losses).all()


def test_goes_on_with_a_training(store, tmp_path):
    ends = []
    for name, steps in (("at_once", [6]), ("in_two", [4, 6])):
        file = settings(tmp_path / name, store)
        for last in steps:
            main(["train", "--config", str(file), "--only", "unet", "--trainer.max_steps", str(last)])
        ends.append(read_checkpoint(Run(tmp_path / name / "out" / "unet").last))
    assert ends[0]["global_step"] == ends[1]["global_step"] == 6
    for name, value in ends[0]["state_dict"].items():  # a GPU adds up in any order
        torch.testing.assert_close(ends[1]["state_dict"][name], value, rtol=0.05, atol=5e-3)


def test_compiled_networks_are_the_same_networks(store, tmp_path, capsys):
    ends = []
    for compiled in ("false", "true"):
        file = settings(tmp_path / compiled, store, max_steps=2)
        main(["train", "--config", str(file), "--only", "unet", "--compile", compiled])
        run = Run(tmp_path / compiled / "out" / "unet")
        assert run.training()["steps"] == 2
        ends.append(read_checkpoint(run.last)["state_dict"])
    said = " ".join(capsys.readouterr().err.split())
    if "cannot be compiled" in said:
        warnings.warn(said[said.index("note:") :][:400], stacklevel=1)
    assert ends[0].keys() == ends[1].keys()
    for name, value in ends[0].items():
        torch.testing.assert_close(ends[1][name], value, rtol=0.05, atol=0.01)


def test_compare_trains_and_evaluates_there(store, tmp_path):
    pytest.importorskip("matplotlib")
    begin()
    file = settings(tmp_path / "compared", store, max_steps=2)
    content = yaml.safe_load(file.read_text())
    if KIND == "gpu":
        del content["trainer"]["accelerator"]  # nobody asked for it
    del content["models"]["unet"]
    file.write_text(yaml.safe_dump({**content, "n": [1, 4]}))
    main(["compare", "--config", str(file), "--seeds", "0", "1"])
    for seed in (0, 1):
        run = Run(tmp_path / "compared" / "out" / f"seed_{seed}" / "experts")
        assert on_gpu(run.training()["device"])
        assert on_gpu(run.evaluation()["timing"]["device"])
    assert (tmp_path / "compared" / "out" / "seeds.csv").is_file()
