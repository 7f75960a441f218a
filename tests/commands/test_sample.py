"""Hypotheses for image files: what is written, on which grid, in which units, and what is refused."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
from lidc_download import ct_slice, write_series
from lidc_download import save as save_dicom
from PIL import Image
from small_data import blob, full_disk, png

import probunet as pu
from probunet.cli import main
from probunet.core.files import sha256
from probunet.inference.predictor import Predictor
from probunet.runs.run import Run


@pytest.fixture
def image(tmp_path):
    file = tmp_path / "image.png"
    file.write_bytes(png(blob(0)[0][0]))
    return file


def picture(file) -> np.ndarray:
    with Image.open(file) as opened:
        return np.asarray(opened)


def summary(folder) -> dict:
    return json.loads((folder / "summary.json").read_text())


def run_sample(model, *words) -> None:
    main(["sample", str(model), *map(str, words)])


ALL = ["--write", "samples", "groups", "probabilities", "entropy", "sheet", "likelihood", "marginal"]


def test_files_and_their_agreement(trained, image, tmp_path):
    run_sample(trained / "probabilistic_unet", image, "-n", 5, "--out", tmp_path / "out", *ALL)
    out = tmp_path / "out" / "image"
    samples = np.load(out / "samples.npy")
    assert samples.shape == (5, 1, 32, 32)
    assert samples.dtype == np.uint8
    for i in range(5):
        assert np.array_equal(picture(out / f"sample-{i:03d}.png"), samples[i, 0])  # class ids
    assert {f.name for f in out.iterdir()} == {
        *(f"sample-{i:03d}.png" for i in range(5)),
        *("samples.npy", "summary.json", "maps"),
    }
    probabilities, entropy = np.load(out / "maps/probabilities.npy"), np.load(out / "maps/entropy.npy")
    assert probabilities.shape == np.load(out / "maps/marginal.npy").shape == (1, 2, 32, 32)
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert np.allclose(entropy, -(probabilities * np.log(probabilities)).sum(axis=1), atol=1e-4)
    grey = picture(out / "maps/probability-lesion.png")
    assert np.array_equal(grey, (probabilities[0, 1] * 255).round())
    assert picture(out / "maps/contact_sheet.png").shape[1] > 300
    facts = summary(out)
    assert sum(group["frequency"] for group in facts["groups"]) == pytest.approx(1)
    first = facts["groups"][0]
    assert first["pixels"] == {"lesion": int(samples[first["representative"]].sum())}
    assert facts["different_hypotheses"] == len(np.unique(samples.reshape(5, -1), axis=0))


@pytest.mark.parametrize("n", [1, 3])
def test_probabilities_are_of_the_hypotheses_beside_them(trained, image, tmp_path, n):
    """The marginal of the model is something else, and has another name."""
    words = [trained / "probabilistic_unet", image, "-n", n, "--out", tmp_path / "out", "--write"]
    run_sample(*words, "samples", "probabilities", "marginal")
    maps = tmp_path / "out/image/maps"
    assert [file.name for file in sorted(maps.iterdir())] == [
        "marginal.npy",
        "probabilities.npy",
        "probability-lesion.png",
    ]
    prediction = Predictor.load(trained / "probabilistic_unet", "cpu")(image)
    with torch.inference_mode():
        logits = prediction.distribution().logits(prediction.noise(n))[:, 0]
    expected = logits.softmax(dim=1).mean(dim=0).numpy()
    assert np.abs(np.load(maps / "probabilities.npy")[0] - expected).max() < 1e-5
    assert np.abs(np.load(maps / "marginal.npy")[0] - expected).max() > 1e-5


def test_what_is_written_does_not_change_the_hypotheses(trained, image, tmp_path):
    run_sample(trained / "probabilistic_unet", image, "--out", tmp_path / "all", *ALL)
    run_sample(
        trained / "probabilistic_unet", image, "--out", tmp_path / "few", "--write", "samples", "--format", "npy"
    )
    assert sha256(tmp_path / "all/image/samples.npy") == sha256(tmp_path / "few/image/samples.npy")
    assert sorted(f.name for f in (tmp_path / "few/image").iterdir()) == ["samples.npy", "summary.json"]
    assert "groups" not in summary(tmp_path / "few/image")


def test_the_likelihood_of_a_mode_is_that_of_the_model(trained, image, tmp_path):
    run_sample(trained / "unet", image, "-n", 2, "--out", tmp_path / "out", "--write", "samples", "likelihood")
    (group,) = summary(tmp_path / "out/image")["groups"]
    distribution = pu.load(trained / "unet")(torch.from_numpy((blob(0)[0].astype(np.float32) - 100) / 50)[None])
    label = torch.from_numpy(np.load(tmp_path / "out/image/samples.npy")[group["representative"]])
    assert group["log_likelihood"] == pytest.approx(distribution.log_prob(label).item(), rel=1e-4)


def test_npy_and_png_and_python_agree(trained, image, tmp_path):
    np.save(tmp_path / "image.npy", blob(0)[0].astype(np.uint8))
    for name, file in (("a", image), ("b", tmp_path / "image.npy")):
        run_sample(trained / "unet", file, "-n", 1, "--out", tmp_path / name)
    assert sha256(tmp_path / "a/image/samples.npy") == sha256(tmp_path / "b/image/samples.npy")
    normalised = torch.from_numpy((blob(0)[0].astype(np.float32) - 100) / 50)[None]
    expected = pu.load(trained / "unet")(normalised).sample(1)[0, 0]
    assert np.array_equal(np.load(tmp_path / "a/image/samples.npy")[0, 0], expected)


def test_the_same_seed_gives_the_same_files(trained, image, tmp_path):
    for out, seed in (("a", 1), ("b", 1), ("c", 2)):
        run_sample(trained / "probabilistic_unet", image, "--out", tmp_path / out, "--seed", seed, *ALL)
    a, b, c = ({f.name: sha256(f) for f in (tmp_path / out / "image").rglob("*.*")} for out in "abc")
    assert a == b
    assert a["probabilities.npy"] != c["probabilities.npy"]


def test_given_latents_are_decoded(trained, image, tmp_path):
    run_sample(trained / "probabilistic_unet", image, "--z", "0,0,2,0,0,0", "--out", tmp_path / "one")
    np.save(tmp_path / "z.npy", np.eye(6)[:2] * 2)
    run_sample(trained / "probabilistic_unet", image, "--z", tmp_path / "z.npy", "--out", tmp_path / "two")
    normalised = torch.from_numpy((blob(0)[0].astype(np.float32) - 100) / 50)[None]
    distribution = pu.load(trained / "probabilistic_unet")(normalised)
    with torch.inference_mode():
        expected = distribution.latent.logits(torch.tensor([[0.0, 0, 2, 0, 0, 0]])).argmax(dim=1)[0]
    assert np.array_equal(np.load(tmp_path / "one/image/samples.npy")[0, 0], expected)
    assert len(np.load(tmp_path / "two/image/samples.npy")) == 2


def test_many_inputs_go_on_where_they_stopped(trained, image, tmp_path, capsys):
    folder = tmp_path / "in"
    (folder / "deeper").mkdir(parents=True)
    image.rename(folder / "a.png")
    (folder / "deeper" / "b.png").write_bytes(png(blob(1)[0][0]))
    (folder / "notes.txt").write_text("no image")
    arguments = [trained / "probabilistic_unet", folder, "-n", 2, "--out", tmp_path / "out"]
    run_sample(*arguments)
    before = (tmp_path / "out/a/samples.npy").stat().st_mtime_ns
    shutil.rmtree(tmp_path / "out" / "b")
    run_sample(*arguments)
    assert (tmp_path / "out/a/samples.npy").stat().st_mtime_ns == before
    assert (tmp_path / "out/b/summary.json").is_file()
    assert "1 of them were there already" in " ".join(capsys.readouterr().err.split())


def test_results_of_another_picture_or_model_are_not_taken_for_those_asked_for(trained, image, tmp_path, failing):
    words = [str(trained / "unet"), str(image), "-n", "1", "--out", str(tmp_path / "out")]
    run_sample(*words)
    before = (tmp_path / "out/image/samples.npy").read_bytes()
    shutil.copytree(trained / "unet", tmp_path / "unet")
    settings = (tmp_path / "unet/run.yaml").read_text()
    (tmp_path / "unet/run.yaml").write_text(re.sub(r"(?m)^(\s+offset:).*$", r"\1 7.0", settings))
    assert settings != (tmp_path / "unet/run.yaml").read_text()
    assert "asked for differently" in failing("sample", str(tmp_path / "unet"), *words[1:])
    image.write_bytes(png(blob(3)[0][0]))
    assert "was changed since" in failing("sample", *words)
    assert (tmp_path / "out/image/samples.npy").read_bytes() == before


def test_shards_write_what_one_process_writes(trained, image, tmp_path):
    (tmp_path / "in").mkdir()
    for name in "abc":
        (tmp_path / f"in/{name}.png").write_bytes(image.read_bytes())
    words = [trained / "probabilistic_unet", tmp_path / "in", "-n", 3]
    run_sample(*words, "--out", tmp_path / "whole")
    run_sample(*words, "--out", tmp_path / "shards", "--shard", "1/2")
    assert [folder.name for folder in (tmp_path / "shards").iterdir()] == ["b"]
    run_sample(*words, "--out", tmp_path / "shards", "--shard", "0/2")
    for name in "abc":
        assert sha256(tmp_path / "whole" / name / "samples.npy") == sha256(tmp_path / "shards" / name / "samples.npy")


@pytest.mark.parametrize("shard", [(), ("--shard", "0/1")])
def test_a_refused_picture_keeps_no_other_from_being_sampled(trained, image, tmp_path, failing, shard):
    """Damaged in its header, in its pixels, of another depth, too small; each is named, and nothing is left of it."""
    folder = tmp_path / "in"
    folder.mkdir()
    for name in "aez":
        (folder / f"{name}.png").write_bytes(image.read_bytes())
    (folder / "b.png").write_bytes(image.read_bytes()[:-40])
    (folder / "c.dcm").write_bytes(b"DICM")
    np.save(folder / "d.npy", np.zeros((8, 8)))
    words = ["sample", str(trained / "unet"), str(folder), "-n", "2", "--out", str(tmp_path / "out"), *shard]
    message = failing(*words)
    assert "3 of 6 pictures were refused" in message
    assert all(name in message for name in ("b.png", "c.dcm", "d.npy"))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a", "e", "z"]
    assert "3 of 6 pictures were refused" in failing(*words)  # what is there stays


def test_two_pictures_of_one_name_are_refused_and_both_are_named(trained, image, tmp_path, failing):
    for folder in "ab":
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "same.png").write_bytes(image.read_bytes())
    words = ["sample", str(trained / "unet"), str(tmp_path / "a"), str(tmp_path / "b"), "-n", "1"]
    sentence = failing(*words, "--out", str(tmp_path / "out"))
    assert all(str(tmp_path / folder / "same.png") in sentence for folder in "ab")


def test_a_volume_keeps_its_place_and_shares_the_random_part(trained, tmp_path):
    nibabel = pytest.importorskip("nibabel")
    place = np.array([[-0.7, 0, 0, 5], [0, -0.7, 0, 6], [0, 0, 2.0, 7], [0, 0, 0, 1]])
    volume = np.stack([blob(0)[0][0]] * 3, axis=-1).transpose(1, 0, 2).astype(np.uint8)
    nibabel.save(nibabel.Nifti1Image(volume, place), tmp_path / "scan.nii.gz")
    model = trained / "probabilistic_unet"
    run_sample(model, tmp_path / "scan.nii.gz", "-n", 4, "--format", "nifti", "--out", tmp_path / "out")
    out = tmp_path / "out" / "scan"
    samples = np.load(out / "samples.npy")
    assert samples.shape == (4, 3, 32, 32)
    assert (samples == samples[:, :1]).all()  # equal slices, equal hypotheses
    written = nibabel.load(out / "sample-002.nii.gz")
    assert np.allclose(written.affine, place)
    assert np.array_equal(np.asarray(written.dataobj).transpose(2, 1, 0), samples[2])
    group = summary(out)["groups"][0]
    assert group["mm3"]["lesion"] == pytest.approx(group["pixels"]["lesion"] * 0.7 * 0.7 * 2)
    assert group["log_likelihood"] is None


def test_dicom_in_and_segmentations_out(trained, tmp_path):
    pytest.importorskip("highdicom")
    import pydicom

    write_series(tmp_path / "ct", "1.2.3", count=2, FrameOfReferenceUID="1.2.3.4")
    model, out = trained / "probabilistic_unet", tmp_path / "out"
    run_sample(model, tmp_path / "ct", "-n", 3, "--format", "dicomseg", "--out", out, *ALL)
    (folder,) = out.iterdir()
    alike = summary(folder)["groups"]
    files = sorted(folder.glob("hypothesis-*.dcm"))
    assert len(files) == len(alike)
    first = pydicom.dcmread(files[0])
    assert first.SeriesDescription == f"group 1 of {len(alike)}, frequency {alike[0]['frequency']:.2f}"
    assert first.ReferencedSeriesSequence[0].SeriesInstanceUID == "1.2.3"
    assert pydicom.dcmread(folder / "maps/probabilities.dcm").SOPClassUID == pydicom.uid.ParametricMapStorage
    again, seeds = tmp_path / "again", [pydicom.dcmread(file).SOPInstanceUID for file in files]
    run_sample(model, tmp_path / "ct", "-n", 3, "--format", "dicomseg", "--out", again, *ALL)
    assert [(again / file.relative_to(out)).read_bytes() for file in files] == [file.read_bytes() for file in files]
    run_sample(model, tmp_path / "ct", "-n", 3, "--format", "dicomseg", "--seed", 1, "--out", tmp_path / "other")
    others = [pydicom.dcmread(file).SOPInstanceUID for file in (tmp_path / "other").rglob("hypothesis-*.dcm")]
    assert not set(seeds) & set(others)
    assert any("range as 0 to 255" in note for note in summary(folder)["notes"])


def test_dicom_segmentations_need_dicom(trained, image, tmp_path, failing):
    message = failing("sample", str(trained / "unet"), str(image), "--format", "dicomseg", "--out", str(tmp_path / "o"))
    assert "no DICOM series" in message


def test_another_pixel_size_is_resampled_and_back(trained, tmp_path):
    """An image of twice the model's resolution gives what the image at the model's own gives, enlarged."""
    nibabel = pytest.importorskip("nibabel")
    run = tmp_path / "run"
    import yaml

    shutil.copytree(trained / "unet", run)
    settings = yaml.safe_load((run / "run.yaml").read_text())
    settings["input"]["spacing_mm"] = [1.0, 1.0]
    (run / "run.yaml").write_text(yaml.safe_dump(settings))
    coarse = blob(0)[0][0].astype(np.uint8)
    for name, values, size in (("fine", coarse.repeat(2, 0).repeat(2, 1), 0.5), ("coarse", coarse, 1.0)):
        nibabel.save(nibabel.Nifti1Image(values.T, np.diag([size, size, 1, 1])), tmp_path / f"{name}.nii")
        run_sample(run, tmp_path / f"{name}.nii", "-n", 1, "--out", tmp_path / "out")
    fine, small = (np.load(tmp_path / "out" / name / "samples.npy")[0, 0] for name in ("fine", "coarse"))
    assert fine.shape == (64, 64)
    assert (fine == small.repeat(2, 0).repeat(2, 1)).mean() > 0.95
    assert "resampled" in summary(tmp_path / "out/fine")["notes"][0]


def test_a_field_around_a_place(trained, tmp_path):
    large = np.zeros((80, 100), np.uint8)
    large[40:72, 60:92] = blob(0)[0][0]
    (tmp_path / "large.png").write_bytes(png(large))
    crop = Run(trained / "unet").crop
    run_sample(trained / "unet", tmp_path / "large.png", "-n", 1, "--at", 56, 76, "--out", tmp_path / "out")
    sample = np.load(tmp_path / "out/large/samples.npy")[0, 0]
    top, left = 56 - crop // 2, 76 - crop // 2
    field = large[top : top + crop, left : left + crop].astype(np.float32)
    expected = pu.load(trained / "unet")(torch.from_numpy((field - 100) / 50)[None, None]).sample(1)[0, 0].numpy()
    assert np.array_equal(sample[top : top + crop, left : left + crop], expected)
    assert sample.sum() == expected.sum()


def save(file, array):
    np.save(file, array, allow_pickle=True)
    return file


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda d: save(d / "a.npy", np.full((32, 32), np.nan)), "NaN or infinite"),
        (lambda d: save(d / "a.npy", np.zeros((32, 32)).astype(complex)), "complex128"),
        (lambda d: save(d / "a.npy", np.zeros((8, 8))), "8x8 px is too small"),
        (lambda d: save(d / "a.npy", np.zeros((2, 2, 32, 32))), "(2, 2, 32, 32)"),
        (lambda d: save(d / "a.npy", np.array([{"code": 1}])), "a.npy holds object"),
        (lambda d: save(d / "a.npy", np.full((32, 32), "x")), "<U1"),
        (lambda d: d / "nowhere.png", "nowhere.png does not exist"),
    ],
)
def test_unusable_images_are_one_sentence(trained, tmp_path, make, words, failing):
    file = make(tmp_path)
    message = failing("sample", str(trained / "unet"), str(file), "--out", str(tmp_path / "out"))
    assert words in message
    assert file.name in message
    assert not list((tmp_path / "out").glob("*"))


def test_a_truncated_picture_is_one_sentence(trained, image, tmp_path, failing):
    image.write_bytes(image.read_bytes()[:200])
    assert "image.png cannot be read" in failing(
        "sample", str(trained / "unet"), str(image), "--out", str(tmp_path / "out")
    )


def test_other_refusals(trained, image, tmp_path, failing):
    common = [str(image), "--out", str(tmp_path / "out")]
    assert "holds several models; name one of" in failing("sample", str(trained), *common)
    assert "at least 1 and at most 1,048,576, got 0" in failing("sample", str(trained / "unet"), *common, "-n", "0")
    assert "with 6 numbers a latent" in failing("sample", str(trained / "probabilistic_unet"), *common, "--z", "0,1")
    assert "need a model with one latent space" in failing("sample", str(trained / "unet"), *common, "--z", "0")
    assert "outside the 32x32 px" in failing("sample", str(trained / "unet"), *common, "--at", "40", "2")
    assert "is one slice and has no volume" in failing("sample", str(trained / "unet"), *common, "--above", "3")
    assert not list(tmp_path.glob("out/*"))
    assert "--write nothing is not known" in failing("sample", str(trained / "unet"), *common, "--write", "nothing")
    (tmp_path / "out" / "image").mkdir(parents=True)
    assert "no result of this command" in failing("sample", str(trained / "unet"), *common)
    (tmp_path / "out" / "image").rmdir()
    run_sample(trained / "unet", *common, "-n", 1)
    assert "asked for differently" in failing("sample", str(trained / "unet"), *common, "-n", "2")
    (tmp_path / "empty").mkdir()
    assert "holds no picture" in failing("sample", str(trained / "unet"), str(tmp_path / "empty"), "--out", "x")


def test_results_are_no_inputs(trained, image, tmp_path, capsys):
    """--out inside of the folder that is sampled: the second time there is nothing left to do."""
    for name in "ab":
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / f"in/{name}.png").write_bytes(image.read_bytes())
    for _ in range(2):
        run_sample(trained / "unet", tmp_path / "in", "-n", 1, "--out", tmp_path / "in/results")
        assert sorted(f.name for f in (tmp_path / "in/results").iterdir()) == ["a", "b"]
    assert "2 of them were there already" in " ".join(capsys.readouterr().err.split())


def test_a_full_disk_is_one_sentence_and_leaves_nothing(trained, tmp_path, failing):
    """The space of an array is reserved before anything is drawn into it."""
    (tmp_path / "large.png").write_bytes(png(np.tile(blob(0)[0][0], (4, 4))))
    words = ["sample", trained / "unet", tmp_path / "large.png", "-n", "64", "--out", tmp_path / "out"]
    with full_disk(200_000):
        assert "large" in failing(*map(str, words))
    assert not (tmp_path / "out").exists()


def test_what_sample_writes_score_reads(trained, image, tmp_path):
    pytest.importorskip("nibabel")
    for kind, ending in (("png", "png"), ("nifti", "nii.gz")):
        run_sample(trained / "probabilistic_unet", image, "-n", 3, "--format", kind, "--out", tmp_path / kind, *ALL)
        (tmp_path / f"{kind}-readers/image").mkdir(parents=True)
        for name in "ab":  # two readers who say what the first hypothesis says
            source = tmp_path / kind / f"image/sample-000.{ending}"
            shutil.copy(source, tmp_path / f"{kind}-readers/image/{name}.{ending}")
        out = tmp_path / f"{kind}.json"
        words = ["--samples", tmp_path / kind, "--references", tmp_path / f"{kind}-readers", "--n", 3, "--out", out]
        main(["score", *map(str, words)])
        samples = np.load(tmp_path / kind / "image/samples.npy")[:, 0].astype(bool)
        shared, either = (
            op(samples[:, None], samples[None]).sum(axis=(2, 3)) for op in (np.logical_and, np.logical_or)
        )
        apart = np.where(either > 0, 1 - shared / np.maximum(either, 1), 0)
        rows = {row["metric"]: row for row in json.loads(out.read_text())["scores"][kind]}
        assert rows["ged2"]["mean"] == pytest.approx(2 * apart[0].mean() - apart.mean())


def test_load_from_python(trained):
    with pytest.raises(pu.InputError, match="several models"):
        pu.load(trained)
    assert isinstance(pu.load(trained / "probabilistic_unet"), pu.ProbabilisticUNet)


def test_a_refusal_names_the_picture(tmp_path, failing):
    Image.fromarray(np.arange(90 * 100, dtype=np.uint16).reshape(90, 100)).save(tmp_path / "small.png")
    said = failing("sample", "lidc-crops", str(tmp_path / "small.png"), "--out", str(tmp_path / "out"))
    assert f"{tmp_path / 'small.png'}: 90x100 px, but the model was trained on crops of 128x128 px" in said


def test_volumes_of_slices_in_uneven_steps_are_in_voxels_and_no_mm3_are_compared(trained, tmp_path):
    for i, z in enumerate((0.0, 1.0, 2.0, 6.0)):
        save_dicom(ct_slice("1.2.3", i, (0, 0, z), FrameOfReferenceUID="1.2.3.4"), tmp_path / "ct" / f"{i}.dcm")
    run_sample(trained / "unet", tmp_path / "ct", "-n", 2, "--above", 5, "--out", tmp_path / "out")
    (folder,) = (tmp_path / "out").iterdir()
    told = summary(folder)
    [measured] = told["volume"].values()
    assert (told["spacing_mm"][0], measured["unit"], measured["probability_above"]) == (None, "voxels", {})
    assert measured["diameter"]["unit"] == "mm"
    assert any("volumes are in voxels" in note for note in told["notes"])


def test_a_series_in_two_folders_keeps_no_other_picture_from_being_sampled(trained, image, tmp_path, failing):
    write_series(tmp_path / "in" / "a", "1.2.3", count=3)
    (tmp_path / "in" / "b").mkdir()
    min((tmp_path / "in" / "a").iterdir()).rename(tmp_path / "in" / "b" / "stray.dcm")
    (tmp_path / "in" / "c").mkdir()
    shutil.copy(image, tmp_path / "in" / "c" / "last.png")
    words = ("sample", str(trained / "unet"), str(tmp_path / "in"), "-n", "1", "--out", str(tmp_path / "out"))
    assert "both hold slices of the series 1.2.3" in failing(*words)
    assert (tmp_path / "out" / "last" / "summary.json").is_file()
