"""What ``/openapi.json`` says is true: every path answers as it is described, also where it refuses."""

import inspect
import io

import jsonschema
import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the extra 'explore' is not installed")
pytest.importorskip("httpx2", reason="httpx2, which drives the server in tests, is not installed")
from openapi_spec_validator import validate
from starlette.testclient import TestClient

from probunet.commands.sample import sample
from probunet.explore.app import make_app
from probunet.explore.cases import Cases, cases_of
from probunet.explore.engine import Engine
from probunet.explore.guard import LOOPBACK
from probunet.metrics.clusters import ALIKE
from probunet.runs.run import Run

NEEDED = {"/api/cases/{case}/decode": {"z": "0,0,0,0,0,0"}}
"""Parameters that a path cannot do without, beside the case."""
OF_VOLUMES = {"/api/cases/{case}/sections/{axis}/{position}/labels"}
"""What cannot be asked of the slices here."""
WRONG = {"n": "0", "size": "3", "distance": "2", "slice": "-1", "format": "gif", "z": "one,two", "reader": "Nobody"}


@pytest.fixture(scope="module")
def client(calibrated, store):
    app = make_app(Engine(Run(calibrated), "cpu"), Cases(cases_of(store.path, "test")), LOOPBACK)
    return TestClient(app, base_url="http://127.0.0.1:8777")


@pytest.fixture(scope="module")
def schema(client):
    return client.get("/openapi.json").json()


def check(answer, operation):
    """Hold an answer against what is said of it."""
    said = operation["responses"][str(answer.status_code)]
    for header in said.get("headers", ()):
        assert header in answer.headers
    [(kind, content)] = said["content"].items()
    assert answer.headers["content-type"].partition(";")[0] == kind
    if kind == "application/json":
        jsonschema.validate(answer.json(), content["schema"])


def place(path, case):
    return path.format(case=case, axis="row", position=16)


def asked(schema):
    return [(path, facts["get"]) for path, facts in schema["paths"].items() if "get" in facts]


def test_it_is_valid_openapi(schema):
    validate(schema)


def test_every_path_answers_as_described(client, schema):
    assert len(asked(schema)) >= 12
    for path, operation in asked(schema):
        answer = client.get(place(path, 0), params=NEEDED.get(path, {}))
        assert answer.status_code == (422 if path in OF_VOLUMES else 200), path
        check(answer, operation)
    file = io.BytesIO()
    np.save(file, np.zeros((1, 32, 32), np.float32))
    operation = schema["paths"]["/api/images"]["post"]
    assert list(operation["requestBody"]["content"]) == ["application/octet-stream"]
    answer = client.post("/api/images", params={"name": "mine.npy"}, content=file.getvalue())
    assert answer.status_code == 201
    check(answer, operation)


def test_every_path_refuses_as_described(client, schema):
    refused = 0
    for path, operation in asked(schema):
        if "{case}" in path:
            answer = client.get(place(path, "none"), params=NEEDED.get(path, {}))
            assert answer.status_code == 404, path
            check(answer, operation)
        for parameter in operation.get("parameters", ()):
            if parameter["name"] in WRONG:
                wrong = {parameter["name"]: WRONG[parameter["name"]]}
                answer = client.get(place(path, 0), params=NEEDED.get(path, {}) | wrong)
                if answer.status_code != 200:  # a slice has no other readers to be asked of
                    refused += 1
                    assert answer.status_code == 422, (path, wrong)
                    check(answer, operation)
    assert refused > 20


def test_a_page_to_read_says_the_same_without_a_network(client, schema):
    page = client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    for path, methods in schema["paths"].items():
        for method, operation in methods.items():
            assert f"<code>{method.upper()} {path}</code>" in page.text
            assert all(
                f"<code>{parameter['name']}</code>" in page.text for parameter in operation.get("parameters", ())
            )
    assert "<script" not in page.text
    assert "//" not in page.text.replace("http-equiv", "")
    assert client.get("/reference.css").status_code == 200
    assert 'href="docs"' in client.get("/").text


def test_a_parameter_that_a_path_does_not_have_is_no_parameter_that_was_not_given(client, schema):
    for path, operation in asked(schema):
        answer = client.get(place(path, 0), params=NEEDED.get(path, {}) | {"seeed": "5"})
        assert answer.status_code == 422, path
        assert "there is no parameter 'seeed' here" in answer.json()["detail"]
        check(answer, operation)
    assert client.get("/api/cases/0/labels?n=0").json()["detail"].startswith("n=0: ")


def test_hypotheses_are_grouped_as_sample_groups_them(client):
    asked_for = client.get("/api/cases/0/hypotheses?n=16").json()["groups"]
    assert asked_for == client.get(f"/api/cases/0/hypotheses?n=16&distance={ALIKE}").json()["groups"]
    assert inspect.signature(sample).parameters["group_distance"].default == ALIKE
