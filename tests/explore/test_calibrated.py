"""What the page says of a calibrated model is what ``probunet sample`` writes, bit for bit."""

import json
import shutil

import numpy as np
import pytest
from small_data import blob

pytest.importorskip("fastapi", reason="the extra 'explore' is not installed")
pytest.importorskip("httpx2", reason="httpx2, which drives the server in tests, is not installed")
from starlette.testclient import TestClient

from probunet.cli import main
from probunet.explore.app import make_app
from probunet.explore.cases import Cases, cases_of
from probunet.explore.engine import Engine
from probunet.explore.guard import LOOPBACK
from probunet.inference.calibrated import Calibrated
from probunet.inference.predictor import Predictor
from probunet.runs.run import Run

SEED = 5


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A picture larger than the model's field, and a volume of five slices with pixels of 0.5 x 0.7 mm."""
    nibabel = pytest.importorskip("nibabel")
    folder = tmp_path_factory.mktemp("pictures")
    np.save(folder / "lesion.npy", blob(90, 32)[0][0])
    values = np.stack([blob(i)[0][0] for i in range(5)], axis=-1).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([-0.5, -0.7, 2.0, 1.0])), folder / "scan.nii")
    return folder


@pytest.fixture(scope="module")
def written(calibrated, pictures, tmp_path_factory):
    """What the command says of the field in the middle of both."""
    out = tmp_path_factory.mktemp("written") / "out"
    words = ["-n", "2", "--seed", str(SEED), "--at", "16", "16", "--write", "inner", "outer", "--format", "npy"]
    main(["sample", str(calibrated), str(pictures), "--out", str(out), *words])
    return out


def client_of(run, pictures):
    app = make_app(Engine(Run(run), "cpu"), Cases(cases_of(pictures, "test")), LOOPBACK)
    return TestClient(app, base_url="http://127.0.0.1:8777")


@pytest.fixture(scope="module")
def client(calibrated, pictures):
    return client_of(calibrated, pictures)


def case(client, name):
    return client.get("/api/cases").json().index(name)


def masks(answer):
    return np.frombuffer(answer.content, np.uint8).reshape(tuple(map(int, answer.headers["x-shape"].split(","))))


def maps(folder, field):
    """Inner and outer outline of all slices on the field, (slices, 2, classes, h, w)."""
    whole = np.stack([np.load(folder / "maps" / f"{name}.npy") for name in ("inner", "outer")], axis=1)
    top, left = field["top"], field["left"]
    return whole[..., top : top + field["height"], left : left + field["width"]]


def test_outlines_and_numbers_of_a_picture_are_those_that_sample_writes(client, written):
    number = case(client, "lesion.npy")
    said = client.get(f"/api/cases/{number}/calibrated?seed={SEED}").json()
    field = said.pop("field")
    assert field == {"top": 4, "left": 4, "height": 24, "width": 24}
    assert said == json.loads((written / "lesion" / "summary.json").read_text())["calibrated"]
    outlines = masks(client.get(f"/api/cases/{number}/outlines?seed={SEED}"))
    expected = maps(written / "lesion", field)
    assert outlines.any()
    assert not outlines.all()
    assert np.array_equal(outlines, expected[0])
    model = client.get("/api/model").json()
    assert model["calibration"] == {"risk": 0.25, "words": said["words"]}
    assert model["no_calibration"] is None


def test_of_a_volume_each_slice_has_its_own_outlines_and_numbers(client, calibrated, pictures, written, tmp_path):
    """The numbers are those of the slice as a picture of its own, in mm2 of its pixels; sample gives none of it."""
    number, volume = case(client, "scan.nii"), json.loads((written / "scan" / "summary.json").read_text())["calibrated"]
    assert volume["classes"]["lesion"]["area"] is None
    for index in (1, 4):
        query = f"seed={SEED}&slice={index}"
        said = client.get(f"/api/cases/{number}/calibrated?{query}").json()
        outlines = masks(client.get(f"/api/cases/{number}/outlines?{query}"))
        assert np.array_equal(outlines, maps(written / "scan", said["field"])[index])
        [scan] = cases_of(pictures / "scan.nii", "test")
        made = Calibrated(Predictor.load(calibrated)(scan.load().picture, at=(16, 16)), SEED, index)
        assert len(list(made.slices())) == 1
        lesion = made.facts(("mm2", 0.5 * 0.7))["classes"]["lesion"]
        assert said["classes"]["lesion"]["nothing"] == lesion["nothing"]
        for end in ("low", "high"):
            assert said["classes"]["lesion"]["area"][end] == pytest.approx(lesion["area"][end])
        assert "nothing of the volume" in said["notes"][-1]


def test_without_a_calibration_or_with_that_of_another_model_there_is_one_sentence(
    calibrated, trained, pictures, tmp_path
):
    plain = client_of(trained / "probabilistic_unet", pictures)
    run = tmp_path / "run"
    shutil.copytree(calibrated, run)
    described = (run / "run.yaml").read_text()
    (run / "run.yaml").write_text(described.replace("offset: 100.0", "offset: 101.0"))
    for client, words in ((plain, "run 'probunet calibrate"), (client_of(run, pictures), "with other settings")):
        model = client.get("/api/model").json()
        assert model["calibration"] is None
        assert words in model["no_calibration"]
        for what in ("calibrated", "outlines"):
            answer = client.get(f"/api/cases/0/{what}")
            assert (answer.status_code, answer.json()["detail"]) == (422, model["no_calibration"])
        assert client.get("/api/cases/0/hypotheses?n=2").status_code == 200


def test_a_running_page_speaks_of_the_calibration_that_lies_there_now(calibrated, pictures, tmp_path):
    """Replaced, it is the new one; removed, the sentence that there is none."""
    run = tmp_path / "run"
    shutil.copytree(calibrated, run)
    client, file = client_of(run, pictures), run / "calibration.json"
    where = f"/api/cases/{case(client, 'lesion.npy')}/calibrated"
    before = client.get(where).json()
    content = json.loads(file.read_text())
    content["risk"] = 0.5
    content["classes"][0]["outer"] = None
    file.write_text(json.dumps(content))
    after = client.get(where).json()
    assert (before["risk"], after["risk"]) == (0.25, 0.5)
    assert after["classes"]["lesion"]["outer"]["pixels"] == 0 < before["classes"]["lesion"]["outer"]["pixels"]
    assert client.get("/api/model").json()["calibration"]["risk"] == 0.5
    file.unlink()
    assert "was not calibrated" in client.get(where).json()["detail"]


@pytest.mark.parametrize("what", ["", "/calibrated", "/hypotheses"])
@pytest.mark.parametrize("place", ["row=32&column=3", "row=3&column=99999"])
def test_a_place_outside_is_refused_as_the_command_does(client, calibrated, pictures, what, place, failing, tmp_path):
    row, column = (word.split("=")[1] for word in place.split("&"))
    answer = client.get(f"/api/cases/{case(client, 'lesion.npy')}{what}?{place}")
    assert answer.status_code == 422
    assert answer.json()["detail"] == f"row {row}, column {column} is outside the 32x32 px; give a place inside"
    if not what:
        words = ["sample", str(calibrated), str(pictures / "lesion.npy"), "--at", row, column]
        assert answer.json()["detail"] in failing(*words, "--out", str(tmp_path / "out"))


def test_a_slice_that_is_not_there_is_refused_whatever_is_asked_for(client):
    for what in ("", "/picture", "/hypotheses"):
        answer = client.get(f"/api/cases/{case(client, 'scan.nii')}{what}?slice=5")
        assert answer.json()["detail"] == "slice 5 is outside the 5 slices; give one from 0 to 4"
