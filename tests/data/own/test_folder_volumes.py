"""Your own volumes as they come: one orientation, their own size, spacing and place; both layouts of folders."""

import json
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK

from probunet.cli import main
from probunet.core.errors import InputError
from probunet.data.own.folder_store import prepare_folder
from probunet.data.own.folder_volumes import prepare_folder_volumes
from probunet.data.resample import resample
from probunet.data.store import Store

FACTS = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "lesion": 1}, "file_ending": ".nii"}
SIZES = {"a": (3, 5, 6), "b": (4, 6, 5), "c": (2, 5, 5), "d": (3, 5, 6)}


def volume(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Axial: slices to the head, rows to the back, columns to the patient's left; two readers, b has one."""
    size = SIZES[name]
    labels = np.zeros((2, *size), np.uint8)
    labels[0, 1, 2, 3] = labels[1, 1, 2:4, 3] = 1
    return np.arange(np.prod(size), dtype=np.int16).reshape(size) - 50, labels


def nifti(file: Path, array: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array.T, np.diag([-0.5, -0.75, 3.0, 1.0])), file)


def coronal(file: Path, array: np.ndarray) -> None:
    """The same volume as another tool may store it: axes exchanged and turned around."""
    file.parent.mkdir(parents=True, exist_ok=True)
    turned = array.T[::-1, :, ::-1].transpose(0, 2, 1)  # (left to right, head to feet, front to back) of NIfTI's axes
    affine = np.array([[0.5, 0, 0, -2.5], [0, 0, -0.75, 0], [0, -3.0, 0, 6.0], [0, 0, 0, 1]])
    nibabel.save(nibabel.Nifti1Image(np.ascontiguousarray(turned), affine), file)


def nrrd(file: Path, array: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    image = SimpleITK.GetImageFromArray(array)
    image.SetSpacing((0.5, 0.75, 3.0))
    SimpleITK.WriteImage(image, str(file))


def folders(root: Path, write=nifti, suffix: str = ".nii", **facts) -> Path:
    """A folder for each case."""
    root.mkdir()
    (root / "dataset.json").write_text(json.dumps({**FACTS, "file_ending": suffix, **facts}))
    (root / "README.txt").write_text("not a case")
    for name in SIZES:
        image, labels = volume(name)
        write(root / name / f"image{suffix}", image)
        for reader in range(1 if name == "b" else 2):
            write(root / name / f"reader-{reader}{suffix}", labels[reader])
    return root


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    return folders(tmp_path_factory.mktemp("volumes") / "mine", patients={"a": "anna"})


def test_volumes_keep_their_size_their_place_and_their_readers(root, tmp_path, capsys):
    main(["prepare", "folder", "--root", str(root), "--out", str(tmp_path / "out"), "--dims", "3"])
    assert "4 volumes of 4 patients" in capsys.readouterr().err
    store = Store(tmp_path / "out")
    assert (store.dims, store.readers, store.reader_names) == (3, 2, ("reader-0", "reader-1"))
    assert store.manifest["spacing_mm"] == pytest.approx([3.0, 0.75, 0.5])
    for row, name in enumerate(SIZES):
        image, labels = volume(name)
        np.testing.assert_array_equal(store.images[row][0], image)
        np.testing.assert_array_equal(store.labels[row][0], labels[0])
        assert store.spacing(row) == pytest.approx((3.0, 0.75, 0.5))
        np.testing.assert_array_equal(store.affine(row), np.diag([-0.5, -0.75, 3.0, 1.0]))
    assert store.present.tolist() == [[True, True], [True, False], [True, True], [True, True]]
    assert store.cases[0].patient == "anna"
    main(["prepare", "inspect", str(store.path), "--picture", str(tmp_path / "sheet.png")])
    told = capsys.readouterr().out
    assert "3x5x6: 2, 4x6x5: 1, 2x5x5: 1" in told
    assert "3 x 0.75 x 0.5 mm" in told


@pytest.mark.parametrize(("write", "suffix"), [(coronal, ".nii"), (nrrd, ".nrrd"), (nrrd, ".mha")])
def test_any_orientation_and_format_is_the_same_volume(tmp_path, write, suffix):
    store = prepare_folder_volumes(folders(tmp_path / "mine", write, suffix), tmp_path / "out")
    for row, name in enumerate(SIZES):
        np.testing.assert_array_equal(store.images[row][0], volume(name)[0])
        assert store.spacing(row) == pytest.approx((3.0, 0.75, 0.5))


def test_slices_that_lie_askew_are_kept_and_said(tmp_path, caplog):
    def tilted(file: Path, array: np.ndarray) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        affine = np.array([[-0.5, 0, 0, 0], [0, -0.75, 1.0, 0], [0, 0, 3, 0], [0, 0, 0, 1]])
        nibabel.save(nibabel.Nifti1Image(array.T, affine), file)

    store = prepare_folder_volumes(folders(tmp_path / "mine", tilted), tmp_path / "out")
    assert "the slices of 4 volumes lie askew" in caplog.text
    assert np.prod(store.spacing(0)) == pytest.approx(0.5 * 0.75 * 3)
    assert store.affine(0)[1, 2] == 1


def test_ct_in_hu_is_said_alike_by_volumes_and_by_slices(tmp_path, caplog):
    """Around the field of view scanners write -3,024; CT is cut off at -1,024 wherever it is read."""

    def around(file: Path, array: np.ndarray) -> None:
        nifti(file, array if array.dtype == np.uint8 else np.where(array == array.min(), -3024, array).astype(np.int16))

    root = folders(tmp_path / "mine", around)
    stores = prepare_folder_volumes(root, tmp_path / "a"), prepare_folder(root, tmp_path / "b", [6, 6], keep_empty=True)
    assert [(store.intensity.unit, min(int(image.min()) for image in store.images)) for store in stores] == [
        ("HU", -1024),
        ("HU", -1024),
    ]
    assert stores[0].intensity == stores[1].intensity
    assert "no HU" not in caplog.text


@pytest.mark.parametrize(
    ("facts", "change"),
    [
        ({"channel_names": {"0": "T1"}}, lambda array: array),
        ({}, lambda array: (array + 1050).astype(np.uint16)),
        ({}, lambda array: (array / 50).astype(np.float32)),
    ],
)
def test_values_that_are_no_hu_are_of_no_known_unit(tmp_path, caplog, facts, change):
    def changed(file: Path, array: np.ndarray) -> None:
        nifti(file, array if array.dtype == np.uint8 else change(array))

    store = prepare_folder_volumes(folders(tmp_path / "mine", changed, **facts), tmp_path / "out")
    assert store.intensity.unit == "raw value"
    assert ("which are no HU" in caplog.text) == (not facts)


def test_both_layouts_and_slices_have_the_same_patients_in_each_split(root, tmp_path):
    other = tmp_path / "nnunet"
    for name in SIZES:
        for file in (root / name).iterdir():
            place = f"imagesTr/{name}_0000.nii" if file.stem == "image" else f"labelsTr/{name}/{file.name}"
            (other / place).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, other / place)
    shutil.copy(root / "dataset.json", other)
    store = prepare_folder_volumes(root, tmp_path / "a", seed=3)
    assert prepare_folder_volumes(other, tmp_path / "b", seed=3).identity() == store.identity()
    slices = prepare_folder(root, tmp_path / "slices", size=[6, 6], seed=3)
    assert [slices.patients(split) for split in ("train", "test")] == [store.patients(s) for s in ("train", "test")]


def test_voxels_of_another_size(root, tmp_path):
    store = prepare_folder_volumes(root, tmp_path / "out", spacing=[1.5, 0.75, 1.0])
    assert store.size(0) == (6, 5, 3)
    assert store.spacing(0) == (1.5, 0.75, 1.0)
    middle = [store.affine(0) @ (1, 2, 2.5, 1), np.diag([-0.5, -0.75, 3.0, 1.0]) @ (2.5, 2, 1, 1)]
    np.testing.assert_allclose(*middle)  # the middle of the volume stays where it is


def test_a_straight_line_of_values_stays_one():
    """Values that rise by the mm are interpolated exactly, also through the plane, away from the border."""
    planes, rows, columns = np.indices((6, 4, 4)).astype(float)
    image = (10 * planes + rows + 0.5 * columns)[None]
    labels = (planes < 2)[None].astype(np.uint8)
    half, marks = resample(image, labels, (2.0, 1.0, 1.0), (1.0, 1.0, 1.0))
    assert half.shape == (1, 12, 4, 4)
    np.testing.assert_allclose(np.diff(half[0, 1:-1, 1, 1]), 5)
    assert marks[0, :, 0, 0].tolist() == [1] * 4 + [0] * 8


@pytest.mark.parametrize(
    ("change", "arguments", "words"),
    [
        (lambda r: (r / "a/image.nii").rename(r / "a/picture.nii"), {}, "a holds no image.nii"),
        (lambda r: (r / "a/reader-0.nii").rename(r / "a/reader-0.txt"), {}, "does not end in .nii"),
        (lambda r: [file.unlink() for file in (r / "b").glob("reader*")], {}, "b holds no reading"),
        (lambda r: nifti(r / "c/reader-0.nii", volume("a")[1][0]), {}, "they must agree"),
        (lambda r: None, {"spacing": [1.0, 2.0]}, "is no voxel size"),
    ],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(root, tmp_path, change, arguments, words):
    copy = tmp_path / "copy"
    shutil.copytree(root, copy)
    change(copy)
    with pytest.raises(InputError, match=words):
        prepare_folder_volumes(copy, tmp_path / "out", **arguments)
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


def test_what_is_of_slices_alone_is_refused(root, tmp_path, capsys):
    for words, sentence in (
        (["--dims", "3", "--size", "4", "4"], "--size is for slices"),
        (["--spacing", "1", "2", "3"], "is not one pixel size"),
    ):
        with pytest.raises(SystemExit):
            main(["prepare", "folder", "--root", str(root), "--out", str(tmp_path / "out"), *words])
        assert sentence in capsys.readouterr().err
