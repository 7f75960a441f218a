"""Your own folder on real images: 39 MR slices with seven readers (QUBIQ, brain growth), in the folder convention."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from probunet.data.own.fingerprint import fingerprint
from probunet.data.own.folder_store import prepare_folder

FILE = Path(os.environ.get("PROBUNET_DATA", "missing")) / "qubiq_brain_growth_128.npz"
pytestmark = pytest.mark.skipif(not FILE.is_file(), reason="needs PROBUNET_DATA with qubiq_brain_growth_128.npz")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("real") / "brain"
    (root / "imagesTr").mkdir(parents=True)
    facts = {"channel_names": {"0": "T2"}, "labels": {"background": 0, "white matter": 1}, "file_ending": ".png"}
    (root / "dataset.json").write_text(json.dumps(facts))
    with np.load(FILE) as held:
        images, masks, cases = held["images"], held["masks"], held["cases"].tolist()
    for case, image, readings in zip(cases, images, masks, strict=True):
        Image.fromarray(image).save(root / f"imagesTr/{case}_0000.png")
        (root / "labelsTr" / case).mkdir(parents=True)
        for reader, mask in enumerate(readings):
            Image.fromarray(mask).save(root / f"labelsTr/{case}/reader{reader + 1}.png")
    return root, images, masks


def test_the_store_holds_the_same_pixels(folder, tmp_path):
    root, images, masks = folder
    store = prepare_folder(root, tmp_path / "out")
    np.testing.assert_array_equal(store.images[:, 0], images)
    np.testing.assert_array_equal(store.labels, masks)
    assert store.complete
    assert {name: part["examples"] for name, part in store.manifest["splits"].items()} == {
        "train": 27,
        "validation": 6,
        "test": 6,
    }


def test_agreement_is_that_of_plain_loops(folder, tmp_path):
    root, _, masks = folder
    found = fingerprint(root, tmp_path / "sheet.png")
    assert (found.images, dict(found.readers)) == (39, {7: 39})
    per_image = []
    for one in masks.astype(bool):
        pairs = [(one[a], one[b]) for a in range(7) for b in range(a)]
        per_image.append(np.mean([(x & y).sum() / (x | y).sum() for x, y in pairs]))
    assert found.agreement.iou() == pytest.approx(np.mean(per_image))
    votes = masks.sum(axis=1).ravel()
    alike = ((votes * (votes - 1.0) + (7 - votes) * (6.0 - votes)) / 42).mean()
    share = votes.mean() / 7
    chance = share**2 + (1 - share) ** 2
    assert found.agreement.kappa() == pytest.approx((alike - chance) / (1 - chance))
