"""``probunet prepare lidc`` on small downloads: what it makes, resumes, skips, counts and refuses."""

import json
import shutil
from pathlib import Path

import joblib
import numpy as np
import pytest
from lidc_download import (
    NON_NODULE,
    ct_slice,
    later_xml,
    nodule,
    reader_xml,
    roi,
    save,
    sop_uid,
    square,
    uid,
    write_series,
)
from pydicom import dcmread

from probunet.cli import main
from probunet.core.errors import InputError
from probunet.core.files import sha256
from probunet.data.lidc import parts as lidc_parts
from probunet.data.lidc.download import prepare_lidc
from probunet.data.manifest import SPLITS
from probunet.data.splits import load_reader_split
from probunet.data.store import Store
from probunet.io.search import read_picture

PATIENTS = [next(p for p, split in load_reader_split().items() if split == wanted) for wanted in SPLITS]
BOX = square((20, 20), (26, 26))


def write_scan(root: Path, number: int, xml_root: Path | None = None) -> Path:
    """A scan of the patient: two readers on slice 1, one of them on slice 2, and marks that are left out."""
    patient, series = PATIENTS[number], uid(number)
    folder = root / patient / f"{series}.0" / series
    write_series(folder, series, PatientID=patient)

    def drawn(index: int) -> str:
        return roi(sop_uid(series, index), index * 2.5 - 100, BOX)

    small = nodule("small", roi(sop_uid(series, 3), -92.5, [(7, 8)]), rated=False)
    text = reader_xml(series, nodule("A", drawn(1), drawn(2)) + NON_NODULE, nodule("B", drawn(1)) + small, "", "")
    target = (xml_root or folder) / f"{number:03d}.xml"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(text)
    return folder


@pytest.fixture
def download(tmp_path: Path) -> Path:
    """One scan in each split, with a chest X-ray and its file."""
    root = tmp_path / "LIDC-IDRI"
    for number in range(3):
        write_scan(root, number)
    x_ray = root / PATIENTS[0] / "x-ray"
    save(ct_slice(uid(50), 0, (0, 0, 0), Modality="DX"), x_ray / "1.dcm")
    (x_ray / "5.xml").write_text(later_xml(uid(50), "<unblindedRead/>", modality="CXR"))
    return root


def test_a_lesion_is_a_volume_with_the_slices_around_it(download, tmp_path):
    """Five slices of 2.5 mm: two readers marked the second, one the third, and nobody the others."""
    store, _ = prepare_lidc(download, tmp_path / "volumes", size=32, jobs=1, dims=3)
    assert (store.dims, len(store.cases), store.size(0), store.spacing(0)) == (3, 3, (5, 32, 32), (2.5, 0.5, 0.5))
    assert {case.split: case.patient for case in store.cases} == dict(zip(SPLITS, PATIENTS, strict=True))
    assert store.labels[0].any(axis=(2, 3)).sum(axis=0).tolist() == [0, 2, 1, 0, 0]
    slices, _ = prepare_lidc(download, tmp_path / "slices", size=32, jobs=1)
    np.testing.assert_array_equal(store.images[0][0, 1], slices.images[0, 0])
    np.testing.assert_array_equal(store.labels[0][:, 1], slices.labels[0])


@pytest.mark.parametrize("tilt", [0.0, 0.5])
def test_a_lesion_lies_where_the_scan_says(tmp_path, tilt):
    """Pixels of the scan are 0.5 mm, as those of the volume; each voxel is compared with the scan at its own place."""
    folder = write_scan(tmp_path / "scans", 0)
    for file in folder.glob("*.dcm"):
        one = dcmread(file)
        x, y, z = one.ImagePositionPatient
        one.ImagePositionPatient = [x, y + tilt * z, z]
        one.save_as(file)
    store, _ = prepare_lidc(tmp_path / "scans", tmp_path / "out", size=31, jobs=1, dims=3)
    scan = read_picture(folder)
    inside = np.array([15, 12, 2, 1.0])
    column, row, number = np.linalg.solve(scan.affine, store.affine(0) @ inside)[:3]
    half = [np.floor([row, column]).astype(int), np.ceil([row, column]).astype(int)]
    around = scan.values()[round(number), 0][half[0][0] : half[1][0] + 1, half[0][1] : half[1][1] + 1]
    assert around.mean() == pytest.approx(store.images[0][0, 2, 12, 15], abs=1)  # between pixels the scan is straight
    assert np.prod(store.spacing(0)) == pytest.approx(abs(np.linalg.det(store.affine(0)[:3, :3])))
    assert abs(store.affine(0)[1, 2]) == pytest.approx(2.5 * tilt)


def test_a_lesion_with_a_missing_slice_inside_is_no_volume(tmp_path):
    folder = write_scan(tmp_path / "scans", 0)
    text = next(folder.glob("*.xml")).read_text()
    series = folder.name
    far = roi(sop_uid(series, 4), -90.0, BOX)
    next(folder.glob("*.xml")).write_text(text.replace("</unblindedReadNodule>", f"{far}</unblindedReadNodule>", 1))
    (folder / "1-002.dcm").unlink()  # files are named against the order of their places: slice 3
    with pytest.raises(InputError, match=r"slices are missing between z -97\.5 and -90 mm"):
        prepare_lidc(tmp_path / "scans", tmp_path / "out", size=32, jobs=1, dims=3)
    assert not (tmp_path / "out").exists()


def test_the_command_makes_a_store_and_says_what_it_did(download, tmp_path, capsys):
    out = tmp_path / "store"
    main(["prepare", "lidc", "--dicom", str(download), "--out", str(out), "--size", "32", "--jobs", "1"])
    store = Store(out)
    store.verify()
    assert store.images.shape == (6, 1, 32, 32)
    assert store.labels.shape == (6, 4, 32, 32)
    assert {e.split: e.patient for e in store.cases} == dict(zip(SPLITS, PATIENTS, strict=True))
    assert store.labels.any(axis=(2, 3)).sum(axis=1).tolist() == [2, 1] * 3
    assert store.manifest["spacing_mm"] == [0.5, 0.5]
    assert store.manifest["intensity"]["unit"] == "HU"
    notes = store.manifest["notes"]
    assert notes["left_out"] == {"points": 3, "non-nodules": 3}
    assert notes["files_that_are_no_ct"] == {"DX": 1}
    text = " ".join(capsys.readouterr().out.split())
    for words in (
        "train 1 1 1 0 0 1 1 2 8,882 8,843",
        "all 3 3 3 0 0 3 3 6 12,870 12,816",
        "3 points, 3 non-nodules",
        "1 of chest X-rays",
    ):
        assert words in text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["LIDC-IDRI", "store"]


def test_xml_elsewhere_gives_the_same_bytes(download, tmp_path):
    elsewhere = tmp_path / "xml"
    for number in range(3):
        write_scan(tmp_path / "flat", number, elsewhere)
    flat = tmp_path / "flat2"
    for path in (tmp_path / "flat").rglob("*.dcm"):  # all files of all scans in one folder
        target = flat / f"{path.parent.name}-{path.name}"
        target.parent.mkdir(exist_ok=True)
        shutil.copy(path, target)
    a, _ = prepare_lidc(download, tmp_path / "a", size=32, jobs=1)
    b, _ = prepare_lidc(flat, tmp_path / "b", xml=elsewhere, size=32, jobs=1)
    for name in ("images.npy", "labels.npy", "cases.csv"):
        assert sha256(a.path / name) == sha256(b.path / name)


def test_an_interrupted_run_goes_on_where_it_was(download, tmp_path, monkeypatch):
    """The last scan is broken; once it is mended, only it is read."""
    made = []
    crop_scan = lidc_parts.crop_scan

    def counting(series, *arguments):
        made.append(series.patient)
        return crop_scan(series, *arguments)

    monkeypatch.setattr(lidc_parts, "crop_scan", counting)
    broken = sorted(download.glob("*/*/*/1-005.dcm"))[-1]
    content = broken.read_bytes()
    broken.write_bytes(content[:400])
    with pytest.raises(InputError, match=r"1-005\.dcm lacks .*--keep-going"):
        prepare_lidc(download, tmp_path / "store", size=32, jobs=1)
    assert not (tmp_path / "store").exists()
    assert sorted(made) == sorted(set(PATIENTS) - {broken.parts[-4]})
    made.clear()
    broken.write_bytes(content)
    parts = {path: path.read_text() for path in (tmp_path / ".store-scans").glob("*/part.json")}
    kept, whole = next((path, text) for path, text in parts.items() if not json.loads(text)["errors"])
    for damaged in ("", "{}", "[]", whole[:40]):
        kept.write_text(damaged)
        with pytest.raises(InputError, match=r"part\.json is damaged; remove .* and give the same command again"):
            prepare_lidc(download, tmp_path / "store", size=32, jobs=1)
    kept.write_text(whole)
    made.clear()
    store, _ = prepare_lidc(download, tmp_path / "store", size=32, jobs=1)
    assert made == [broken.parts[-4]]
    assert len(store.cases) == 6
    assert not (tmp_path / ".store-scans").exists()


def test_a_changed_file_or_setting_is_not_taken_from_before(download, tmp_path):
    parts = tmp_path / "parts"
    settings = lidc_parts.Settings("builtin", 0.5, 32)

    def names(settings):
        return {job.folder.name: job.part.name for job in lidc_parts.find_jobs(download, parts, settings, None)}

    before = names(settings)
    assert names(settings) == before
    assert not set(names(lidc_parts.Settings("builtin", 0.6, 32)).values()) & set(before.values())
    write_series(next(download.glob(f"{PATIENTS[1]}/*/*")), uid(1), PatientID=PATIENTS[1], SliceThickness=1.0)
    after = names(settings)
    assert {name for name in before if before[name] != after[name]} == {uid(1)}


def test_keep_going_reports_and_skips(download, tmp_path, capsys):
    next(download.glob(f"{PATIENTS[0]}/*/*/*.xml")).write_text("<LidcReadMessage>")
    shutil.rmtree(next(download.glob(f"{PATIENTS[1]}/*/*")))
    write_series(download / "alien", uid(7), PatientID="SOMEBODY")
    store, summary = prepare_lidc(download, tmp_path / "store", size=32, jobs=1, keep_going=True)
    assert {e.patient for e in store.cases} == {PATIENTS[2]}
    skipped = store.manifest["notes"]["skipped"]
    assert len(skipped) == 3
    assert "has no reader XML" in "".join(skipped)
    assert "'SOMEBODY' is not one of the 1,010" in "".join(skipped)
    assert "not well-formed" in "".join(skipped)
    assert sum(fact.startswith("skipped: ") for fact in summary.facts) == 3
    assert capsys.readouterr().out == ""


def test_a_series_in_two_folders_is_refused(download, tmp_path):
    shutil.copytree(next(download.glob(f"{PATIENTS[1]}/*/*")), download / "again")
    with pytest.raises(InputError, match=r"series .* is in .* and in .*keep one of them"):
        prepare_lidc(download, tmp_path / "store", size=32, jobs=1)


def test_a_dask_cluster_takes_over(download, tmp_path):
    distributed = pytest.importorskip("distributed")
    cluster = distributed.LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0")
    with cluster, distributed.Client(cluster), joblib.parallel_config(backend="dask"):
        a, _ = prepare_lidc(download, tmp_path / "a", size=32)
    b, _ = prepare_lidc(download, tmp_path / "b", size=32, jobs=1)
    assert np.array_equal(a.images, b.images)
    assert np.array_equal(a.labels, b.labels)
    assert a.cases == b.cases


def test_check_alone_needs_no_scans(download, tmp_path, capsys):
    main(["prepare", "lidc", "--xml", str(download), "--check"])
    assert "0 scans compared; 1,018 built-in scans have no XML, 3 scans with XML are not" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give --dicom"),
        (["--check"], "--check needs the readers' XML"),
        (["--dicom", "{0}", "--out", "{1}", "--spacing", "50"], "a spacing of 50.0 mm is not between"),
        (["--dicom", "{0}", "--out", "{1}", "--size", "3"], "a size of 3 px is not between"),
        (["--dicom", "{0}/nowhere", "--out", "{1}"], "nowhere is not a folder"),
        (["--dicom", "{0}", "--xml", "{0}/nowhere", "--out", "{1}"], "nowhere is not a folder"),
        (["--dicom", "{0}", "--out", "{0}"], "exists already"),
        (["--xml", "{0}", "--out", "{1}", "--check"], "--out needs --dicom"),
        (["--dicom", "{0}", "--out", "{1}", "--annotations", "builtin"], "built-in contours know no series"),
    ],
)
def test_mistakes_are_one_sentence(download, tmp_path, failing, arguments, message):
    out = tmp_path / "store"
    words = [word.format(download, out) for word in arguments]
    assert message in failing("prepare", "lidc", "--jobs", "1", *words)
    assert not out.exists()


@pytest.mark.parametrize("folder", ["", "empty"])
def test_a_check_of_nothing_is_refused(tmp_path, monkeypatch, failing, folder):
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    assert "holds no readers' XML of a CT scan" in failing("prepare", "lidc", "--xml", folder, "--check")


def test_a_folder_without_dicom_is_refused(tmp_path, failing):
    (tmp_path / "empty").mkdir()
    words = ["prepare", "lidc", "--dicom", str(tmp_path / "empty"), "--out", str(tmp_path / "store")]
    assert "holds no readers' XML of a CT scan" in failing(*words)
    assert "there are no DICOM files below" in failing(*words, "--annotations", "builtin")
