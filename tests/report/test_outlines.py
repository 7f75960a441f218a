"""The report's calibrated outlines are those that ``probunet sample`` writes, and risks are of other patients."""

import json
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest

from probunet.cli import main
from probunet.data.pictures import picture_of_case
from probunet.report import outlines
from probunet.report.results import Results


@pytest.fixture(scope="module")
def experiment(trained, calibrated, tmp_path_factory):
    """The evaluated model with its calibration."""
    folder = tmp_path_factory.mktemp("experiment") / "run"
    shutil.copytree(trained / "probabilistic_unet", folder / "probabilistic_unet")
    shutil.copy(calibrated / "calibration.json", folder / "probabilistic_unet")
    return folder


def changed(experiment, **facts):
    """Results where the calibration says something else of its data, or was never checked."""
    results = Results(experiment)
    made = results.predictor("probabilistic_unet").calibration
    data = made.data.model_copy(update={key: value for key, value in facts.items() if key != "checked"})
    other = made.model_copy(update={"data": data, **({"checked": None} if "checked" in facts else {})})
    copy = Path(tempfile.mkdtemp()) / "run"
    shutil.copytree(experiment, copy)
    (copy / "probabilistic_unet" / "calibration.json").write_text(other.model_dump_json())
    return Results(copy)


def test_outlines_are_those_that_sample_writes(experiment, monkeypatch, tmp_path):
    drawn = {}
    results = Results(experiment)
    results.__dict__["chosen"] = {"some": [0]}

    def keep(axis, mask, colour, dash=None):
        drawn.setdefault(dash, mask)

    monkeypatch.setattr(outlines, "show_outline", keep)
    section = outlines.section(results)
    picture = picture_of_case(results.store, int(results.images.indices[0]))
    np.save(tmp_path / f"{picture.name}.npy", picture.slice(0))
    words = [
        "-n",
        "1",
        "--at",
        "16",
        "16",
        "--write",
        "inner",
        "outer",
        "--format",
        "npy",
        "--out",
        str(tmp_path / "out"),
    ]
    main(["sample", str(experiment), str(tmp_path / f"{picture.name}.npy"), *words])
    [folder] = (tmp_path / "out").iterdir()
    for name, dash in (("inner", outlines.INNER), ("outer", outlines.OUTER)):
        assert np.array_equal(drawn[dash], np.load(folder / "maps" / f"{name}.npy")[0, 0, 4:28, 4:28]), name
    said = json.loads((folder / "summary.json").read_text())["calibrated"]
    high = said["classes"]["lesion"]["area"]["high"]["pixels"]
    title = section.pictures[0].figure.axes[0].get_title()
    assert f"to {high:.0f} px (75%)" in title
    assert f"nothing: {said['classes']['lesion']['nothing']['probability']:.1%}" in title
    assert said["words"] in section.pictures[0].caption
    assert said["words"] in section.text[0]


def test_the_risk_is_of_other_patients_of_the_same_data(experiment):
    """The three of the test split; as 'calibrate --check' measured it, or by the same measure."""
    checked = json.loads((experiment / "probabilistic_unet" / "calibration.json").read_text())["checked"]["lesion"]
    for results in (Results(experiment), changed(experiment, checked=None)):
        section = outlines.section(results)
        assert "Realised: mean loss on 3 patients" in section.text[0]
        assert "were not calibrated on" in section.text[0]
        [row] = section.tables[0].rows
        for place, name in ((3, "outer"), (4, "inner"), (5, "area")):
            assert row[place] == pytest.approx([checked[name][key] for key in ("mean", "low", "high")])


@pytest.mark.parametrize(
    ("facts", "words"),
    [({"split": "test"}, "the patients shown here"), ({"identity": {}}, "whether they share patients")],
)
def test_there_is_no_risk_on_patients_of_the_calibration(experiment, facts, words):
    section = outlines.section(changed(experiment, **facts))
    assert words in section.text[0]
    assert "no realised risk is given" in section.text[0]
    assert section.tables[0].rows[0][3:6] == [None, None, None]


def test_without_a_calibration_there_is_no_section_and_that_of_another_model_is_refused(
    experiment, trained, tmp_path, failing
):
    assert outlines.section(Results(trained)) is None
    run = shutil.copytree(experiment, tmp_path / "run") / "probabilistic_unet"
    (run / "run.yaml").write_text((run / "run.yaml").read_text().replace("offset: 100.0", "offset: 101.0"))
    out = tmp_path / "report.html"
    assert "of a model with other settings" in failing("report", str(tmp_path / "run"), "--out", str(out))
    assert not out.exists()
