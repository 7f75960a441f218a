"""probunet compare: trains what is missing, reuses what is there, ensemble members once; resumes."""

import csv
import json
from pathlib import Path

import pytest
import torch
import yaml
from copies import begin

import probunet as pu
from probunet.cli import main
from probunet.core import processes
from probunet.data.store import Store
from probunet.report import page
from probunet.runs.checkpoints import read_checkpoint
from probunet.runs.run import Run
from probunet.runs.trained import load

CONFIG = """
out: {out}
data: {{store: {store}, crop: {crop}, batch_size: 4, validation_images: 2, augmentation: {{probability: 0}}}}
models:
  unet: {{class_path: probunet.UNet, init_args: {init}}}
  ensemble: {{class_path: probunet.Ensemble, init_args: {{<<: {init}, members: 2}}}}
  probabilistic_unet: {{class_path: probunet.ProbabilisticUNet, init_args: {init}}}
trainer: {{accelerator: cpu, max_steps: 4, val_check_interval: 2, log_every_n_steps: 1}}
n: [1, 4]
workers: 2
"""


@pytest.fixture(autouse=True)
def loaded():
    """Trainings and evaluations are copies of a process that has loaded what they need, whoever started it."""
    begin()


def config(tmp_path: Path, store: Store, crop: str = "24") -> Path:
    init = f"{{in_channels: {store.images.shape[1]}, num_classes: {len(store.classes)}, channels: [4, 4]}}"
    file = tmp_path / "compare.yaml"
    file.write_text(CONFIG.format(out=tmp_path / "out", store=store.path, crop=crop, init=init))
    return file


def test_trains_evaluates_reports_and_reuses(trained, store, tmp_path, capsys, monkeypatch):
    """With a model that is trained already and takes part as it is: it is only read."""
    published, out = tmp_path / "published", tmp_path / "out"
    main(["export", str(trained / "probabilistic_unet"), "--out", str(published)])
    before = {file: file.stat().st_mtime_ns for file in published.rglob("*")}
    command = ["compare", "--config", str(config(tmp_path, store)), "--trained.published", str(published)]
    main(command)
    assert {file: file.stat().st_mtime_ns for file in published.rglob("*")} == before
    assert sorted(file.name for file in (out / "published").iterdir()) == [
        *("evaluation.csv", "evaluation.json", "guest.yaml")
    ]
    guest = json.loads((out / "published" / "evaluation.json").read_text())
    assert guest["trained"] == str(published)
    same = pu.evaluate(trained / "probabilistic_unet", store, n=(1, 4))
    assert {n: cell["mean"] for n, cell in guest["ged2"].items()} == {
        str(n): interval.mean for n, interval in same.ged2.items()
    }
    assert f"published was trained elsewhere ({published})" in (out / "report.html").read_text()
    with (out / "tables" / "costs.csv").open(newline="") as handle:
        assert {row["model"]: row["steps"] for row in csv.DictReader(handle)}["published"] == "6"
    assert (out / "report.html").is_file()
    members = yaml.safe_load((out / "ensemble" / "run.yaml").read_text())["members"]
    assert [Path(m).relative_to(out).as_posix() for m in members] == ["unet", "ensemble/members/1"]
    ensemble, unet = load(out / "ensemble"), load(out / "unet")
    for together, single in zip(ensemble.members[0].parameters(), unet.parameters(), strict=True):
        assert torch.equal(together, single)
    other = next(iter(ensemble.members[1].parameters()))
    assert not torch.equal(other, next(iter(unet.parameters())))
    found = {name: Run(out / name).evaluation() for name in ("unet", "ensemble", "probabilistic_unet")}
    assert [e["distinct_hypotheses"] for e in found.values()] == [1, 2, None]
    assert {tuple(e["ged2"]) for e in found.values()} == {("1", "4")}
    files = {path: path.stat().st_mtime_ns for path in out.rglob("best.ckpt")}
    capsys.readouterr()
    monkeypatch.setattr(page, "write_report", lambda folder, **_: folder / "report.html")  # drawn above
    main(command)
    assert "4 of 4 models are evaluated already" in capsys.readouterr().err
    assert files == {path: path.stat().st_mtime_ns for path in out.rglob("best.ckpt")}


def test_killed_it_goes_on_where_it_was(store, tmp_path, monkeypatch):
    """One training is killed after its first checkpoint, which terminates the other; then the same command again."""
    file = config(tmp_path, store)
    content = yaml.safe_load(file.read_text())
    models = {name: content["models"][name] for name in ("unet", "probabilistic_unet")}
    trainer = {**content["trainer"], "max_steps": 120}
    file.write_text(yaml.safe_dump({**content, "models": models, "trainer": trainer}))
    out = tmp_path / "out"
    reports, listen = [], processes._listen

    def kill(job, display):
        if (out / job.task.name / "checkpoints" / "last.ckpt").is_file():
            job.process.kill()
        return listen(job, display)

    monkeypatch.setattr(page, "write_report", lambda folder, **_: reports.append(folder) or folder / "report.html")
    with monkeypatch.context() as patch:
        patch.setattr(processes, "_listen", kill)
        with pytest.raises(RuntimeError, match="ended with exit code -9"):
            main(["compare", "--config", str(file)])
    assert reports == []
    assert {read_checkpoint(file)["global_step"] for file in out.glob("*/checkpoints/last.ckpt")} - {120}
    main(["compare", "--config", str(file)])
    assert reports == [out]
    whole = {key: value for key, value in content.items() if key not in ("n", "workers")}
    file.write_text(yaml.safe_dump({**whole, "models": models, "trainer": trainer}))
    main(["train", "--config", str(file), "--out", str(tmp_path / "whole")])
    for name in models:
        first, second = (read_checkpoint(Run(folder / name).best)["state_dict"] for folder in (out, tmp_path / "whole"))
        assert all(torch.equal(first[key], second[key]) for key in first)


def test_label_flips_are_scored_against_all_modes(streets, tmp_path):
    file = config(tmp_path, streets, "[16, 24]")
    content = yaml.safe_load(file.read_text())
    full = content["models"].pop("probabilistic_unet")
    ablated = {**full, "init_args": {**full["init_args"], "prior": "fixed", "batch_norm": True}}
    file.write_text(yaml.safe_dump({**content, "models": {"full": full, "fixed_prior": ablated}}))
    main(["compare", "--config", str(file)])
    content = json.loads((tmp_path / "out" / "full" / "evaluation.json").read_text())
    modes = content["modes"]
    assert sum(modes["counts"]) == 4 * 4  # test images times samples
    assert modes["probabilities"] == [0.375, 0.125, 0.375, 0.125]
    half = sum(abs(c / 16 - p) for c, p in zip(modes["counts"], modes["probabilities"], strict=True)) / 2
    assert modes["total_variation"]["mean"] == pytest.approx(half)
    rows = {row["class"]: row for row in modes["pixels"]}
    assert set(rows) == {"road", "car"}
    assert rows["car"]["total"] == 4 * 4 * 5 * 24  # images, samples, rows of the stripe, columns
    assert rows["car"]["kept"] + rows["car"]["flipped_count"] <= rows["car"]["total"]
    tables = {}
    for name in ("modes", "ablations", "pixel_frequencies"):
        with (tmp_path / "out" / "tables" / f"{name}.csv").open(newline="") as handle:
            tables[name] = list(csv.DictReader(handle))
    assert [row["model"] for row in tables["modes"]] == ["full", "fixed_prior"]
    assert float(tables["modes"][0]["total variation"]) == pytest.approx(half)
    assert [row["what differs"] for row in tables["ablations"]] == [
        "the full model",
        "prior N(0, I) instead of one conditional on the image, with batch normalisation",
    ]
    assert float(tables["ablations"][0]["D²_GED, 4 samples"]) == content["ged2"]["4"]["mean"]
    assert len(tables["pixel_frequencies"]) == 2 * 2
    assert (tmp_path / "out" / "figures" / "mode_frequencies.svg").is_file()
    assert set(content["reference_points"]) == {"draws_from_the_readers", "majority_of_the_readers"}


def test_a_model_that_does_not_fit_is_told_before_anything_is_trained(store, tmp_path, failing):
    file = config(tmp_path, store)
    file.write_text(file.read_text().replace("num_classes: 2", "num_classes: 3"))
    assert "takes 1 channel(s) and 3 classes" in failing("compare", "--config", str(file))
    assert not (tmp_path / "out").exists()


def test_guests_that_cannot_take_part_are_told_before_anything_is_trained(trained, streets, store, tmp_path, failing):
    out, model = tmp_path / "out", str(trained / "unet")
    alone = ["compare", "--out", str(out), "--data.crop", "16", "--data.store"]
    knows = [*alone, str(store.path), "--split", "validation", "--trained.model", model]
    assert "patients of the validation split" in failing(*knows)
    assert "has 3 channel(s)" in failing(*alone, str(streets.path), "--trained.model", model)
    assert "holds no trained model" in failing(*alone, str(store.path), "--trained.model", str(tmp_path))
    assert "cannot be the name of a model" in failing(*alone, str(store.path), "--trained.a/b", model)
    both = ["compare", "--config", str(config(tmp_path, store)), "--trained.unet", model]
    assert "'unet' is to be trained and trained already" in failing(*both)
    assert "--crop: middle is not one of whole, trained" in failing(*alone, str(store.path), "--crop", "middle")
    assert "nothing to compare" in failing(*alone, str(store.path))
    assert not out.exists()
    inside = ["compare", "--out", str(trained), *alone[3:], str(store.path), "--trained.unet", model]
    assert "was trained in this experiment" in failing(*inside)


@pytest.mark.parametrize("part", ["whole", "trained"])
def test_what_is_scored_is_what_evaluate_would_score(part, trained, store, tmp_path):
    out, model = tmp_path / "out", trained / "unet"
    compared = ["compare", "--out", str(out), "--data.store", str(store.path), "--data.crop", "16", "--n", "1", "2"]
    main([*compared, "--trained.model", str(model), "--crop", part])
    content = json.loads((out / "model" / "evaluation.json").read_text())
    same = pu.evaluate(model, store, n=(1, 2), crop="whole" if part == "whole" else 16)
    assert content["ged2"]["2"]["mean"] == same.ged2[2].mean
    assert content["data"]["crop"] == (list(store.images.shape[2:]) if part == "whole" else 16)


def test_a_guest_of_another_unit_is_refused_as_sample_refuses_the_pictures(trained, store, tmp_path, failing):
    guest = tmp_path / "guest"
    main(["export", str(trained / "unet"), "--out", str(guest)])
    described = json.loads((guest / "probunet.json").read_text())
    described["input"]["intensity"]["unit"] = "HU"
    (guest / "probunet.json").write_text(json.dumps(described))
    words = ("--data.store", str(store.path), "--data.crop", "16", "--trained.model", str(guest), "-n", "1")
    assert "takes HU; prepare the data in this unit" in failing("compare", "--out", str(tmp_path / "out"), *words)
    assert "takes HU; prepare the data in this unit" in failing("evaluate", str(guest), "--data", str(store.path))
    assert "takes HU; prepare the data in this unit" in failing("explore", str(guest), str(store.path), "--port", "0")
    with pytest.raises(pu.InputError, match="takes HU"):
        pu.evaluate(guest, store, n=(1,))
