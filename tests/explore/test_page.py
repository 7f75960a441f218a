"""The page in a real browser: choose, drag, decode, upload; nothing on the console."""

import json
import shutil
import threading
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from small_data import blob, png

pytest.importorskip("fastapi", reason="the extra 'explore' is not installed")
playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no chromium on this machine; install it to test the page")

from probunet.data.pictures import picture_of_case  # noqa: E402
from probunet.explore.app import make_app  # noqa: E402
from probunet.explore.cases import Cases, cases_of  # noqa: E402
from probunet.explore.engine import Engine  # noqa: E402
from probunet.explore.guard import LOOPBACK  # noqa: E402
from probunet.explore.serving import listening, server  # noqa: E402
from probunet.inference.calibrated import Calibrated  # noqa: E402
from probunet.inference.predictor import Predictor  # noqa: E402
from probunet.runs.calibration import checked_calibration  # noqa: E402
from probunet.runs.run import Run  # noqa: E402


@pytest.fixture(scope="module")
def served(trained, store, tmp_path_factory):
    """Three cases of crops and, as the last one, a volume of five slices whose values differ."""
    scan = tmp_path_factory.mktemp("scan") / "scan.nii"
    values = np.stack([blob(i)[0][0] for i in range(5)], axis=-1).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(values, np.diag([-0.5, -0.7, 2.0, 1.0])), scan)
    engine = Engine(Run(trained / "probabilistic_unet"), "cpu")
    engine.model.combine.from_latent.weight.data.mul_(20)  # a few steps of training leave z without effect
    listener = listening("127.0.0.1", 0)
    running = server(make_app(engine, Cases(cases_of(store.path, "test") + cases_of(scan, "test")), LOOPBACK))
    thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}/", engine
    running.should_exit = True
    thread.join(10)
    listener.close()


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        started = driver.chromium.launch(
            executable_path=BROWSER, args=["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
        )
        yield started
        started.close()


@pytest.fixture
def page(browser, served):
    opened = browser.new_page(viewport={"width": 1280, "height": 720})
    complaints: list[str] = []
    opened.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.goto(served[0])
    opened.wait_for_selector(".group")
    opened.complaints = complaints
    yield opened
    opened.close()


def until(page, condition: str) -> None:
    """Wait; the page's own security policy keeps the driver from waiting inside of it."""
    for _ in range(200):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"this never came true: {condition[:200]}")


def seen(page) -> str:
    return page.evaluate("document.getElementById('view').toDataURL()")


def test_choose_a_case_and_a_group(page):
    assert page.is_hidden("#slices")  # a single slice, and a model that knows no reader by name
    assert page.is_hidden("#drawn-by")
    before = seen(page)
    page.select_option("#cases", index=1)
    until(page, f"document.getElementById('view').toDataURL() !== {before!r}")
    assert "case=1" in page.url
    page.keyboard.press("ArrowRight")
    assert page.locator(".group[aria-selected=true]").count() == 1
    assert "%" in page.inner_text("#absent")
    for name in ("probability", "entropy"):
        shown = seen(page)
        page.check(f"input[value={name}]")
        until(page, f"document.getElementById('view').toDataURL() !== {shown!r}")
    assert page.complaints == []


def test_the_mask_follows_the_handle_as_pytorch_would_have_it(page, served):
    """The labels that f_comb gives in the browser are those of the model, at 99.9 % of the pixels."""
    box = page.locator("#plane").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    page.mouse.down()
    pictures = set()
    for across, down in ((0.97, 0.03), (0.97, 0.97), (0.03, 0.97), (0.03, 0.03), (0.5, 0.5)):
        page.mouse.move(box["x"] + across * box["width"], box["y"] + down * box["height"], steps=4)
        page.wait_for_timeout(100)
        pictures.add(seen(page))
    page.mouse.up()
    assert len(pictures) > 1
    assert "ms an update" in page.inner_text("#rate")
    script = """async () => {
        const { FComb } = await import('/fcomb.js'), { array, json } = await import('/api.js');
        const model = await json('/api/model'), features = await array('/api/cases/0/features', Float32Array);
        const comb = new FComb(model.combine, features.data), found = [];
        for (const z of %s) found.push([...comb.labels(z)]);
        return found;
    }"""
    latents = torch.randn(6, 6, generator=torch.Generator().manual_seed(0)) * 2
    decoded = np.array(page.evaluate(script % latents.tolist()))
    _, engine = served
    encoded = engine._encoded.get(("0", next(place for key, place in engine._encoded._values if key == "0")))
    with torch.inference_mode():
        expected = np.stack(
            [
                encoded.prediction.distribution(encoded.index).latent.logits(z[None]).argmax(dim=1)[0].numpy()
                for z in latents
            ]
        )
    assert (decoded.reshape(expected.shape) == expected).mean() >= 0.999
    assert page.complaints == []


def test_a_link_restores_what_was_seen(page, served):
    page.click("#mean")
    page.fill("#z5", "2") if page.locator("#z5").count() else page.fill("#z0", "2")
    until(page, "location.hash.includes('z=')")
    address, shown = page.url, seen(page)
    page.goto("about:blank")
    page.goto(address)
    page.wait_for_selector(".group")
    until(page, f"document.getElementById('view').toDataURL() === {shown!r}")
    assert page.complaints == []


def test_a_double_click_moves_the_field(page):
    """The images are larger than the model's crop; the field stays within the image."""
    page.click("#whole")
    box = page.locator("#view").bounding_box()
    page.mouse.dblclick(box["x"] + box["width"] / 2 + 0.4 * box["height"], box["y"] + box["height"] / 2)
    until(page, "location.hash.includes('row=1') && location.hash.includes('column=2')")
    until(page, "document.getElementById('view').getAttribute('aria-busy') === null")
    address, shown = page.url, seen(page)
    page.goto("about:blank")
    page.goto(address)
    page.wait_for_selector(".group")
    page.click("#whole")
    until(page, f"document.getElementById('view').toDataURL() === {shown!r}")
    assert page.complaints == []


def test_a_volume_is_scrolled_through(page):
    """By wheel, keys and slider; the picture comes at once, what the model says of it a little later."""
    page.select_option("#cases", label="scan.nii")
    until(page, "!document.getElementById('bar').hidden")
    idle = "document.getElementById('view').getAttribute('aria-busy') === null"
    until(page, idle)
    assert page.inner_text("#slice-number") == "3 of 5"
    assert "Volume over hypotheses" in page.inner_text("#area-title")
    assert "mm³" in page.inner_text("#sizes")
    pictures = [seen(page)]
    page.locator("#view").hover()
    zoomed = page.evaluate("document.getElementById('view').getBoundingClientRect().width")
    page.mouse.wheel(0, -60)  # away from oneself: towards the head
    until(page, f"{idle} && document.getElementById('slice').value === '3'")
    pictures.append(seen(page))
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")  # there is none above the last
    until(page, f"{idle} && document.getElementById('slice').value === '4'")
    pictures.append(seen(page))
    assert len(set(pictures)) == 3
    assert "slice=4" in page.url
    page.fill("#slice", "2")
    until(page, f"{idle} && document.getElementById('view').toDataURL() === {pictures[0]!r}")
    bar = page.locator("#bar").bounding_box()
    page.mouse.click(bar["x"] + 10, bar["y"] + bar["height"] - 3)
    until(page, f"{idle} && document.getElementById('slice').value === '0'")
    assert page.evaluate("document.getElementById('view').getBoundingClientRect().width") == zoomed
    assert page.complaints == []


def test_a_click_in_any_plane_goes_to_its_place(page):
    """Sections in millimetres: five slices of 2 mm are 10 mm tall, 24 columns of 0.5 mm are 12 mm wide."""
    assert page.is_hidden("#sections")
    page.select_option("#cases", label="scan.nii")
    idle = "document.getElementById('view').getAttribute('aria-busy') === null"
    until(page, f"!document.getElementById('sections').hidden && {idle}")
    drawn = "document.getElementById('coronal').getContext('2d').getImageData(%d, %d, 1, 1).data[0] > 20"
    box = page.locator("#coronal").bounding_box()
    middle = box["width"] / 2, box["height"] / 2
    until(page, drawn % (middle[0] + 20, middle[1] + 3))
    wide = 0.94 * min(box["width"] / 12, box["height"] / 10)  # of a mm
    assert not page.evaluate(drawn % (middle[0] + 20, middle[1] + 5 * wide + 4))
    assert page.evaluate(drawn % (middle[0] + 20, middle[1] + 5 * wide - 4))
    before = page.evaluate("document.getElementById('sagittal').toDataURL()")
    page.mouse.click(box["x"] + middle[0] - 5 * wide, box["y"] + middle[1] - 4 * wide)
    until(page, f"{idle} && document.getElementById('slice').value === '4'")
    until(page, f"document.getElementById('sagittal').toDataURL() !== {before!r}")
    before = page.evaluate("document.getElementById('coronal').toDataURL()")
    box = page.locator("#view").bounding_box()
    page.mouse.click(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2 - 40)
    until(page, f"document.getElementById('coronal').toDataURL() !== {before!r}")
    page.select_option("#cases", index=0)
    until(page, f"document.getElementById('sections').hidden && {idle}")
    assert page.complaints == []


def test_the_handle_and_the_window_stay_from_slice_to_slice(page):
    page.select_option("#cases", label="scan.nii")
    idle = "document.getElementById('view').getAttribute('aria-busy') === null"
    until(page, f"!document.getElementById('bar').hidden && {idle}")
    page.fill("#low", "30")
    page.focus("#plane")
    page.keyboard.press("ArrowRight")
    until(page, "location.hash.includes('z=')")
    z, low = page.evaluate("[new URLSearchParams(location.hash).get('z'), document.getElementById('low').value]")
    page.focus("#view")
    page.keyboard.press("ArrowDown")
    until(page, f"{idle} && document.getElementById('slice').value === '1' && location.hash.includes('z=')")
    after = page.evaluate("[new URLSearchParams(location.hash).get('z'), document.getElementById('low').value]")
    assert after == [z, low]


def test_what_the_model_is_and_what_words_mean(page):
    assert "not for diagnosis" in page.inner_text("h1")
    page.click("#open-about")
    facts = page.inner_text("#about-facts")
    for words in ("It is not for diagnosis", "trained on: blobs, simulated (real images)", "D²_GED, 4 samples: "):
        assert words in facts
    page.click("#close-about")
    page.keyboard.press("?")
    assert "Posterior" in page.inner_text("#help")
    page.keyboard.press("Escape")
    assert not page.is_visible("#help")
    assert page.complaints == []


def test_a_distance_is_measured_in_the_units_of_the_picture(page):
    """The volume has rows of 0.7 mm and columns of 0.5 mm; the ruler moves neither image nor field."""
    page.select_option("#cases", label="scan.nii")
    until(page, "!document.getElementById('bar').hidden")
    until(page, "document.getElementById('view').getAttribute('aria-busy') === null")
    box = page.locator("#view").bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    zoom = 0.94 * min(box["width"], box["height"]) / 32
    page.focus("#view")
    page.keyboard.press("m")
    for dx, dy, length in ((8, 0, 8 * 0.5), (0, 8, 8 * 0.7)):
        page.mouse.move(*middle)
        page.mouse.down()
        page.mouse.move(middle[0] + dx * zoom, middle[1] + dy * zoom, steps=3)
        page.mouse.up()
        assert float(page.inner_text("#measured").split()[1]) == pytest.approx(length, abs=0.11)
    page.keyboard.press("Escape")
    assert page.inner_text("#measured") == ""
    assert not page.is_checked("#ruler")
    assert page.complaints == []


def test_readers_do_not_share_a_look_and_numbers_do_not_lie_on_each_other(page):
    script = """async () => {
        const { look } = await import('/paint.js'), { apart } = await import('/plane.js');
        const looks = new Set(Array.from({ length: 36 }, (_, i) => JSON.stringify(look(i))));
        const colours = new Set(Array.from({ length: 12 }, (_, i) => look(i).colour));
        return [looks.size, colours.size, apart(Array.from({ length: 8 }, () => [50, 50]))];
    }"""
    looks, colours, places = page.evaluate(script)
    assert (looks, colours) == (36, 12)
    far = np.linalg.norm(np.array(places)[:, None] - np.array(places)[None], axis=-1)
    assert far[~np.eye(8, dtype=bool)].min() > 14


def test_calibrated_outlines_are_drawn_around_the_very_pixels_and_with_their_risk(
    page, served, calibrated, store, monkeypatch
):
    _, engine = served
    assert page.is_hidden("#calibrated-choice")
    assert "run 'probunet calibrate" in page.inner_text("#uncalibrated")
    file = calibrated / "calibration.json"
    monkeypatch.setattr(Predictor, "calibration", checked_calibration(file, json.loads(file.read_text())))
    page.reload()
    page.wait_for_selector(".group")
    assert page.is_hidden("#uncalibrated")
    assert page.inner_text("#calibrated-choice").strip() == "calibrated outline (risk 0.25)"
    before = seen(page)
    page.check("#calibrated")
    until(page, f"document.getElementById('view').toDataURL() !== {before!r}")
    words = "isk 0.25, calibrated on 3 patients (6 cases, 24 readings) of the validation split of blobs, simulated"
    assert f"r{words}" in page.inner_text("#legend")
    assert f"R{words}" in page.inner_text("#stated")
    assert "(coverage 75 %); that a reader marks nothing here: " in page.inner_text("#stated")
    script = """async () => {
        const { now } = await import('/state.js'), { width, height } = now.stated.facts.field;
        const pen = document.createElement('canvas').getContext('2d');
        return now.stated.lines.map(({ path }) => Array.from({ length: width * height }, (_, i) =>
            pen.isPointInPath(path, i % width + 0.5, Math.floor(i / width) + 0.5, 'evenodd')));
    }"""
    prediction = engine.predictor(picture_of_case(store, store.indices("test")[0]), at=(16, 16))
    [said] = Calibrated(prediction, 0).slices()
    expected = [prediction.view.field.of(mask[0]).ravel().tolist() for mask in (said.inner, said.outer)]
    assert page.evaluate(script) == expected
    assert any(expected[1])
    assert "calibrated=1" in page.url
    page.uncheck("#calibrated")
    until(page, f"document.getElementById('view').toDataURL() === {before!r}")
    assert page.is_hidden("#stated")
    assert page.complaints == []


def test_upload_a_good_and_a_bad_file(page, tmp_path: Path):
    (tmp_path / "good.png").write_bytes(png(blob(3)[0][0]))
    (tmp_path / "bad.png").write_bytes(b"no picture")
    page.set_input_files("#file", tmp_path / "good.png")
    until(page, "document.getElementById('cases').value.startsWith('upload-')")
    page.set_input_files("#file", tmp_path / "bad.png")
    until(page, "document.getElementById('message').textContent.includes('does not begin like a PNG')")
    assert [c for c in page.complaints if "422" not in c] == []  # the browser logs the refusal itself


def test_a_phone_shows_everything_below_each_other(page):
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert page.locator("#plane").bounding_box()["y"] > page.locator("#view").bounding_box()["y"]
