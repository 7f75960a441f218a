"""Your own folder: formats, missing readers, sizes, training and evaluation on it, bad input in one sentence."""

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from damage import examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from small_data import blob

from probunet.cli import main
from probunet.core.errors import InputError
from probunet.core.types import IGNORE
from probunet.data.augment import Augmentation
from probunet.data.batches import EvaluationImages
from probunet.data.own.dataset_json import read_facts
from probunet.data.own.folder import open_folder, read_case
from probunet.data.own.folder_store import prepare_folder
from probunet.data.own.items import make_store
from probunet.data.splits import patient_of_nobody
from probunet.data.store import Store
from probunet.data.training_batches import TrainingBatches

FACTS = {"channel_names": {"0": "grey"}, "labels": {"background": 0, "lesion": 1}, "file_ending": ".png"}
SUFFIXES = (".png", ".tif", ".npy", ".nii", ".nii.gz", ".nrrd", ".mha")
READERS = ("anna", "ben", "carl")


def write(file: Path, array: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    if file.name.endswith((".nii", ".nii.gz")):
        import nibabel

        nibabel.save(nibabel.Nifti1Image(array.T, np.diag([-0.5, -2.0, 3.0, 1.0])), file)
    elif file.suffix in (".nrrd", ".mha"):
        import SimpleITK

        image = SimpleITK.GetImageFromArray(array)
        image.SetSpacing((0.5, 2.0, 3.0)[: array.ndim])
        SimpleITK.WriteImage(image, str(file))
    elif file.suffix == ".npy":
        np.save(file, array)
    else:
        Image.fromarray(array).save(file)


def make(root: Path, cases: int = 8, suffix: str = ".png", **facts) -> Path:
    """Discs of three readers; ben did not look at case 1, carl looked at even cases alone."""
    root.mkdir()
    (root / "dataset.json").write_text(json.dumps({**FACTS, "file_ending": suffix, **facts}))
    for i in range(cases):
        image, labels = blob(i)
        write(root / f"imagesTr/case{i}_0000{suffix}", image[0])
        for reader, label in zip(READERS, labels, strict=False):
            if not (reader == "ben" and i == 1) and not (reader == "carl" and i % 2):
                write(root / f"labelsTr/case{i}/{reader}{suffix}", label)
    return root


SPLITS = {
    "train": ["case0", "case1", "case2", "case3"],
    "validation": ["case4", "case5"],
    "test": ["case6", "case7"],
}


def test_missing_readings_are_ignore_and_known(tmp_path):
    store = prepare_folder(make(tmp_path / "mine"), tmp_path / "out")
    rows = {case.name: i for i, case in enumerate(store.cases)}
    assert store.present[rows["case0"]].tolist() == [True, True, True]
    assert store.present[rows["case1"]].tolist() == [True, False, False]
    assert store.present[rows["case3"]].tolist() == [True, True, False]
    assert (store.labels[rows["case1"], 1:] == IGNORE).all()
    np.testing.assert_array_equal(store.labels[rows["case2"]], blob(2)[1][:3])
    np.testing.assert_array_equal(store.images[rows["case3"]], blob(3)[0])
    assert store.manifest["missing_readings"] == 5
    assert store.manifest["notes"]["reading_names"] == list(READERS)
    assert store.manifest["empty_masks_per_case"] == {"0": 8}
    store.verify()


def test_training_draws_present_readers_alone_and_all_of_them(tmp_path):
    store = prepare_folder(make(tmp_path / "mine", splits=SPLITS), tmp_path / "out")
    batches = TrainingBatches(store, 32, 4, Augmentation(), seed=0)
    readers = {name: set() for name in SPLITS["train"]}
    for step in range(60):
        for name, reader in zip(batches.names(step), batches.batch(step).reader.tolist(), strict=True):
            readers[name].add(reader)
    assert readers == {"case0": {0, 1, 2}, "case1": {0}, "case2": {0, 1, 2}, "case3": {0, 1}}


def test_evaluation_sees_present_readers_in_batches_of_equal_number(tmp_path):
    store = prepare_folder(make(tmp_path / "mine"), tmp_path / "out", fractions=(0, 0, 1))
    images = EvaluationImages(store, "test")
    assert [len(images[i]["labels"]) for i in range(8)] == [3, 1, 3, 2, 3, 2, 3, 2]
    assert images.batches(2) == [[0], [1], [2], [3], [4], [5], [6], [7]]
    complete = EvaluationImages(store, "test")
    store.present = np.ones((8, 3), bool)
    assert complete.batches(3) == [[0, 1, 2], [3, 4, 5], [6, 7]]


def test_a_model_is_trained_and_evaluated_on_it(tmp_path):
    prepare_folder(make(tmp_path / "mine", splits=SPLITS), tmp_path / "out")
    (tmp_path / "experiment.yaml").write_text(f"""
out: {tmp_path / "run"}
data: {{store: {tmp_path / "out"}, crop: 24, batch_size: 4, validation_images: 2}}
models:
  unet: {{class_path: probunet.UNet, init_args: {{channels: [4, 4], convolutions: 1}}}}
trainer: {{accelerator: cpu, max_steps: 2, val_check_interval: 2, log_every_n_steps: 1}}
""")
    main(["train", "--config", str(tmp_path / "experiment.yaml")])
    main(["evaluate", str(tmp_path / "run"), "--n", "1", "2"])
    main(["report", str(tmp_path / "run")])
    content = json.loads((tmp_path / "run/unet/evaluation.json").read_text())
    # always empty is at distance 1 from all readers, whose own diversity is over 3 readers of case6, 2 of case7
    inside = [[label.sum() for label in blob(i)[1][:readers]] for i, readers in ((6, 3), (7, 2))]
    diversity = [np.mean([[1 - min(a, b) / max(a, b) for a in areas] for b in areas]) for areas in inside]
    found = content["reference_points"]["always_empty"]["ged2"]["2"]["mean"]
    assert found == pytest.approx(2 - np.mean(diversity), abs=1e-6)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_every_format_gives_the_same_pixels(tmp_path, suffix):
    root = make(tmp_path / "mine", cases=1, suffix=suffix)
    volume, labels = read_case(open_folder(root).cases[0], ("grey",), 2, None)
    np.testing.assert_array_equal(volume.values[0], blob(0)[0])
    np.testing.assert_array_equal(labels[0], blob(0)[1][:3])
    assert volume.spacing_mm == ((None, 2.0, 0.5) if suffix in (".nii", ".nii.gz", ".nrrd", ".mha") else None)


@pytest.mark.parametrize("suffix", [".npy", ".nii.gz", ".mha"])
def test_volumes_are_taken_slice_by_slice(tmp_path, suffix):
    root = make(tmp_path / "mine", cases=0, suffix=suffix)
    image = np.arange(3 * 4 * 5, dtype=np.int16).reshape(3, 4, 5) - 20
    label = np.zeros((3, 4, 5), np.uint8)
    label[0, 1, 2] = label[2, 3, 4] = 1
    write(root / f"imagesTr/scan_0000{suffix}", image)
    write(root / f"labelsTr/scan/anna{suffix}", label)
    store = prepare_folder(root, tmp_path / "out", fractions=(1, 0, 0))
    assert [e.name for e in store.cases] == ["scan/slice-000", "scan/slice-002"]
    assert {e.patient for e in store.cases} == {patient_of_nobody("scan", image[:, None])}
    np.testing.assert_array_equal(store.images[:, 0], image[[0, 2]])
    np.testing.assert_array_equal(store.labels[:, 0], label[[0, 2]])
    assert store.manifest["left_out_no_reader_marked_anything"] == 1
    assert store.intensity.offset == 9.5  # mean of -20 .. 39
    assert store.manifest["spacing_mm"] == (None if suffix == ".npy" else [2.0, 0.5])


def test_channels_in_one_file_or_several(tmp_path):
    colours = np.random.default_rng(0).integers(0, 255, (32, 32, 3), dtype=np.uint8)
    names = {"0": "red", "1": "green", "2": "blue"}
    one, several = (make(tmp_path / name, cases=1, channel_names=names) for name in ("one", "several"))
    write(one / "imagesTr/case0_0000.png", colours)
    for k in range(3):
        write(several / f"imagesTr/case0_000{k}.png", colours[..., k])
    found = [read_case(open_folder(root).cases[0], ("r", "g", "b"), 2, None)[0].values for root in (one, several)]
    np.testing.assert_array_equal(found[0], np.moveaxis(colours, -1, 0)[None])
    np.testing.assert_array_equal(found[0], found[1])


def test_other_sizes_are_cropped_and_padded_around_the_centre(tmp_path):
    root = make(tmp_path / "mine", cases=1)
    write(root / "imagesTr/wide_0000.png", np.tile(np.arange(36, dtype=np.uint8), (30, 1)))
    write(root / "labelsTr/wide/anna.png", np.ones((30, 36), np.uint8))
    with pytest.raises(InputError, match=r"wide_0000.png is 30x36 px, .*case0_0000.png is 32x32 px; give --size"):
        prepare_folder(root, tmp_path / "out")
    store = prepare_folder(root, tmp_path / "out", size=[32, 32])
    assert store.images[1, 0, 5].tolist() == list(range(2, 34))
    assert (store.labels[1, 0, 0] == IGNORE).all()
    assert (store.labels[1, 0, 1:31] == 1).all()
    assert (store.manifest["notes"]["padded_images"], store.manifest["notes"]["cropped_images"]) == (1, 1)


def test_a_single_label_file_as_in_nnunet_is_one_reader(tmp_path):
    root = make(tmp_path / "mine", 2)
    for i in range(2):
        folder = root / f"labelsTr/case{i}"
        (folder / "anna.png").rename(root / f"labelsTr/case{i}.png")
        shutil.rmtree(folder)
    dataset = open_folder(root)
    assert dataset.readers == ("reader",)
    _, labels = read_case(dataset.cases[0], ("grey",), 2, None)
    assert np.array_equal(labels[0, 0], blob(0)[1][0])
    (root / "labelsTr/case1").mkdir()
    with pytest.raises(InputError, match="there are both"):
        open_folder(root)


def test_groups_stay_together_and_ignore_is_taken_over(tmp_path):
    patients = {f"case{i}": f"patient{i // 2}" for i in range(8)}
    labels = {"background": 0, "lesion": 1, "ignore": 2}
    root = make(tmp_path / "mine", patients=patients, labels=labels)
    label = blob(0)[1][0]
    label[0] = 2
    write(root / "labelsTr/case0/anna.png", label)
    store = prepare_folder(root, tmp_path / "out", fractions=(0.5, 0.25, 0.25), seed=3)
    splits = {case.patient: set() for case in store.cases}
    for case in store.cases:
        splits[case.patient].add(case.split)
    assert sorted(len(found) for found in splits.values()) == [1, 1, 1, 1]
    assert (store.labels[0, 0, 0] == IGNORE).all()
    assert (store.labels[0, 0, 1] == 0).all()


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size * 2 // 3])


def facts(**changes):
    return lambda root: (root / "dataset.json").write_text(json.dumps({**FACTS, **changes}))


BAD = {
    "truncated": (lambda r: cut(r / "imagesTr/case2_0000.png"), "case2_0000.png cannot be read as PNG"),
    "size": (lambda r: write(r / "labelsTr/case2/ben.png", np.ones((32, 31), "u1")), "ben.png has 1 slice.*32x31 px"),
    "value": (
        lambda r: write(r / "labelsTr/case2/ben.png", np.full((32, 32), 255, "u1")),
        "ben.png holds the label 255",
    ),
    "rgb": (lambda r: write(r / "labelsTr/case2/ben.png", np.ones((32, 32, 3), "u1")), "ben.png has 3 channels"),
    "palette": (
        lambda r: Image.new("P", (32, 32)).save(r / "imagesTr/case2_0000.png"),
        "case2_0000.png is a picture with a colour palette",
    ),
    "empty": (lambda r: [p.unlink() for p in (r / "imagesTr").iterdir()], "imagesTr holds no images"),
    "no labels": (lambda r: shutil.rmtree(r / "labelsTr"), "labelsTr/case0 cannot be listed"),
    "no reading": (lambda r: [p.unlink() for p in (r / "labelsTr/case2").iterdir()], "case2 holds no reading"),
    "link": (
        lambda r: (r / "labelsTr/case2/dora.png").symlink_to(r / "gone.png"),
        "dora.png does not exist",
    ),
    "stranger": (lambda r: write(r / "labelsTr/other/ben.png", np.ones((32, 32), "u1")), "other belongs to no case"),
    "twice": (
        lambda r: shutil.copy(r / "imagesTr/case2_0000.png", r / "imagesTr/case2_0000.PNG"),
        "case 'case2' is named twice",
    ),
    "split twice": (facts(splits={"train": ["case0"], "test": ["case0"]}), "'case0' twice in splits"),
    "no split": (facts(splits={"train": ["case0"]}), "'case1' is in no split"),
    "unknown": (facts(patients={"nobody": "x"}), "names the case 'nobody' in patients"),
    "no json": (lambda r: (r / "dataset.json").unlink(), "dataset.json does not exist"),
    "bad json": (lambda r: cut(r / "dataset.json"), "dataset.json is no valid JSON"),
    "labels": (facts(labels={"background": 0, "lesion": 2}), "must be 0, 1, 2"),
    "ending": (facts(file_ending=".jpg"), "file_ending '.jpg'; use one of"),
    "channels": (facts(channel_names={"0": "a", "1": "b"}), "has 1 channel.s., dataset.json names 2"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_sentence_and_leaves_nothing(tmp_path, failing, name):
    damage, message = BAD[name]
    root = make(tmp_path / "mine", cases=4)
    damage(root)
    found = failing("prepare", "folder", "--root", str(root), "--out", str(tmp_path / "out"))
    assert re.search(message, found), found
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".npy"])
def test_truncated_volumes(tmp_path, failing, suffix):
    root = make(tmp_path / "mine", cases=2, suffix=suffix)
    cut(root / f"imagesTr/case1_0000{suffix}")
    found = failing("prepare", "folder", "--root", str(root), "--out", str(tmp_path / "out"))
    assert f"case1_0000{suffix}" in found


def test_the_dataset_json_that_a_message_proposes_is_one(tmp_path):
    with pytest.raises(InputError, match="write one") as refused:
        read_facts(tmp_path / "dataset.json")
    (tmp_path / "dataset.json").write_text(re.search(r"\{.*\}", str(refused.value)).group())
    assert read_facts(tmp_path / "dataset.json").file_ending == ".png"


def test_channels_are_named_by_number_and_not_by_the_order_of_the_file(tmp_path):
    root = make(tmp_path / "mine", cases=1, channel_names={"1": "T2", "0": "T1"})
    write(root / "imagesTr/case0_0001.png", 255 - blob(0)[0][0])
    assert open_folder(root).channels == ("T1", "T2")
    store = prepare_folder(root, tmp_path / "out", fractions=(1, 0, 0))
    assert store.manifest["notes"]["channels"] == ["T1", "T2"]
    np.testing.assert_array_equal(store.images[0, 1], 255 - blob(0)[0][0])


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"channel_names": {"0": "a", "2": "b"}}, "numbers channel_names 0, 2; they must be 0, 1, 2"),
        ({"channel_names": {"a": "b"}}, "channel_names"),
        ({"channel_names": None}, "unusable None in 'channel_names'"),
        ({"labels": {str(k): k for k in range(256)}}, "256 classes in labels; at most 255"),
        ({"labels": {"0": "background", "1": "lesion"}}, r"unusable 'background' in 'labels\.0'"),
        ({"labels": {"background": 0, "lesion": 1.5}}, r"unusable 1.5 in 'labels\.lesion'"),
        ({"labels": {"lesion": 0, "Background": 1}}, "'Background' the value 1 and 'lesion' the value 0"),
        ({"labels": {"background": 0, "lesion": 1, "ignore": 1}}, "'ignore' the value 1; it must be larger"),
        ({"splits": {"train": "case0"}}, r"unusable 'case0' in 'splits\.train'"),
        ({"splits": {"val": ["case0"]}}, r"unusable 'val' in 'splits\.val"),
        ({"patients": ["a"]}, "'patients'"),
        ({"file_ending": "../../x"}, "file_ending '../../x'; use one of"),
    ],
)
def test_a_dataset_json_is_checked_as_a_whole(tmp_path, changes, words):
    root = make(tmp_path / "mine", cases=1, **changes)
    with pytest.raises(InputError, match=words) as refused:
        open_folder(root)
    assert "dataset.json" in str(refused.value)


def test_entries_that_nothing_reads_are_named(tmp_path, caplog):
    open_folder(make(tmp_path / "mine", cases=1, groups={"case0": "x"}, numTraining=1))
    text = caplog.text
    assert "has 'groups', which nothing here reads" in text
    assert "numTraining" not in text


def test_readers_are_persons_unless_nobody_knows(tmp_path):
    root = make(tmp_path / "mine")
    assert prepare_folder(root, tmp_path / "named").reader_names == READERS
    (root / "dataset.json").write_text(json.dumps({**FACTS, "persistent_readers": False}))
    assert prepare_folder(root, tmp_path / "sessions").reader_names is None
    (root / "dataset.json").write_text(json.dumps(FACTS))
    write(root / "labelsTr/Anna.png", blob(0)[1][0])  # no case of that name
    with pytest.raises(InputError, match=r"Anna\.png belongs to no case"):
        open_folder(root)
    (root / "labelsTr/Anna.png").rename(root / "labelsTr/case3/ANNA.png")
    with pytest.raises(InputError, match="the readers 'ANNA' and 'anna', which differ in upper and lower case"):
        open_folder(root)


@pytest.mark.parametrize("other", ["anna ", "  anna", "Anna"])
def test_a_reader_whose_name_is_written_in_two_ways_is_no_two_persons(tmp_path, other):
    root = make(tmp_path / "mine")
    (root / "labelsTr/case3/anna.png").rename(root / f"labelsTr/case3/{other}.png")
    with pytest.raises(InputError, match="write one name always in one way"):
        open_folder(root)


@pytest.mark.parametrize(("first", "other"), [("p1", "p1 "), ("P1", "p1"), ("Zo\u00eb", "Zoe\u0308"), ("a b", "a  b")])
def test_a_patient_who_is_written_in_two_ways_is_not_on_both_sides_of_a_split(tmp_path, first, other):
    root = make(tmp_path / "mine", patients={"case0": first, "case1": other})
    with pytest.raises(InputError, match=r"dataset\.json has the patients .* write one name always in one way"):
        open_folder(root)
    items = np.zeros((2, 1, 16, 16), np.float32), np.zeros((2, 1, 16, 16), np.uint8)
    with pytest.raises(InputError, match="the list of patients has the patients"):
        make_store(items, tmp_path / "items", patients=[first, other])


def test_names_that_are_no_utf8_are_written_as_numbers(tmp_path):
    root = make(tmp_path / "mine", cases=1)
    name = os.fsdecode(b"M\xfcller")
    shutil.copy(root / "imagesTr/case0_0000.png", root / f"imagesTr/{name}_0000.png")
    shutil.copytree(root / "labelsTr/case0", root / f"labelsTr/{name}")
    store = prepare_folder(root, tmp_path / "out", fractions=(1, 0, 0))
    assert [case.name for case in store.cases] == [r"M\udcfcller", "case0"]
    store.verify()


def test_several_pixel_sizes_are_brought_to_one(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    root = make(tmp_path / "mine", cases=0, suffix=".nii")
    for name, mm in (("fine", 0.5), ("coarse", 1.0)):
        side = int(32 / mm)
        columns, rows = np.meshgrid(np.arange(side), np.arange(side), indexing="ij")
        ramp = ((columns + 0.5) * mm + 100 * (rows + 0.5) * mm).astype(np.float32)  # linear in mm
        mask = ((columns + 0.5) * mm < 16).astype(np.uint8)
        affine = np.diag([-mm, -mm, 1, 1])  # as radiologists look at it
        for place, array in ((f"imagesTr/{name}_0000.nii", ramp), (f"labelsTr/{name}/anna.nii", mask)):
            (root / place).parent.mkdir(parents=True, exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(array, affine), root / place)
    with pytest.raises(InputError, match="give --size"):
        prepare_folder(root, tmp_path / "out")
    store = prepare_folder(root, tmp_path / "out", spacing=2.0, fractions=(1, 0, 0))
    assert store.images.shape == (2, 1, 16, 16)
    assert store.manifest["spacing_mm"] == [2, 2]
    inner = (slice(None), 0, slice(1, -1), slice(1, -1))
    expected = (np.arange(16)[None] + 0.5) * 2 + 100 * (np.arange(16)[:, None] + 0.5) * 2
    for image in store.images[inner]:
        np.testing.assert_allclose(image, expected[1:-1, 1:-1], rtol=1e-5)
    assert (store.labels[:, 0] == (np.arange(16) < 8)).all()


def test_marks_outside_of_the_size_are_counted_and_said(tmp_path, caplog):
    root = make(tmp_path / "mine", cases=4)
    corner = np.zeros((32, 32), np.uint8)
    corner[:4, :4] = 1
    for reader in (root / "labelsTr/case2").iterdir():
        write(reader, corner)
    store = prepare_folder(root, tmp_path / "out", size=[16, 16], fractions=(1, 0, 0))
    assert store.manifest["notes"]["images_with_all_marks_outside_of_the_size"] == 1
    assert "on 1 slices all marks lie outside of the central 16x16 px" in caplog.text


def test_the_map_of_values_has_full_precision(tmp_path):
    """Values of 30,000 with a deviation of 1: four digits of the mean would be 50 deviations off."""
    root = make(tmp_path / "mine", cases=2, suffix=".npy")
    images = [30_123 + np.random.default_rng(i).integers(-1, 2, (32, 32)).astype(np.int32) for i in range(2)]
    for i, image in enumerate(images):
        write(root / f"imagesTr/case{i}_0000.npy", image)
    store = prepare_folder(root, tmp_path / "out", fractions=(1, 0, 0))
    assert store.intensity.offset == pytest.approx(np.mean(images), rel=1e-14)
    assert store.intensity.scale == pytest.approx(np.std(images), rel=1e-12)


def test_values_beyond_all_numbers_are_one_sentence(tmp_path):
    root = make(tmp_path / "mine", cases=2, suffix=".npy")
    for i in range(2):
        write(root / f"imagesTr/case{i}_0000.npy", np.random.default_rng(i).normal(0, 1e200, (32, 32)))
    with pytest.raises(InputError, match="rescale them"):
        prepare_folder(root, tmp_path / "out", fractions=(1, 0, 0))


def test_too_few_patients_are_said_before_training(tmp_path, caplog):
    prepare_folder(make(tmp_path / "one", cases=1), tmp_path / "out")
    assert "1 patient(s) are too few to have validation and test cases of other patients" in caplog.text


def test_another_geometry_is_refused(tmp_path):
    nibabel = pytest.importorskip("nibabel")
    root = make(tmp_path / "mine", cases=1, suffix=".nii")
    moved = nibabel.Nifti1Image(blob(0)[1][0].T, np.diag([-0.5, -2.5, 3.0, 1.0]))
    nibabel.save(moved, root / "labelsTr/case0/ben.nii")
    with pytest.raises(InputError, match=r"ben.nii and .*case0_0000.nii have different spacing"):
        prepare_folder(root, tmp_path / "out")


@pytest.mark.parametrize("lost", ["labelsTr/case0/ben.nii", "imagesTr/case0_0000.nii"])
def test_a_file_without_a_place_is_not_laid_over_one_that_has_one(tmp_path, lost):
    nibabel = pytest.importorskip("nibabel")
    root = make(tmp_path / "mine", cases=1, suffix=".nii")
    header = nibabel.load(root / lost).header.copy()
    header["sform_code"] = header["qform_code"] = 0
    nibabel.save(nibabel.Nifti1Image(np.asarray(nibabel.load(root / lost).dataobj), None, header), root / lost)
    with pytest.raises(InputError, match=rf"{lost} does not say where its voxels lie, as .*\.nii does"):
        prepare_folder(root, tmp_path / "out")


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    base = tmp_path_factory.mktemp("fuzz")
    return {suffix: make(base / suffix[1:], cases=1, suffix=suffix) for suffix in SUFFIXES}


@settings(max_examples=examples(150), deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_mutated_files_are_read_or_refused(folders, data):
    """Any bytes changed or cut off in any file: a case, or an InputError."""
    root = folders[data.draw(st.sampled_from(sorted(folders)))]
    file = data.draw(st.sampled_from(sorted(p for p in root.rglob("*") if p.is_file())))
    original = file.read_bytes()
    changed = bytearray(original)
    for _ in range(data.draw(st.integers(0, 4))):
        changed[data.draw(st.integers(0, min(len(original), 400) - 1))] = data.draw(st.integers(0, 255))
    file.write_bytes(changed[: data.draw(st.one_of(st.just(len(original)), st.integers(0, len(original))))])
    read_case.cache_clear()
    try:
        dataset = open_folder(root)
        read_case(dataset.cases[0], dataset.channels, len(dataset.classes), dataset.ignore)
    except InputError:
        pass
    finally:
        file.write_bytes(original)


def test_the_store_opens_again(tmp_path, capsys):
    main(["prepare", "folder", "--root", str(make(tmp_path / "mine")), "--out", str(tmp_path / "out")])
    main(["prepare", "verify", str(tmp_path / "out")])
    assert Store(tmp_path / "out").readers == 3


@pytest.mark.parametrize(
    ("kinds", "values", "expected"),
    [
        (("int16", "float32"), (-1024, 0.5), "float32"),
        (("uint8", "uint16"), (255, 65535), "uint16"),
        (("int16", "uint16"), (-32768, 65535), "int32"),
        (("int32", "float32"), (1 << 24, 0.5), "float32"),
        (("int32", "float32"), (123456789, 0.5), "float64"),
        (("int64", "int64"), (-5, (1 << 31) - 1), "int32"),
        (("uint32", "int32"), ((1 << 32) - 1, -5), "float64"),
    ],
)
def test_files_of_several_types_are_kept_to_the_digit(tmp_path, kinds, values, expected):
    """The first case has the first value, all others the second one."""
    root = make(tmp_path / "mine", suffix=".npy", splits=SPLITS)
    for i in range(8):
        which = int(i > 0)
        np.save(root / f"imagesTr/case{i}_0000.npy", np.full((32, 32), values[which], kinds[which]))
    store = prepare_folder(root, tmp_path / "out")
    assert store.images.dtype == expected
    stored = {case.name: store.images[i].ravel()[0] for i, case in enumerate(store.cases)}
    assert stored == {f"case{i}": values[int(i > 0)] for i in range(8)}


def test_what_no_store_can_keep_is_refused(tmp_path):
    root = make(tmp_path / "mine", suffix=".npy")
    np.save(root / "imagesTr/case0_0000.npy", np.full((32, 32), (1 << 53) + 1))
    with pytest.raises(InputError, match="9007199254740993, which no store keeps to the digit"):
        prepare_folder(root, tmp_path / "out")
    assert not (tmp_path / "out").exists()


BOTH = ["case0", "case1"]


def test_channels_of_two_types_are_one_image(tmp_path):
    root = make(
        tmp_path / "mine", 2, ".npy", channel_names={"0": "ct", "1": "pet"}, splits={"train": ["case0", "case1"]}
    )
    for i in range(2):
        np.save(root / f"imagesTr/case{i}_0000.npy", np.full((32, 32), -1000, np.int16))
        np.save(root / f"imagesTr/case{i}_0001.npy", np.full((32, 32), 0.25, np.float32))
    assert prepare_folder(root, tmp_path / "out").images[0, :, 0, 0].tolist() == [-1000, 0.25]


def test_a_case_of_nobody_is_known_by_its_picture(tmp_path):
    """The same picture is the same patient under other labels, sizes and seeds; another of the same name is not."""

    def patients(root: Path, **more: object) -> dict[str, str]:
        store = prepare_folder(root, tmp_path / f"store{len(list(tmp_path.iterdir()))}", **more)
        return {case.name: case.patient for case in store.cases}

    first = patients(make(tmp_path / "here"))
    again = make(tmp_path / "relabelled")
    for file in (again / "labelsTr").glob("*/anna.png"):
        write(file, np.eye(blob(0)[0].shape[1], dtype=np.uint8))
    assert patients(again, size=[24, 40], seed=5) == first
    other = make(tmp_path / "there")
    write(other / "imagesTr/case1_0000.png", 255 - blob(1)[0][0])
    second = patients(other)
    assert {name for name in first if first[name] != second[name]} == {"case1"}
    named = patients(make(tmp_path / "named", patients={"case0": "Ada", "case1": "case2"}))
    assert (named["case0"], named["case1"], named["case2"], named["case3"]) == ("Ada", "case2", "case2", first["case3"])


def test_items_of_nobody_are_known_by_their_images(tmp_path):
    images = np.random.default_rng(0).normal(size=(6, 1, 8, 8))
    labels = np.ones((6, 8, 8), np.uint8)
    first = make_store((images, labels), tmp_path / "first").patients()
    assert make_store((images, 1 - labels), tmp_path / "relabelled", seed=3).patients() == first
    assert not set(make_store((images + 1, labels), tmp_path / "other").patients()) & set(first)
    assert make_store((images, labels), tmp_path / "named", patients=list("aabbcc")).patients() == ["a", "b", "c"]


def test_a_case_in_a_folder_of_its_own_beside_imagestr_is_not_left_unread(tmp_path):
    root = make(tmp_path / "mine", cases=2)
    write(root / "imagesTs/image_0000.png", blob(5)[0][0])
    assert len(open_folder(root).cases) == 2
    write(root / "case9/image.png", blob(9)[0][0])
    with pytest.raises(InputError, match=r"case9/image\.png is a case in a folder of its own"):
        open_folder(root)


@pytest.mark.parametrize("name", ["Ignore", " IGNORE"])
def test_a_label_nearly_named_ignore_is_no_class(tmp_path, name):
    root = make(tmp_path / "in", labels={"background": 0, "lesion": 1, name: 2})
    with pytest.raises(InputError, match="write 'ignore' if it means pixels that nobody knows"):
        prepare_folder(root, tmp_path / "s", keep_empty=True)


def test_what_looks_odd_of_one_case_is_said(tmp_path, caplog):
    """One CT case that can be no HU, images of 0 and 1 as grey levels, and splits that leave nothing to validate on."""
    splits = {"train": [f"case{i}" for i in range(3)], "test": ["case3"]}
    root = make(tmp_path / "in", 4, ".nii", channel_names={"0": "CT"}, splits=splits)
    for i in range(4):
        values = np.full((2, 32, 32), 40, np.int16)
        values[:, :8] = 0 if i == 2 else -1000
        write(root / f"imagesTr/case{i}_0000.nii", values)
        for file in (root / f"labelsTr/case{i}").glob("*"):
            write(file, np.stack([blob(i)[1][0]] * 2))
    assert prepare_folder(root, tmp_path / "s", keep_empty=True).intensity.unit == "HU"
    assert "1 CT case have no value below 0 (case2)" in caplog.text
    assert "puts no case into validation" in caplog.text
    assert "do not say where they lie" not in caplog.text
    import nibabel

    for file in [root / "imagesTr/case1_0000.nii", *(root / "labelsTr/case1").glob("*")]:
        nibabel.save(nibabel.Nifti1Image(nibabel.load(file, mmap=False).dataobj.get_unscaled(), None), file)
    prepare_folder(root, tmp_path / "t", keep_empty=True)
    assert "1 case do not say where they lie (case1)" in caplog.text
    black = make(tmp_path / "black")
    for file in (black / "imagesTr").glob("*"):
        Image.fromarray(np.eye(32, dtype=np.uint8)).save(file)
    prepare_folder(black, tmp_path / "b", keep_empty=True)
    assert "the images hold 0 and 1 alone" in caplog.text
