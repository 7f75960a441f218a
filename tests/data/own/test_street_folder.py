"""Labelled photographs by a class table: official Cityscapes folders in miniature, and a table of one's own."""

from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from probunet.core.errors import InputError
from probunet.data.batches import EvaluationImages
from probunet.data.own import street_folder
from probunet.data.store import Store

ROAD, SIDEWALK, CAR, EGO_VEHICLE = 7, 8, 26, 1


def scene(root: Path, split: str, city: str, number: int, ids: np.ndarray | None = None) -> tuple[Path, Path]:
    """512x1024 px: road left, sidewalk right, a car in one corner."""
    if ids is None:
        ids = np.full((512, 1024), ROAD, np.uint8)
        ids[:, 512:] = SIDEWALK
        ids[:4, :4] = CAR
        ids[-8:] = EGO_VEHICLE
    name = f"{city}_{number:06d}_000019"
    image = root / "leftImg8bit" / split / city / f"{name}_leftImg8bit.png"
    label = root / "gtFine" / split / city / f"{name}_gtFine_labelIds.png"
    for path in (image, label):
        path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (1024, 512), (10, 20, 30)).save(image)
    Image.fromarray(ids).save(label)
    return image, label


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "cityscapes"
    for split, city in (("train", "aachen"), ("train", "ulm"), ("val", "munster")):
        scene(folder, split, city, 0)
    return folder


def prepare(root: Path, out: Path) -> Store:
    from probunet.cli import main

    main(["prepare", "cityscapes", "--root", str(root), "--out", str(out), "--jobs", "1"])
    return Store(out)


def test_training_ids_the_papers_split_and_32_modes(root, tmp_path):
    store = prepare(root, tmp_path / "store")
    assert [(e.name, e.patient, e.split) for e in store.cases] == [
        ("train/aachen/aachen_000000_000019", "aachen", "train"),
        ("train/ulm/ulm_000000_000019", "ulm", "validation"),
        ("val/munster/munster_000000_000019", "munster", "test"),
    ]
    assert store.images.shape == (3, 3, 256, 512)
    assert store.images[0, :, 0, 0].tolist() == [10, 20, 30]
    label = store.labels[0, 0]
    assert (label[100, 100], label[100, 400], label[0, 0], label[-1, 0]) == (0, 1, 13, 255)
    assert len(store.classes) == 24
    flips = [(store.classes[f.class_id], f.class_id, f.flipped_id, round(17 * f.probability)) for f in store.flips]
    assert flips == [
        ("sidewalk", 1, 19, 8),
        ("person", 11, 20, 7),
        ("car", 13, 21, 6),
        ("vegetation", 8, 22, 5),
        ("road", 0, 23, 4),
    ]
    assert EvaluationImages(store, "test")[0]["labels"].shape == (32, 256, 512)
    assert "2701" in store.manifest["notes"]["counts"]


def test_labels_are_reduced_by_majority(root, tmp_path):
    ids = np.full((512, 1024), ROAD, np.uint8)
    ids[0, 0] = CAR  # one of four pixels: outvoted
    ids[0, 2:4] = ids[1, 2] = CAR  # three of four
    scene(root, "train", "aachen", 0, ids)
    label = prepare(root, tmp_path / "store").labels[0, 0]
    assert label[0, :3].tolist() == [0, 13, 0]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda image, label: label.unlink(), "aachen_000000_000019_leftImg8bit.png has no label map"),
        (lambda image, label: image.unlink(), "labelIds.png has no image"),
        (lambda image, label: image.write_bytes(image.read_bytes()[:300]), "leftImg8bit.png cannot be read"),
        (lambda image, label: Image.new("L", (1024, 512), 77).save(label), "labelIds.png holds label id 77"),
        (lambda image, label: Image.new("L", (512, 512), 7).save(label), "they must agree"),
    ],
)
def test_a_spoilt_file_is_named(root, tmp_path, failing, spoil, words):
    spoil(*scene(root, "train", "aachen", 0))
    out = tmp_path / "store"
    assert words in failing("prepare", "cityscapes", "--root", str(root), "--out", str(out), "--jobs", "1")
    assert not out.exists()


def test_another_set_needs_a_table_only(tmp_path, failing):
    for split in ("a", "b"):
        for kind, colour in (("img", "RGB"), ("lab", "L")):
            (tmp_path / split).mkdir(exist_ok=True)
            Image.new(colour, (32, 32)).save(tmp_path / split / f"{kind}-1.png")
    table = tmp_path / "table.yaml"
    text = """
title: two folders
licence: none
images: "{split}/img-{name}.png"
labels: "{split}/lab-{name}.png"
folders: {train: a, test: b}
size: [16, 16]
ids: {0: floor, 1: wall}
ignored_ids: []
flips: {floor: 1/4}
"""
    table.write_text(text)
    command = ["prepare", "labelled", "--root", str(tmp_path), "--classes", str(table), "--out", str(tmp_path / "s")]
    table.write_text(text.replace("floor: 1/4", "ceiling: 1/4"))
    assert "there is no class 'ceiling' to flip" in failing(*command)
    table.write_text(text.replace("train: a", "training: a"))
    assert "in 'folders.training" in failing(*command)
    table.write_text("title: [")
    assert "table.yaml is no valid YAML" in failing(*command)
    table.write_text(text.replace("size: [16, 16]", "size: wide"))
    assert "table.yaml has the unusable 'wide' in 'size'" in failing(*command)
    table.write_text(text + "sizes: 3\n")
    assert "table.yaml has the unusable 3 in 'sizes'" in failing(*command)
    table.write_text(text.replace("licence: none", ""))
    assert "table.yaml lacks 'licence'" in failing(*command)
    table.write_text(text.replace("floor: 1/4", "ceiling: 1/4"), encoding="utf-8-sig")  # as Windows' editors save it
    assert "there is no class 'ceiling' to flip" in failing(*command)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        (
            "images",
            "../secret/{split}/{name}.png",
            r"has the path '\.\./secret/\{split\}/\{name\}\.png'; write one below",
        ),
        ("labels", "/etc/{split}/{name}.png", "has the path '/etc/"),
        ("images", "a//{name}.png", "has the path 'a//"),
        ("images", "C:{split}/{name}.png", "has the path 'C:"),
        ("labels", "a\\..\\{name}.png", "has the path"),
        ("folders", {"train": "../..", "validation": "val", "test": "test"}, r"has the path '\.\./\.\.'"),
        ("images", "images/photo.png", r"\{name\} must be in it once"),
        ("size", [0, 4], "size"),
        ("ignored_ids", [70000], "ignored_ids"),
    ],
)
def test_a_class_table_reaches_nothing_outside_of_its_folder(tmp_path, key, value, message):
    content = yaml.safe_load((Path(street_folder.__file__).parent / "cityscapes.yaml").read_text())
    (tmp_path / "table.yaml").write_text(yaml.safe_dump({**content, key: value}))
    with pytest.raises(InputError, match=message):
        street_folder.load_class_table(tmp_path / "table.yaml")
