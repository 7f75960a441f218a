"""The fingerprint of a folder and of a store, and agreement between readers by hand."""

import json
import math

import numpy as np
import pytest
from PIL import Image

from probunet.cli import main
from probunet.core.errors import InputError
from probunet.data.own.fingerprint import fingerprint
from probunet.data.own.folder_store import prepare_folder
from probunet.metrics.agreement import Agreement


def test_kappa_and_iou_of_two_readers_by_hand():
    """Alike on 3 of 4 pixels; shares 3/8 and 5/8, so chance is 34/64: kappa = (48 - 34) / (64 - 34)."""
    agreement = Agreement(2)
    agreement.add(np.array([[[1, 1, 0, 0]], [[1, 0, 0, 0]]], np.uint8))
    assert agreement.kappa() == pytest.approx(14 / 30)
    assert agreement.iou() == 0.5


def test_kappa_of_fourteen_readers_as_published():
    """The case of ten items and five classes in many textbooks: 0.210."""
    table = (
        "0 0 0 0 14  0 2 6 4 2  0 0 3 5 6  0 3 9 2 0  2 2 8 1 1  7 7 0 0 0  3 2 6 3 0  2 5 3 2 2  6 5 2 1 0  0 2 2 3 7"
    )
    agreement = Agreement(5)
    agreement.add_counts(np.array(table.split(), int).reshape(10, 5))
    assert round(agreement.kappa(), 3) == 0.210


def test_ignored_pixels_and_single_readers_tell_nothing():
    agreement = Agreement(2)
    agreement.add(np.ones((1, 2, 2), np.uint8))
    assert math.isnan(agreement.kappa())
    assert math.isnan(agreement.iou())
    agreement.add(np.array([[[1, 1, 0, 0, 255]], [[1, 0, 0, 0, 1]]], np.uint8))
    assert agreement.kappa() == pytest.approx(14 / 30)
    assert agreement.iou() == 0.5


@pytest.fixture
def folder(tmp_path):
    """Two cases of one patient: readers a and b on the first, a alone, who marks nothing, on the second."""
    root = tmp_path / "mine"
    facts = {
        "channel_names": {"0": "grey"},
        "labels": {"background": 0, "lesion": 1},
        "file_ending": ".png",
        "patients": {"one": "p", "two": "p"},
        "splits": {"test": ["one", "two"]},
    }
    one = np.array([[1, 1], [0, 0]], np.uint8)
    other = np.array([[1, 0], [0, 0]], np.uint8)
    for name, case in {"one": {"a": one, "b": other}, "two": {"a": np.zeros((2, 2), np.uint8)}}.items():
        (root / "labelsTr" / name).mkdir(parents=True)
        (root / "imagesTr").mkdir(exist_ok=True)
        Image.fromarray(np.array([[10, 20], [30, 40]], np.uint8)).save(root / f"imagesTr/{name}_0000.png")
        for reader, label in case.items():
            Image.fromarray(label).save(root / f"labelsTr/{name}/{reader}.png")
    (root / "dataset.json").write_text(json.dumps(facts))
    return root


def test_the_fingerprint_of_a_folder_by_hand(folder, tmp_path, capsys):
    main(["prepare", "inspect", str(folder), "--picture", str(tmp_path / "sheet.png")])
    out = " ".join(capsys.readouterr().out.split())
    for words in (
        "images 2 of 1 patients",
        "sizes (px) 2x2",
        "pixel spacing unknown",
        "10 to 40 (uint8)",
        "background 75.00%, lesion 25.00%",
        "1 reader(s): 1, 2 reader(s): 1",
        "1 of 3 (33.3%); 1 images without any mark",
        "pairwise IoU 0.500, Fleiss' kappa 0.467",
    ):
        assert words in out
    with Image.open(tmp_path / "sheet.png") as picture:
        assert min(picture.size) > 100


def test_the_fingerprint_of_a_store_is_that_of_its_folder_without_unmarked_images(folder, tmp_path):
    prepare_folder(folder, tmp_path / "out")
    found = fingerprint(tmp_path / "out")
    assert (found.images, found.readings, found.empty, dict(found.readers)) == (1, 2, 0, {2: 1})
    assert found.agreement.kappa() == pytest.approx(14 / 30)


def test_what_cannot_be_inspected_is_refused(folder, streets, tmp_path):
    with pytest.raises(InputError, match="no readers to inspect"):
        fingerprint(streets.path)
    with pytest.raises(InputError, match="is not a folder"):
        fingerprint(tmp_path / "gone")
    with pytest.raises(InputError, match=r"is no \.png"):
        fingerprint(folder, tmp_path / "sheet.jpg")
