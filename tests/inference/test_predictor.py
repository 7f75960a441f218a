"""One predictor behind the command, the page and Python: the same file, seed and place give the same bits."""

import json
import shutil

import numpy as np
import pytest
import torch
import yaml
from lidc_download import write_series
from small_data import blob, png

import probunet as pu
from probunet.cli import main
from probunet.core.seeds import seed_of
from probunet.inference.predictor import Predictor
from probunet.inference.units import in_units
from probunet.io.search import find_pictures

SEED, N = 5, 11


@pytest.fixture(scope="session")
def models(trained, tmp_path_factory):
    """A run, one with another pixel size, one of HU, and an exported folder, all with hypotheses that differ."""
    folder = tmp_path_factory.mktemp("models")
    for name, facts in (
        ("run", {}),
        ("millimetres", {"spacing_mm": [1.0, 1.0]}),
        ("hounsfield", {"intensity": {"unit": "HU", "offset": -600.0, "scale": 400.0}, "spacing_mm": [0.9, 0.9]}),
    ):
        shutil.copytree(trained / "probabilistic_unet", folder / name)
        file = folder / name / "run.yaml"
        settings = yaml.safe_load(file.read_text())
        settings["input"].update(facts)
        file.write_text(yaml.safe_dump(settings))
    main(["export", str(folder / "run"), "--out", str(folder / "exported")])
    return folder


def write_inputs(folder):
    """A PNG, a NIfTI volume of other pixels than the model's, a DICOM slice and a DICOM series."""
    nibabel = pytest.importorskip("nibabel")
    folder.mkdir()
    (folder / "picture.png").write_bytes(png(blob(0, 48)[0][0]))
    place = np.array([[-0.6, 0, 0, 5], [0, 0.6, 0, 6], [0, 0, 2.0, 7], [0, 0, 0, 1]])
    volume = np.stack([blob(i, 48)[0][0] for i in range(3)], axis=-1).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(volume, place), folder / "volume.nii.gz")
    write_series(folder / "slice", "1.2.3", count=1)
    write_series(folder / "series", "1.2.4", count=3)
    return folder


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    return write_inputs(tmp_path_factory.mktemp("inputs") / "in")


def from_command(model, source, at, out):
    words = ["sample", str(model), str(source), "-n", str(N), "--seed", str(SEED), "--format", "npy", "--out", str(out)]
    main([*words, "--write", "samples", "probabilities", "--device", "cpu"] + (["--at", *map(str, at)] if at else []))
    (folder,) = out.iterdir()
    return np.load(folder / "samples.npy"), np.load(folder / "maps/probabilities.npy")


def from_page(model, source, at):
    pytest.importorskip("fastapi")
    pytest.importorskip("httpx2")
    from starlette.testclient import TestClient

    from probunet.explore.app import make_app
    from probunet.explore.cases import Cases, cases_of
    from probunet.explore.engine import Engine
    from probunet.explore.guard import LOOPBACK
    from probunet.runs.trained import open_model

    app = make_app(Engine(open_model(model), "cpu"), Cases(cases_of(source, "test")), LOOPBACK)
    client = TestClient(app, base_url="http://127.0.0.1")
    labels, shares = [], []
    facts = client.get("/api/cases/0").json()
    for index in range(facts["slices"]):
        query = f"slice={index}&row={at[0]}&column={at[1]}&n={N}&seed={SEED}"
        for path, dtype, kept in (("labels", np.uint8, labels), ("probabilities", "<f4", shares)):
            answer = client.get(f"/api/cases/0/{path}?{query}")
            assert answer.status_code == 200, answer.text
            shape = tuple(map(int, answer.headers["x-shape"].split(",")))
            kept.append(np.frombuffer(answer.content, dtype).reshape(shape))
    return (
        np.stack(labels, axis=1),
        np.stack(shares),
        client.get(f"/api/cases/0?row={at[0]}&column={at[1]}").json()["field"],
    )


@pytest.mark.parametrize("source", ["picture.png", "volume.nii.gz", "slice", "series"])
@pytest.mark.parametrize("model", ["run", "millimetres", "hounsfield", "exported"])
def test_command_page_and_python_give_the_same_bits(models, inputs, tmp_path, model, source):
    if model == "hounsfield" and source == "picture.png":
        with pytest.raises(pu.InputError, match=r"picture\.png: .*8-bit grey levels"):
            Predictor.load(models / model)(inputs / source).sample(1)
        return
    torch.manual_seed(len(source))  # the global generator is nobody's source
    prediction = Predictor.load(models / model, "cpu")(inputs / source, at=(20, 30))
    samples, shares = from_command(models / model, inputs / source, (20, 30), tmp_path / "out")
    noise = prediction.noise(N, SEED)
    assert np.array_equal(prediction.labels(noise), samples)
    assert np.array_equal(prediction.sample(N, SEED), samples)
    assert np.array_equal(prediction.probabilities(noise), shares)
    labels, marginals, field = from_page(models / model, inputs / source, (20, 30))
    assert field == vars(prediction.view.field)
    top, left, height, width = field["top"], field["left"], field["height"], field["width"]
    assert np.array_equal(samples[..., top : top + height, left : left + width], labels)
    assert np.array_equal(shares[..., top : top + height, left : left + width], marginals)
    assert prediction.view.grid.same == (model in ("run", "exported") or source == "picture.png")
    whole = Predictor.load(models / model, "cpu")(inputs / source).sample(N, SEED)
    assert np.array_equal(whole, from_command(models / model, inputs / source, None, tmp_path / "whole")[0])


def test_the_network_runs_once_a_slice_and_noise_is_drawn_once(models, inputs):
    predictor, runs = Predictor.load(models / "run", "cpu"), []
    predictor.model.unet.register_forward_hook(lambda *_: runs.append(1))
    prediction = predictor(inputs / "picture.png")
    noise = prediction.noise(4)
    labels = prediction.labels(noise)
    prediction.probabilities(noise)
    prediction.log_prob(labels[0])
    prediction.marginal()
    assert len(runs) == 1
    runs.clear()
    assert len(list(predictor(inputs / "volume.nii.gz").slices(noise, probabilities=True))) == 3
    assert len(runs) == 3


def test_a_name_is_part_of_the_seed(models, inputs, tmp_path):
    """Two pictures of the same pixels draw different noise, and the same wherever they lie."""
    predictor = Predictor.load(models / "run", "cpu")
    shutil.copy(inputs / "picture.png", tmp_path / "picture.png")
    shutil.copy(inputs / "picture.png", tmp_path / "other.png")
    noises = [predictor(file).noise(3, 1) for file in (inputs / "picture.png", tmp_path / "picture.png")]
    assert torch.equal(*noises)
    assert not torch.equal(noises[0], predictor(tmp_path / "other.png").noise(3, 1))
    generator = torch.Generator().manual_seed(seed_of(1, "picture"))
    image = torch.from_numpy((blob(0, 48)[0].astype(np.float32) - 100) / 50)[None]
    with torch.inference_mode():
        assert torch.equal(predictor.model(image).noise(3, generator), noises[0])


def test_arrays_with_their_pixel_size_and_unit(models, inputs):
    """An array is a picture like the file that holds it, apart from its name."""
    picture = find_pictures([inputs / "series"])[0]
    values = picture.values()
    predictor = Predictor.load(models / "hounsfield", "cpu")
    prediction = predictor(values, spacing=picture.spacing_mm, unit="HU")
    noise = prediction.noise(4, 2)
    assert np.array_equal(prediction.labels(noise), predictor(picture).labels(noise))
    assert "resampled" in prediction.notes[0]
    one = predictor(values[0], spacing=picture.spacing_mm[1:], unit="HU")
    assert np.array_equal(one.labels(noise)[:, 0], prediction.labels(noise)[:, 0])
    with pytest.raises(pu.InputError, match="unit='HU'"):
        predictor(values)
    with pytest.raises(pu.InputError, match="no pixel size"):
        predictor(values, spacing=(0.0, 1.0), unit="HU")
    with pytest.raises(pu.InputError, match="a file says them itself"):
        predictor(inputs / "picture.png", unit="HU")
    with pytest.raises(pu.InputError, match=r"has 2 channel\(s\), the model takes 1"):
        predictor(np.zeros((2, 32, 32)), unit="HU")


@pytest.mark.parametrize(
    ("raw", "unit", "wanted", "words"),
    [
        (np.uint8([[0, 255]]), "", "HU", "8-bit grey levels"),
        (np.uint16([[24, 1064]]), "", "HU", "unsigned numbers, which have no place for air"),
        (np.int32([[40, 64512]]), "", "HU", "reach 64512"),
        (np.float32([[-1.05, 0.5]]), "", "HU", "as if normalised"),
        (np.int16([[0, 100]]), "grey level", "HU", "these are grey level"),
        (np.int16([[0, 900]]), "raw value", "HU", "these are no HU, as their file says"),
        (np.int16([[0, 300]]), "grey level", "grey level", "these from 0 to 300"),
        (np.uint8([[0, 255]]), "", "grey level, 0 to 1", "run from 0 to 255"),
        (np.int16([[-1000, 300]]), "HU", "raw value", "trained on raw value"),
    ],
)
def test_units_that_cannot_be_the_models_are_refused(raw, unit, wanted, words):
    with pytest.raises(pu.InputError, match=words):
        in_units(raw, unit, wanted)


def test_units_that_can_be():
    values, note = in_units(np.int16([[-3024, -1024, 40]]), "HU", "HU")
    assert (values.tolist(), note) == ([[-1024, -1024, 40]], "")  # padding is no value that training had
    values, note = in_units(np.float32([[-2000.5, 3.25]]), "", "HU")
    assert values.tolist() == [[-1024, 3.25]]
    assert "unit not known" in note
    assert in_units(np.uint8([[0, 255]]), "", "grey level")[0].tolist() == [[0, 255]]
    values, note = in_units(np.uint16([[100, 300, 500]]), "", "grey level")
    assert values.tolist() == [[0, 127.5, 255]]
    assert "range as 0 to 255" in note
    assert in_units(np.float32([[0.25, 1]]), "", "grey level, 0 to 1")[0].tolist() == [[0.25, 1]]
    assert in_units(np.float32([[-5, 900]]), "raw value", "MR signal")[0].tolist() == [[-5, 900]]


def test_where_there_is_nothing_to_see_a_note_says_so(models):
    predictor = Predictor.load(models / "hounsfield")
    ramp = np.arange(2 * 16 * 16).reshape(2, 1, 16, 16).astype(np.int16)
    ramp[1] = -1000
    for values, said in ((ramp[1], "the picture has"), (ramp, "there are slices that have"), (ramp[0], None)):
        prediction = predictor(values, unit="HU")
        prediction.sample(1)
        notes = [note for note in prediction.notes if "nothing to see" in note]
        assert notes == ([f"{said} a single value where the model looks; there is nothing to see"] if said else [])


def test_large_pictures_go_in_tiles_and_give_the_same(models, monkeypatch):
    import probunet.inference.slices as module

    values = np.tile(blob(3)[0], (1, 3, 4))
    predictor = Predictor.load(models / "run", "cpu")
    whole = predictor(values)
    noise = whole.noise(9)
    expected = whole.labels(noise), whole.probabilities(noise)
    monkeypatch.setattr(module, "needs_tiles", lambda size: max(size) > 64)
    tiled = predictor(values)
    assert tiled.tiled
    assert (tiled.labels(noise) == expected[0]).mean() > 0.9999
    assert np.abs(tiled.probabilities(noise) - expected[1]).max() < 1e-4


def test_a_summary_names_what_was_done(models, inputs, tmp_path):
    from_command(models / "hounsfield", inputs / "series", None, tmp_path / "out")
    (folder,) = (tmp_path / "out").iterdir()
    summary = json.loads((folder / "summary.json").read_text())
    assert any("resampled from" in note for note in summary["notes"])
    assert summary["probabilities"] == f"of these {N} hypotheses"


def test_what_python_passes_is_taken_whole_or_refused(models, inputs):
    predictor = pu.Predictor.load(models / "run")
    prediction = predictor(inputs / "picture.png")
    with pytest.raises(pu.InputError, match=r"float64 labels .* give class ids"):
        prediction.log_prob(np.full(prediction.shape, 0.5))
    with pytest.raises(pu.InputError, match="masked array"):
        predictor(np.ma.masked_less(np.ones((1, 32, 32)), 2))
    with pytest.raises(pu.InputError, match="Tensor is no picture"):
        predictor(torch.zeros(1, 32, 32))
    for spacing in (1.0, (1.0,), (1.0, 0.0), "1 1"):
        with pytest.raises(pu.InputError, match="is no pixel size"):
            predictor(np.ones((1, 32, 32)), spacing=spacing)
    for at, size in (((10.5, 9), None), ((10, 9), (16.0, 16))):
        with pytest.raises(pu.InputError, match="not in whole pixels"):
            predictor(inputs / "picture.png", at=at, size=size)
    for size in ((16,), (-16, 16), (16, 16, 16)):
        with pytest.raises(pu.InputError, match="is no height and width of the model"):
            predictor(inputs / "picture.png", at=(10, 9), size=size)
    for batch in (
        np.zeros((1, 1, 32, 32)),
        None,
        torch.zeros(0, 1, 32, 32),
        torch.zeros(1, 1, 32, 32, dtype=torch.bool),
    ):
        with pytest.raises(pu.InputError, match="an image batch of"):
            predictor.model(batch)
