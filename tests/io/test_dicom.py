"""CT slices and series: Hounsfield units, order, and what is wrong with them."""

import numpy as np
import pydicom
import pytest
from lidc_download import AXIAL, ct_slice, expected_hu, save, sop_uid, uid, write_series
from pydicom.uid import JPEGLosslessSV1, MediaStorageDirectoryStorage, RLELossless

from probunet.core.errors import InputError
from probunet.io.dicom import is_dicom, read_hu, read_slice
from probunet.io.series import make_series, read_headers

SERIES = uid(1)


def series_of(paths):
    (slices,) = read_headers(paths)[0].values()
    return make_series(slices)


def test_slices_are_sorted_by_position_and_rescaled_to_hu(tmp_path):
    series = series_of(sorted(write_series(tmp_path, SERIES)))
    assert series.heights.tolist() == [-100, -97.5, -95, -92.5, -90]
    assert [one.sop_uid for one in series.slices] == [sop_uid(SERIES, i) for i in range(5)]
    assert series.remarks == ()
    assert series.slice_spacing == 2.5
    np.testing.assert_array_equal(read_hu(series.slices[3]), expected_hu(3))


def test_other_modalities_are_counted(tmp_path):
    paths = write_series(tmp_path, SERIES, 2)
    paths += [save(ct_slice(uid(2), i, (0, 0, 0), Modality="DX"), tmp_path / f"x{i}.dcm") for i in range(3)]
    found, others = read_headers(paths)
    assert list(found) == [SERIES]
    assert others == {"DX": 3}


def test_an_index_of_files_is_no_slice(tmp_path):
    index = ct_slice(SERIES, 0, (0, 0, 0), Modality=None)
    index.file_meta.MediaStorageSOPClassUID = index.SOPClassUID = MediaStorageDirectoryStorage
    assert read_slice(save(index, tmp_path / "DICOMDIR")) == "DICOMDIR"


def test_dicom_is_told_by_its_ending_or_its_first_bytes(tmp_path):
    (path,) = write_series(tmp_path, SERIES, 1)
    bare = path.rename(tmp_path / "1.2.840.113")
    (tmp_path / "LICENSE").write_text("x" * 200)
    (tmp_path / "a.xml").write_text("<a/>")
    assert is_dicom(bare)
    assert is_dicom(tmp_path / "cut.DCM")
    assert not is_dicom(tmp_path / "LICENSE")
    assert not is_dicom(tmp_path / "a.xml")


def test_an_oblique_series_is_sorted_along_its_normal(tmp_path):
    """Rotated by 30 degrees around x: the normal is (0, -1/2, sqrt(3)/2)."""
    root = np.sqrt(3) / 2
    for i, along in enumerate((4.0, 0.0, 2.0)):
        one = ct_slice(SERIES, i, (5, -along / 2, along * root), ImageOrientationPatient=[1, 0, 0, 0, root, 0.5])
        save(one, tmp_path / f"{i}.dcm")
    series = series_of(sorted(tmp_path.iterdir()))
    np.testing.assert_allclose(series.heights, [0, 2, 4], atol=1e-9)
    assert [one.path.name for one in series.slices] == ["1.dcm", "2.dcm", "0.dcm"]
    assert series.remarks == ()
    assert series.at_z(2 * root) == [1]
    assert series.at_z(4.1) == []


def test_head_first_and_feet_first_have_the_same_order(tmp_path):
    """A SliceLocation that counts the other way, from elsewhere, does not contradict the position."""
    for i in range(4):
        save(ct_slice(SERIES, i, (0, 0, i), SliceLocation=50.0 - i), tmp_path / f"{i}.dcm")
    series = series_of(sorted(tmp_path.iterdir()))
    assert series.heights.tolist() == [0, 1, 2, 3]
    assert series.remarks == ()


@pytest.mark.parametrize(
    ("heights", "remark"),
    [
        ((0, 1, 2, 5, 6), "2 slices are missing (mm: 2 to 5)"),
        ((0, 1, 1, 2, 3), "1 places have more than one slice (mm: 1)"),
        ((0, 1, 2, 3.3, 4.3), "1 of 4 distances between slices, 1.3 to 1.3 mm, differ from the usual 1 mm"),
        ((0, 1, 2.02, 3.02), None),
    ],
)
def test_odd_distances_are_remarks(tmp_path, heights, remark):
    paths = [save(ct_slice(SERIES, i, (0, 0, z)), tmp_path / f"{i}.dcm") for i, z in enumerate(heights)]
    assert series_of(paths).remarks == ((remark,) if remark else ())


def test_a_slice_beside_the_line_of_the_others_is_a_remark(tmp_path):
    for shift, remarks in ((0, 0), (3, 1)):  # mm, of the third of five; all are tilted by half a mm a slice
        paths = [
            save(
                ct_slice(SERIES, i, (shift * (i == 2), i / 2, 2.5 * i), SliceLocation=None),
                tmp_path / f"{shift}-{i}.dcm",
            )
            for i in range(5)
        ]
        found = series_of(paths).remarks
        assert len(found) == remarks
    assert "3-2.dcm lies 3 mm beside the line" in found[0]


def test_a_location_against_the_position_is_a_remark(tmp_path):
    paths = [
        save(ct_slice(SERIES, i, (0, 0, i), SliceLocation=[0.0, 1.0, 7.0, 3.0][i]), tmp_path / f"{i}.dcm")
        for i in range(4)
    ]
    series = series_of(paths)
    assert series.heights.tolist() == [0, 1, 2, 3]
    (remark,) = series.remarks
    assert remark.startswith("the SliceLocation of 1 slices contradicts ImagePositionPatient, which is used")
    assert "2.dcm: 7 at 2 mm" in remark


def test_a_copy_of_a_file_is_read_once_but_another_image_of_that_name_is_refused(tmp_path):
    paths = write_series(tmp_path, SERIES, 3)
    copy = tmp_path / "copy.dcm"
    copy.write_bytes(paths[0].read_bytes())
    series = series_of([*paths, copy])
    assert len(series.slices) == 3
    assert series.remarks == ("1 files are copies of another and were read once",)
    save(ct_slice(SERIES, 0, (-10, -20, -100), SliceThickness=9), copy)
    with pytest.raises(InputError, match="have one SOPInstanceUID but differ"):
        series_of([*paths, copy])


@pytest.mark.parametrize(
    "changes",
    [
        {"ImageOrientationPatient": [1, 0, 0, 0, 0.8, 0.6]},
        {"PixelSpacing": [0.5, 0.7]},
        {"Rows": 24},
        {"PatientID": "LIDC-IDRI-0002"},
        {"RescaleType": "MGML"},
        {"BitsStored": 8, "HighBit": 7, "RescaleSlope": 1},
        {"RescaleSlope": None},
        {"FrameOfReferenceUID": "1.2.3.4"},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_slices_of_a_series_must_agree(tmp_path, changes):
    paths = write_series(tmp_path, SERIES, 3)
    odd = save(ct_slice(SERIES, 7, (-10, -20, -90), **changes), tmp_path / "odd.dcm")
    with pytest.raises(InputError, match=r"odd\.dcm has .* the slices of a series must agree"):
        series_of([*paths, odd])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ImagePositionPatient": None}, "lacks ImagePositionPatient"),
        ({"PixelSpacing": [0, 0.5]}, "all must be positive"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "orthogonal unit vectors are needed"),
        ({"ImagePositionPatient": [1, 2]}, "3 finite numbers are needed"),
    ],
)
def test_impossible_headers_are_named(tmp_path, changes, message):
    path = save(ct_slice(SERIES, 0, (0, 0, 0), **changes), tmp_path / "a.dcm")
    with pytest.raises(InputError, match=message) as caught:
        read_slice(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"RescaleSlope": None}, "lacks RescaleSlope"),
        ({"RescaleSlope": 0}, "has the RescaleSlope 0"),
        ({"RescaleType": "Z_EFF"}, "is no CT in HU but Z_EFF"),
        ({"Modality": "MR"}, "is no CT in HU but MR"),
        ({"ModalityLUTSequence": [pydicom.Dataset()]}, "gives its values through a table"),
        ({"PixelRepresentation": 0, "PixelData": b"\xf0\xff" * 2304}, "holds 130016 HU, which nothing has"),
        ({"BitsStored": 8, "HighBit": 7, "RescaleSlope": 1, "RescaleIntercept": 0}, "is no CT in HU but grey level"),
        ({"BitsStored": 12, "HighBit": 15}, "has its 12 bits up to bit 15 of 16"),
        ({"PixelData": b"\0" * 100}, "declares 4,608 bytes of pixels and can hold 100"),
        ({"PhotometricInterpretation": "RGB", "SamplesPerPixel": 3}, r"is a colour image \(RGB\)"),
    ],
    ids=[
        "no slope",
        "slope 0",
        "atomic numbers",
        "another modality",
        "table",
        "no sign",
        "a byte",
        "bits at the other end",
        "pixels cut short",
        "colour",
    ],
)
def test_pixels_that_are_no_hu_are_named(tmp_path, changes, message):
    path = save(ct_slice(SERIES, 0, (0, 0, 0), **changes), tmp_path / "a.dcm")
    with pytest.raises(InputError, match=message) as caught:
        read_hu(read_slice(path))
    assert str(path) in str(caught.value)


def test_damaged_files_are_named(tmp_path):
    (path,) = write_series(tmp_path, SERIES, 1)
    content = path.read_bytes()
    one = read_slice(path)
    for length in (0, 50, 140, 300, 500, len(content) // 2):
        path.write_bytes(content[:length])
        with pytest.raises(InputError, match=r"1-001\.dcm"):
            read_hu(one)
    path.write_bytes(content[:400])
    with pytest.raises(InputError, match=r"lacks \w+, without which"):
        read_slice(path)
    path.write_bytes(b"<html>" * 100)
    with pytest.raises(InputError, match="does not begin like a DICOM file"):
        read_slice(path)
    with pytest.raises(InputError, match=r"missing\.dcm does not exist"):
        read_slice(tmp_path / "missing.dcm")


def test_run_length_coding_needs_nothing_more(tmp_path):
    dataset = ct_slice(SERIES, 2, (0, 0, 0))
    dataset.compress(RLELossless, generate_instance_uid=False)
    path = save(dataset, tmp_path / "a.dcm")
    np.testing.assert_array_equal(read_hu(read_slice(path)), expected_hu(2))


def test_a_missing_decoder_names_the_package_to_install(tmp_path):
    """The pixels are no JPEG; what matters is that nothing here could decode one."""
    dataset = ct_slice(SERIES, 0, (0, 0, 0))
    dataset.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    dataset.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8\xff\xd9"])
    path = save(dataset, tmp_path / "a.dcm")
    if pydicom.pixels.get_decoder(JPEGLosslessSV1).is_available:
        pytest.skip("a JPEG decoder is installed here")
    with pytest.raises(InputError, match=r"a\.dcm is compressed \(JPEG Lossless.*pip install pylibjpeg"):
        read_hu(read_slice(path))


def test_axial_heights_are_exactly_z(tmp_path):
    path = save(ct_slice(SERIES, 0, (1.1, 2.2, -133.3), ImageOrientationPatient=list(AXIAL)), tmp_path / "a.dcm")
    assert series_of([path]).heights.tolist() == [-133.3]
