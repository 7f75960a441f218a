"""Results in a run directory that were cut, emptied or changed are one sentence that names the file."""

import json
import shutil

import pytest

from probunet.core.errors import InputError
from probunet.report.results import Results
from probunet.runs.run import Run


@pytest.fixture
def run(trained, tmp_path) -> Run:
    shutil.copytree(trained / "unet", tmp_path / "unet")
    return Run(tmp_path / "unet")


@pytest.mark.parametrize("content", ["", "{", "{}", "[]", '{"data": 3}', '{"steps": "many"}', "\x00\x00"])
@pytest.mark.parametrize("name", ["training.json", "evaluation.json"])
def test_damaged_results_are_named(run, name, content):
    read = getattr(run, name.removesuffix(".json"))
    assert read()
    (run.path / name).write_text(content)
    with pytest.raises(InputError, match=rf"unet/{name} "):
        read()
    (run.path / name).unlink()
    assert read() is None


def test_a_value_of_another_kind_is_refused(run):
    content = run.evaluation()
    (run.path / "evaluation.json").write_text(json.dumps({**content, "data": []}))
    with pytest.raises(InputError, match=r"evaluation\.json does not say 'data' as it was written"):
        Results(run.path)


def test_a_table_of_scores_that_was_cut_is_named(run):
    file = run.path / "evaluation.csv"
    whole = file.read_text()
    assert len(Results(run.path).values("unet", "ged2_4")) == whole.count("\n") - 1
    for content in ("", whole[: whole.index("\n") + 1], whole[: len(whole) // 2], whole.replace("0.", "x.")):
        file.write_text(content)
        with pytest.raises(InputError, match=r"evaluation\.csv (is not whole|holds something else)"):
            Results(run.path).values("unet", "ged2_4")
