"""Models that come with the package: small, described, usable right away, and the same on every machine."""

import tomllib
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import probunet as pu
from probunet.cli import main
from probunet.runs.published import FOLDER, published

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


def crop(size: int = 128) -> np.ndarray:
    """A bright round spot with a soft edge on dark stripes, (size, size) uint8, from whole numbers alone."""
    row, column = np.indices((size, size)) - size // 2
    spot = 200 - (row**2 + (column - 2) ** 2) * 2
    stripes = 20 + (3 * row + 5 * column) % 41
    values = np.maximum(spot, stripes)
    values[0, 0], values[size // 2, size // 2] = 0, 255
    return np.clip(values, 0, 255).astype(np.uint8)


def slice_in_hu(size: int = 64) -> np.ndarray:
    """A round spot with a soft edge in lung, (size, size) int16 HU, from whole numbers alone."""
    row, column = np.indices((size, size)) - size // 2
    return np.maximum(80 - (row**2 + (column - 2) ** 2) * 9, -860 + (3 * row + 5 * column) % 41).astype(np.int16)


@pytest.mark.parametrize("name", published())
def test_its_folder_is_small_and_says_what_it_is(name):
    assert (FOLDER / name / "model.safetensors").stat().st_size <= 3_000_000
    card = (FOLDER / name / "README.md").read_text()
    values = {"lidc-crops": "0 to 255", "lidc-demo": "simulated CT"}[name]
    for words in ("CC BY 4.0", "LIDC-IDRI", "not for diagnosis", "D²_GED", "perfect model", "seed 0", values):
        assert words in card
    described = (FOLDER / name / "probunet.json").read_text()
    assert "/tmp" not in described
    assert "/work" not in described


def test_the_wheel_takes_them_along():
    with (ROOT / "pyproject.toml").open("rb") as file:
        patterns = tomllib.load(file)["tool"]["setuptools"]["package-data"]["probunet"]
    package = Path(pu.__file__).parent
    for file in FOLDER.glob("*/*"):
        assert any(fnmatch(str(file.relative_to(package)), pattern) for pattern in patterns)
    assert published() == ["lidc-crops", "lidc-demo"]


def test_its_hypotheses_are_the_stored_ones(tmp_path, monkeypatch):
    """By command and from Python; a pixel in a thousand may differ from machine to machine."""
    monkeypatch.chdir(tmp_path)
    Image.fromarray(crop()).save("crop.png")
    main(["sample", "lidc-crops", "crop.png", "-n", "8", "--seed", "1", "--out", "out", "--format", "npy"])
    labels = np.load("out/crop/samples.npy")
    assert labels.shape == (8, 1, 128, 128)
    assert not labels[:, :, :32].any()
    assert not labels[..., 96:].any()  # the middle 64x64 px alone are looked at
    stored = np.unpackbits(np.load(HERE / "lidc_crops_labels.npy")).reshape(8, 1, 64, 64)
    assert 0 < stored.mean() < 0.5
    seen = labels[..., 32:96, 32:96]
    assert (seen != stored).mean() < 1e-3
    model = pu.from_pretrained("lidc-crops")
    assert model(model.normalise(torch.from_numpy(crop()[None, None, 32:96, 32:96]))).shape == (1, 64, 64)
    assert (pu.Predictor.load("lidc-crops", device="cpu")("crop.png").sample(8, seed=1) == labels).all()


def test_the_hypotheses_of_the_demo_are_the_stored_ones(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("slice.npy", slice_in_hu())
    main(["sample", "lidc-demo", "slice.npy", "-n", "8", "--seed", "1", "--out", "out", "--format", "npy"])
    labels = np.load("out/slice/samples.npy")
    stored = np.unpackbits(np.load(HERE / "lidc_demo_labels.npy")).reshape(8, 1, 64, 64)
    assert 0 < stored.mean() < 0.5
    assert len(np.unique(stored.sum(axis=(1, 2, 3)))) > 1
    assert (labels != stored).mean() < 1e-3


def test_a_picture_that_was_scaled_in_another_way_is_refused(tmp_path, failing):
    Image.fromarray(crop() // 2).save(tmp_path / "dark.png")
    told = failing("sample", "lidc-crops", str(tmp_path / "dark.png"), "--out", str(tmp_path / "out"))
    assert "dark.png" in told
    assert "run from 0 to 127" in told
    assert not (tmp_path / "out").exists()


def test_the_page_opens_it_by_its_name(tmp_path):
    pytest.importorskip("fastapi")
    pytest.importorskip("httpx2")
    from starlette.testclient import TestClient

    from probunet.explore.app import make_app
    from probunet.explore.cases import Cases, cases_of
    from probunet.explore.engine import Engine
    from probunet.explore.guard import LOOPBACK
    from probunet.runs.trained import open_model

    Image.fromarray(crop()).save(tmp_path / "crop.png")
    app = make_app(Engine(open_model("lidc-crops"), "cpu"), Cases(cases_of(tmp_path, "test")), LOOPBACK)
    answer = TestClient(app, base_url="http://127.0.0.1").get("/api/cases/0/labels?n=2&seed=1")
    assert answer.status_code == 200
    assert answer.headers["x-shape"] == "2,64,64"
