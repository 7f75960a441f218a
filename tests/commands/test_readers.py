"""``probunet readers``: numbers by hand, what is striking, and data that says nothing of persons."""

import json
import re
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from small_data import DESCRIPTION

from probunet.cli import main
from probunet.core.intensity import Intensity
from probunet.data.manifest import Case
from probunet.data.prepare import CaseSource, Description, write_store
from probunet.data.store import Store
from probunet.evaluation.readers import study_readers

NAMES = ("Ada", "Ben", "Cleo", "Dan")
RADII = (4.2, 5, 5, 6.5)


def picture(index: int) -> tuple[np.ndarray, np.ndarray]:
    """A disc; Ben and Cleo draw it alike, Ada smaller, Dan larger; Dan draws another one in case 3, Ada none in 4."""
    rows, columns = np.mgrid[:32, :32]
    middle = 10 + index % 3
    image = 100 + 80 * (np.hypot(rows - middle, columns - middle) < 5)
    labels = np.stack([np.hypot(rows - middle, columns - middle) < radius for radius in RADII]).astype(np.uint8)
    if index == 3:
        labels[3] = np.hypot(rows - 27, columns - 27) < 4
    if index == 4:
        labels[0] = 0
    if index == 5:
        labels[3] = 255
    return image.astype(np.uint8)[None], labels


def write(folder: Path, description: Description, count: int = 6) -> Path:
    sources = [CaseSource(Case(f"case-{i}", f"patient-{i // 2}", "train"), partial(picture, i)) for i in range(count)]
    write_store(folder, sources, description, np.uint8, jobs=1)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("readers")
    grey = Intensity("grey level", 100, 50)
    write(out / "store", Description("discs", "none", {"command": "test"}, grey, None, readers=NAMES))
    main(["readers", str(out / "store"), "--out", str(out / "readers")])
    return out


def test_letters_that_no_font_has_are_one_note(folder, tmp_path, capsys, recwarn):
    names = ("\u674e", "\u96f7", "Cleo", "Dan")
    described = Description("discs", "none", {"command": "test"}, Intensity("grey level", 100, 50), None, readers=names)
    write(tmp_path / "store", described)
    main(["readers", str(tmp_path / "store"), "--out", str(tmp_path / "readers")])
    assert capsys.readouterr().err.count("no font here has the letters of some names") == 1
    assert not [warned for warned in recwarn if "missing from font" in str(warned.message)]


def test_the_numbers_by_hand(folder):
    content = json.loads((folder / "readers" / "readers.json").read_text())
    assert content["readers"] == list(NAMES)
    assert (content["cases"], content["patients"]) == (6, 3)
    rows = {row["reader"]: row for row in content["classes"][0]["readers"]}
    assert {name: row["readings"] for name, row in rows.items()} == {"Ada": 6, "Ben": 6, "Cleo": 6, "Dan": 5}
    assert rows["Ada"]["empty"]["mean"] == pytest.approx(1 / 6)
    assert rows["Ada"]["empty_where_all_others_marked"] == 1
    assert rows["Dan"]["empty"]["mean"] == 0
    labels = [picture(i)[1] for i in range(6)]
    ratios = []
    for i in (0, 1, 2, 3, 5):  # none in case 4; the mean of those who looked
        areas = [labels[i][r].sum() for r in (1, 2, 3) if i != 5 or r != 3]
        ratios.append(np.log(labels[i][0].sum() / np.mean(areas)))
    assert rows["Ada"]["log_area_ratio"]["mean"] == pytest.approx(np.mean(ratios))
    assert rows["Ada"]["area_ratio"]["mean"] == pytest.approx(np.exp(np.mean(ratios)))
    ratio = rows["Ada"]["area_ratio"]
    assert ratio["low"] <= ratio["mean"] <= ratio["high"] < 1 < rows["Dan"]["area_ratio"]["low"]
    assert content["distances"][1][2] == 0
    assert content["distances"][0][0] is None


def test_what_is_striking_is_named(folder, capsys):
    content = json.loads((folder / "readers" / "readers.json").read_text())
    assert content["copies"] == [{"class": "lesion", "readers": ["Ben", "Cleo"], "equal": 6, "of": 6}]
    assert ("case-3", "Dan", "elsewhere") in {(o["case"], o["reader"], o["kind"]) for o in content["outliers"]}
    page = (folder / "readers" / "readers.html").read_text()
    assert "Ben and Cleo are equal bit for bit in 6 of the 6" in page
    assert "overlaps nothing that anybody else marked" in page
    assert not re.search(r'(?:src|href)="(?!data:|#)', page)
    assert not re.search(r"https?://|@import|url\(", page)
    assert page.count("data:image/png;base64,") == len(list((folder / "readers" / "figures").glob("*.png")))


def as_folder(root: Path, slices: bool = False, **facts) -> Path:
    nibabel = pytest.importorskip("nibabel")
    (root / "imagesTr").mkdir(parents=True)
    for i in range(4):
        image, labels = picture(i)
        (root / "labelsTr" / f"c{i}").mkdir(parents=True)
        for file, array in [(root / "imagesTr" / f"c{i}_0000", image[0])] + [
            (root / "labelsTr" / f"c{i}" / name, reading) for name, reading in zip(NAMES, labels, strict=True)
        ]:
            if slices:
                volume = np.stack([array, array], axis=-1)
                nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), f"{file}.nii.gz")
            else:
                Image.fromarray(array).save(f"{file}.png")
    facts |= {"channel_names": {"0": "grey"}, "labels": {"background": 0, "cell": 1}}
    facts |= {"file_ending": ".nii.gz" if slices else ".png"}
    (root / "dataset.json").write_text(json.dumps(facts))
    return root


def test_a_folder_and_volumes_as_a_whole(tmp_path):
    numbers = []
    for slices in (False, True):
        data = as_folder(tmp_path / f"data{slices}", slices)
        content = study_readers(data).as_json()
        assert (content["size"], content["cases"]) == (("area", 4), ("volume", 4))[slices]
        numbers.append([row["log_area_ratio"] for row in content["classes"][0]["readers"]])
    assert numbers[0] == numbers[1]


def test_readers_who_are_no_persons_are_refused(tmp_path, failing, streets):
    nameless = write(tmp_path / "nameless", DESCRIPTION)
    data = as_folder(tmp_path / "data", persistent_readers=False)
    for source in (nameless, data, streets.path):
        message = failing("readers", str(source), "--out", str(tmp_path / "out"))
        assert "nobody knows who gave which reading" in message
        assert not (tmp_path / "out").exists()


def test_staple_without_simpleitk_is_refused_before_any_work(tmp_path, failing, monkeypatch):
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    message = failing("readers", str(tmp_path / "missing"), "--reference", "staple")
    assert "STAPLE needs SimpleITK; install it with: pip install 'probunet[itk]'" in message


def test_a_consensus_as_a_store(tmp_path):
    data = as_folder(tmp_path / "data")
    for how in ("majority", "staple"):
        main(["prepare", "folder", "--root", str(data), "--out", str(tmp_path / how), "--consensus", how])
        store = Store(tmp_path / how)
        assert store.labels.shape[1] == 1
        assert store.reader_names is None
        assert f"4 readers as one ({how})" in store.manifest["title"]
        assert (store.labels[0, 0] == picture(0)[1][1]).mean() > 0.95  # Ben and Cleo, and Dan in part
    assert (Store(tmp_path / "majority").labels[0, 0] == picture(0)[1][1]).all()
