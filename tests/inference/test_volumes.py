"""A model of volumes on files of volumes: one image, one noise, and every voxel back where it came from."""

import json

import numpy as np
import pytest
import torch
from lidc_download import write_series
from small_data import png

import probunet as pu
from probunet.cli import main
from probunet.core.seeds import seed_of
from probunet.inference import whole as whole_module
from probunet.inference.calibrated import Calibrated
from probunet.inference.grid import Grid, Through, weighted
from probunet.inference.predictor import Predictor
from probunet.runs.calibration import Calibration, ClassPart, DataPart

SPACING = (2.0, 0.7, 0.7)
SHAPE = (5, 18, 20)
INPUT = {
    "intensity": {"unit": "HU", "offset": 0.0, "scale": 100.0},
    "crop": [4, 16, 16],
    "spacing_mm": list(SPACING),
    "classes": ["background", "lesion"],
    "title": "not given",
    "simulated": None,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """An untrained model whose hypotheses differ, and mark some voxels and others not."""
    torch.manual_seed(2)
    small = {"channels": (4, 4), "latent_dims": 2, "convolutions": 1, "combine_channels": 16}
    model = pu.ProbabilisticUNet(**small, dims=3, spacing=SPACING).eval()
    volume = torch.randn(1, 1, *SHAPE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = model(volume).logits(torch.zeros(1, 1, 2))
        model.combine.rest[-1].bias[1] -= (logits[:, :, 1] - logits[:, :, 0]).median()
    path = tmp_path_factory.mktemp("models") / "of_volumes"
    pu.save(model, path, input=INPUT)
    return path


@pytest.fixture(scope="module")
def predictor(folder):
    return Predictor.load(folder, "cpu")


@pytest.fixture(scope="module")
def values():
    return np.random.default_rng(0).integers(-300, 300, SHAPE).astype(np.int16)


def nifti(path, values, affine):
    """Values in the order (x, y, z) of NIfTI."""
    nibabel = pytest.importorskip("nibabel")
    nibabel.save(nibabel.Nifti1Image(values, affine), path)
    return path


def as_it_lies(values):
    """The axial volume (slice, row, column) as NIfTI stores it: x to the right, y to the front, z to the head."""
    stored = values[:, ::-1, ::-1].transpose(2, 1, 0)
    return stored, np.diag([0.7, 0.7, 2.0, 1.0])


def expected_labels(predictor, values, n, seed, name):
    """Straight from the model."""
    image = torch.from_numpy(values.astype(np.float32) / 100)[None, None]
    generator = torch.Generator().manual_seed(seed_of(seed, name))
    with torch.inference_mode():
        return predictor.model(image).sample(n, generator)[:, 0].numpy()


def test_a_volume_is_one_image_with_one_noise(predictor, values, tmp_path):
    prediction = predictor(nifti(tmp_path / "case.nii.gz", *as_it_lies(values)))
    expected = expected_labels(predictor, values, 6, 4, "case")
    assert 0 < expected.mean() < 1
    assert len(np.unique(expected.reshape(6, -1), axis=0)) > 1
    assert np.array_equal(prediction.sample(6, 4), expected)
    noise = prediction.noise(6, 4)
    assert np.array_equal(prediction.slice(3, noise).labels, expected[:, 3])
    shares = prediction.probabilities(noise)
    assert shares.shape == (5, 2, 18, 20)
    assert np.allclose(shares.sum(axis=1), 1, atol=1e-5)
    assert prediction.marginal(2).shape == (2, 18, 20)
    assert prediction.log_prob(expected[0]) < 0
    latent = prediction.latents(np.zeros((1, 2), np.float32))
    assert prediction.labels(latent).shape == (1, *SHAPE)


@pytest.mark.parametrize("ending", ["nii", "nrrd", "mha"])
def test_the_command_writes_hypotheses_where_the_volume_lies(folder, predictor, values, tmp_path, ending):
    """A volume stored sagittally with its axes turned: hypotheses have its affine and the order of its voxels."""
    nibabel = pytest.importorskip("nibabel")
    stored, affine = as_it_lies(values)
    turned = stored.transpose(2, 0, 1)[::-1]
    turn = np.array([[0, 1, 0, 0], [0, 0, 1, 0], [-1, 0, 0, stored.shape[2] - 1], [0, 0, 0, 1]], float)
    file = tmp_path / f"case.{ending}"
    if ending == "nii":
        nifti(file, turned, affine @ turn)
    else:
        sitk = pytest.importorskip("SimpleITK")
        image = sitk.GetImageFromArray(np.ascontiguousarray(turned.transpose(2, 1, 0)))
        to_lps = np.diag([-1.0, -1, 1, 1]) @ affine @ turn
        spacing = np.linalg.norm(to_lps[:3, :3], axis=0)
        image.SetSpacing(spacing.tolist())
        image.SetDirection((to_lps[:3, :3] / spacing).ravel().tolist())
        image.SetOrigin(to_lps[:3, 3].tolist())
        sitk.WriteImage(image, str(file))
    words = ["sample", str(folder), str(file), "-n", "3", "--seed", "4", "--format", "nifti", "--device", "cpu"]
    main([*words, "--out", str(tmp_path / "out"), "--write", "samples", "groups", "probabilities", "--above", "300"])
    expected = expected_labels(predictor, values, 3, 4, "case")
    assert np.array_equal(np.load(tmp_path / "out/case/samples.npy"), expected)
    for i, hypothesis in enumerate(expected):
        written = nibabel.load(tmp_path / f"out/case/sample-{i:03d}.nii.gz")
        assert np.allclose(written.affine, affine @ turn, atol=1e-5)
        own, _ = as_it_lies(hypothesis)
        assert np.array_equal(np.asarray(written.dataobj), own.transpose(2, 0, 1)[::-1])
    summary = json.loads((tmp_path / "out/case/summary.json").read_text())
    assert summary["shape"] == list(SHAPE)
    assert "mm3" in summary["groups"][0]
    volumes = (expected == 1).sum(axis=(1, 2, 3)) * 0.98  # mm3 of a voxel
    said = summary["volume"]["lesion"]
    assert (said["unit"], said["median"]) == ("mm3", pytest.approx(np.median(volumes), rel=1e-4))
    assert said["probability_above"] == {"300": pytest.approx((volumes > 300).mean())}
    assert said["probability_empty"] == 0


def test_a_dicom_series_has_hypotheses_in_the_order_of_its_slices(folder, predictor, tmp_path):
    pytest.importorskip("highdicom")
    import pydicom

    write_series(tmp_path / "series", "1.2.5", count=4, step=2.0, FrameOfReferenceUID="1.2.9")
    words = ["sample", str(folder), str(tmp_path / "series"), "-n", "2", "--format", "dicomseg", "--device", "cpu"]
    main([*words, "--out", str(tmp_path / "out"), "--write", "samples"])
    (out,) = (tmp_path / "out").iterdir()
    prediction, samples = predictor(tmp_path / "series"), np.load(out / "samples.npy")
    assert np.array_equal(samples, prediction.sample(2))
    slices = [pydicom.dcmread(file) for file in (tmp_path / "series").iterdir()]
    heights = sorted(float(one.ImagePositionPatient[2]) for one in slices)  # slices of a picture run to the head
    for file in out.glob("hypothesis-*.dcm"):  # one a group
        segments = pydicom.dcmread(file)
        marked = np.zeros_like(samples[0])
        for frame, pixels in zip(segments.PerFrameFunctionalGroupsSequence, _frames(segments), strict=True):
            height = float(frame.PlanePositionSequence[0].ImagePositionPatient[2])
            marked[heights.index(height)] = pixels
        assert any(np.array_equal(marked, hypothesis) for hypothesis in samples)


def _frames(segments):
    frames = segments.pixel_array
    return frames if frames.ndim == 3 else frames[None]


def test_slices_between_by_hand():
    """Three slices of 2 mm for a model of 1 mm: six slices, whose middle is theirs."""
    through = Through(3, 2.0)
    assert through.seen == 6
    slices = [np.full((1, 1), v, np.float32) for v in (0.0, 4.0, 8.0)]
    seen = [float(weighted(terms)[0, 0]) for terms in through.to_model(slices)]
    assert seen == pytest.approx([0, 1, 3, 5, 7, 8])  # at -.25 (the edge), .25, .75, 1.25, 1.75 and 2.25 slices
    back = [float(weighted(terms)[0, 0]) for terms in through.to_picture([np.full((1, 1), v) for v in range(6)])]
    # slice 0 lies at .5 of the fine ones: weights of fine slices 0 to 2 are 3, 3, 1 of 7, beyond the edge is nothing
    assert back == pytest.approx([5 / 7, 2.5, 5 - 5 / 7])
    assert [len(terms) for terms in Through(3).to_model(slices)] == [1, 1, 1]


@pytest.mark.parametrize("scale", [(2.0, 1.25), (0.6, 0.8), (1.0, 1.4)])
def test_a_ball_comes_back_where_it_was(scale):
    """From the grid of a picture to the model's and back, with other slices and other pixels."""
    through, grid = Through(24, scale[0]), Grid((32, 32), (scale[1], scale[1]))
    places = np.stack(np.mgrid[:24, :32, :32])
    moved = []
    for middle in np.random.default_rng(0).uniform((10, 14, 14), (13, 17, 17), (6, 3)):
        ball = (np.sqrt(((places - middle[:, None, None, None]) ** 2).sum(axis=0)) < 7).astype(np.uint8)
        seen = [grid.labels_to_model(piece).astype(np.float32) for piece in ball]
        fine = [(weighted(terms) > 0.5).astype(np.uint8) for terms in through.to_model(seen)]
        back = np.stack([grid.slices_to_picture(terms) for terms in through.to_picture(fine)])
        assert back.shape == ball.shape
        assert back.mean() == pytest.approx(ball.mean(), rel=0.08)
        moved.append(np.argwhere(back).mean(axis=0) - np.argwhere(ball).mean(axis=0))
    assert np.abs(np.mean(moved, axis=0)).max() < 0.1


def test_other_spacings_are_resampled_along_all_axes_and_back(predictor, values):
    prediction = predictor(values[:, None], spacing=(4.0, 1.4, 0.7), unit="HU")
    assert prediction.view.seen == (10, 36, 20)
    assert prediction.image().shape == (1, 1, 10, 36, 20)
    assert any("resampled from [4.0, 1.4, 0.7] to the model's [2.0, 0.7, 0.7] mm" in note for note in prediction.notes)
    noise = prediction.noise(3)
    labels, shares = prediction.labels(noise), prediction.probabilities(noise)
    assert labels.shape == (3, *SHAPE)
    assert np.allclose(shares.sum(axis=1), 1, atol=1e-5)
    with torch.inference_mode():
        seen = predictor.model(prediction.image()).probabilities(noise)[0].numpy()
    assert shares.mean(axis=(0, 2, 3)) == pytest.approx(seen.mean(axis=(1, 2, 3)), abs=0.02)
    with pytest.raises(pu.InputError, match="resampled"):
        prediction.log_prob(labels[0])


def test_calibrated_volumes_are_in_voxels_of_the_model_on_any_grid(predictor, values, monkeypatch):
    """Twice as thick and twice as wide: every voxel of the picture is four of the model's, here of no widening."""
    part = ClassPart(name="lesion", outer=0.4, inner=0.6, widening=0.0, empty=[(0.0, 1.0)] * 4, figures={})
    data = DataPart(
        title="", identity={}, split="test", patients=2, cases=2, readings=2, sizes=(SHAPE, SHAPE), spacing_mm=SPACING
    )
    sums = {"weights": "0" * 64, "model": "0" * 64}
    made = Calibration(
        format="probunet-calibration", version=1, **sums, risk=0.5, hypotheses=3, data=data, classes=[part]
    )
    monkeypatch.setattr(Predictor, "calibration", made)
    prediction = predictor(values[:, None], spacing=(4.0, 1.4, 0.7), unit="HU")
    calibrated = Calibrated(prediction, 0)
    outer = np.stack([said.outer[0] for said in calibrated.slices()])
    noise = calibrated.noise
    assert (outer == (prediction.probabilities(noise)[:, 1] >= 0.4)).all()
    sizes = np.log1p(4.0 * prediction.labels(noise).sum(axis=(1, 2, 3)))
    low, high = np.expm1(np.quantile(sizes, [0.25, 0.75])) / 4
    said = calibrated.facts(("mm3", 2.0))["classes"]["lesion"]["volume"]
    assert said["low"] == pytest.approx({"pixels": low, "mm3": 2 * low})
    assert said["high"] == pytest.approx({"pixels": high, "mm3": 2 * high})


def test_a_volume_in_tiles_on_the_disk_is_the_whole_one(predictor, monkeypatch):
    """Margins cover what this small network sees; memory holds a strip of slices."""
    volume = np.random.default_rng(1).integers(-300, 300, (37, 1, 18, 150)).astype(np.int16)
    prediction = predictor(volume, spacing=SPACING, unit="HU")
    noise = prediction.noise(2)
    expected, shares = prediction.labels(noise), prediction.probabilities(noise)
    monkeypatch.setattr(whole_module, "needs_tiles", lambda size: True)
    tiled = predictor(volume, spacing=SPACING, unit="HU")
    assert torch.equal(tiled.noise(2), noise)
    pieces = list(tiled.slices(noise, probabilities=True))
    assert [piece.index for piece in pieces] == list(range(37))
    assert (np.stack([piece.labels for piece in pieces], axis=1) == expected).mean() > 0.9999
    assert np.abs(np.stack([piece.probabilities for piece in pieces]) - shares).max() < 1e-5
    latent = prediction.latents(np.ones((1, 2), np.float32))
    assert (tiled.labels(latent) == prediction.labels(latent)).mean() > 0.9999
    with pytest.raises(pu.InputError, match="in tiles would take hundreds of passes"):
        tiled.marginal()


def test_a_place_in_a_volume_is_seen_alone(folder, predictor, tmp_path):
    """As many slices, rows and columns as the training had; all else is background, and no slice changes its place."""
    volume = np.random.default_rng(1).integers(-300, 300, (12, 1, 18, 24)).astype(np.int16)
    prediction = predictor(volume, spacing=SPACING, unit="HU", at=(7, 9, 20))
    assert (prediction.view.seen, prediction.view.slices) == ((4, 16, 16), range(5, 9))
    noise = prediction.noise(3)
    labels, shares = prediction.labels(noise), prediction.probabilities(noise)
    expected = predictor(volume[5:9, :, 1:17, 8:], spacing=SPACING, unit="HU").labels(noise)
    assert 0 < expected.mean() < 1
    assert np.array_equal(labels[:, 5:9, 1:17, 8:], expected)
    assert labels.sum() == expected.sum()
    assert shares.shape == (12, 2, 18, 24)
    assert (shares[[0, 4, 9, 11], 0] == 1).all()
    assert prediction.log_prob(labels[0]) < 0
    assert prediction.marginal(8)[1].any()
    assert not prediction.marginal(9)[1].any()
    thick = predictor(volume, spacing=(4.0, 0.7, 0.7), unit="HU", at=(0, 9, 20))
    assert (thick.view.seen, thick.view.slices) == ((4, 16, 16), range(2))
    assert thick.labels(noise).shape == labels.shape
    for place, words in (((12, 9, 20), "slice 12 is outside the 12 slices"), ((1,), "does not fit the model")):
        with pytest.raises(pu.InputError, match=words):
            predictor(volume, spacing=SPACING, unit="HU", at=place)
    pytest.importorskip("nibabel")
    file = nifti(tmp_path / "case.nii", *as_it_lies(volume[:, 0]))
    words = ["--at", "7", "9", "20", "-n", "2", "--format", "nifti", "--write", "samples", "sheet", "--device", "cpu"]
    main(["sample", str(folder), str(file), "--out", str(tmp_path / "out"), *words])
    drawn = np.load(tmp_path / "out/case/samples.npy")
    assert np.flatnonzero(drawn.any(axis=(0, 2, 3))).tolist() == [5, 6, 7, 8]


def test_a_model_of_slices_takes_no_slice_for_a_place(tmp_path):
    pu.save(pu.UNet(channels=(4, 4)).eval(), tmp_path / "model", input={**INPUT, "crop": [16, 16], "spacing_mm": None})
    with pytest.raises(pu.InputError, match="the place 1 9 9 does not fit the model; give row and column; it sees"):
        Predictor.load(tmp_path / "model", "cpu")(np.zeros((3, 1, 18, 20), np.int16), unit="HU", at=(1, 9, 9))


def test_what_is_no_volume_is_refused(predictor, folder, tmp_path):
    (tmp_path / "picture.png").write_bytes(png(np.zeros((32, 32), np.uint8)))
    for picture in (tmp_path / "picture.png", np.zeros((1, 32, 32), np.int16)):
        with pytest.raises(pu.InputError, match="is a single slice; the model takes volumes"):
            predictor(picture, **({} if isinstance(picture, type(tmp_path)) else {"unit": "HU"})).sample(1)
    described = json.loads((folder / "probunet.json").read_text())
    described["input"]["spacing_mm"] = [0.7, 0.7]
    (tmp_path / "wrong").mkdir()
    (tmp_path / "wrong/probunet.json").write_text(json.dumps(described))
    with pytest.raises(pu.InputError, match="gives no spacing through the plane"):
        Predictor.load(tmp_path / "wrong")


def test_grey_levels_of_a_volume_have_one_range(tmp_path, folder):
    """Slices of different brightness keep their difference."""
    described = json.loads((folder / "probunet.json").read_text())
    described["input"]["intensity"] = {"unit": "grey level", "offset": 0.0, "scale": 255.0}
    (tmp_path / "grey").mkdir()
    (tmp_path / "grey/probunet.json").write_text(json.dumps(described))
    (tmp_path / "grey/model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    volume = np.zeros((2, 1, 16, 16), np.int16)
    volume[0, 0, 0, 0], volume[1] = 100, 400
    image = Predictor.load(tmp_path / "grey", "cpu")(volume).image()[0, 0]
    assert image[0, 0, 0].item() == pytest.approx(0.25)
    assert image[1].eq(1).all()


def test_what_is_no_volume_is_refused_before_any_work(folder, tmp_path, capsys):
    np.save(tmp_path / "a.npy", np.zeros(SHAPE, np.int16))
    with pytest.raises(SystemExit, match="2"):
        main(["sample", str(folder), str(tmp_path / "a.npy"), "--out", str(tmp_path / "out"), "--above", "100", "-5"])
    assert "--above -5 is no volume" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
