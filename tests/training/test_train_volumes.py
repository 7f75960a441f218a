"""Models of volumes: trained on patches, evaluated on whole volumes of different size; other dimensions are refused."""

import csv
import json
import shutil

import nibabel
import numpy as np
import pytest
import torch
import yaml

import probunet as pu
from probunet.cli import main
from probunet.core.errors import InputError
from probunet.data.augment import Augmentation
from probunet.data.pictures import picture_of_case, readings_of_case, write_pictures
from probunet.inference.calibrated import Calibrated
from probunet.io.search import find_pictures
from probunet.report import outlines
from probunet.report.results import Results

SMALL = {"in_channels": 2, "channels": [4, 4], "convolutions": 1, "dims": 3}


@pytest.fixture(scope="module")
def run(volumes, tmp_path_factory):
    """Trained and evaluated by the commands; with the energy score, batch normalisation and all symmetries."""
    folder = tmp_path_factory.mktemp("volumes")
    settings = {
        "out": str(folder / "run"),
        "data": {
            "store": str(volumes.path),
            "crop": [4, 16, 16],
            "batch_size": 2,
            "augmentation": {"mirror": True, "turn": True},
        },
        "models": {
            "experts": {
                "class_path": "probunet.MixtureOfExperts",
                "init_args": {**SMALL, "experts": 2, "draws": 1, "batch_norm": True, "spacing": [2, 0.5, 0.5]},
            }
        },
        "energy": {"weight": 10, "samples": 2},
        "trainer": {"accelerator": "cpu", "max_steps": 2, "val_check_interval": 2},
    }
    (folder / "settings.yaml").write_text(yaml.safe_dump(settings))
    main(["train", "--config", str(folder / "settings.yaml")])
    main(["evaluate", str(folder / "run"), "--n", "1", "4", "--device", "cpu"])
    return folder / "run" / "experts"


def test_a_model_of_volumes_is_trained_and_evaluated_by_the_commands(run, volumes):
    described = yaml.safe_load((run / "run.yaml").read_text())
    assert described["input"]["crop"] == [4, 16, 16]
    evaluation = json.loads((run / "evaluation.json").read_text())
    assert evaluation["data"]["crop"] == "whole"
    assert evaluation["data"]["images"] == 2
    assert evaluation["data"]["identity"] == volumes.identity().as_json()
    assert 0 <= evaluation["ged2"]["4"]["mean"] <= 2
    with (run / "evaluation.csv").open() as file:
        assert [row["name"] for row in csv.DictReader(file)] == ["ball-3", "ball-7"]


def test_a_report_draws_the_most_marked_slice_of_a_volume(run):
    main(["report", str(run.parent)])
    page = (run.parent / "report.html").read_text()
    assert "2 test volumes of 2" in page
    assert "ball-3, slice 5 of 9 (the most marked one). First row: image and readers" in page  # its middle
    with (run.parent / "tables" / "overlaps.csv").open() as file:
        sizes = {row[""]: row["size (mm³)"] for row in csv.DictReader(file)}
    assert float(sizes["a reader"]) > 0


@pytest.fixture(scope="module")
def calibrated(run, tmp_path_factory):
    """A copy of the model, calibrated on its two validation patients."""
    copy = tmp_path_factory.mktemp("calibrated") / "run"
    shutil.copytree(run, copy)
    main(["calibrate", str(copy), "--risk", "0.4", "-n", "4", "--check", "test", "--device", "cpu"])
    return copy


def test_statements_are_of_whole_volumes(calibrated, volumes):
    said = json.loads((calibrated / "calibration.json").read_text())
    assert said["data"]["sizes"] == [[6, 16, 18], [6, 16, 18]]  # both validation volumes
    assert said["data"]["spacing_mm"] is None  # which differs between them
    assert (said["data"]["patients"], said["data"]["readings"], said["checked"]["patients"]) == (2, 6, 2)
    assert set(said["checked"]["lesion"]) == {"outer", "inner", "area", "cost"}
    assert len(said["classes"][0]["empty"]) == 5
    assert said["classes"][0]["figures"]["empty"]["share"] == pytest.approx(1 / 3)  # one of three readers


def test_outlines_of_a_volume_lie_where_it_lies_and_say_its_volume(calibrated, volumes, tmp_path):
    """By hand from the predictor; the interval is that of all voxels of a hypothesis."""
    files = write_pictures(volumes, tmp_path / "pictures", "test", 1)
    assert [file.name for file in files] == ["ball-3_0000.nii.gz", "ball-3_0001.nii.gz"]
    words = ["--write", "inner", "outer", "--format", "nifti", "--device", "cpu"]
    main(["sample", str(calibrated), *map(str, files), "--out", str(tmp_path / "out"), "-n", "2", *words])
    said = json.loads((tmp_path / "out/ball-3/summary.json").read_text())["calibrated"]
    predictor = pu.Predictor.load(calibrated, "cpu")
    [picture] = find_pictures(files, channels=2)
    prediction = predictor(picture)
    noise = Calibrated(prediction, 0).noise
    assert len(noise) == 4
    shares, labels = prediction.probabilities(noise)[:, 1], prediction.labels(noise)
    statement = predictor.calibration.statement(predictor.calibration.classes[0])
    written = nibabel.load(tmp_path / "out/ball-3/maps/outer-risk-0.4-lesion.nii.gz")
    np.testing.assert_allclose(written.affine, volumes.affine(3))
    np.testing.assert_array_equal(np.asarray(written.dataobj).T, shares >= statement.outer)
    voxel = np.prod(volumes.spacing(3))
    lesion = said["classes"]["lesion"]
    ends = [lesion["volume"][end]["mm3"] / voxel for end in ("low", "high")]
    low, high = statement.interval(labels.sum(axis=(1, 2, 3)))
    assert high > 9 * 17 * 16, "of so poor a model"
    assert ends == pytest.approx((low, 9 * 17 * 16)), "no reader marks more than there is"
    assert lesion["volume"]["coverage"] == 0.6
    empty = int((labels == 0).all(axis=(1, 2, 3)).sum())
    assert lesion["nothing"]["probability"] == pytest.approx(statement.probability_of_nothing(empty)[0])
    assert "calibrated on fields of 6x16x18 voxels; the model sees 9x17x16 voxels here" in said["notes"]


def test_page_and_report_say_of_a_volume_what_is_written(calibrated, volumes, tmp_path, monkeypatch):
    """On the grid of its picture, whose slices run otherwise than the store's where its affine says so."""
    out = calibrated.parent / "written"
    words = ["--write", "inner", "outer", "--format", "npy", "--device", "cpu", "-n", "1", "--seed", "0"]
    main(
        [
            "sample",
            str(calibrated),
            *map(str, write_pictures(volumes, tmp_path / "files", "test", 1)),
            "--out",
            str(out),
            *words,
        ]
    )
    inner, outer = (np.load(out / "ball-3/maps" / f"{name}.npy") for name in ("inner", "outer"))
    said = json.loads((out / "ball-3/summary.json").read_text())["calibrated"]
    assert outer.any()
    pytest.importorskip("fastapi", reason="the extra 'explore' is not installed")
    from probunet.explore.calibrated import Statements
    from probunet.explore.engine import Encoded

    encoded = Encoded(pu.Predictor.load(calibrated, "cpu")(picture_of_case(volumes, 3)), 2)
    stated = Statements().of("0", encoded, 0)
    assert stated.facts == said
    assert np.array_equal(stated.outlines, np.stack([inner, outer], axis=1))
    drawn = {}
    monkeypatch.setattr(
        outlines, "show_outline", lambda axis, mask, colour, dash=None: drawn.setdefault(dash, []).append(mask)
    )
    results = Results(calibrated)
    results.__dict__["chosen"] = {"some": [0]}
    section = outlines.section(results)
    readings = readings_of_case(volumes, 3, picture_of_case(volumes, 3))
    fullest = int((readings == 1).sum(axis=(0, 2, 3)).argmax())
    assert np.array_equal(drawn[outlines.INNER][0], inner[fullest, 0])
    assert np.array_equal(drawn[outlines.OUTER][0], outer[fullest, 0])
    assert np.array_equal(drawn[None], readings[:, fullest] == 1)
    high = said["classes"]["lesion"]["volume"]["high"]["mm3"]
    assert f"to {high:.0f} mm3 (60%)" in section.pictures[0].figure.axes[0].get_title()


def test_what_is_asked_from_python_is_the_same(run, volumes):
    again = pu.evaluate(run, volumes, (1, 4), device="cpu")
    assert again.ged2[4].mean == json.loads((run / "evaluation.json").read_text())["ged2"]["4"]["mean"]
    cut = pu.evaluate(run, volumes, (4,), crop=(4, 16, 16), device="cpu")
    assert cut.ged2[4].mean != again.ged2[4].mean


def test_training_from_python_needs_a_crop_where_volumes_differ(volumes, tmp_path):
    model = pu.UNet(**SMALL)
    with pytest.raises(InputError, match=r"differ in size; give crop=\(D, H, W\)"):
        pu.train(model, volumes, tmp_path / "a", steps=1)
    run = pu.train(
        model,
        volumes,
        tmp_path / "b",
        steps=1,
        crop=(3, 16, 17),
        batch_size=2,
        augmentation=Augmentation(),
        device="cpu",
    )
    image = torch.from_numpy(volumes.normalised(np.array([3]), volumes.images[3][None]))
    assert run.model()(image).sample(1).shape == (1, 1, *volumes.size(3))


def test_volumes_in_memory_need_no_store(volumes, tmp_path):
    """Lists of volumes of two depths; what was trained samples one of them whole."""
    images = [volumes.normalised(np.array([i]), volumes.images[i][None])[0] for i in range(5)]
    labels = [np.asarray(volumes.labels[i]) for i in range(5)]
    arguments = {"steps": 1, "crop": (3, 16, 16), "batch_size": 2, "augmentation": Augmentation(), "device": "cpu"}
    run = pu.train(pu.UNet(**SMALL), (images, labels), tmp_path / "run", **arguments)
    assert pu.Predictor.load(run.path, "cpu")(images[1].swapaxes(0, 1)).sample(1).shape == (1, 9, 17, 16)


def test_models_and_data_of_other_dimensions_are_refused(run, store, volumes, tmp_path):
    flat = pu.UNet(in_channels=2, channels=[4, 4])
    with pytest.raises(InputError, match=r"'UNet' has 2 dimensions, the images of .* 3; set dims"):
        pu.train(flat, volumes, tmp_path / "a", steps=1, crop=(4, 16, 16), batch_size=2)
    with pytest.raises(InputError, match=r"channel|takes volumes"):
        pu.evaluate(run, store, (2,))
    with pytest.raises(InputError, match=r"needed are \(B, C, D, H, W\)"):
        pu.evaluate(run.parent / "experts", [(torch.zeros(1, 2, 16, 16), torch.zeros(1, 2, 16, 16))], (2,))
