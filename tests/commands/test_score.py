import csv
import json
import os
from itertools import permutations, product

import nibabel
import numpy as np
import pytest
from PIL import Image

from probunet.commands.score import score
from probunet.core.errors import InputError
from probunet.evaluation import field_scores
from probunet.io.pictures import read_file
from probunet.metrics import (
    Convention,
    area_crps,
    best_surface_distance,
    class_frequencies,
    disagreement_correlation,
    energy_distance,
    hungarian_iou,
    pairwise_distances,
    reliability,
    surface_distances,
)

RNG = np.random.default_rng(0)
SAMPLES = RNG.integers(0, 2, (5, 4, 8, 9), dtype=np.uint8)
OTHER = RNG.integers(0, 2, (5, 4, 8, 9), dtype=np.uint8)
READERS = RNG.integers(0, 2, (5, 3, 8, 9), dtype=np.uint8)
NAMES = [f"case{i}" for i in range(5)]


def write_folder(root, maps, names=NAMES, kind="png", place=(1, 1, 1)):
    for name, case in zip(names, maps, strict=True):
        (root / name).mkdir(parents=True)
        for i, labels in enumerate(case):
            if kind == "png":
                Image.fromarray(labels).save(root / name / f"{i}.png")
            else:
                nibabel.save(nibabel.Nifti1Image(labels, np.diag([*place, 1.0])), root / name / f"{i}.nii.gz")
    return root


def write_arrays(folder):
    np.save(folder / "readers.npy", READERS)
    np.save(folder / "samples.npy", SAMPLES)
    np.savez(folder / "named.npz", samples=SAMPLES, names=NAMES)
    return folder / "samples.npy", folder / "readers.npy"


def run(folder, *args, **options):
    score(*args, out=folder / "out" / "scores.json", **options)
    result = json.loads((folder / "out" / "scores.json").read_text())
    with (folder / "out" / "scores.csv").open() as file:
        return result, list(csv.DictReader(file))


def row(rows, metric, n):
    return next(r for r in rows if r["metric"] == metric and r["n"] == n)


def test_arrays(tmp_path, capsys):
    samples, readers = write_arrays(tmp_path)
    result, table = run(tmp_path, readers, samples, [1, 4])
    expected = energy_distance(SAMPLES, READERS, n=4)
    found = row(result["scores"]["samples"], "ged2", 4)
    assert found["mean"] == pytest.approx(expected.mean())
    assert found["low"] < found["mean"] < found["high"]
    assert found["median"] == pytest.approx(np.median(expected.value))
    assert (found["images"], found["groups"], found["left_out"]) == (5, 5, 0)
    assert "1 - IoU, classes 1 of 2, d = 0 if both are empty" in found["convention"]
    unbiased = row(result["scores"]["samples"], "ged2_unbiased", None)
    assert unbiased["mean"] == pytest.approx(energy_distance(SAMPLES, READERS, estimator="unbiased").mean())
    matched = row(result["scores"]["samples"], "hungarian_iou", 4)
    assert matched["mean"] == pytest.approx(hungarian_iou(SAMPLES, READERS).mean())
    assert [float(line["ged2_n4"]) for line in table] == pytest.approx(expected.value.tolist())
    printed = capsys.readouterr().out
    assert "ged2" in printed
    assert f"{expected.mean():.4f}" in printed
    assert {p.name for p in (tmp_path / "out").iterdir()} == {"scores.json", "scores.csv"}


def numbers(result, label):
    return [(r["metric"], r["n"], r["mean"]) for r in result["scores"][label]]


@pytest.mark.parametrize("kind", ["png", "nifti"])
def test_folders_give_the_same_numbers(tmp_path, kind):
    samples, readers = write_arrays(tmp_path)
    from_arrays, _ = run(tmp_path, readers, samples, [1, 4])
    s = write_folder(tmp_path / "s", SAMPLES, kind=kind)
    r = write_folder(tmp_path / "r", READERS, kind=kind)
    from_folders, table = run(tmp_path, r, s, [1, 4])
    assert numbers(from_folders, "s") == numbers(from_arrays, "samples")
    assert [line["case"] for line in table] == NAMES
    mixed, _ = run(tmp_path, r, tmp_path / "named.npz", [1, 4])
    assert numbers(mixed, "named") == numbers(from_folders, "s")


def test_cases_of_different_shape_and_number_of_readers(tmp_path):
    rng = np.random.default_rng(1)
    sizes = [(3, 7, 7), (3, 7, 7), (1, 5, 6), (2, 4, 4)]
    readers = [rng.integers(0, 2, size, dtype=np.uint8) for size in sizes]
    samples = [rng.integers(0, 2, (12, *size[1:]), dtype=np.uint8) for size in sizes]
    names = ["9", "10", "11", "12"]
    s, r = (write_folder(tmp_path / k, m, names) for k, m in (("s", samples), ("r", readers)))
    result, table = run(tmp_path, r, s, [2, 12])
    assert [line["case"] for line in table] == names
    expected = [energy_distance(a[None], b[None], n=2).value[0] for a, b in zip(samples, readers, strict=True)]
    assert [float(line["ged2_n2"]) for line in table] == pytest.approx(expected)
    # one reader has no unbiased diversity: left out and counted
    assert row(result["scores"]["s"], "ged2_unbiased", None)["left_out"] == 1
    assert table[2]["ged2_unbiased"] == ""
    assert row(result["scores"]["s"], "presence_auroc", None)["left_out"] == 1


def test_compare_and_patients(tmp_path, capsys):
    samples, readers = write_arrays(tmp_path)
    np.save(tmp_path / "other.npy", OTHER)
    np.save(tmp_path / "perfect.npy", np.concatenate([READERS, READERS[:, :1]], axis=1))
    (tmp_path / "patients.csv").write_text("case,patient\n" + "".join(f"{i},p{i // 2}\n" for i in range(5)))
    result, table = run(
        tmp_path,
        readers,
        n=[4],
        compare=[samples, tmp_path / "other.npy", tmp_path / "perfect.npy"],
        patients=tmp_path / "patients.csv",
    )
    tests = [t for t in result["comparisons"] if t["metric"] == "ged2"]
    assert [(t["first"], t["second"]) for t in tests] == [
        ("samples", "other"),
        ("samples", "perfect"),
        ("other", "perfect"),
    ]
    assert tests[0]["difference"] == pytest.approx(
        energy_distance(SAMPLES, READERS).mean() - energy_distance(OTHER, READERS).mean()
    )
    assert tests[1]["effect"] == 1
    assert all(t["pairs"] == 3 and t["p_holm"] >= t["p_value"] for t in tests)
    assert row(result["scores"]["other"], "ged2", 4)["groups"] == 3
    assert len(table) == 15
    assert table[0]["patient"] == "p0"
    assert "comparisons" in capsys.readouterr().out


def test_calibration(tmp_path):
    rng = np.random.default_rng(3)
    samples, readers = rng.integers(0, 2, (4, 4, 6, 6)), rng.integers(0, 2, (4, 3, 6, 6))
    readers[0] = 255
    s, r = (write_folder(tmp_path / k, m.astype(np.uint8), NAMES[:4]) for k, m in (("s", samples), ("r", readers)))
    result, table = run(tmp_path, r, s, [4], ignore=255, calibration=True)
    frequencies = class_frequencies(samples)
    expected = reliability(frequencies, readers, Convention(ignore=255))
    found = row(result["scores"]["s"], "ece", None)
    assert found["mean"] == pytest.approx(expected.ece().mean)
    assert (found["images"], found["left_out"]) == (3, 1)
    assert row(result["scores"]["s"], "brier", None)["mean"] == pytest.approx(expected.brier().mean)
    correlation = disagreement_correlation(frequencies, readers, Convention(ignore=255))
    assert row(result["scores"]["s"], "entropy_correlation", None)["mean"] == pytest.approx(correlation.mean())
    assert table[0]["entropy_correlation"] == ""


def test_missing_cases(tmp_path, capsys):
    s = write_folder(tmp_path / "s", SAMPLES[:4], NAMES[:4])
    r = write_folder(tmp_path / "r", READERS[1:], NAMES[1:])
    with pytest.raises(InputError, match=r"/r lacks the case case0; .*--allow-missing"):
        run(tmp_path, r, s, [4])
    assert not (tmp_path / "out").exists()
    result, table = run(tmp_path, r, s, [4], allow_missing=True)
    assert [line["case"] for line in table] == NAMES[1:4]
    assert result["missing_cases"] == {str(r): ["case0"], str(s): ["case4"]}
    assert "left out: 1 cases that" in capsys.readouterr().out


def test_left_out_images_are_reported(tmp_path):
    empty = np.zeros((2, 2, 3, 3), np.uint8)
    empty[1] = 1
    np.save(tmp_path / "s.npy", empty)
    np.save(tmp_path / "r.npy", empty)
    result, table = run(tmp_path, tmp_path / "r.npy", tmp_path / "s.npy", [2], empty="skip")
    found = row(result["scores"]["s"], "ged2", 2)
    assert (found["images"], found["left_out"], found["mean"]) == (1, 1, 0)
    assert table[0]["ged2_n2"] == ""
    np.save(tmp_path / "s.npy", empty * 0)
    result, _ = run(tmp_path, tmp_path / "s.npy", tmp_path / "s.npy", [2], empty="skip")
    assert row(result["scores"]["s"], "ged2", 2)["mean"] is None


def test_multi_class_with_weights_and_ignore(tmp_path):
    rng = np.random.default_rng(2)
    samples, modes = rng.integers(0, 3, (3, 2, 6, 6)), rng.integers(0, 3, (3, 4, 6, 6))
    modes[:, :, 0] = 255
    np.save(tmp_path / "s.npy", samples)
    np.save(tmp_path / "r.npy", modes)
    options = {"num_classes": 3, "classes": [1, 2], "ignore": 255, "empty": "skip", "weights": [4, 3, 2, 1]}
    result, _ = run(tmp_path, tmp_path / "r.npy", tmp_path / "s.npy", [2], **options)
    expected = energy_distance(samples, modes, Convention(**options))
    assert row(result["scores"]["s"], "ged2", 2)["mean"] == pytest.approx(expected.mean())
    assert not any(r["metric"] == "hungarian_iou" for r in result["scores"]["s"])


def test_bad_files_are_named(tmp_path):
    samples, _ = write_arrays(tmp_path)
    s, r = write_folder(tmp_path / "s", SAMPLES), write_folder(tmp_path / "r", READERS)
    Image.fromarray(np.full((8, 9), 255, np.uint8)).save(s / "case3" / "2.png")
    with pytest.raises(InputError, match=r"/s/case3 against .*/r/case3: samples hold the label 255"):
        run(tmp_path, r, s, [4])
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(s / "case3" / "2.png")
    with pytest.raises(InputError, match=r"case3/2.png has the shape"):
        run(tmp_path, r, s, [4])
    (s / "case3" / "2.png").write_bytes(b"no picture")
    with pytest.raises(InputError, match=r"case3/2.png does not begin like a PNG file"):
        run(tmp_path, r, s, [4])
    Image.fromarray(np.zeros((8, 9, 3), np.uint8)).save(s / "case3" / "2.png")
    with pytest.raises(InputError, match=r"2\.png has 3 channels"):
        run(tmp_path, r, s, [4])
    (r / "case4" / "0.png").rename(r / "case4" / "0.txt")
    for name in ("1.png", "2.png"):
        (r / "case4" / name).unlink()
    with pytest.raises(InputError, match="case4 holds no"):
        run(tmp_path, r, samples.with_name("named.npz"), [4])
    np.save(r / "case4" / "samples.npy", np.zeros((4, 1, 8, 9), np.uint8))
    with pytest.raises(InputError, match=r"case4 holds samples.npy alone, .*; sample with --format png"):
        run(tmp_path, r, samples.with_name("named.npz"), [4])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n": [1, 5]}, "has 4 samples, too few for --n 1 5"),
        ({"n": [0]}, "--n 0 is no number of samples"),
        ({}, "too few for --n 1 4 8 16"),
        ({"samples": None}, "give --samples S, or --compare A B"),
        ({"samples": None, "compare": ["samples.npy"]}, "two or more"),
        ({"samples": None, "compare": ["samples.npy", "samples.npy"]}, "named twice"),
        ({"samples": "none.npy"}, "does not exist"),
        ({"samples": "float.npy"}, "holds float64"),
        ({"samples": "text.npy"}, "cannot be read"),
        ({"samples": "text.csv"}, "is neither .npy nor .npz"),
        ({"samples": "short.npy"}, "matched by position"),
        ({"samples": "named.npz"}, "has no case names"),
        ({"samples": "two.npz"}, "name one of them 'samples'"),
        ({"samples": "twice.npz"}, "different names"),
        (
            {"samples": "wide.npy"},
            "case 0 of .*wide.npy against case 0 of .*readers.npy: .*same spatial shape",
        ),
        ({"samples": "empty"}, "holds no case folders"),
        ({"patients": "text.csv"}, "header case,patient"),
        ({"patients": "some.csv"}, "no patient for the case 1"),
        ({"patients": "blank.csv"}, "no patient for the case 1"),
        ({"patients": "alike.csv"}, "the patients 'Q' and 'q'"),
        ({"patients": "two.csv"}, "gives the case 0 to the patients p and q"),
        ({"patients": "comma.csv"}, "a line of 3 values below 2 columns"),
        ({"patients": "twice.csv"}, "header case,patient"),
        ({"patients": "none.csv"}, "does not exist"),
    ],
)
def test_bad_input_is_one_sentence(tmp_path, change, message):
    write_arrays(tmp_path)
    np.save(tmp_path / "float.npy", SAMPLES * 0.5)
    (tmp_path / "text.npy").write_text("hello")
    (tmp_path / "text.csv").write_text("hello")
    rest = "1,q\n2,q\n3,q\n4,q\n"
    for name, rows in {
        "some": "0,a\n",
        "blank": "0,a\n1,  \n",
        "alike": f"0,Q\n{rest}",
        "two": f"0,p\n0,q\n{rest}",
    }.items():
        (tmp_path / f"{name}.csv").write_text("case,patient\n" + rows)
    (tmp_path / "comma.csv").write_text(f"case,patient\n0,Smith, John\n{rest}")
    (tmp_path / "twice.csv").write_text("case,patient,patient\n0,p,q\n")
    np.save(tmp_path / "short.npy", SAMPLES[:3])
    np.save(tmp_path / "wide.npy", np.repeat(SAMPLES, 2, axis=3))
    np.savez(tmp_path / "two.npz", a=SAMPLES, b=SAMPLES)
    np.savez(tmp_path / "twice.npz", samples=SAMPLES, names=["a"] * 5)
    (tmp_path / "empty").mkdir()
    options = {"samples": "samples.npy"} | ({"n": [4]} if "n" not in change and change else {}) | change
    options["samples"] = options["samples"] and tmp_path / options["samples"]
    options |= {"compare": [tmp_path / p for p in change["compare"]]} if "compare" in change else {}
    options |= {"patients": tmp_path / change["patients"]} if "patients" in change else {}
    with pytest.raises(InputError, match=message):
        run(tmp_path, tmp_path / "readers.npy", **options)
    assert not (tmp_path / "out").exists()


def test_a_plane_for_each_class_is_no_volume(tmp_path):
    samples, readers = (np.stack([1 - maps, maps], 2) for maps in (SAMPLES, READERS))
    for axis, name in ((2, "2"), (4, "4")):
        np.save(tmp_path / f"s{name}.npy", np.moveaxis(samples, 2, axis))
        np.save(tmp_path / f"r{name}.npy", np.moveaxis(readers, 2, axis))
        with pytest.raises(InputError, match=rf"a plane for each class along axis {axis} \(one-hot\)"):
            run(tmp_path, tmp_path / f"r{name}.npy", tmp_path / f"s{name}.npy", [4])
    samples[0, 0, 0, 0, 0] ^= 1  # of a volume, slices are no complement of each other
    np.save(tmp_path / "s2.npy", samples)
    readers[0, 0, 0, 0, 0] ^= 1
    np.save(tmp_path / "r2.npy", readers)
    assert len(run(tmp_path, tmp_path / "r2.npy", tmp_path / "s2.npy", [4])[1]) == 5
    np.save(tmp_path / "none.npy", SAMPLES[..., :0])
    with pytest.raises(InputError, match="no image has a pixel"):
        run(tmp_path, tmp_path / "none.npy", tmp_path / "none.npy", [4])


def test_a_map_that_is_not_read_is_named_and_not_left_out(tmp_path):
    samples, readers = write_folder(tmp_path / "s", SAMPLES), write_folder(tmp_path / "r", READERS)
    (readers / "case1/notes.txt").write_text("looked twice")
    run(tmp_path, readers, samples, [4])
    Image.fromarray(READERS[1, 0] * 255).save(readers / "case1/3.jpg")
    with pytest.raises(InputError, match=r"3\.jpg is a picture of a kind that is not read as a label map"):
        run(tmp_path, readers, samples, [4])


def test_a_name_that_is_no_utf8_is_written_as_numbers_and_results_come_together(tmp_path, monkeypatch):
    names = [os.fsdecode(b"M\xfcller"), *NAMES[1:]]
    samples, readers = write_folder(tmp_path / "s", SAMPLES, names), write_folder(tmp_path / "r", READERS, names)
    _, lines = run(tmp_path, readers, samples, [4])
    assert sorted(line["case"] for line in lines) == [r"M\udcfcller", *NAMES[1:]]
    before = (tmp_path / "out/scores.json").read_bytes()
    monkeypatch.setattr("probunet.commands.score.csv.writer", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(tmp_path, readers, samples, [2])
    assert (tmp_path / "out/scores.json").read_bytes() == before  # no new numbers beside an old table


def test_a_spacing_against_that_of_the_files_is_refused(tmp_path):
    samples = write_folder(tmp_path / "s", SAMPLES[:1], NAMES[:1], "nii.gz")
    readers = write_folder(tmp_path / "r", READERS[:1], NAMES[:1], "nii.gz")
    run(tmp_path, readers, samples, [4], also=["areas"], spacing=[1.001, 1])
    with pytest.raises(InputError, match="leave --spacing out, or correct it"):
        run(tmp_path, readers, samples, [4], spacing=[0.5, 1])
    with pytest.raises(InputError, match="says that its pixels have 1 1 mm"):
        run(tmp_path, readers, samples, [4], also=["areas"], spacing=[0.5, 1])


def test_the_excess_is_first_and_a_perfect_model_beside_every_number(tmp_path, capsys):
    samples, readers = write_arrays(tmp_path)
    result, _ = run(tmp_path, readers, samples, [2, 4])
    rows = result["scores"]["samples"]
    assert rows[0]["metric"] == "ged2_unbiased"
    unbiased = energy_distance(SAMPLES, READERS, estimator="unbiased")
    diversity = unbiased.reader_diversity.mean()
    for n in (2, 4):
        line = row(rows, "perfect_model", n)["mean"]
        assert line == pytest.approx(diversity * (1 / n + 1 / 3))
        parts = rows[0]["mean"] + unbiased.sample_diversity.mean() / n + diversity / 3
        assert row(rows, "ged2", n)["mean"] == pytest.approx(parts)
    unlimited = row(rows, "ged2_unlimited", None)["mean"] - row(rows, "perfect_model_unlimited", None)["mean"]
    assert rows[0]["mean"] == pytest.approx(unlimited)
    assert "perfect model" in capsys.readouterr().out
    assert Convention.from_json(result["convention"]) == Convention()


def test_a_published_row(capsys, failing):
    score(check=["16:.206", "32:.188", "100:.162"])
    assert "this row is not possible" in capsys.readouterr().out
    score(check=["16:.206", "32:.188"])
    assert "this row is possible" in capsys.readouterr().out
    assert "is not NUMBER:VALUE" in failing("score", "--check", "16=.2", "32:.1")
    assert "one column" in failing("score", "--check", "16:.2")


@pytest.mark.parametrize(
    "out", ["patients.json", "readers.csv", "samples.npy", "mine.json", "folder", "pipe", "link.json"]
)
def test_nothing_is_replaced_that_this_command_did_not_make(tmp_path, out):
    """The JSON, and the CSV beside it: an input, another file, a folder, a pipe, a link to somewhere else."""
    samples, readers = write_arrays(tmp_path)
    (tmp_path / "patients.csv").write_text("case,patient\n" + "".join(f"{i},p\n" for i in range(5)))
    (tmp_path / "mine.csv").write_text("my,own,table\n")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link.json").symlink_to(tmp_path / "mine.csv")
    before = {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()}
    with pytest.raises(InputError):
        score(readers, samples, n=[4], out=tmp_path / out, patients=tmp_path / "patients.csv")
    assert {path: path.read_bytes() for path in tmp_path.iterdir() if path.is_file()} == before


def test_its_own_files_are_replaced(tmp_path):
    samples, readers = write_arrays(tmp_path)
    run(tmp_path, readers, samples, [4])
    result, _ = run(tmp_path, readers, samples, [2])
    assert result["options"]["n"] == [2]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_patients_as_excel_saves_them(tmp_path, encoding):
    samples, readers = write_arrays(tmp_path)
    text = "case,patient\r\n" + "".join(f"{i},p{i // 2}\r\n" for i in range(5))
    (tmp_path / "patients.csv").write_bytes(text.encode(encoding))
    _, table = run(tmp_path, readers, samples, [4], patients=tmp_path / "patients.csv")
    assert [line["patient"] for line in table] == ["p0", "p0", "p1", "p1", "p2"]


@pytest.mark.parametrize("how", ["majority", "staple"])
def test_a_consensus_as_the_reference(tmp_path, how):
    from probunet.metrics.consensus import consensus_of

    np.save(tmp_path / "samples.npy", SAMPLES)
    np.save(tmp_path / "readers.npy", np.where(READERS[:, :, :1] == 1, 7, READERS))
    result, _ = run(
        tmp_path, tmp_path / "readers.npy", tmp_path / "samples.npy", [4], consensus=how, ignore=7, num_classes=2
    )
    known = np.where(READERS[:, :, :1] == 1, 255, READERS)
    agreed = np.stack([consensus_of(readers, how) for readers in known])[:, None]
    expected = energy_distance(SAMPLES, np.where(agreed == 255, 7, agreed), Convention(ignore=7), n=4)
    assert row(result["scores"]["samples"], "ged2", 4)["mean"] == pytest.approx(expected.mean())
    assert result["options"]["consensus"] == how
    with pytest.raises(InputError, match="leave one of them out"):
        run(tmp_path, tmp_path / "readers.npy", tmp_path / "samples.npy", [4], consensus=how, weights=[1, 1, 2])
    with pytest.raises(InputError, match="hold the label 7"):
        run(tmp_path, tmp_path / "readers.npy", tmp_path / "samples.npy", [4], consensus=how)


def test_the_figures_of_other_papers(tmp_path):
    samples, readers = write_arrays(tmp_path)
    result, table = run(tmp_path, readers, samples, [4], also=["all"], spacing=[0.5, 2])
    assert result["options"]["unit"] == "mm"
    assert set(result["options"]["also"]) == set(field_scores.FIGURES)
    rows = result["scores"]["samples"]
    assert set(field_scores.MEANING) - {"gaps", "reader_gaps"} <= {r["metric"] for r in rows}
    expected = area_crps(pairwise_distances(SAMPLES, READERS), 1.0)
    assert row(rows, "area_crps", None)["mean"] == pytest.approx(expected.mean())
    assert [float(line["area_crps"]) for line in table] == pytest.approx(expected.value.tolist())
    nearest = best_surface_distance(surface_distances(SAMPLES, READERS, spacing=(0.5, 2)))
    assert row(rows, "hausdorff95", None)["mean"] == pytest.approx(nearest.mean())
    in_pixels, _ = run(tmp_path, readers, samples, [4], also=["surfaces"])
    assert in_pixels["options"]["unit"] == "px"
    assert row(in_pixels["scores"]["samples"], "hausdorff95", None)["mean"] != pytest.approx(nearest.mean())
    with pytest.raises(InputError, match="--also everything is not known; choose from all, thresholds"):
        run(tmp_path, readers, samples, [4], also=["everything"])
    with pytest.raises(InputError, match="the spacing 1 1 1 does not fit"):
        run(tmp_path, readers, samples, [4], also=["areas"], spacing=[1, 1, 1])


def test_files_say_the_size_of_a_pixel(tmp_path):
    ball = np.zeros((5, 2, 9, 8, 7), np.uint8)
    ball[:, :, 3:6, 3:6, 2:5] = 1
    ball[:, 1, 6] = ball[:, 1, 5]
    for name, maps in (("samples", ball), ("readers", ball[:, :1])):
        for case, several in zip(NAMES, maps, strict=True):
            (tmp_path / name / case).mkdir(parents=True)
            for i, labels in enumerate(several):
                affine = np.diag([0.7, 0.7, 2.5, 1])
                nibabel.save(nibabel.Nifti1Image(labels, affine), tmp_path / name / case / f"{i}.nii.gz")
    result, _ = run(tmp_path, tmp_path / "readers", tmp_path / "samples", [1], also=["areas", "sizes", "gaps"])
    assert result["options"]["unit"] == "mm"
    sizes = {r["metric"]: r["mean"] for r in result["scores"]["samples"]}
    assert sizes["area_median"] == pytest.approx(31.5 * 0.7 * 0.7 * 2.5)
    assert sizes["reader_area"] == pytest.approx(27 * 0.7 * 0.7 * 2.5)
    # in the axial plane three voxels of one slice and four of the other along x, three along y, outline to outline
    across = [np.hypot(long, 2) * 0.7 for long in (3, 4)]
    assert sizes["diameter_median"] == pytest.approx(np.mean(across))
    assert (sizes["gaps"], sizes["reader_gaps"], sizes["empty"]) == (0, 0, 0)
    crps = row(result["scores"]["samples"], "area_crps", None)["mean"]  # 27 and 36 voxels against 27
    assert crps == pytest.approx((0 + 9) / 2 * 0.7 * 0.7 * 2.5 - 9 / 2 * 0.7 * 0.7 * 2.5)
    gaussian = row(result["scores"]["samples"], "area_crps_gaussian", None)["mean"]
    assert gaussian == pytest.approx(4.5 * 0.7 * 0.7 * 2.5)


def write_slices(root, volumes):
    """Label maps (cases, maps, slices, H, W) as ``probunet sample`` writes those of volumes: a file for each slice."""
    for name, case in zip(NAMES, volumes, strict=True):
        for i, volume in enumerate(case):
            folder = root / name / "samples" / f"sample-{i:03d}"
            folder.mkdir(parents=True)
            for s, pixels in enumerate(volume):
                Image.fromarray(pixels).save(folder / f"slice-{s:04d}.png")
    return root


def test_volumes_in_slices_give_the_numbers_of_their_array(tmp_path):
    samples, readers = (RNG.integers(0, 2, (5, count, 3, 8, 9), dtype=np.uint8) for count in (4, 2))
    np.save(tmp_path / "samples.npy", samples)
    np.save(tmp_path / "readers.npy", readers)
    from_arrays, _ = run(tmp_path, tmp_path / "readers.npy", tmp_path / "samples.npy", [1, 4])
    s, r = write_slices(tmp_path / "s", samples), write_slices(tmp_path / "r", readers)
    from_slices, _ = run(tmp_path, r, s, [1, 4])
    assert numbers(from_slices, "s") == numbers(from_arrays, "samples")


def test_slices_without_a_place_are_not_laid_beside_files_with_one(tmp_path):
    volumes = RNG.integers(0, 2, (5, 2, 3, 8, 9), dtype=np.uint8)
    s = write_slices(tmp_path / "s", volumes)
    r = write_folder(tmp_path / "r", volumes, kind="nifti")
    with pytest.raises(InputError, match=r"sample-000 does not say where its slices lie, as .* --format nifti"):
        run(tmp_path, r, s, [1])


@pytest.mark.parametrize(
    ("break_it", "words"),
    [
        (lambda folder: (folder / "slice-0001.png").unlink(), "lacks a slice: 2 files up to slice-0002.png"),
        (
            lambda folder: Image.fromarray(np.zeros((4, 4), np.uint8)).save(folder / "slice-0002.png"),
            r"slice-0002.png has the shape \(4, 4\), but slice-0000.png has \(8, 9\)",
        ),
    ],
)
def test_slices_that_are_no_volume_are_one_sentence(tmp_path, break_it, words):
    volumes = RNG.integers(0, 2, (5, 2, 3, 8, 9), dtype=np.uint8)
    s, r = write_slices(tmp_path / "s", volumes), write_slices(tmp_path / "r", volumes)
    break_it(s / "case2" / "samples" / "sample-001")
    with pytest.raises(InputError, match=words):
        run(tmp_path, r, s, [1])


def test_a_map_that_lies_there_in_two_formats_is_refused_and_not_counted_twice(tmp_path):
    s, r = write_folder(tmp_path / "s", SAMPLES), write_folder(tmp_path / "r", READERS)
    Image.fromarray(READERS[1, 0]).save(r / "case1" / "0.tif")
    with pytest.raises(InputError, match=r"case1/0\.png and .*case1/0\.tif have one name"):
        run(tmp_path, r, s, [1])


def test_digits_that_are_no_numbers_are_names(tmp_path):
    names = ["\u00b2", "\u00b3", "cm\u00b2", "\u0663", "7"]
    s, r = write_folder(tmp_path / "s", SAMPLES, names), write_folder(tmp_path / "r", READERS, names)
    _, table = run(tmp_path, r, s, [1, 4])
    assert sorted(line["case"] for line in table) == sorted(names)


def test_names_of_cases_are_a_list(tmp_path):
    np.savez(tmp_path / "s.npz", samples=SAMPLES, names=np.array(NAMES)[:, None])
    np.savez(tmp_path / "r.npz", references=READERS, names=NAMES)
    with pytest.raises(InputError, match=r"s\.npz has names of shape \(5, 1\)"):
        run(tmp_path, tmp_path / "r.npz", tmp_path / "s.npz", [1])


def test_rows_without_columns_are_not_scored_as_maps(tmp_path, failing):
    for name, maps in (("s.npy", SAMPLES[:, 0]), ("r.npy", READERS[:, 0])):
        np.save(tmp_path / name, maps)
    said = failing("score", "--samples", str(tmp_path / "s.npy"), "--references", str(tmp_path / "r.npy"), "-n", "1")
    assert "needed are integers of shape (cases, maps, rows, columns)" in said


@pytest.mark.parametrize("shape", [(6, 5), (4, 6, 5)])
def test_arrays_beside_nifti_are_laid_as_they_fit(shape, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    maps = (rng.random((1, 3, *shape)) < 0.4).astype(np.uint8)
    folder = write_folder(tmp_path / "files", maps, ["c"], "nii.gz", place=(-1, -1, 1))  # the array is as nibabel's
    turned = np.ascontiguousarray(np.moveaxis(maps, range(2, maps.ndim), range(maps.ndim - 1, 1, -1)))
    for name, array in (("nibabel", maps), ("rows", turned)):  # and that of probunet sample
        np.savez(tmp_path / f"{name}.npz", samples=array, names=["c"])
        result, _ = run(tmp_path, samples=tmp_path / f"{name}.npz", references=folder, n=(3,))
        assert row(result["scores"][name], "ged2", 3)["mean"] == pytest.approx(0)


def test_an_array_that_fits_a_nifti_file_in_two_ways_is_refused(tmp_path, failing):
    maps = (np.random.default_rng(0).random((1, 3, 6, 6)) < 0.4).astype(np.uint8)
    folder = write_folder(tmp_path / "files", maps, ["c"], "nii.gz")
    np.savez(tmp_path / "array.npz", samples=maps, names=["c"])
    said = failing("score", "--samples", str(tmp_path / "array.npz"), "--references", str(folder), "-n", "3")
    assert "fits the array beside it in two ways" in said


@pytest.mark.parametrize("axes", list(permutations(range(3))))
@pytest.mark.parametrize("shape", [(3, 7, 6), (1, 7, 6)])
def test_what_sample_writes_beside_files_of_any_orientation_is_right_or_refused(shape, axes, tmp_path):
    """An array or a PNG does not say how it lies; in half of the orientations its numbers would be of mirrored maps."""
    maps = (np.random.default_rng(1).random((4, *shape)) < 0.5).astype(np.uint8)
    scored = 0
    for number, signs in enumerate(product((1, -1), repeat=3)):
        place = np.eye(4)[[*axes, 3]] * [*signs, 1]
        for i, labels in enumerate(maps):
            file = tmp_path / f"{number}" / "c" / f"{i}.nii.gz"
            file.parent.mkdir(parents=True, exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(labels.T, place), file)
        canonical = np.stack([read_file(file).labels() for file in sorted((tmp_path / f"{number}/c").iterdir())])
        canonical = canonical[:, 0] if canonical.shape[1] == 1 else canonical
        np.savez(tmp_path / f"{number}-array.npz", samples=canonical[None], names=["c"])
        sets = [tmp_path / f"{number}-array.npz"]
        if canonical.ndim == 3:
            sets.append(write_folder(tmp_path / f"{number}-png", canonical[None], ["c"]))
        for samples in sets:
            try:
                result, _ = run(tmp_path, samples=samples, references=tmp_path / f"{number}", n=(4,))
            except InputError:
                continue
            scored += 1
            assert row(result["scores"][samples.stem], "ged2", 4)["mean"] == pytest.approx(0, abs=1e-9)
    assert scored


def test_sizes_of_pixels_count_without_a_place_and_are_refused_where_only_some_say_them(tmp_path, failing):
    maps = (np.random.default_rng(0).random((2, 1, 3, 6, 5)) < 0.4).astype(np.uint8)
    for name, code in (("placed", 1), ("sized", 0), ("plain", None)):
        for i, labels in enumerate(maps[0, 0] if code is None else maps[0]):
            folder = tmp_path / name / "c"
            folder.mkdir(parents=True, exist_ok=True)
            image = nibabel.Nifti1Image(labels[..., None] if code is None else labels, np.diag([-0.7, -0.9, 2.5, 1]))
            if code is not None:
                image.header.set_qform(image.affine, code=code), image.header.set_sform(image.affine, code=code)
                nibabel.save(image, folder / f"{i}.nii.gz")
    for name in ("placed", "sized"):
        result, _ = run(tmp_path, samples=tmp_path / name, references=tmp_path / name, n=(1,), also=("sizes",))
        assert result["options"]["unit"] == "mm"
    np.savez(tmp_path / "plain.npz", samples=np.moveaxis(maps[:1], (2, 4), (4, 2)), names=["c"])
    words = ["score", "--samples", str(tmp_path / "plain.npz"), "--references", str(tmp_path / "placed"), "-n", "1"]
    assert "give it with --spacing" in failing(*words, "--also", "sizes")


def test_a_published_row_is_looked_at_alone_and_has_every_column_once(failing):
    assert "the column of 16 samples twice" in failing("score", "--check", "16:.206", "16:.300", "100:.162")
    said = failing("score", "--check", "16:.206", "100:.162", "--samples", "ours.npy")
    assert "--check looks at a published row alone" in said


def test_a_map_without_a_place_beside_maps_in_two_orders_is_refused(tmp_path, failing):
    """Which of the two orders it has, nobody knows; beside maps in one order it is taken to have that one."""
    folder = tmp_path / "readers" / "a"
    folder.mkdir(parents=True)
    mask = np.zeros((8, 9, 4), np.uint8)
    mask[:3, :4] = 1
    nibabel.save(nibabel.Nifti1Image(mask, np.diag([1.0, 1, 1, 1])), folder / "1.nii.gz")
    flipped = np.diag([-1.0, 1, 1, 1])
    flipped[0, 3] = 7
    nibabel.save(nibabel.Nifti1Image(mask[::-1], flipped), folder / "2.nii.gz")
    lost = nibabel.Nifti1Image(mask, None)
    (tmp_path / "samples" / "a").mkdir(parents=True)
    nibabel.save(lost, tmp_path / "samples" / "a" / "1.nii.gz")
    words = ["score", "--samples", str(tmp_path / "samples"), "--references", str(tmp_path / "readers")]
    assert "does not say where it lies, and files beside it" in failing(*words)
    (folder / "2.nii.gz").unlink()
    score(tmp_path / "samples", tmp_path / "readers", n=[1], out=tmp_path / "scores.json")
