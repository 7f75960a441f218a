"""Comparisons that differ by their seed become one table, with intervals over trainings and patients."""

import csv
import json
import shutil

import pytest

from probunet.cli import main
from probunet.core.errors import InputError
from probunet.report.seeds import seeds_table


@pytest.fixture
def experiments(trained, tmp_path):
    """Two comparisons; in the second every D_GED^2 of four samples is 0.1 more."""
    folders = {seed: tmp_path / f"seed_{seed}" for seed in (3, 5)}
    for folder in folders.values():
        shutil.copytree(trained, folder)
    for file in folders[5].glob("*/evaluation.csv"):
        rows = list(csv.DictReader(file.read_text().splitlines()))
        for row in rows:
            row["ged2_n4"] = float(row["ged2_n4"]) + 0.1
        with file.open("w", newline="") as handle:
            writer = csv.DictWriter(handle, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        beside = json.loads(file.with_suffix(".json").read_text())
        beside["ged2"]["4"]["mean"] += 0.1
        file.with_suffix(".json").write_text(json.dumps(beside))
    return folders


def test_means_spreads_and_differences(experiments, trained):
    rows = {(row.model, row.column): row for row in seeds_table(experiments)}
    for name in ("unet", "probabilistic_unet"):
        before = json.loads((trained / name / "evaluation.json").read_text())["ged2"]["4"]["mean"]
        row = rows[name, "ged2_n4"]
        assert row.mean == pytest.approx(before + 0.05, abs=1e-5)
        assert row.spread == pytest.approx(0.1 / 2**0.5)
        assert row.low < row.mean < row.high
        assert row.seeds == 2
    first, second = rows["unet", "ged2_n4"], rows["probabilistic_unet", "ged2_n4"]
    assert first.difference == first.difference_low == first.difference_high == 0
    assert second.difference == pytest.approx(second.mean - first.mean)
    assert not any(column.startswith("perfect_model") for _, column in rows)


def test_the_command_compares_with_every_seed_and_writes_the_table(trained, tmp_path, capsys, store, failing):
    words = ["compare", "--out", str(tmp_path), "--data.store", str(store.path), "--data.crop", "24", "--n", "1", "2"]
    guests = [f"--trained.{name}={trained / name}" for name in ("unet", "probabilistic_unet")]
    main([*words, *guests, "--seeds", "3", "5"])
    for seed in (3, 5):
        for name in ("unet", "probabilistic_unet"):
            content = json.loads((tmp_path / f"seed_{seed}" / name / "evaluation.json").read_text())
            assert (content["seed"], list(content["ged2"])) == (seed, ["1", "2"])
    assert "excess (ged2_unbiased)" in capsys.readouterr().out
    with (tmp_path / "seeds.csv").open() as file:
        assert {row["seeds"] for row in csv.DictReader(file)} == {"2"}
    for command in ("evaluate", "report"):
        assert "holds trainings of several seeds; give one of them" in failing(command, str(tmp_path))
    main([*words, *guests, "--seeds", "3"])
    assert "of one training, drawn again" in " ".join(capsys.readouterr().out.split())
    with (tmp_path / "seeds.csv").open() as file:
        assert {(row["seeds"], row["spread"]) for row in csv.DictReader(file)} == {("1", "")}


def test_what_differs_in_more_than_the_seed_is_refused(experiments, failing, store, tmp_path):
    shutil.rmtree(experiments[5] / "unet")
    with pytest.raises(InputError, match="differ in more than their seed"):
        seeds_table(experiments)
    words = ["compare", "--out", str(tmp_path / "out"), "--data.store", str(store.path), "--data.crop", "24"]
    words += ["--trainer.max_steps", "1"]
    assert "give either one seed" in failing(*words, "--seeds", "1", "1")
    assert "--seed -1 is no seed" in failing(*words, "--seeds", "1", "-1")
    assert not (tmp_path / "out").exists()
    assert "give either one seed" in failing(*words, "--seeds", "1", "2", "--seed", "4")
