"""DICOM segmentations and NIfTI volumes, read back with other libraries and laid over their source."""

import os
import shutil
import subprocess
from pathlib import Path

import highdicom
import nibabel
import numpy as np
import pydicom
import pytest
from lidc_download import ct_slice, save, uid, write_series

from probunet.core.errors import InputError
from probunet.io.dicom_pictures import affine, stored_series
from probunet.io.dicom_seg import Hypothesis, SegmentationWriter
from probunet.io.dicom_source import NO_DATE
from probunet.io.nifti import write_nifti
from probunet.io.series import make_series, read_headers

SERIES, FRAME = uid(1), uid(77)
ROOT = np.sqrt(3) / 2
CLASSES = ["background", "lesion"]


def series_of(folder):
    (slices,) = read_headers(sorted(folder.glob("*.dcm")))[0].values()
    return make_series(slices)


@pytest.fixture
def axial(tmp_path):
    """5 slices of 48x48 px of 0.5 mm, first pixel at (-10, -20, -100), 2.5 mm apart, files in falling order."""
    write_series(tmp_path / "ct", SERIES, FrameOfReferenceUID=FRAME)
    return series_of(tmp_path / "ct")


@pytest.fixture
def oblique(tmp_path):
    """Rotated by 30 degrees around x, 3 slices 2 mm apart, pixels of 0.5 mm between columns and 0.75 between rows."""
    for i, along in enumerate((4.0, 0.0, 2.0)):
        one = ct_slice(
            SERIES,
            i,
            (5, -along / 2, along * ROOT),
            ImageOrientationPatient=[1, 0, 0, 0, ROOT, 0.5],
            PixelSpacing=[0.75, 0.5],
            FrameOfReferenceUID=FRAME,
        )
        save(one, tmp_path / "ct" / f"{i}.dcm")
    return series_of(tmp_path / "ct")


def blob(series, *where):
    labels = np.zeros((len(series.slices), *series.slices[0].shape), np.uint8)
    labels[where] = 1
    return labels


def frames_by_source(file):
    """With pydicom alone: {source SOP instance UID: (frame, position)}."""
    dataset = pydicom.dcmread(file)
    frames = dataset.pixel_array.reshape(-1, dataset.Rows, dataset.Columns)
    found = {}
    for frame, groups in zip(frames, dataset.PerFrameFunctionalGroupsSequence, strict=True):
        source = groups.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        found[source] = frame, tuple(groups.PlanePositionSequence[0].ImagePositionPatient)
    return dataset, found


def test_hypotheses_are_read_back_with_pydicom(axial, tmp_path):
    first, second = blob(axial, slice(1, 3), slice(4, 9), 7), blob(axial, 3, 2, 2)
    modes = [Hypothesis(first, "mode 1 of 2, frequency 0.75"), Hypothesis(second, "mode 2 of 2, frequency 0.25")]
    files = SegmentationWriter(axial, CLASSES, "ProbabilisticUNet").hypotheses(tmp_path / "out", modes)
    assert [file.name for file in files] == ["hypothesis-001.dcm", "hypothesis-002.dcm"]
    datasets = []
    for file, labels, slices in zip(files, (first, second), ([1, 2], [3]), strict=True):
        dataset, frames = frames_by_source(file)
        datasets.append(dataset)
        assert set(frames) == {axial.slices[i].sop_uid for i in slices}
        for i in slices:
            frame, position = frames[axial.slices[i].sop_uid]
            np.testing.assert_array_equal(frame, labels[i])
            assert position == axial.slices[i].position
        assert dataset.ReferencedSeriesSequence[0].SeriesInstanceUID == SERIES
        assert dataset.StudyInstanceUID == SERIES + ".0"
        assert dataset.FrameOfReferenceUID == FRAME
        assert dataset.PatientID == axial.patient
    assert [one.SeriesDescription for one in datasets] == [one.description for one in modes]
    assert len({one.SeriesInstanceUID for one in datasets} | {SERIES}) == 3
    assert len({one.SeriesNumber for one in datasets}) == 2
    segment = datasets[0].SegmentSequence[0]
    assert (segment.SegmentLabel, segment.SegmentedPropertyTypeCodeSequence[0].CodeMeaning) == ("lesion", "Lesion")


def uids(dataset):
    """Of the object and its series, and of its dimensions."""
    own = [dataset.SOPInstanceUID, dataset.SeriesInstanceUID]
    return {*own, dataset.DimensionOrganizationSequence[0].DimensionOrganizationUID}


def test_the_same_content_of_the_same_origin_gives_the_same_bytes_whenever_it_is_written(axial, tmp_path):
    """Another seed, another model, other labels and another hypothesis have UIDs that have nothing in common."""
    one, other = (Hypothesis(blob(axial, 2, slice(4, 9), column), "hypothesis") for column in (7, 8))
    shares = np.full((5, 2, 48, 48), 0.5, np.float32)

    def written(name, model="m", origin="seed 0", hypotheses=(one, one, other)):
        writer = SegmentationWriter(axial, CLASSES, model, origin)
        writer.probabilities(tmp_path / name / "p.dcm", shares)
        return [*writer.hypotheses(tmp_path / name, hypotheses), tmp_path / name / "p.dcm"]

    first = written("a")
    assert [file.read_bytes() for file in written("b")] == [file.read_bytes() for file in first]
    everything = [*first, *written("c", origin="seed 1"), *written("d", model="n")]
    datasets = [pydicom.dcmread(file) for file in everything]
    assert len(set.union(*map(uids, datasets))) == 3 * len(everything)
    assert all(dataset.ContentDate == NO_DATE for dataset in datasets)
    assert all(pydicom.uid.UID(one).is_valid for dataset in datasets for one in uids(dataset))


@pytest.mark.parametrize(
    ("known", "date", "time"),
    [
        ({"StudyDate": "20010203", "StudyTime": "040506"}, "20010203", "040506"),
        ({"StudyDate": "", "SeriesDate": "20020304"}, "20020304", "000000"),
    ],
)
def test_a_segmentation_has_the_date_of_its_source(tmp_path, known, date, time):
    write_series(tmp_path / "ct", SERIES, 1, FrameOfReferenceUID=FRAME, **known)
    series = series_of(tmp_path / "ct")
    (file,) = SegmentationWriter(series, CLASSES, "m").hypotheses(tmp_path, [Hypothesis(blob(series, 0, 0), "h")])
    dataset = pydicom.dcmread(file)
    assert (dataset.ContentDate, dataset.ContentTime) == (date, time)
    assert "InstanceCreationDate" not in dataset


def test_an_oblique_series_keeps_its_place(oblique, tmp_path):
    """highdicom gives the place of every voxel: compared with corners computed by hand."""
    labels = blob(oblique, slice(None), slice(None), slice(None))
    (file,) = SegmentationWriter(oblique, CLASSES, "m").hypotheses(tmp_path / "out", [Hypothesis(labels, "all")])
    volume = highdicom.seg.segread(file).get_volume(combine_segments=True)
    assert volume.spatial_shape == (3, 48, 48)
    corners = np.array([[k, i, j] for k in (0, 2) for i in (0, 47) for j in (0, 47)])
    got = {tuple(np.round(point, 4)) for point in volume.map_indices_to_reference(corners)}
    expected = {
        tuple(np.round((5 + 0.5 * j, -along / 2 + 0.75 * i * ROOT, along * ROOT + 0.75 * i / 2), 4))
        for along in (0, 4)
        for i in (0, 47)
        for j in (0, 47)
    }
    assert got == expected


def test_a_series_with_rounded_directions_without_thickness_is_written_and_read(tmp_path, recwarn):
    for i in range(3):
        turned = [1, 0, 1e-5 * i, 0, 1, 0]
        one = ct_slice(SERIES, i, (0, 0, 2.0 * i), ImageOrientationPatient=turned, FrameOfReferenceUID=FRAME)
        one.SliceThickness = None
        one.PatientName = "S"
        save(one, tmp_path / "ct" / f"{i}.dcm")
    series = series_of(tmp_path / "ct")
    writer = SegmentationWriter(series, CLASSES, "model")
    (file,) = writer.hypotheses(tmp_path, [Hypothesis(blob(series, 1), "all of a slice")])
    read = highdicom.seg.segread(file)
    [measures] = read.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
    assert float(measures.SliceThickness) == 2.0
    assert [str(w.message) for w in recwarn if "highdicom" in str(w.filename)] == []


def test_several_classes_a_single_slice_and_an_empty_hypothesis(tmp_path):
    write_series(tmp_path / "ct", SERIES, 1, FrameOfReferenceUID=FRAME)
    series = series_of(tmp_path / "ct")
    labels = blob(series, 0, slice(3, 5), 6)
    labels[0, 10] = 2
    writer = SegmentationWriter(series, ["background", "nodule", "a structure of a long name"], "m")
    both = [Hypothesis(labels, "both"), Hypothesis(np.zeros_like(labels), "no lesion")]
    full, empty = (highdicom.seg.segread(file) for file in writer.hypotheses(tmp_path / "out", both))
    source = [series.slices[0].sop_uid]
    np.testing.assert_array_equal(full.get_pixels_by_source_instance(source, combine_segments=True), labels)
    assert not empty.get_pixels_by_source_instance(source, combine_segments=True).any()
    assert [one.SegmentLabel for one in full.SegmentSequence] == ["nodule", "a structure of a long name"]


def test_probabilities_are_a_parametric_map_in_the_place_of_the_series(oblique, tmp_path):
    foreground = np.random.default_rng(0).random((3, 48, 48), dtype=np.float32)
    foreground[1] = 0
    file = tmp_path / "out" / "probability.dcm"
    SegmentationWriter(oblique, CLASSES, "m").probabilities(file, np.stack([1 - foreground, foreground], axis=1))
    written = pydicom.dcmread(file)
    assert written.SOPClassUID == pydicom.uid.ParametricMapStorage
    for index, frame in enumerate(written.PerFrameFunctionalGroupsSequence):
        source = frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        matching = next(k for k, one in enumerate(oblique.slices) if one.sop_uid == source)
        position = list(frame.PlanePositionSequence[0].ImagePositionPatient)
        assert position == pytest.approx(list(oblique.slices[matching].position), abs=1e-9)
        np.testing.assert_array_equal(written.pixel_array[index], foreground[matching])  # 32-bit numbers, as they are
    mapping = written.SharedFunctionalGroupsSequence[0].RealWorldValueMappingSequence[0]
    assert (mapping.RealWorldValueSlope, mapping.RealWorldValueIntercept) == (1, 0)
    assert mapping.MeasurementUnitsCodeSequence[0].CodeValue == "1"
    again = highdicom.imread(file).get_frames(apply_real_world_transform=True)
    np.testing.assert_array_equal(again, written.pixel_array)


def test_several_classes_are_a_parametric_map_each(tmp_path):
    write_series(tmp_path / "ct", SERIES, 2, FrameOfReferenceUID=FRAME)
    series = series_of(tmp_path / "ct")
    size = series.slices[0].shape
    shares = np.random.default_rng(0).dirichlet((1, 1, 1), (2, *size)).astype(np.float32)
    SegmentationWriter(series, ["nothing", "a", "b"], "m").probabilities(tmp_path / "p.dcm", np.moveaxis(shares, -1, 1))
    frames = pydicom.dcmread(tmp_path / "p.dcm").pixel_array
    expected = np.moveaxis(shares[..., 1:], -1, 1).reshape(4, *size)
    assert {frame.tobytes() for frame in frames} == {frame.tobytes() for frame in expected}


def test_a_label_map_says_the_same_as_binary_segments(axial, tmp_path):
    labels = blob(axial, slice(1, 3), slice(4, 9), 7)
    labels[2, 20:22, 5] = 2
    classes, one = ["background", "lesion", "vessel"], Hypothesis(labels, "hypothesis")
    source = [one.sop_uid for one in axial.slices]
    maps = {}
    for kind in ("BINARY", "LABELMAP"):
        (file,) = SegmentationWriter(axial, classes, "m", kind=kind).hypotheses(tmp_path / kind, [one])
        read = highdicom.seg.segread(file)
        assert read.SegmentationType == kind
        options = {"combine_segments": True, "assert_missing_frames_are_empty": True}
        maps[kind] = read.get_pixels_by_source_instance(source, **options)
        np.testing.assert_array_equal(maps[kind], labels)
    assert len({pydicom.dcmread(tmp_path / kind / "hypothesis-001.dcm").SOPInstanceUID for kind in maps}) == 2


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy of Debian's dicom3tools is not installed")
def test_an_independent_validator_finds_no_error(axial, tmp_path):
    shares = np.full((5, 2, 48, 48), 0.5, np.float32)
    one = Hypothesis(blob(axial, 2, slice(4, 9), 7), "hypothesis")
    writer = SegmentationWriter(axial, CLASSES, "m")  # it knows no label maps, which are younger than it is
    files = writer.hypotheses(tmp_path / "out", [one])
    writer.probabilities(tmp_path / "p.dcm", shares)
    for file in [*files, tmp_path / "p.dcm"]:
        said = subprocess.run(["dciodvfy", str(file)], capture_output=True, text=True, check=False).stderr
        assert [line for line in said.splitlines() if line.startswith("Error")] == []


def test_probabilities_of_nothing_are_written_too(axial, tmp_path):
    shares = np.zeros((5, 2, 48, 48), np.float32)
    shares[:, 0] = 1
    SegmentationWriter(axial, CLASSES, "m").probabilities(tmp_path / "p.dcm", shares)
    assert not pydicom.dcmread(tmp_path / "p.dcm").pixel_array.any()


@pytest.mark.parametrize(
    ("labels", "description", "message"),
    [
        (np.zeros((5, 48, 47), np.uint8), "a", r"a: an array of shape \(5, 48, 47\) does not fit"),
        (np.full((5, 48, 48), 2, np.uint8), "a", "up to 2 do not name the 2 classes"),
        (np.zeros((5, 48, 48), np.float32), "a", "labels of type float32"),
        (np.zeros((5, 48, 48), np.uint8), "a" * 65, "has 65 characters; DICOM allows 64"),
    ],
)
def test_hypotheses_that_do_not_fit_are_refused(axial, tmp_path, labels, description, message):
    with pytest.raises(InputError, match=message):
        SegmentationWriter(axial, CLASSES, "m").hypotheses(tmp_path / "out", [Hypothesis(labels, description)])
    assert not (tmp_path / "out").exists()


def test_sources_and_probabilities_that_cannot_be_used_are_refused(axial, tmp_path):
    shares = np.zeros((5, 2, 48, 48), np.float32)
    shares[0, 1, 0, 0] = 2
    with pytest.raises(InputError, match="from 0 to 2; they must be from 0 to 1"):
        SegmentationWriter(axial, CLASSES, "m").probabilities(tmp_path / "p.dcm", shares)
    with pytest.raises(InputError, match="hold no foreground"):
        SegmentationWriter(axial, ["background"], "m")
    write_series(tmp_path / "bare", SERIES, 2)
    with pytest.raises(InputError, match="lacks FrameOfReferenceUID"):
        SegmentationWriter(series_of(tmp_path / "bare"), CLASSES, "m")
    for i in range(2):
        save(ct_slice(SERIES, i, (0, 0, 0)), tmp_path / "twice" / f"{i}.dcm")
    with pytest.raises(InputError, match=r"0.dcm and .*1.dcm are at the same place"):
        SegmentationWriter(series_of(tmp_path / "twice"), CLASSES, "m")


def place(image, *index):
    return (image.affine @ [*index, 1])[:3]


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_nifti_corners_by_hand(axial, tmp_path, name):
    """x and y change their sign: (-10, -20, -100) is (10, 20, -100), 47 columns on it is (10 - 23.5, ...)."""
    labels = blob(axial, 4, 47, 3)
    write_nifti(tmp_path / name, labels, stored_series(axial))
    image = nibabel.load(tmp_path / name)
    assert image.shape == (48, 48, 5)
    assert image.get_data_dtype() == np.uint8
    assert np.asarray(image.dataobj)[3, 47, 4] == 1
    np.testing.assert_allclose(place(image, 0, 0, 0), (10, 20, -100))
    np.testing.assert_allclose(place(image, 47, 0, 0), (-13.5, 20, -100))
    np.testing.assert_allclose(place(image, 0, 47, 4), (10, -3.5, -90))
    np.testing.assert_allclose(image.get_qform(), image.affine, atol=1e-5)
    assert nibabel.aff2axcodes(image.affine) == ("L", "P", "S")
    first = (tmp_path / name).read_bytes()
    write_nifti(tmp_path / name, labels, stored_series(axial))
    assert (tmp_path / name).read_bytes() == first


def test_nifti_of_an_oblique_series(oblique):
    to, uneven = affine(oblique)
    assert uneven == ""
    np.testing.assert_allclose((to @ [0, 0, 0, 1])[:3], (-5, 0, 0), atol=1e-9)
    np.testing.assert_allclose((to @ [2, 0, 0, 1])[:3], (-6, 0, 0), atol=1e-9)
    np.testing.assert_allclose((to @ [0, 4, 0, 1])[:3], (-5, -3 * ROOT, 1.5), atol=1e-6)
    np.testing.assert_allclose((to @ [0, 0, 2, 1])[:3], (-5, 2, 4 * ROOT), atol=1e-6)


def test_nifti_of_a_single_slice_a_tilted_gantry_and_a_gap(tmp_path):
    write_series(tmp_path / "one", SERIES, 1)
    np.testing.assert_allclose(np.diag(affine(series_of(tmp_path / "one"))[0]), (-0.5, -0.5, 2.5, 1))
    for i in range(3):
        save(ct_slice(SERIES, i, (0, i, 2 * i), SliceLocation=None), tmp_path / "tilted" / f"{i}.dcm")
    tilted = series_of(tmp_path / "tilted")
    np.testing.assert_allclose(affine(tilted)[0][:3, 2], (0, -1, 2))
    write_nifti(tmp_path / "t.nii", blob(tilted, 0, 0, 0).astype(np.float32), stored_series(tilted))
    image = nibabel.load(tmp_path / "t.nii")
    assert (int(image.header["sform_code"]), int(image.header["qform_code"])) == (1, 0)
    for i, z in enumerate((0, 1, 3)):
        save(ct_slice(SERIES, i, (0, 0, z)), tmp_path / "gap" / f"{i}.dcm")
    gap = series_of(tmp_path / "gap")
    with pytest.raises(InputError, match=r"1.dcm is 0.5 mm from where even steps of 1.5 mm"):
        write_nifti(tmp_path / "gap.nii", blob(gap, 0), stored_series(gap))
    with pytest.raises(InputError, match=r"does not end in \.nii"):
        write_nifti(tmp_path / "a.img", blob(tilted, 0), stored_series(tilted))
    with pytest.raises(InputError, match=r"shape \(1, 2, 3\) does not fit"):
        write_nifti(tmp_path / "a.nii", np.zeros((1, 2, 3), np.uint8), stored_series(tilted))


@pytest.mark.skipif("PROBUNET_DATA" not in os.environ, reason="PROBUNET_DATA does not name the folder of real samples")
def test_real_series(tmp_path):
    folders = {path.parent for path in Path(os.environ["PROBUNET_DATA"]).rglob("*.dcm")}
    if not folders:
        pytest.skip("no unpacked DICOM series in PROBUNET_DATA")
    for folder in sorted(folders)[:3]:
        series = series_of(folder)
        labels = blob(series, slice(1, 3), slice(200, 220), slice(100, 150))
        writer = SegmentationWriter(series, CLASSES, "m")
        (file,) = writer.hypotheses(tmp_path / series.patient, [Hypothesis(labels, "mode 1 of 1, frequency 1.00")])
        _, frames = frames_by_source(file)
        for i in (1, 2):
            frame, position = frames[series.slices[i].sop_uid]
            np.testing.assert_array_equal(frame, labels[i])
            np.testing.assert_allclose(position, series.slices[i].position, atol=1e-4)
        write_nifti(tmp_path / f"{series.patient}.nii.gz", labels, series)
        image = nibabel.load(tmp_path / f"{series.patient}.nii.gz")
        np.testing.assert_allclose(place(image, 0, 0, 0) * (-1, -1, 1), series.slices[0].position, atol=1e-3)
