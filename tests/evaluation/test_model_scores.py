"""Evaluation: the file it promises, its numbers against hand-computed ones, and bad input."""

import dataclasses
import json
import math
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import yaml
from small_data import DESCRIPTION, blobs

from probunet.cli import main
from probunet.core.errors import InputError
from probunet.data.prepare import write_store
from probunet.data.store import Store
from probunet.evaluation.evaluate import evaluate
from probunet.evaluation.model_scores import Question, is_evaluated
from probunet.evaluation.reference_points import REFERENCE_POINTS
from probunet.metrics import Convention, energy_distance
from probunet.runs.exported import save_run
from probunet.runs.run import Run

NUMBERS = ["1", "2", "4"]


@pytest.fixture
def copy(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


@pytest.mark.parametrize("name", ["unet", "probabilistic_unet"])
def test_the_file_holds_what_is_promised(trained, store, name):
    content = json.loads((trained / name / "evaluation.json").read_text())
    assert content["data"]["images"] == 6
    assert content["data"]["patients"] == 3
    assert content["data"]["store"] == str(store.path)
    assert Convention.from_json(content["convention"]) == store.convention()
    assert content["grouped_by"] == "image"  # three patients are too few to draw as a whole
    for key in ("ged2", "ged2_unbiased"):
        assert list(content[key]) == NUMBERS
        for n, cell in content[key].items():
            if key == "ged2_unbiased" and n == "1":
                assert cell == {"mean": None, "low": None, "high": None}
            else:
                assert cell["low"] <= cell["mean"] <= cell["high"]
    assert content["distinct_hypotheses"] == (1 if name == "unet" else None)
    lines = (trained / name / "evaluation.csv").read_text().splitlines()
    assert len(lines) == 7


def test_a_deterministic_model_gains_nothing_from_more_samples(trained):
    ged2 = json.loads((trained / "unet" / "evaluation.json").read_text())["ged2"]
    assert ged2["1"] == ged2["4"]


def test_reference_points_are_what_can_be_computed_by_hand(trained):
    """The fourth of four readers sees nothing: 'always empty' is at distance 1 from three readers, 0 from one."""
    points = json.loads((trained / "unet" / "evaluation.json").read_text())["reference_points"]
    assert set(points) == set(REFERENCE_POINTS)
    store = Store(json.loads((trained / "unet" / "evaluation.json").read_text())["data"]["store"])
    labels = np.asarray(store.labels[store.indices("test")][:, :, 4:28, 4:28])
    diversity = energy_distance(labels, labels).reader_diversity.mean()
    assert points["always_empty"]["ged2"]["4"]["mean"] == pytest.approx(2 * 0.75 - diversity, abs=1e-6)
    assert (
        points["draws_from_the_readers"]["ged2"]["4"]["mean"] < points["majority_of_the_readers"]["ged2"]["4"]["mean"]
    )


def test_the_majority_of_an_even_split_is_background():
    labels = np.array([[[1, 1, 0]], [[1, 0, 0]], [[1, 0, 0]], [[0, 1, 0]]], dtype=np.uint8)[None]
    majority = REFERENCE_POINTS["majority_of_the_readers"](labels, 2, np.random.default_rng(0), None)
    assert majority.tolist() == [[[[1, 0, 0]], [[1, 0, 0]]]]


def test_the_same_seed_gives_the_same_numbers_and_another_does_not(copy):
    file = copy / "probabilistic_unet" / "evaluation.json"
    before = json.loads(file.read_text())["ged2"]
    main(["evaluate", str(copy / "probabilistic_unet"), "--n", "1", "2", "4"])
    assert json.loads(file.read_text())["ged2"] == before
    main(["evaluate", str(copy / "probabilistic_unet"), "--n", "1", "2", "4", "--seed", "5"])
    assert json.loads(file.read_text())["ged2"] != before


def test_another_store_and_split(copy, slices_store):
    main(["evaluate", str(copy / "unet"), "--data", str(slices_store.path), "--split", "train", "-n", "2"])
    content = json.loads((copy / "unet" / "evaluation.json").read_text())
    assert content["data"]["images"] == 8
    assert content["data"]["split"] == "train"
    assert list(content["ged2"]) == ["2"]
    assert math.isfinite(content["ged2"]["2"]["mean"])


def test_data_that_does_not_fit_is_one_sentence(copy, tmp_path, failing):
    other = dataclasses.replace(DESCRIPTION, classes=("background", "a", "b"))
    write_store(tmp_path / "three", blobs(8), other, np.uint8, jobs=1)
    message = failing("evaluate", str(copy / "unet"), "--data", str(tmp_path / "three"))
    assert "3 classes, the model of" in message
    assert "split" in failing("evaluate", str(copy / "unet"), "--split", "all")


def test_bad_input_is_one_sentence(copy, tmp_path, failing):
    assert "no trained model" in failing("evaluate", str(tmp_path))
    assert "at least 1 and at most 1,048,576, got 0" in failing("evaluate", str(copy), "--n", "0")
    assert "nowhere is not a prepared store" in failing("evaluate", str(copy), "--data", "nowhere")
    (copy / "unet" / "checkpoints" / "best.ckpt").unlink()
    assert "has no checkpoint (checkpoints/best.ckpt is missing)" in failing("evaluate", str(copy / "unet"))
    (copy / "unet" / "run.yaml").write_text("model: [")
    assert "run.yaml is no valid YAML" in failing("evaluate", str(copy / "unet"))


def test_numbers_of_other_readings_or_splits_of_the_same_images_are_not_taken_for_its_own(trained, store, tmp_path):
    run = Run(trained / "unet")
    assert is_evaluated(run, store, Question("test", (1, 2, 4)))

    def turned(source):
        image, labels = source.draw()
        return image, labels[::-1].copy()

    other = [dataclasses.replace(source, draw=partial(turned, source)) for source in blobs(24)]
    other = write_store(tmp_path / "readings", other, DESCRIPTION, np.uint8, jobs=1)
    assert (other.path / "images.npy").read_bytes() == (store.path / "images.npy").read_bytes()
    assert not is_evaluated(run, other, Question("test", (1, 2, 4)))


def test_an_exported_model_is_not_tested_on_its_own_training_patients(trained, tmp_path):
    save_run(Run(trained / "unet"), tmp_path / "model")
    swap = {"train": "test", "test": "train", "validation": "validation"}
    sources = [
        dataclasses.replace(source, case=dataclasses.replace(source.case, split=swap[source.case.split]))
        for source in blobs(24)
    ]
    swapped = write_store(tmp_path / "swapped", sources, DESCRIPTION, np.uint8, jobs=1)
    for model in (tmp_path / "model", trained / "unet"):
        with pytest.raises(InputError, match=r"6 patients of the test split .* \(patient-000, patient-001"):
            evaluate(model, swapped, device="cpu")


def test_another_store_in_the_place_of_that_of_the_training_is_not_taken_for_it(copy, tmp_path, failing):
    write_store(tmp_path / "other", blobs(24)[::-1], DESCRIPTION, "u1", jobs=1)
    file = copy / "unet" / "run.yaml"
    settings = yaml.safe_load(file.read_text())
    for named, words in ((tmp_path / "other", "than that which"), (tmp_path / "gone", "which is not there, seen from")):
        settings["data"]["store"] = str(named)
        file.write_text(yaml.safe_dump(settings))
        for command in ("evaluate", "calibrate"):
            assert words in failing(command, str(copy / "unet"))
    main(["evaluate", str(copy / "unet"), "--data", str(tmp_path / "other"), "--n", "1"])


def test_a_guest_is_scored_on_the_store_of_its_experiment(trained, store, tmp_path):
    """Which need not be that of its training, whose checksums it carries along."""
    other = write_store(tmp_path / "other", blobs(24)[::-1], DESCRIPTION, "u1", jobs=1)
    words = ["--data.store", str(other.path), "--data.crop", "24", "--trained.unet", str(trained / "unet")]
    main(["compare", "--out", str(tmp_path / "out"), *words, "--n", "1"])
    main(["evaluate", str(tmp_path / "out" / "unet"), "--n", "1", "2"])
    content = json.loads((tmp_path / "out" / "unet" / "evaluation.json").read_text())
    assert (content["data"]["store"], list(content["ged2"])) == (str(other.path), ["1", "2"])
