"""The server behind the page: what it answers, and what it refuses in one sentence."""

import io
import json
import re
import zipfile
from urllib.parse import unquote

import numpy as np
import pytest
import torch
from PIL import Image
from small_data import DESCRIPTION, blob, png

pytest.importorskip("fastapi", reason="the extra 'explore' is not installed")
pytest.importorskip("httpx2", reason="httpx2, which drives the server in tests, is not installed")
from starlette.testclient import TestClient

import probunet as pu
from probunet.data.manifest import Case
from probunet.explore.app import make_app
from probunet.explore.cases import Cases, cases_of
from probunet.explore.engine import Engine
from probunet.explore.guard import LOOPBACK
from probunet.explore.recent import Recent
from probunet.explore.volumes import letters
from probunet.io.uploads import MAXIMUM_BYTES
from probunet.metrics.clusters import groups
from probunet.metrics.measures import sizes
from probunet.runs.run import Run
from probunet.runs.trained import open_model

HOST = "http://127.0.0.1:8777"


@pytest.fixture
def client(trained, store) -> TestClient:
    app = make_app(Engine(Run(trained / "probabilistic_unet")), Cases(cases_of(store.path, "test")), LOOPBACK)
    return TestClient(app, base_url=HOST)


def numbers(answer, dtype):
    shape = tuple(map(int, answer.headers["x-shape"].split(",")))
    return np.frombuffer(answer.content, dtype).reshape(shape)


def test_hypotheses_are_those_of_the_model(client, trained):
    found = client.get("/api/cases/0/hypotheses?n=5&seed=3").json()
    labels = numbers(client.get("/api/cases/0/labels?n=5&seed=3"), np.uint8)
    assert found["pixels"] == [np.bincount(one.ravel(), minlength=2).tolist() for one in labels]
    assert sum(group["frequency"] for group in found["groups"]) == pytest.approx(1)
    z = ",".join(map(str, found["latents"][2]))
    assert np.array_equal(numbers(client.get(f"/api/cases/0/decode?z={z}"), np.uint8), labels[2])
    assert isinstance(pu.load(trained / "probabilistic_unet"), pu.ProbabilisticUNet)


def test_a_case_with_its_readers_and_the_latent_space(client, store):
    facts = client.get("/api/cases/0").json()
    index = store.indices("test")[0]
    assert np.array_equal(numbers(client.get("/api/cases/0/readers"), np.uint8), store.labels[index])
    assert np.array_equal(numbers(client.get("/api/cases/0/picture"), "<f4"), store.images[index])
    assert len(facts["latent"]["readers"]) == 4
    assert len(facts["latent"]["prior"]["sigma"]) == 6
    shares = numbers(client.get("/api/cases/0/probabilities?n=4"), "<f4")
    assert np.allclose(shares.sum(axis=0), 1, atol=1e-5)


def test_the_model_says_what_it_is_for(client, trained):
    facts = {part["title"]: part["lines"] for part in client.get("/api/model").json()["about"]}
    means = json.loads((trained / "probabilistic_unet" / "evaluation.json").read_text())["ged2"]
    assert any("not for diagnosis" in line for line in facts["What it is for"])
    assert f"D²_GED, 4 samples: {means['4']['mean']:.3f}" in " ".join(facts["Figures"])
    assert client.get("/api/cases/0").json()["reader_names"] == [f"reader {i}" for i in (1, 2, 3, 4)]


def test_exports_lie_on_the_whole_picture(client):
    archive = np.load(io.BytesIO(client.get("/api/cases/0/export?format=npz&n=3").content))
    assert archive["samples"].shape == (3, 1, 32, 32)
    assert json.loads(str(archive["facts"]))["seed"] == 0
    with Image.open(io.BytesIO(client.get("/api/cases/0/export?format=png&n=3&pick=1").content)) as one:
        assert np.array_equal(np.asarray(one), archive["samples"][1, 0])
    names = zipfile.ZipFile(io.BytesIO(client.get("/api/cases/0/export?format=png&n=3").content)).namelist()
    assert names == ["sample-000.png", "sample-001.png", "sample-002.png", "facts.json"]


def test_a_file_to_save_keeps_a_name_in_any_script(client):
    answer = client.post("/api/images", params={"name": "Ελληνικά 1.png"}, content=png(blob(0)[0][0]))
    saved = client.get(f"/api/cases/{answer.json()['case']}/export?format=npz&n=1").headers["Content-Disposition"]
    plain, named = saved.removeprefix("attachment; ").split("; ")
    assert unquote(named.removeprefix("filename*=UTF-8''")) == "Ελληνικά 1.png-hypotheses.npz"
    assert re.fullmatch(r'filename="[\w.-]+-hypotheses\.npz"', plain, re.ASCII)


def test_an_upload_becomes_a_case(client):
    key = client.post("/api/images?name=mine.png", content=png(blob(0)[0][0])).json()["case"]
    assert client.get(f"/api/cases/{key}").json()["shape"] == [1, 32, 32]


def npy(header: str) -> bytes:
    text = header.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + bytes(4 * 32)


def bomb() -> bytes:
    buffer = io.BytesIO()
    Image.new("1", (9_000, 9_000)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "make", "words"),
    [
        ("a.npy", lambda: npy("{'descr': '<f4', 'fortran_order': False, 'shape': (True, 32)}"), "(True, 32)"),
        ("a.npy", lambda: npy("[" * 5000 + "]" * 5000), "cannot be read as"),
        ("a.exe", lambda: b"MZ", "has none of the endings"),
        ("a.png", lambda: b"\xff\xd8\xff\xe0", "does not begin like a PNG"),
        ("a.png", lambda: png(blob(0)[0][0])[:90], "cannot be read as PNG"),
        ("a.png", bomb, "9000x9000 px"),
        ("a.npy", lambda: b"\x93NUMPY\x01\x00v\x00{'descr': '|O', }", "cannot be read as NPY"),
        ("a.dcm", lambda: b"nothing", "does not begin like a DICOM file"),
    ],
)
def test_bad_uploads_are_one_sentence(client, name, make, words):
    answer = client.post(f"/api/images?name={name}", content=make())
    assert answer.status_code == 422
    assert words in answer.json()["detail"]


def test_too_much_is_refused_while_it_comes(client):
    assert client.post("/api/images?name=a.png", content=b"\0" * (MAXIMUM_BYTES + 1)).status_code == 413


@pytest.mark.parametrize("key", ["99", "-1", "upload-0000000000000000", "..%2F..%2Fetc%2Fpasswd", "0.0"])
def test_only_known_cases_are_given(client, key):
    assert client.get(f"/api/cases/{key}").status_code == 404


def test_a_short_token_is_refused(trained, failing, tmp_path):
    (tmp_path / "token").write_text("short\n")
    words = ["explore", str(trained / "unet"), "--host", "0.0.0.0", "--token_file", str(tmp_path / "token")]
    assert "at least 16 letters and digits, got 5" in failing(*words)


def test_only_readers_who_looked_are_shown(trained, tmp_path):
    """A missing reading is IGNORE everywhere and says neither yes nor no."""
    from probunet.data.prepare import CaseSource, write_store

    def two_of_three():
        image, labels = blob(0)
        return image, np.stack([labels[0], np.full_like(labels[0], 255), labels[3]])

    made = write_store(
        tmp_path / "store", [CaseSource(Case("a", "p", "test"), two_of_three)], DESCRIPTION, np.uint8, jobs=1
    )
    app = make_app(Engine(Run(trained / "probabilistic_unet"), "cpu"), Cases(cases_of(made.path, "test")), LOOPBACK)
    client = TestClient(app, base_url=HOST)
    facts = client.get("/api/cases/0").json()
    assert facts["readers"] == len(facts["latent"]["readers"]) == 2
    maps = numbers(client.get("/api/cases/0/readers"), np.uint8)
    assert [map.sum() for map in maps] == [blob(0)[1][0].sum(), 0]


def test_cases_of_a_store_of_volumes(volumes):
    row = int(volumes.indices("test")[0])
    shown = cases_of(volumes.path, "test")[0].load()
    assert shown.picture.spacing_mm == volumes.spacing(row)
    assert np.array_equal(shown.picture.slice(2), volumes.images[row][:, 2])
    assert np.array_equal(shown.readers, volumes.labels[row])
    assert letters(shown.picture) == {
        "left": "R", "right": "L", "top": "A", "bottom": "P", "first": "F", "last": "H",
    }  # fmt: skip


def test_a_volume_is_shown_slice_by_slice_and_saved_whole(trained, tmp_path):
    nibabel = pytest.importorskip("nibabel")
    volume = np.stack([blob(i)[0][0] for i in range(3)], axis=-1).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(volume, np.diag([-0.5, -0.7, 2.0, 1.0])), tmp_path / "scan.nii.gz")
    app = make_app(Engine(Run(trained / "unet"), "cpu"), Cases(cases_of(tmp_path, "test")), LOOPBACK)
    client = TestClient(app, base_url=HOST)
    facts = client.get("/api/cases/0").json()
    assert (facts["slice"], facts["slices"]) == (1, 3)
    assert facts["spacing_mm"] == pytest.approx([0.7, 0.5])
    assert np.array_equal(numbers(client.get("/api/cases/0/picture?slice=2"), "<f4")[0], volume[:, :, 2].T)
    assert client.get("/api/cases/0?slice=3").status_code == 422
    (tmp_path / "saved.nii.gz").write_bytes(client.get("/api/cases/0/export?format=nifti&n=1&slice=2").content)
    saved = nibabel.load(tmp_path / "saved.nii.gz")
    assert np.allclose(saved.affine, np.diag([-0.5, -0.7, 2.0, 1.0]))
    labels = numbers(client.get("/api/cases/0/labels?n=1&slice=2"), np.uint8)[0]
    field = client.get("/api/cases/0?slice=2").json()["field"]
    whole = np.asarray(saved.dataobj).transpose(2, 1, 0)
    assert np.array_equal(whole[2, field["top"] :, field["left"] :][: field["height"], : field["width"]], labels)
    answer = client.get("/api/cases/0/hypotheses?n=1&slice=2").json()
    said = answer["volume"]["hypotheses"]
    assert said["pixels"] == [whole.sum(axis=(1, 2)).tolist()], "of every slice, not of the shown one alone"
    assert said["size"] == pytest.approx([whole.sum() * 0.7])
    assert said["summary"]["unit"] == "mm3"
    assert answer["groups"] == [{"members": [0], "representative": 0, "frequency": 1.0}]
    assert answer["volume"]["readers"] == {"pixels": [], "size": [], "diameter": [], "summary": None}


def test_a_volume_too_large_to_draw_whole_is_not_saved_with_one_slice_alone(trained, tmp_path, monkeypatch):
    np.save(tmp_path / "scan.npy", np.stack([blob(i)[0][0] for i in range(3)]))
    app = make_app(Engine(Run(trained / "unet"), "cpu"), Cases(cases_of(tmp_path, "test")), LOOPBACK)
    client = TestClient(app, base_url=HOST)
    monkeypatch.setattr("probunet.explore.engine.MOST_VOXELS", 3 * 32 * 32)
    assert client.get("/api/cases/0/export?n=1").status_code == 200
    answer = client.get("/api/cases/0/export?n=2")
    assert (answer.status_code, "2 hypotheses of 3 slices are more than the page can save" in answer.text) == (
        422,
        True,
    )


def test_the_global_generator_is_left_alone(client):
    torch.manual_seed(1)
    expected = torch.rand(3)
    torch.manual_seed(1)
    first = client.get("/api/cases/1/labels?n=4&seed=9").content
    assert torch.equal(torch.rand(3), expected)
    torch.manual_seed(2)
    assert client.get("/api/cases/1/labels?n=4&seed=9").content == first


def test_the_interface_lists_itself(client):
    paths = {entry["path"] for entry in client.get("/api").json()}
    assert "/api/cases/{case}/hypotheses" in paths
    schema = client.get("/openapi.json").json()
    assert schema["info"]["title"] == "probunet explore"
    binary = {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}
    for path in ("picture", "readers", "features", "labels", "probabilities", "decode", "export"):
        assert schema["paths"][f"/api/cases/{{case}}/{path}"]["get"]["responses"]["200"]["content"] == binary
    body = schema["paths"]["/api/images"]["post"]["requestBody"]
    assert body["content"]["application/octet-stream"]["schema"]["maxLength"] == MAXIMUM_BYTES
    assert client.get("/api/health").json() == {"status": "ok"}
    assert "default-src 'none'" in client.get("/").headers["content-security-policy"]


def test_a_token_is_described(trained):
    app = make_app(Engine(Run(trained / "unet"), "cpu"), Cases([]), None, "s" * 20)
    client = TestClient(app, base_url=HOST, headers={"Authorization": "Bearer " + "s" * 20})
    schema = client.get("/openapi.json").json()
    assert schema["security"] == [{"bearer": []}, {"cookie": []}]
    assert set(schema["components"]["securitySchemes"]) == {"bearer", "cookie"}
    assert TestClient(app, base_url=HOST).get("/api/health").status_code == 200


@pytest.fixture(scope="module")
def scanned(tmp_path_factory):
    """A model of volumes, untrained, a volume of six slices for it, and how it is asked."""
    nibabel = pytest.importorskip("nibabel")
    folder = tmp_path_factory.mktemp("volumes")
    torch.manual_seed(0)
    model = pu.ProbabilisticUNet(channels=(4, 4), latent_dims=2, convolutions=1, combine_channels=8, dims=3).eval()
    seen = {
        "crop": [4, 16, 16],
        "spacing_mm": None,
        "classes": ["background", "lesion"],
        "title": "",
        "simulated": None,
    }
    pu.save(
        model, folder / "model", input={**seen, "intensity": {"unit": "grey level", "offset": 128.0, "scale": 74.0}}
    )
    values = np.random.default_rng(0).integers(0, 256, (20, 18, 6)).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([-0.5, -0.7, 2.0, 1.0])), folder / "scan.nii")
    engine = Engine(open_model(str(folder / "model"), ()), "cpu")
    with torch.inference_mode():  # so that it marks some voxels and others not
        logits = engine.predictor(folder / "scan.nii").distribution().latent.logits(torch.tensor([[0.1, -0.2]]))
        engine.model.combine.rest[-1].bias[1] -= (logits[:, 1] - logits[:, 0]).median()
    app = make_app(engine, Cases(cases_of(folder / "scan.nii", "test")), LOOPBACK)
    return TestClient(app, base_url=HOST), engine, folder


def test_hypotheses_of_a_model_of_volumes_are_volumes(scanned):
    client, engine, folder = scanned
    query = "n=4&seed=3&row=9&column=9"
    prediction = engine.predictor(folder / "scan.nii", at=(9, 9), size=(16, 16))
    whole = prediction.view.field.of(prediction.sample(4, 3))
    for index in (0, 5):
        labels = numbers(client.get(f"/api/cases/0/labels?{query}&slice={index}"), np.uint8)
        assert np.array_equal(labels, whole[:, index])
        shares = numbers(client.get(f"/api/cases/0/probabilities?{query}&slice={index}"), "<f4")
        assert np.allclose(shares.sum(axis=0), 1, atol=1e-5)
    answer = client.get(f"/api/cases/0/hypotheses?{query}&slice=5&distance=0.3").json()
    expected = sizes(whole, 1, (2.0, 0.7, 0.5))
    assert answer["volume"]["hypotheses"]["size"] == pytest.approx(expected.size.tolist())
    assert answer["volume"]["hypotheses"]["diameter"] == pytest.approx(expected.diameter.tolist())
    assert answer["volume"]["hypotheses"]["pixels"] == np.count_nonzero(whole, axis=(2, 3)).tolist()
    assert answer["groups"] == [vars(group) for group in groups(whole, 2, 0.3)]
    assert client.get(f"/api/cases/0?{query}&slice=6").status_code == 422


def test_sections_are_cut_from_picture_readings_and_hypotheses(scanned):
    """By hand from the slices: rows and columns count in the picture, and sections have the field's."""
    client, engine, folder = scanned
    where, place = "/api/cases/0/sections", "row=9&column=9"
    query = f"{place}&n=4&seed=3"
    prediction = engine.predictor(folder / "scan.nii", at=(9, 9), size=(16, 16))
    field, whole = prediction.view.field, prediction.sample(4, 3)
    values, columns = prediction.picture.values(), slice(field.left, field.left + 16)
    cut = numbers(client.get(f"{where}/row/7/picture?{place}"), "<f4")
    assert np.array_equal(cut[0], values[:, 0, 7, columns])
    assert np.array_equal(numbers(client.get(f"{where}/row/7/labels?{query}"), np.uint8), whole[:, :, 7, columns])
    cut = numbers(client.get(f"{where}/column/9/labels?{query}&slice=5"), np.uint8)
    assert np.array_equal(cut, whole[..., field.top : field.top + 16, 9])
    assert numbers(client.get(f"{where}/column/9/readers?{place}"), np.uint8).shape == (0, 6, 16)
    assert client.get(f"{where}/slice/9/picture?{place}").status_code == 422
    for outside in (f"row/{field.top - 1}", f"row/{field.top + 16}", "row/100000", f"column/{field.left + 16}"):
        for what in ("picture", "labels", "readers"):
            answer = client.get(f"{where}/{outside}/{what}?{query if what == 'labels' else place}")
            assert (answer.status_code, "does not go through the field" in answer.text) == (422, True)


def test_a_volume_larger_than_the_page_holds_is_not_cut(scanned, monkeypatch):
    client, engine, _ = scanned
    monkeypatch.setattr("probunet.explore.engine.REMEMBERED_BYTES", 100)
    engine._values = Recent(100)
    answer = client.get("/api/cases/0/sections/row/7/picture?row=9&column=9")
    assert (answer.status_code, "more of a volume than the page cuts" in answer.text) == (422, True)


def test_the_page_decodes_a_slice_of_a_volume_from_its_features(scanned):
    client, engine, _ = scanned
    place = "row=9&column=9&slice=4"
    assert client.get(f"/api/cases/0?{place}").json()["decodes_in_page"]
    features = torch.from_numpy(numbers(client.get(f"/api/cases/0/features?{place}"), "<f4").copy())
    latent = torch.tensor([[0.1, -0.2]])
    with torch.inference_mode():
        logits = engine.model.combine(features.movedim(-1, 0)[None], latent)  # a slice is an image to f_comb
    decoded = numbers(client.get(f"/api/cases/0/decode?{place}&z=0.1,-0.2"), np.uint8)
    assert 0 < decoded.mean() < 1
    assert np.array_equal(logits.argmax(dim=1)[0].numpy(), decoded)
    saved = np.load(io.BytesIO(client.get(f"/api/cases/0/export?{place}&format=npz&z=0.1,-0.2").content))["samples"]
    field = client.get(f"/api/cases/0?{place}").json()["field"]
    inside = saved[0, 4, field["top"] :, field["left"] :][: field["height"], : field["width"]]
    assert np.array_equal(inside, decoded)
    assert all(piece.any() for piece in saved[0]), "all slices are saved"


def test_a_known_reader_is_asked_for_by_name(trained, tmp_path):
    """The page draws as sample --reader does; readers draw differently, and nobody else is known."""
    torch.manual_seed(0)
    made = pu.MixtureOfExperts(1, 2, channels=(4, 6), reader_names=("Ada", "Béla & Co"))
    facts = {"crop": 32, "classes": ["background", "lesion"], "spacing_mm": None, "title": "noise", "simulated": True}
    unit = {"unit": "as given", "offset": 0.0, "scale": 1.0}
    pu.save(made, tmp_path / "known", input={**facts, "intensity": unit})
    np.save(tmp_path / "a.npy", np.random.default_rng(0).normal(size=(32, 32)).astype(np.float32))
    predictor = pu.Predictor.load(tmp_path / "known", device="cpu")
    app = make_app(Engine(open_model(tmp_path / "known")), Cases(cases_of(tmp_path / "a.npy", "test")), LOOPBACK)
    client = TestClient(app, base_url=HOST)
    assert client.get("/api/model").json()["reader_names"] == ["Ada", "Béla & Co"]
    drawn = {}
    for reader in (None, "Ada", "Béla & Co"):
        query = {"n": 6, "seed": 3} | ({"reader": reader} if reader else {})
        labels = numbers(client.get("/api/cases/0/labels", params=query), np.uint8)
        drawn[reader] = labels
        assert np.array_equal(labels, predictor(tmp_path / "a.npy", reader=reader).sample(6, seed=3)[:, 0])
        assert client.get("/api/cases/0/hypotheses", params=query).status_code == 200
    assert not np.array_equal(drawn["Ada"], drawn["Béla & Co"])
    answer = client.get("/api/cases/0/labels", params={"reader": "Zoe"})
    assert answer.status_code == 422
    assert "'Zoe' is not known; this model knows Ada, Béla & Co" in answer.json()["detail"]
