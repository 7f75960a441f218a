"""The page without a server: what is written, and in a real browser that it says what PyTorch says."""

import functools
import http.server
import io
import json
import os
import shutil
import tarfile
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("onnxruntime", reason="the extra 'onnx' is not installed")
pytest.importorskip("onnxscript", reason="the extra 'onnx' is not installed")
pytest.importorskip("fastapi", reason="the extra 'explore' is not installed")

import probunet as pu
from probunet.core.descriptions import write_json
from probunet.core.errors import InputError
from probunet.explore import static_site
from probunet.explore.static_site import PACKAGE, RUNTIME, VERSION, runtime, write_static
from probunet.inference.predictor import Predictor
from probunet.metrics.clusters import groups
from probunet.runs.calibration import Calibration, ClassPart, DataPart, weights_identity
from probunet.runs.trained import open_model

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
REAL = os.environ.get("ONNXRUNTIME_WEB")
"""The package onnxruntime-web, as ``npm pack`` makes it."""


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """An untrained model with lively hypotheses, of 8-bit grey levels and crops of 32x32 px."""
    folder = tmp_path_factory.mktemp("static") / "model"
    torch.manual_seed(0)
    net = pu.ProbabilisticUNet(channels=(8, 8), latent_dims=3, convolutions=1, combine_channels=8).eval()
    with torch.no_grad():
        net.combine.from_latent.weight.mul_(2)
        latent = net(torch.randn(1, 1, 32, 32)).latent
        logits = latent.logits(latent.moments()[0])[0]
        net.combine.rest[-1].bias[1] -= (logits[1] - logits[0]).median()  # half of the pixels are marked
    intensity = {"unit": "grey level", "offset": 128.0, "scale": 74.0}
    seen = {"crop": 32, "spacing_mm": None, "classes": ["background", "lesion"], "title": "noise", "simulated": True}
    pu.save(net, folder, input={**seen, "intensity": intensity})
    write_json(folder / "calibration.json", calibration_of(open_model(str(folder), ())).model_dump(mode="json"))
    return open_model(str(folder), ())


def calibration_of(trained):
    """One that nobody needs patients for, of five hypotheses."""
    bounds = [(0.1 * k, 0.1 * k + 0.2) for k in range(6)]
    part = ClassPart(name="lesion", outer=0.3, inner=0.7, widening=0.2, empty=bounds, figures={})
    sides = {"sizes": ((24, 24), (24, 28)), "spacing_mm": None}
    data = DataPart(title="noise", identity={}, split="validation", patients=9, cases=9, readings=9, **sides)
    sums = {"weights": weights_identity(trained.model()), "model": trained.settings_checksum}
    return Calibration(
        format="probunet-calibration",
        version=1,
        **sums,
        risk=0.1,
        hypotheses=5,
        data=data,
        classes=[part],
        notes=["A."],
    )


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """Something of the shape of the package, which does nothing."""
    folder = tmp_path_factory.mktemp("package") / "dist"
    folder.mkdir()
    for name in RUNTIME:
        (folder / name).write_text("nothing")
    return folder.parent


def _no_graph(_, folder):
    """Write something in place of a graph: the real one takes its time."""
    (folder / "encode.onnx").write_bytes(b"graph")


@pytest.fixture(scope="module")
def site(model, package, tmp_path_factory):
    """Written once, with a graph only where a browser runs it: that takes its time."""
    folder = tmp_path_factory.mktemp("served") / "site"
    with pytest.MonkeyPatch.context() as patch:
        if not REAL:
            patch.setattr(static_site, "write_onnx", _no_graph)
        write_static(model, folder, Path(REAL) if REAL else package)
    return folder


def test_everything_that_the_page_needs_lies_in_the_folder(site):
    names = {file.name for file in site.iterdir()}
    assert {"index.html", "main.js", "api.js", "encode.onnx", "model.json", *RUNTIME} <= names
    assert "connect-src 'self'" in (site / "index.html").read_text()
    described = json.loads((site / "model.json").read_text())
    assert described["crop"] == [32, 32]
    assert described["calibration"]["risk"] == described["statements"]["risk"] == 0.1
    assert described["statements"]["classes"][0]["outer"] == 0.3
    assert described["intensity"] == {"offset": 128.0, "scale": 74.0}
    for script in site.glob("*.js"):
        assert "http://" not in script.read_text().replace("http://page", ""), "nothing is fetched from elsewhere"


def test_what_cannot_be_written_is_one_sentence(model, package, trained, tmp_path, failing, monkeypatch):
    (tmp_path / "no.tgz").write_bytes(b"no package")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(static_site, "write_onnx", _no_graph)
        with pytest.raises(InputError, match=f"is no package {PACKAGE}"):
            write_static(model, tmp_path / "site", tmp_path / "no.tgz")
        with pytest.raises(InputError, match="is missing; give the package"):
            write_static(model, tmp_path / "site", tmp_path)
        with pytest.raises(InputError, match=f"npm is not installed; run 'npm pack {PACKAGE}@{VERSION}'"):
            write_static(model, tmp_path / "site")
    assert not (tmp_path / "site").exists()
    where, web = str(tmp_path / "site"), ("--onnxruntime-web", str(package))
    assert "has no ONNX form" in failing("explore", str(trained / "unet"), "--static", where, *web)
    assert "leave out DATA" in failing("explore", str(model.path), str(tmp_path), "--static", where, *web)


def test_a_package_as_npm_makes_it_is_unpacked(tmp_path):
    with tarfile.open(tmp_path / "web.tgz", "w:gz") as packed:
        for name in RUNTIME:
            member = tarfile.TarInfo(f"package/dist/{name}")
            member.size = 7
            packed.addfile(member, io.BytesIO(b"nothing"))
    assert runtime(tmp_path / "web.tgz", tmp_path) == dict.fromkeys(RUNTIME, b"nothing")


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture(scope="module")
def page(site):
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if BROWSER is None or REAL is None:
        pytest.skip(f"no chromium, or ONNXRUNTIME_WEB does not name what 'npm pack {PACKAGE}@{VERSION}' makes")
    running = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(
            executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
        )
        opened = browser.new_page(viewport={"width": 1280, "height": 720})
        opened.complaints, opened.sent = [], []
        opened.on("console", lambda m: opened.complaints.append(m.text) if m.type == "error" else None)
        opened.on("pageerror", lambda error: opened.complaints.append(str(error)))
        opened.on("request", lambda request: opened.sent.append((request.method, request.url)))
        opened.goto(f"http://127.0.0.1:{running.server_port}/")
        yield opened
        browser.close()
    running.shutdown()
    thread.join(10)
    running.server_close()


def test_the_browser_says_what_pytorch_says(page, model, tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (128, 128)).astype(np.uint8)
    np.save(tmp_path / "εικόνα 1.npy", image)
    page.set_input_files("#file", tmp_path / "εικόνα 1.npy")
    page.wait_for_selector(".group", timeout=30_000)
    latents = torch.randn(6, 3, generator=torch.Generator().manual_seed(0)) * 2
    script = """async (latents) => {
        const { array, json } = await import('./api.js'), case_ = '/api/cases/upload-0';
        const labels = [];
        for (const z of latents) labels.push([...(await array(`${case_}/decode?z=${z.join()}`)).data]);
        const drawn = await array(`${case_}/labels?n=24`), shares = await array(`${case_}/probabilities?n=24`);
        return { labels, drawn: [...drawn.data], shares: [...shares.data],
          told: await json(`${case_}/hypotheses?n=24&distance=0.5`), described: await json(case_) };
    }"""
    answer = page.evaluate(script, latents.tolist())
    field = answer["described"]["field"]
    assert field == {"top": 48, "left": 48, "height": 32, "width": 32}
    seen = torch.from_numpy((image[48:80, 48:80].astype(np.float32) - 128) / 74)[None, None]
    net = model.model()
    with torch.inference_mode():
        latent = net(seen).latent
        expected = np.stack([latent.logits(z[None]).argmax(dim=1)[0].numpy() for z in latents])
        drawn_z = torch.tensor(answer["told"]["latents"])
        logits = torch.cat([latent.logits(z[None]) for z in drawn_z])
        mean, sigma = (part[0].numpy() for part in latent.moments())
    assert 0.05 < expected.mean() < 0.95
    assert (np.array(answer["labels"]).reshape(expected.shape) == expected).mean() >= 0.999
    drawn = np.array(answer["drawn"], np.uint8).reshape(24, 32, 32)
    assert (drawn == logits.argmax(dim=1).numpy()).mean() >= 0.999
    np.testing.assert_allclose(answer["shares"], logits.softmax(dim=1).mean(dim=0).numpy().ravel(), atol=1e-4)
    np.testing.assert_allclose(answer["described"]["latent"]["prior"]["mean"], mean, atol=1e-5)
    np.testing.assert_allclose(answer["described"]["latent"]["prior"]["sigma"], sigma, rtol=1e-4)
    assert answer["told"]["groups"] == [vars(group) for group in groups(drawn, 2, 0.5)]
    assert page.complaints == []


def test_the_browser_says_of_a_reader_what_python_says(page, model, tmp_path):
    """Of the same hypotheses, which any page gives for the seed of the statements."""
    np.save(tmp_path / "reading.npy", np.random.default_rng(1).integers(0, 256, (40, 40)).astype(np.uint8))
    page.set_input_files("#file", tmp_path / "reading.npy")
    page.wait_for_selector("#cases option[value=upload-1]", state="attached")
    script = """async () => {
        const { array, json } = await import('./api.js'), { seedOf } = await import('./statements.js');
        const of = '/api/cases/upload-1', query = `n=5&seed=${seedOf(3)}`;
        const outlines = await array(`${of}/outlines?seed=3`);
        const labels = await array(`${of}/labels?${query}`), shares = await array(`${of}/probabilities?${query}`);
        return { said: await json(`${of}/calibrated?seed=3`), shape: outlines.shape, outlines: [...outlines.data],
          labels: [...labels.data], shares: [...shares.data] };
    }"""
    answer = page.evaluate(script)
    made = Predictor(model, "cpu").calibration
    statement, said = made.statement(made.classes[0]), answer["said"]
    labels, share = np.reshape(answer["labels"], (5, 32, 32)), np.reshape(answer["shares"], (2, 32, 32))[1]
    assert answer["shape"] == [2, 1, 32, 32]
    outlines = np.reshape(answer["outlines"], (2, 32, 32))
    assert (outlines == np.stack([share >= statement.inner, share >= statement.outer])).all()
    lesion, areas = said["classes"]["lesion"], labels.sum(axis=(1, 2))
    assert [lesion[name]["pixels"] for name in ("inner", "outer")] == outlines.sum(axis=(1, 2)).tolist()
    assert [lesion["area"][end]["pixels"] for end in ("low", "high")] == pytest.approx(statement.interval(areas))
    nothing = statement.probability_of_nothing(int((areas == 0).sum()))
    assert [lesion["nothing"][name] for name in ("probability", "low", "high")] == pytest.approx(nothing)
    assert (said["words"], lesion["area"]["coverage"]) == (made.words, 0.9)
    assert said["notes"] == ["A.", "calibrated on fields of 24x24 to 24x28 px; the model sees 32x32 px here"]
    page.check("#calibrated")
    for _ in range(200):
        if made.words in page.inner_text("#legend"):
            break
        page.wait_for_timeout(50)
    assert made.words in page.inner_text("#legend")
    page.uncheck("#calibrated")
    assert page.complaints == []


def test_nothing_is_sent_and_what_does_not_fit_is_refused(page, tmp_path):
    page.locator("#view").dblclick()
    np.save(tmp_path / "floats.npy", np.zeros((40, 40), np.float32))
    np.save(tmp_path / "colours.npy", np.zeros((3, 40, 40), np.uint8))
    (tmp_path / "cut.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    for name, words in (
        ("floats.npy", "grey levels from 0 to 255"),
        ("colours.npy", "3 channel"),
        ("cut.png", "does not begin like a PNG"),
    ):
        page.set_input_files("#file", tmp_path / name)
        for _ in range(200):
            if words in page.inner_text("#message"):
                break
            page.wait_for_timeout(50)
        assert words in page.inner_text("#message")
    assert {method for method, _ in page.sent} == {"GET"}
    assert {url.split("/")[2].split(":")[0] for _, url in page.sent if url.startswith("http")} == {"127.0.0.1"}


def test_hypotheses_are_saved_on_the_whole_picture(page, tmp_path):
    page.select_option("#cases", index=0)
    page.wait_for_selector(".group")
    with page.expect_download() as download:
        page.click("#save-all")
    download.value.save_as(tmp_path / "saved.npy")
    saved = np.load(tmp_path / "saved.npy")
    assert download.value.suggested_filename == "εικόνα 1-hypotheses.npy"
    assert saved.shape == (32, 128, 128)
    assert saved[:, 48:80, 48:80].any()
    assert not saved[:, :48].any()
