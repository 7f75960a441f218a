"""docs/readers.md: its commands run, in their order, on a folder of named readers."""

import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_data import blob

from probunet.cli import main

PAGE = Path(__file__).parents[1] / "docs" / "readers.md"
PATIENTS = {"train": 1, "validation": 9, "test": 2}


@pytest.fixture
def workplace(trained, tmp_path):
    """What the page takes for there: a folder, its store, a trained model, a picture, label maps of another tool."""
    splits: dict[str, list[str]] = {}
    for split, count in PATIENTS.items():
        for i in range(count):
            name = f"{split}-{i}"
            splits.setdefault(split, []).append(name)
            image, labels = blob(100 + sum(map(len, splits.values())), 24)
            for file, pixels in [("mine/imagesTr/" + name + "_0000.png", image[0])] + [
                (f"mine/labelsTr/{name}/{reader}.png", reading)
                for reader, reading in zip(("Ada", "Ben", "Cleo", "Dan"), labels, strict=True)
            ]:
                (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(tmp_path / file)
    facts = {"channel_names": {"0": "grey"}, "labels": {"background": 0, "lesion": 1}, "file_ending": ".png"}
    (tmp_path / "mine" / "dataset.json").write_text(json.dumps(facts | {"splits": splits}))
    shutil.copytree(trained / "probabilistic_unet", tmp_path / "runs" / "mine" / "readers")
    shutil.copy(tmp_path / "mine/imagesTr/test-0_0000.png", tmp_path / "picture.png")
    for place in ("samples", "labels"):
        shutil.copytree(tmp_path / "mine" / "labelsTr", tmp_path / place)
    return tmp_path


def test_the_commands_of_the_page_run(workplace, monkeypatch, capsys):
    monkeypatch.chdir(workplace)
    main(["prepare", "folder", "--root", "mine", "--out", "data/mine"])
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    lines = [line for _, block in blocks for line in block.splitlines() if line.startswith("probunet ")]
    assert len(lines) >= 6
    for line in lines:
        words = shlex.split(line)[1:]
        if {"readers_staple", "--reader"} & {*words}:  # as the one before but for a number; a model of persons
            continue
        main(words + (["--n", "1"] if words[0] == "score" else []))
    assert (workplace / "readers" / "readers.html").is_file()
    said = json.loads((workplace / "runs/mine/readers/calibration.json").read_text())
    assert (said["risk"], said["data"]["patients"], said["checked"]["patients"]) == (0.1, 9, 2)
    summary = json.loads((workplace / "outlines/picture/summary.json").read_text())
    assert summary["calibrated"]["words"].startswith("risk 0.1, calibrated on 9 patients")
    assert (workplace / "outlines/picture/maps/outer-risk-0.1-lesion.png").is_file()
    assert np.load(workplace / "outlines/picture/maps/inner.npy").shape == (1, 1, 24, 24)
