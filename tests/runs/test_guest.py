"""Models trained elsewhere that take part in an experiment: opened, evaluated and drawn from where they are."""

import json
import shutil
from pathlib import Path

import pytest
import torch
import yaml

from probunet.core.errors import InputError
from probunet.evaluation.model_scores import Question, evaluate_run, is_evaluated
from probunet.inference.predictor import Predictor
from probunet.report.results import Results
from probunet.runs.exported import save_run
from probunet.runs.guest import invite
from probunet.runs.run import Run
from probunet.runs.trained import load, models_in, open_model, runs_in


@pytest.fixture
def published(trained: Path, tmp_path: Path) -> Path:
    save_run(Run(trained / "probabilistic_unet"), tmp_path / "published")
    return tmp_path / "published"


def _guest(folder: Path, model: Path, store, crop=24) -> Run:
    return invite(folder, open_model(model), str(model), store.path, crop)


def test_a_guest_is_a_model_of_the_experiment_for_everything_that_reads_one(published, store, tmp_path):
    out = tmp_path / "out"
    _guest(out / "first", published, store)
    _guest(out / "again", out / "first", store)
    assert [run.name for run in runs_in(out)] == ["again", "first"]
    assert [model.name for model in models_in(out / "again")] == ["again"]
    weights = load(published).state_dict()
    for name in ("first", "again"):
        copy = load(out / name).state_dict()
        assert all(torch.equal(copy[key], value) for key, value in weights.items())
    assert runs_in(out)[0].training() == open_model(published).training()


def test_a_guest_whose_weights_change_is_evaluated_anew_and_not_drawn_from(trained, published, store, tmp_path):
    out = tmp_path / "out"
    evaluate_run(_guest(out / "model", published, store), store, Question("test", (1, 2)), "cpu")
    assert is_evaluated(runs_in(out)[0], store, Question("test", (1, 2)))
    shutil.rmtree(published)
    save_run(Run(trained / "unet"), published)
    with pytest.raises(InputError, match="is not of the weights that the run has now"):
        Results(out)
    with pytest.raises(InputError, match="has changed since it was compared"):
        runs_in(out)[0].model()
    changed = _guest(out / "model", published, store)
    assert not is_evaluated(changed, store, Question("test", (1, 2)))
    other_crop = _guest(out / "model", trained / "probabilistic_unet", store, crop=32)
    evaluate_run(other_crop, store, Question("test", (1, 2)), "cpu")
    assert not is_evaluated(
        _guest(out / "model", trained / "probabilistic_unet", store), store, Question("test", (1, 2))
    )


def test_a_guest_of_other_units_sees_its_own_in_the_report(published, store, tmp_path):
    """The same model, said to be trained on values ten times as large, sees another image of the same store."""
    other, out = tmp_path / "other", tmp_path / "out"
    shutil.copytree(published, other)
    content = json.loads((published / "probunet.json").read_text())
    content["input"]["intensity"]["scale"] *= 10
    (other / "probunet.json").write_text(json.dumps(content))
    for model in (published, other):
        evaluate_run(_guest(out / model.name, model, store), store, Question("test", (1,)), "cpu")
    results = Results(out)
    raw = torch.from_numpy(results.raw(0).copy())[None].float()
    for model in (published, other):
        network = load(model)
        with torch.inference_mode():
            distribution = network(network.normalise(raw))
            noise = distribution.noise(2, torch.Generator().manual_seed(0))
            shown = results.distribution(model.name, 0).logits(noise)
        torch.testing.assert_close(shown, distribution.logits(noise))


@pytest.mark.parametrize("change", [{"crop": 0}, {"weights": "x"}, {"model": 3}, {"more": 1}])
def test_a_place_that_somebody_changed_is_refused(published, store, tmp_path, change):
    _guest(tmp_path / "out" / "model", published, store)
    file = tmp_path / "out" / "model" / "guest.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | change))
    with pytest.raises(InputError, match=f"'{next(iter(change))}"):
        runs_in(tmp_path / "out")


def test_an_exported_folder_has_no_results_to_read(published):
    with pytest.raises(InputError, match=r"--trained\.NAME"):
        runs_in(published)


def test_a_guest_has_the_calibration_of_the_model_elsewhere_whatever_crop_is_compared(calibrated, store, tmp_path):
    guest = _guest(tmp_path / "guest", calibrated, store, crop=32)
    assert guest.settings_checksum != open_model(calibrated).settings_checksum
    made = Predictor(guest, "cpu").calibration
    assert made == Predictor.load(calibrated, "cpu").calibration
    assert made.risk == 0.25
