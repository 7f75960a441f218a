"""The server behind the page: what it answers, and what it refuses in one sentence."""

import io
import json
import zipfile

import numpy as np
import pytest
from PIL import Image
from small_data import blob, png

pytest.importorskip("fastapi", reason="the extra 'explore' is not installed")
pytest.importorskip("httpx2", reason="httpx2, which drives the server in tests, is not installed")
from starlette.testclient import TestClient

import probunet as pu
from probunet.explore.app import make_app
from probunet.explore.cases import Cases, cases_of
from probunet.explore.engine import Engine
from probunet.explore.guard import LOOPBACK
from probunet.io.uploads import MAXIMUM_BYTES
from probunet.runs.run import Run

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
    assert sum(mode["frequency"] for mode in found["modes"]) == pytest.approx(1)
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


def test_exports_lie_on_the_whole_picture(client):
    archive = np.load(io.BytesIO(client.get("/api/cases/0/export?format=npz&n=3").content))
    assert archive["labels"].shape == (3, 32, 32)
    assert json.loads(str(archive["facts"]))["seed"] == 0
    with Image.open(io.BytesIO(client.get("/api/cases/0/export?format=png&n=3&pick=1").content)) as one:
        assert np.array_equal(np.asarray(one) // 255, archive["labels"][1])
    names = zipfile.ZipFile(io.BytesIO(client.get("/api/cases/0/export?format=png&n=3").content)).namelist()
    assert names == ["hypothesis-000.png", "hypothesis-001.png", "hypothesis-002.png", "facts.json"]


def test_an_upload_becomes_a_case(client):
    key = client.post("/api/images?name=mine.png", content=png(blob(0)[0][0])).json()["case"]
    assert client.get(f"/api/cases/{key}").json()["shape"] == [1, 32, 32]


def bomb() -> bytes:
    buffer = io.BytesIO()
    Image.new("1", (9_000, 9_000)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize(
    ("name", "make", "words"),
    [
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


def test_the_interface_lists_itself(client):
    paths = {entry["path"] for entry in client.get("/api").json()}
    assert "/api/cases/{case}/hypotheses" in paths
    assert client.get("/openapi.json").json()["info"]["title"] == "probunet explore"
    assert "default-src 'none'" in client.get("/").headers["content-security-policy"]
