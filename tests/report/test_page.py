"""The page: self-contained, with everything that it promises."""

import csv
import dataclasses
import json
import os
import re
import shutil
from functools import partial

import numpy as np
import pytest
from small_data import DESCRIPTION, blobs

from probunet.cli import main
from probunet.core.types import IGNORE
from probunet.data.prepare import write_store
from probunet.drawing.pixels import class_palette
from probunet.report import overlaps
from probunet.report.latent_plane import NEAREST, apart
from probunet.report.results import Results
from probunet.report.shown import shown


@pytest.fixture(scope="module")
def folder(trained, tmp_path_factory):
    out = tmp_path_factory.mktemp("page") / "report.html"
    main(["report", str(trained), "--out", str(out)])
    return out.parent


@pytest.fixture(scope="module")
def page(folder):
    return (folder / "report.html").read_text()


def test_it_needs_nothing_from_elsewhere(page):
    assert not re.search(r'(?:src|href)="(?!data:|#)', page)
    assert not re.search(r"https?://|@import|url\(", page.replace("doi:", ""))


def test_it_shows_the_numbers_of_the_evaluation(page, trained):
    for name in ("unet", "probabilistic_unet"):
        evaluation = json.loads((trained / name / "evaluation.json").read_text())
        cell = evaluation["ged2"]["4"]
        assert f"{cell['mean']:.3f}" in page
        assert f"{cell['low']:.3f}–{cell['high']:.3f}" in page
        assert f"{evaluation['parameters']:,}" in page
    assert "6 test images of 3" in page
    for words in (
        "always empty",
        "majority of the readers",
        "draws from the readers",
        "perfect model",
        "d = 0 if both are empty",
    ):
        assert words in page


def test_it_says_first_whether_the_model_is_better_than_one_outline(page, trained):
    majority = json.loads((trained / "unet" / "evaluation.json").read_text())["reference_points"]
    line = majority["majority_of_the_readers"]["ged2"]["4"]["mean"]
    text = page[page.index('class="verdict"') :]
    assert "the readers than one outline, their majority, is" in text[:200]
    assert f"against {line:.3f}, a difference of" in text[:400]
    assert page.index('class="verdict"') < page.index("<nav>") < page.index("<details>")


def test_named_readers_have_a_row_each(trained):
    results = Results(trained)
    text = overlaps.section(results).text
    assert "no names" in text[-1]
    results.store.manifest["readers"] = ["Ann", "Bob", "Carl", "a reader with a long name"]
    [_, table] = overlaps.section(results).tables
    rows = {row[0]: row for row in table.rows}
    assert rows["a reader with a long name"][2:4] == [0.0, 1.0], "the fourth sees nothing"
    assert rows["Ann"][1] == 6
    assert rows["Ann"][2] == 52, "pixels nearer than 4 to the middle of 24"
    case = shown(results, 0)
    assert case.names[2:] == ["Carl", "a reader with a…"]
    assert case.first_of(3) == "the first 3 of 4 readers"
    assert case.painted(class_palette(2, ()), 9)[1][3].endswith(": empty")


def test_dice_and_sizes_are_over_the_pixels_that_every_reader_knows():
    """Of four pixels the last is left open by the second reader, so that three count, for every pair and every size."""
    samples = np.array([[[0, 1, 1, 1]], [[0, 0, 0, 0]]], np.uint8)
    readings = np.array([[[0, 1, 2, 0]], [[0, 0, 0, 255]], [[1, 1, 1, 1]]], np.uint8)
    measured = overlaps.compared(samples, readings)
    np.testing.assert_allclose(1 - measured.cross[0], [[1, 0, 0.8], [0, 1, 0]])
    np.testing.assert_allclose(1 - measured.references[0], [[1, 0, 0.8], [0, 1, 0], [0.8, 0, 1]])
    assert measured.sample_area.ravel().tolist() == [2, 0]
    assert measured.reference_area.ravel().tolist() == [2, 0, 3]


def test_numbers_in_the_plane_do_not_lie_on_each_other():
    places = apart(np.zeros((9, 2)))
    far = np.linalg.norm(places[:, None] - places[None], axis=-1)
    assert far[~np.eye(9, dtype=bool)].min() >= NEAREST


def test_tables_and_pictures_are_files_too(folder, page):
    with (folder / "tables" / "energy.csv").open(newline="") as file:
        rows = {row["model"]: row for row in csv.DictReader(file)}
    assert list(rows)[:2] == ["unet*", "probabilistic_unet"]
    unlimited, with_four = (float(rows["unet*"][column]) for column in ("unlimited", "4 samples"))
    assert unlimited == pytest.approx(with_four, abs=1e-5), "one hypothesis has no diversity to correct"
    assert float(rows["probabilistic_unet"]["unlimited"]) <= float(rows["probabilistic_unet"]["4 samples"])
    names = {file.stem for file in (folder / "figures").glob("*.png")}
    assert names == {file.stem for file in (folder / "figures").glob("*.svg")}
    assert {"energy", "training", "calibration", "latent_plane_1", "panel_the_readers_disagree_1"} <= names
    assert page.count("data:image/png;base64,") == len(names)
    assert not [file for file in folder.rglob(".*")], "nothing temporary is left"


def test_a_perfect_model_stands_below_the_models_and_the_excess_is_first(folder, trained):
    with (folder / "tables" / "energy.csv").open(newline="") as file:
        rows = {row["model"]: row for row in csv.DictReader(file)}
    scores = json.loads((trained / "unet" / "evaluation.json").read_text())["scores"]
    line = next(row["mean"] for row in scores if (row["metric"], row["n"]) == ("perfect_model", 4))
    assert float(rows["perfect model"]["4 samples"]) == pytest.approx(line, abs=1e-5)
    assert next(iter(rows["unet*"])) == "model"
    assert list(rows["unet*"])[1] == "excess"
    assert len((folder / "tables" / "calibration.csv").read_text().splitlines()) == 1 + 2  # every model


def test_the_same_results_give_the_same_files_and_simulated_data_is_called_simulated(folder, page, trained, tmp_path):
    copy = shutil.copytree(trained, tmp_path / "run")
    for file in copy.glob("*/evaluation.json"):
        content = json.loads(file.read_text())
        content["data"]["simulated"] = True
        file.write_text(json.dumps(content))
    main(["report", str(copy), "--out", str(tmp_path / "report.html")])
    for file in sorted(folder.rglob("*")):
        if file.is_file() and file.suffix != ".html":
            assert file.read_bytes() == (tmp_path / file.relative_to(folder)).read_bytes(), file.name
    assert 'class="simulated"' in (tmp_path / "report.html").read_text()
    assert 'class="simulated"' not in page


def test_sections_that_do_not_apply_are_left_out(page, trained, tmp_path):
    for words in ("Do samples come as often as they should", "What is each part good for"):
        assert words not in page  # readers have no known modes, and no model is an ablation
    main(["report", str(trained / "unet"), "--out", str(tmp_path / "one.html")])
    alone = (tmp_path / "one.html").read_text()
    assert "latent plane" not in alone
    assert "Tests against" not in alone


def test_what_cannot_be_reported_is_one_sentence(trained, tmp_path, failing):
    copy = shutil.copytree(trained, tmp_path / "run")
    content = json.loads((copy / "unet" / "evaluation.json").read_text())
    content["data"]["split"] = "train"
    (copy / "unet" / "evaluation.json").write_text(json.dumps(content))
    assert "evaluated on different data" in failing("report", str(copy))
    content["data"]["split"] = "test"
    content["ged2"].pop("2")
    (copy / "unet" / "evaluation.json").write_text(json.dumps(content))
    assert "evaluated with 1, 2, 4 samples, unet with 1, 4; evaluate" in failing("report", str(copy))
    for file in copy.glob("*/evaluation.json"):
        file.unlink()
    assert "holds no evaluation; run 'probunet evaluate" in failing("report", str(copy))
    assert "no trained model" in failing("report", str(tmp_path))


@pytest.mark.parametrize("change", [reversed, lambda rows: [row.replace(",1.", ",0.") for row in rows]])
def test_scores_in_another_order_or_of_another_evaluation_are_refused(trained, tmp_path, failing, change):
    copy = shutil.copytree(trained, tmp_path / "run")
    file = copy / "unet" / "evaluation.csv"
    head, *rows = file.read_text().splitlines()
    file.write_text("\n".join([head, *change(rows)]) + "\n")
    assert "evaluation.csv was changed, or is of another evaluation" in failing("report", str(copy))


def test_results_of_other_weights_are_neither_reported_nor_passed_on(trained, tmp_path, failing):
    copy = shutil.copytree(trained, tmp_path / "run")
    run = copy / "probabilistic_unet"
    shutil.copy(run / "checkpoints" / "last.ckpt", run / "checkpoints" / "best.ckpt")
    assert "evaluation.json is not of the weights that the run has now" in failing("report", str(copy))
    main(["export", str(run), "--out", str(tmp_path / "exported")])
    assert json.loads((tmp_path / "exported" / "probunet.json").read_text())["evaluation"] is None


def test_a_store_that_was_prepared_again_is_not_the_data_of_the_evaluation(trained, tmp_path, failing):
    copy = shutil.copytree(trained, tmp_path / "run")
    again = write_store(tmp_path / "again", blobs(24)[::-1], DESCRIPTION, np.uint8, jobs=1)
    for file in copy.glob("*/evaluation.json"):
        content = json.loads(file.read_text())
        content["data"]["store"] = str(again.path)
        file.write_text(json.dumps(content))
    assert "is not the data that" in failing("report", str(copy))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c["ged2"].update({"1": {}}), "lacks 'ged2.1.mean'"),
        (lambda c: c["ged2"]["2"].update(mean="x"), "unusable 'x' in 'ged2.2.mean'"),
        (lambda c: c["scores"][0].pop("metric"), "lacks 'scores.0.metric'"),
        (lambda c: c["data"].pop("split"), "lacks 'data.split'"),
        (lambda c: c["reference_points"].update(always_empty=3), "unusable 3 in 'reference_points.always_empty'"),
        (lambda c: c.pop("versions"), "lacks 'versions'"),
    ],
)
def test_a_damaged_evaluation_is_one_sentence(trained, tmp_path, failing, change, words):
    copy = shutil.copytree(trained, tmp_path / "run")
    file = copy / "unet" / "evaluation.json"
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))
    assert words in failing("report", str(copy))
    assert words in failing("export", str(copy / "unet"), "--out", str(tmp_path / "new"))


def test_a_page_or_a_table_of_somebody_else_is_not_replaced(trained, tmp_path, failing):
    page, table = tmp_path / "page.html", tmp_path / "tables" / "energy.csv"
    page.write_text("years of work")
    assert "is no result of this command" in failing("report", str(trained), "--out", str(page))
    page.unlink()
    table.parent.mkdir()
    table.write_text("years of work")
    assert "energy.csv exists and is not of page.html" in failing("report", str(trained), "--out", str(page))
    assert table.read_text() == "years of work"
    assert not page.exists()


def test_one_store_may_be_named_in_two_ways_and_a_second_page_has_a_folder_of_its_own(trained, tmp_path, failing):
    copy = shutil.copytree(trained, tmp_path / "run")
    content = json.loads((copy / "unet" / "evaluation.json").read_text())
    content["data"]["store"] = os.path.relpath(content["data"]["store"])
    (copy / "unet" / "evaluation.json").write_text(json.dumps(content))
    main(["report", str(copy), "--out", str(tmp_path / "pages" / "one.html")])
    assert "is not of two.html" in failing("report", str(copy / "unet"), "--out", str(tmp_path / "pages" / "two.html"))


def _read_by_one_or_all(source, readers):
    image, labels = source.draw()
    labels[readers:] = IGNORE
    return image, labels


def test_numbers_that_need_two_readers_say_of_how_many_images_they_are(tmp_path, trained):
    cases = [
        dataclasses.replace(source, draw=partial(_read_by_one_or_all, source, 1 + 3 * (i % 3 > 0)))
        for i, source in enumerate(blobs(24))
    ]
    store = write_store(tmp_path / "store", cases, DESCRIPTION, np.uint8, jobs=1)
    words = ["compare", "--out", str(tmp_path / "out"), "--data.store", str(store.path), "--data.crop", "24"]
    main([*words, "--n", "1", "2", f"--trained.model={trained / 'probabilistic_unet'}"])
    page = (tmp_path / "out" / "report.html").read_text()
    assert "1 to 4 readers each" in page
    assert "Excess and perfect model are on the 4 of 6 images that two or more read; the columns" in page
    assert re.search(r"would have [\d.]+ on the 4 of 6 images that two or more read", page)


def test_figures_on_what_was_learned_from_are_not_those_of_other_patients(trained, store, tmp_path, page):
    assert "patients that no model was trained on" in page
    shutil.copytree(trained / "unet", tmp_path / "unet")
    for split, how in (("train", "trained on"), ("validation", "chosen by")):
        main(["evaluate", str(tmp_path / "unet"), "--split", split, "--n", "1"])
        main(["report", str(tmp_path / "unet"), "--out", str(tmp_path / split / "r.html")])
        said = (tmp_path / split / "r.html").read_text()
        assert "that no model was trained on" not in said
        assert f"(figures on them flatter models that were {how} these data)" in said
