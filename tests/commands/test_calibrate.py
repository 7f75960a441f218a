"""``probunet calibrate``, and what ``sample`` and ``export`` make of it."""

import json
import shutil
import subprocess
from functools import partial
from pathlib import Path

import numpy as np
import pydicom
import pytest
from lidc_download import write_series
from PIL import Image
from small_data import DESCRIPTION, blob, blobs

from probunet.cli import main
from probunet.core.errors import InputError
from probunet.data.prepare import CaseSource, write_store
from probunet.data.store import Store
from probunet.evaluation.fit import check_values, tell_pixels
from probunet.inference.calibrated import Calibrated
from probunet.inference.predictor import Predictor
from probunet.metrics.risk_control import observe
from probunet.runs.calibration import Calibration
from probunet.runs.run import Run


def content(run: Path) -> dict:
    return json.loads((run / "calibration.json").read_text())


def test_it_says_the_risk_and_the_data(calibrated, store, capsys):
    said = content(calibrated)
    assert (said["risk"], said["hypotheses"]) == (0.25, 6)
    data = said["data"]
    assert (data["patients"], data["cases"], data["readings"], data["sizes"]) == (3, 6, 24, [[24, 24], [24, 24]])
    assert data["identity"] == store.identity().as_json()
    assert data["split"] == "validation"
    assert "chosen, among the checkpoints of one training" in said["notes"][1]
    predictor = Predictor.load(calibrated)
    assert (said["weights"], said["model"]) == (predictor.identity, predictor.trained.settings_checksum)
    assert said["checked"]["patients"] == 3
    assert set(said["checked"]["lesion"]) == {"outer", "inner", "area", "cost"}
    part = said["classes"][0]
    assert part["figures"]["empty"]["share"] == 0.25
    assert len(part["empty"]) == 7


def corner(index: int) -> tuple[np.ndarray, np.ndarray]:
    image, labels = blob(index, 40)
    return image, np.roll(labels, (-17, -17), axis=(1, 2))


def test_its_notes_are_on_the_console(calibrated, tmp_path, capsys):
    """Also that whole images were looked at, where the crop of the training hides what readers marked."""
    run = tmp_path / "run"
    shutil.copytree(calibrated, run)
    sources = [
        CaseSource(s.case, partial(corner, i)) for i, s in enumerate(blobs(32)) if s.case.patient > "patient-011"
    ]
    write_store(tmp_path / "corner", sources, DESCRIPTION, np.uint8, jobs=1)
    capsys.readouterr()
    main(["calibrate", str(run), "--data", str(tmp_path / "corner"), "--split", "train", "--risk", "0.4", "-n", "2"])
    printed = " ".join("".join(capsys.readouterr()).split())
    notes = content(run)["notes"]
    assert notes[1] == "Calibrated on whole images; the model was trained on parts of 24x24 px."
    assert "note: holds on average over patients" in printed
    assert "note: calibrated on whole images; the model was trained on parts of 24x24 px" in printed


def test_too_few_patients_are_refused_with_the_number_needed(trained, failing):
    message = failing("calibrate", str(trained / "probabilistic_unet"), "--risk", "0.1")
    assert "has 3 patients, too few for the risk 0.1, which needs 9 or more" in message
    assert not (trained / "probabilistic_unet" / "calibration.json").exists()


def test_what_cannot_be_calibrated_on_is_refused(calibrated, streets, failing, tmp_path):
    run = str(calibrated)
    assert "was trained on" in failing("calibrate", run, "--split", "train", "--risk", "0.25")
    assert "label flips" in failing("calibrate", run, "--data", str(streets.path), "--risk", "0.25")
    assert "cannot check" in failing("calibrate", run, "--check", "validation", "--risk", "0.25")
    assert "between 0 and 1" in failing("calibrate", run, "--risk", "1.5")


@pytest.fixture(scope="module")
def sampled(calibrated, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("sampled")
    Image.fromarray(blob(90, 24)[0][0]).save(out / "picture.png")
    words = ["samples", "inner", "outer", "probabilities"]
    main(
        ["sample", str(calibrated), str(out / "picture.png"), "--out", str(out / "maps"), "-n", "3", "--write", *words]
    )
    return out / "maps" / "picture"


def test_sample_draws_both_outlines_with_their_risk(sampled, calibrated):
    summary = json.loads((sampled / "summary.json").read_text())
    said = summary["calibrated"]
    assert said["words"].startswith(
        "risk 0.25, calibrated on 3 patients (6 cases, 24 readings) of the validation split"
    )
    inner, outer = (np.load(sampled / "maps" / f"{name}.npy") for name in ("inner", "outer"))
    assert inner.shape == outer.shape == (1, 1, 24, 24)
    assert not (inner & ~outer).any()
    picture = np.asarray(Image.open(sampled / "maps" / "outer-risk-0.25-lesion.png"))
    assert (picture == 255 * outer[0, 0]).all()
    numbers = said["classes"]["lesion"]
    assert numbers["outer"]["pixels"] == outer.sum()
    assert numbers["inner"]["pixels"] == inner.sum()
    assert numbers["area"]["coverage"] == 0.75
    assert numbers["area"]["low"]["pixels"] <= numbers["area"]["high"]["pixels"]
    nothing = numbers["nothing"]
    assert nothing["low"] <= nothing["probability"] <= nothing["high"]


def test_what_is_said_is_of_the_calibrated_hypotheses_alone(sampled, calibrated, tmp_path):
    """By hand from the predictor, and whatever number of hypotheses is asked for."""
    calibration = Calibration.model_validate_json((calibrated / "calibration.json").read_text())
    statement = calibration.statement(calibration.classes[0])
    prediction = Predictor.load(calibrated)(sampled.parents[1] / "picture.png")
    noise = Calibrated(prediction, 0).noise
    assert len(noise) == 6
    probability, labels = prediction.probabilities(noise)[0, 1], prediction.labels(noise)[:, 0]
    assert (np.load(sampled / "maps" / "outer.npy")[0, 0] == (probability >= statement.outer)).all()
    said = json.loads((sampled / "summary.json").read_text())["calibrated"]["classes"]["lesion"]
    low, high = np.minimum(statement.interval(labels.sum(axis=(1, 2))), 24 * 24)  # no reader marks more than there is
    assert (said["area"]["low"]["pixels"], said["area"]["high"]["pixels"]) == pytest.approx((low, high))
    case = observe("", probability, labels == 1, np.zeros((1, 24, 24), np.uint8), 1, 0.25)
    assert said["nothing"]["probability"] == pytest.approx(statement.probability_of_nothing(case.level)[0])
    picture = str(sampled.parents[1] / "picture.png")
    main(["sample", str(calibrated), picture, "--out", str(tmp_path), "-n", "5", "--write", "inner", "--format", "npy"])
    assert (np.load(tmp_path / "picture" / "maps" / "inner.npy") == np.load(sampled / "maps" / "inner.npy")).all()
    assert not (tmp_path / "picture" / "maps" / "outer.npy").exists()


def test_outlines_of_a_series_are_segmentations_that_say_their_risk_and_data(calibrated, tmp_path):
    """The pixels of the arrays, read with pydicom; without an error of an independent validator."""
    pytest.importorskip("highdicom")
    write_series(tmp_path / "ct", "1.2.3", count=2, FrameOfReferenceUID="1.2.3.4")
    out = tmp_path / "out"
    words = ["--at", "24", "24", "--write", "inner", "outer", "--format", "dicomseg", "--out", str(out)]
    main(["sample", str(calibrated), str(tmp_path / "ct"), "-n", "1", *words])
    [folder] = out.iterdir()
    basis = json.loads((folder / "summary.json").read_text())["calibrated"]["words"]
    uids = set()
    for name in ("inner", "outer"):
        file = folder / "maps" / f"{name}-risk-0.25-lesion.dcm"
        made, mask = pydicom.dcmread(file), np.load(folder / "maps" / f"{name}.npy")[:, 0]
        assert made.SeriesDescription == f"{name} outline, risk 0.25, lesion"
        assert made.SegmentSequence[0].SegmentDescription == f"{name} outline of lesion: {basis}"
        frames = made.pixel_array.reshape(-1, *mask.shape[1:])
        expected = mask[mask.any(axis=(1, 2))] if mask.any() else mask
        assert {frame.tobytes() for frame in frames} == {plane.astype(np.uint8).tobytes() for plane in expected}
        uids |= {made.SOPInstanceUID, made.SeriesInstanceUID}
        if shutil.which("dciodvfy"):
            said = subprocess.run(["dciodvfy", str(file)], capture_output=True, text=True, check=False).stderr
            assert not [line for line in said.splitlines() if line.startswith("Error")]
    assert len(uids) == 4


def test_outlines_are_in_an_npz_with_their_risk_and_data(calibrated, sampled, tmp_path):
    picture = str(sampled.parents[1] / "picture.png")
    words = ["--write", "outer", "--format", "npz", "--out", str(tmp_path)]
    main(["sample", str(calibrated), picture, "-n", "1", *words])
    packed = np.load(tmp_path / "picture" / "hypotheses.npz")
    assert set(packed) == {"outer", "calibrated"}
    assert np.array_equal(packed["outer"], np.load(sampled / "maps" / "outer.npy"))
    assert str(packed["calibrated"]).startswith("risk 0.25, calibrated on 3 patients")


def test_another_field_is_said(calibrated, tmp_path):
    Image.fromarray(blob(90, 32)[0][0]).save(tmp_path / "larger.png")
    words = ["--write", "outer", "--format", "npy"]
    main(["sample", str(calibrated), str(tmp_path / "larger.png"), "--out", str(tmp_path / "out"), "-n", "1", *words])
    notes = json.loads((tmp_path / "out" / "larger" / "summary.json").read_text())["calibrated"]["notes"]
    assert "calibrated on fields of 24x24 px; the model sees 32x32 px here" in notes


def test_a_model_without_a_calibration_says_so(trained, failing, sampled, tmp_path):
    picture = str(sampled.parents[1] / "picture.png")
    run = str(trained / "probabilistic_unet")
    message = failing("sample", run, picture, "--out", str(tmp_path / "out"), "--write", "outer")
    assert (
        f"{run} was not calibrated, so that it has no inner and outer outlines; run 'probunet calibrate {run}'"
        in message
    )
    assert not (tmp_path / "out").exists()


def test_it_goes_with_an_exported_model(calibrated, sampled, tmp_path):
    main(["export", str(calibrated), "--out", str(tmp_path / "model")])
    assert content(tmp_path / "model") == content(calibrated)
    picture = str(sampled.parents[1] / "picture.png")
    words = ["--write", "inner", "outer", "--format", "npy"]
    main(["sample", str(tmp_path / "model"), picture, "--out", str(tmp_path / "out"), *words])
    for name in ("inner", "outer"):
        found = np.load(tmp_path / "out" / "picture" / "maps" / f"{name}.npy")
        assert (found == np.load(sampled / "maps" / f"{name}.npy")).all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"weights": "0" * 64}, "of other weights"),
        ({"model": "0" * 64}, "of a model with other settings"),
        ({"version": 9}, "update probunet"),
        ({"format": "x"}, "is no calibration"),
        ({"risk": 2.0}, "'risk'"),
        ({"hypotheses": 5}, "one pair of bounds more"),
        ({"more": 1}, "'more'"),
    ],
)
def test_a_file_of_others_is_refused(calibrated, sampled, tmp_path, failing, change, words):
    run = tmp_path / "run"
    shutil.copytree(calibrated, run)
    (run / "calibration.json").write_text(json.dumps(content(run) | change))
    picture = str(sampled.parents[1] / "picture.png")
    assert words in failing("sample", str(run), picture, "--out", str(tmp_path / "out"), "--write", "outer")


def test_of_the_same_weights_with_another_intensity_it_is_refused_everywhere(trained, sampled, tmp_path, failing):
    """What it was chosen with decides as much as the weights: outlines, page, report and export say so."""
    run = tmp_path / "run"
    shutil.copytree(trained / "probabilistic_unet", run)
    main(["calibrate", str(run), "--risk", "0.25", "-n", "2"])
    described = (run / "run.yaml").read_text()
    assert described.count("offset: 100.0") == 1
    (run / "run.yaml").write_text(described.replace("offset: 100.0", "offset: 101.0"))
    words = "of a model with other settings (its arguments, intensity, crop, pixel size or classes)"
    picture = str(sampled.parents[1] / "picture.png")
    assert words in failing("sample", str(run), picture, "--out", str(tmp_path / "out"), "--write", "inner")
    assert words in failing("export", str(run), "--out", str(tmp_path / "model"))
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "model").exists()
    with pytest.raises(InputError, match="with other settings"):
        Predictor.load(run).calibration  # noqa: B018
    main(["sample", str(run), picture, "--out", str(tmp_path / "out"), "-n", "1", "--write", "samples"])


def test_nothing_is_said_of_one_reader(sampled, calibrated):
    prediction = Predictor.load(calibrated)(sampled.parents[1] / "picture.png")
    prediction.reader = "Ann"
    with pytest.raises(InputError, match="for any reader, not for one"):
        Calibrated(prediction, 0)


def test_other_data_of_the_kind_will_do(calibrated, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(calibrated, run)
    sources = [source for source in blobs(32) if int(source.case.patient[-3:]) >= 12]
    write_store(tmp_path / "others", sources, DESCRIPTION, np.uint8, jobs=1)
    main(["calibrate", str(run), "--data", str(tmp_path / "others"), "--split", "train", "--risk", "0.4", "-n", "3"])
    assert content(run)["data"]["patients"] == 2
    assert len(content(run)["notes"]) == 1


def test_pictures_of_one_name_have_their_own_chance_and_names_change_nothing(calibrated, tmp_path):
    """Else one draw would decide for all patients whose pictures are called slice-0."""
    predictor = Predictor.load(calibrated)
    files = [tmp_path / name for name in ("one/a.npy", "one/b.npy", "other/a.npy")]
    for file, number in zip(files, (1, 1, 2), strict=True):
        file.parent.mkdir(exist_ok=True)
        np.save(file, blob(number)[0].astype(np.float32))
    first, renamed, other = (Calibrated(predictor(file), 0).noise for file in files)
    assert (first == renamed).all()
    assert not (first == other).any()


def test_facts_are_the_same_whether_outlines_were_taken_or_taken_twice(calibrated):
    prediction = Predictor.load(calibrated)(blob(1)[0].astype(np.float32))
    before, made = Calibrated(prediction, 0).facts(None), Calibrated(prediction, 0)
    for _ in range(2):
        assert len(list(made.slices())) == 1
    assert made.facts(None) == before


def test_data_of_another_unit_or_pixel_size_are_refused(calibrated, store, failing, tmp_path, caplog):
    manifest = json.loads((store.path / "manifest.json").read_text())
    changes = {"HU": {"intensity": {**manifest["intensity"], "unit": "HU"}}, "px": {"spacing_mm": [3.0, 3.0]}}
    for name, change in changes.items():
        shutil.copytree(store.path, tmp_path / name)
        (tmp_path / name / "manifest.json").write_text(json.dumps(manifest | change))
    words = ("calibrate", str(calibrated), "--risk", "0.25", "--data")
    refused = {"HU": "holds HU, the model of", "px": "pixels of 3.0x3.0 mm"}
    for name in refused if manifest["spacing_mm"] else ("HU",):
        assert refused[name] in failing(*words, str(tmp_path / name))
        tell_pixels(Run(calibrated), Store(tmp_path / name))
    said = [record.getMessage() for record in caplog.records]  # evaluate refuses another unit, of pixels it only tells
    assert len(said) == bool(manifest["spacing_mm"])
    assert all(refused["px"] in line for line in said)
    check_values(Run(calibrated), store, "validation")


def test_a_published_model_is_not_written_into(store, failing):
    message = failing("calibrate", "lidc-crops", "--data", str(store.path), "--risk", "0.25")
    assert "comes with the package, which everyone here uses; run 'probunet export lidc-crops" in message


def test_where_readers_mark_next_to_nothing_the_outer_outline_may_hold_nothing(calibrated, store, tmp_path, capsys):
    shutil.copytree(store.path, tmp_path / "empty")
    labels = np.load(tmp_path / "empty" / "labels.npy")
    np.save(tmp_path / "empty" / "labels.npy", np.zeros_like(labels))
    shutil.copytree(calibrated, tmp_path / "run")
    main(["calibrate", str(tmp_path / "run"), "--data", str(tmp_path / "empty"), "--risk", "0.25", "-n", "3"])
    assert "outer outline that holds nothing" in " ".join(capsys.readouterr().err.split())
    assert content(tmp_path / "run")["classes"][0]["outer"] is None
    made = Calibrated(Predictor.load(tmp_path / "run")(blob(1)[0].astype(np.float32)), 0)
    [said] = made.slices()
    assert not said.outer.any()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"risk": 0.01}, "too few for the risk 0.01"),
        ({"version": 0}, "version"),
        ({"bounds": 1}, "above its upper one"),
    ],
)
def test_a_calibration_that_cannot_be_is_refused(change, reason, calibrated, tmp_path):
    run = shutil.copytree(calibrated, tmp_path / "run")
    said = content(run)
    if "bounds" in change:
        said["classes"][0]["empty"][0] = [0.5, 0.25]
    else:
        said |= change
    (run / "calibration.json").write_text(json.dumps(said))
    with pytest.raises(InputError, match=reason):
        _ = Predictor.load(run).calibration


@pytest.mark.parametrize("command", [("calibrate", "--risk", "0.25"), ("evaluate",)])
def test_the_classes_of_the_model_in_another_order_are_refused(calibrated, store, failing, tmp_path, command):
    shutil.copytree(store.path, tmp_path / "other")
    manifest = json.loads((store.path / "manifest.json").read_text())
    manifest["classes"].reverse()
    (tmp_path / "other" / "manifest.json").write_text(json.dumps(manifest))
    message = failing(*command, str(calibrated), "--data", str(tmp_path / "other"), "--split", "test")
    assert "has the classes lesion, background, the model of" in message
