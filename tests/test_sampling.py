"""Hypotheses for an image file."""

import numpy as np
import pytest
from PIL import Image
from small_data import blob, png

import probunet as pu
from probunet.cli import main
from probunet.data.store import sha256


@pytest.fixture
def image(tmp_path):
    file = tmp_path / "image.png"
    file.write_bytes(png(blob(0)[0][0]))
    return file


def picture(file) -> np.ndarray:
    with Image.open(file) as opened:
        return np.asarray(opened)


def test_files_and_their_agreement(trained, image, tmp_path):
    out = tmp_path / "out"
    main(["sample", str(trained / "probabilistic_unet"), "--image", str(image), "-n", "5", "--out", str(out)])
    samples = np.load(out / "samples.npy")
    assert samples.shape == (5, 32, 32)
    assert samples.dtype == np.uint8
    for i in range(5):
        assert np.array_equal(picture(out / f"sample-{i:03d}.png"), samples[i] * 255)
    probabilities = np.load(out / "probabilities.npy")
    assert probabilities.shape == (2, 32, 32)
    assert np.allclose(probabilities.sum(axis=0), 1, atol=1e-5)
    assert picture(out / "probability-lesion.png").shape == (32, 32)
    assert picture(out / "contact_sheet.png").shape[1] > 300


def test_npy_and_png_and_python_agree(trained, image, tmp_path):
    np.save(tmp_path / "image.npy", blob(0)[0].astype(np.float64))
    for name, file in (("a", image), ("b", tmp_path / "image.npy")):
        main(["sample", str(trained / "unet"), "--image", str(file), "-n", "1", "--out", str(tmp_path / name)])
    assert sha256(tmp_path / "a" / "samples.npy") == sha256(tmp_path / "b" / "samples.npy")
    import torch

    normalised = torch.from_numpy((blob(0)[0].astype(np.float32) - 100) / 50)[None]
    expected = pu.load(trained / "unet")(normalised).sample(1)[0, 0]
    assert np.array_equal(np.load(tmp_path / "a" / "samples.npy")[0], expected)


def test_the_same_seed_gives_the_same_files(trained, image, tmp_path):
    for out, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        run, target = str(trained / "probabilistic_unet"), str(tmp_path / out)
        main(["sample", run, "--image", str(image), "--out", target, "--seed", seed])
    a, b, c = ({f.name: sha256(f) for f in (tmp_path / out).iterdir()} for out in "abc")
    assert a == b
    assert a["probabilities.npy"] != c["probabilities.npy"]


def save(file, array):
    np.save(file, array, allow_pickle=True)
    return file


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda d: save(d / "a.npy", np.full((32, 32), np.nan)), "NaN or infinite"),
        (lambda d: save(d / "a.npy", np.zeros((3, 32, 32))), "does not fit a model with 1 input channel"),
        (lambda d: save(d / "a.npy", np.zeros((8, 8))), "8x8 px is too small"),
        (lambda d: save(d / "a.npy", np.zeros((2, 2, 32, 32))), "of shape (2, 2, 32, 32)"),
        (lambda d: save(d / "a.npy", np.array([{"code": 1}])), "a.npy cannot be read"),
        (lambda d: save(d / "a.npy", np.full((32, 32), "x")), "<U1 values"),
        (lambda d: d / "nowhere.png", "nowhere.png does not exist"),
    ],
)
def test_unusable_images_are_one_sentence(trained, tmp_path, make, words, failing):
    file = make(tmp_path)
    message = failing("sample", str(trained / "unet"), "--image", str(file), "--out", str(tmp_path / "out"))
    assert words in message
    assert file.name in message
    assert not (tmp_path / "out").exists()


def test_a_truncated_picture_is_one_sentence(trained, image, tmp_path, failing):
    image.write_bytes(image.read_bytes()[:200])
    assert "image.png cannot be read" in failing(
        "sample", str(trained / "unet"), "--image", str(image), "--out", str(tmp_path / "out")
    )


def test_other_refusals(trained, image, tmp_path, failing):
    common = ["--image", str(image), "--out", str(tmp_path / "out")]
    assert "holds several models; name one of" in failing("sample", str(trained), *common)
    assert "at least 1, got 0" in failing("sample", str(trained / "unet"), *common, "-n", "0")
    (tmp_path / "out").mkdir()
    assert "exists already" in failing("sample", str(trained / "unet"), *common)


def test_load_from_python(trained):
    with pytest.raises(pu.InputError, match="several models"):
        pu.load(trained)
    assert isinstance(pu.load(trained / "probabilistic_unet"), pu.ProbabilisticUNet)
