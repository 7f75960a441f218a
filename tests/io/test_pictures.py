"""Pictures of every format: values, order, place and unit as independent libraries give them, or a refusal."""

import contextlib
import gzip
import io
import itertools
import os
import struct
import zlib

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK
from lidc_download import ct_slice, save, uid, write_series
from PIL import Image
from pydicom.uid import JPEG2000Lossless, RLELossless

from probunet.core.errors import InputError
from probunet.io.pictures import picture_of, read_file
from probunet.io.search import find_pictures, read_picture
from probunet.io.uploads import read_upload

SERIES = uid(5)
RNG = np.random.default_rng(0)


def nifti(file, array, affine=None, **header):
    """An array (x, y, z) with a place, or none."""
    image = nibabel.Nifti1Image(array, affine)
    for key, value in header.items():
        image.header[key] = value
    nibabel.save(image, file)
    return file


def test_all_48_orders_of_a_volume_show_the_same_and_go_back(tmp_path):
    lps = RNG.integers(-99, 99, (4, 5, 6)).astype(np.int16)
    base = nibabel.Nifti1Image(lps, np.diag([-0.7, -1.1, 2.0, 1.0]))
    for axes in itertools.permutations(range(3)):
        for flips in itertools.product((1, -1), repeat=3):
            image = base.as_reoriented(np.array(list(zip(axes, flips, strict=True))))
            nibabel.save(image, tmp_path / "a.nii.gz")
            picture = read_file(tmp_path / "a.nii.gz")
            np.testing.assert_array_equal(picture.values()[:, 0], lps.transpose(2, 1, 0))
            np.testing.assert_array_equal(picture.slice(1)[0], lps[:, :, 1].T)
            np.testing.assert_allclose(picture.spacing_mm, (2.0, 1.1, 0.7), rtol=1e-6)
            np.testing.assert_allclose(picture.affine, base.affine, atol=1e-6)
            picture.write_nifti(tmp_path / "b.nii.gz", picture.values()[:, 0])
            back = nibabel.load(tmp_path / "b.nii.gz")
            np.testing.assert_array_equal(np.asarray(back.dataobj), np.asarray(image.dataobj))
            np.testing.assert_array_equal(back.affine, nibabel.load(tmp_path / "a.nii.gz").affine)


def test_a_series_and_the_nifti_that_another_library_makes_of_it_are_one_picture(tmp_path):
    paths = write_series(tmp_path / "ct", SERIES, 3)
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames([str(path) for path in sorted(paths, key=lambda p: pydicom.dcmread(p).ImagePositionPatient[2])])
    volume = reader.Execute()
    SimpleITK.WriteImage(volume, str(tmp_path / "a.nii.gz"))
    SimpleITK.WriteImage(volume, str(tmp_path / "b.mha"))
    SimpleITK.WriteImage(volume, str(tmp_path / "c.nrrd"))
    series = read_picture(tmp_path / "ct")
    assert series.unit == "HU"
    assert series.spacing_mm == (2.5, 0.5, 0.5)
    for name in ("a.nii.gz", "b.mha", "c.nrrd"):
        other = read_file(tmp_path / name)
        np.testing.assert_array_equal(other.values(), series.values())
        assert series.same_grid(other)
        other.write_nifti(tmp_path / "out.nii.gz", other.values()[:, 0])
        written = SimpleITK.ReadImage(str(tmp_path / "out.nii.gz"))
        np.testing.assert_allclose(written.GetOrigin(), volume.GetOrigin(), atol=1e-4)
        np.testing.assert_allclose(written.GetDirection(), volume.GetDirection(), atol=1e-5)
        np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(written), SimpleITK.GetArrayFromImage(volume))


def test_a_sagittal_slice_keeps_its_plane_and_stands_upright(tmp_path):
    """Stored with rows to the head: shown with rows to the feet, columns to the back."""
    values = np.arange(6, dtype=np.int16).reshape(1, 2, 3)  # x, y (to the front), z (to the head)
    picture = read_file(nifti(tmp_path / "a.nii", values, np.eye(4)))
    np.testing.assert_array_equal(picture.slice(0)[0], [[5, 2], [4, 1], [3, 0]])


@pytest.mark.parametrize(("unit", "size"), [("mm", 2.0), ("micron", 2000.0), ("meter", 0.002)])
def test_spacing_is_in_mm_and_codes_stay_in_the_files_own_unit(tmp_path, unit, size):
    image = nibabel.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.diag([size, size, 2 * size, 1]))
    image.header.set_xyzt_units(unit)
    image.set_qform(np.diag([size, size, 2 * size, 1]), code=1)
    nibabel.save(image, tmp_path / "a.nii")
    picture = read_file(tmp_path / "a.nii")
    np.testing.assert_allclose(picture.spacing_mm, (4, 2, 2), rtol=1e-6)
    picture.write_nifti(tmp_path / "b.nii", np.zeros((6, 5, 4), np.uint8))
    header, old = nibabel.load(tmp_path / "b.nii").header, nibabel.load(tmp_path / "a.nii").header
    for key in ("sform_code", "qform_code", "srow_x", "srow_z", "quatern_b", "qoffset_x", "pixdim", "xyzt_units"):
        np.testing.assert_array_equal(header[key], old[key])


def test_the_affine_rules_over_pixdim_and_the_volume_is_its_determinant(tmp_path):
    tilted = np.array([[3.0, 0, 0, 0], [0, 1, 1.1, 0], [0, 0, 2, 0], [0, 0, 0, 1]])
    file = nifti(tmp_path / "a.nii", np.zeros((4, 4, 4), np.int16), tilted)
    content = bytearray(file.read_bytes())
    content[80:92] = struct.pack("<3f", 1, 3, 2)  # pixdim
    file.write_bytes(content)
    spacing = read_file(file).spacing_mm
    assert spacing == pytest.approx((2, 1, 3))
    assert np.prod(spacing) == pytest.approx(np.linalg.det(tilted))
    assert "askew by 28.8 degrees" in read_file(file).notes[0]  # atan(1.1 / 2)
    assert not read_file(nifti(tmp_path / "b.nii", np.zeros((4, 4, 4), np.int16), np.diag([1.0, 2, 3, 1]))).notes


def test_rows_and_columns_askew_are_refused(tmp_path):
    sheared = np.array([[1.0, 0.4, 0, 0], [0, 1, 0, 0], [0, 0, 2, 0], [0, 0, 0, 1]])
    picture = read_file(nifti(tmp_path / "a.nii", np.zeros((4, 4, 4), np.int16), sheared))
    with pytest.raises(InputError, match=r"a\.nii has rows and columns at an angle of 68\.2 degrees"):
        _ = picture.spacing_mm


@pytest.mark.parametrize(
    ("place", "value", "message"),
    [
        (108, struct.pack("<f", 0), "begins its voxels at byte 0, not at 352 or later"),
        (108, struct.pack("<f", 348), "begins its voxels at byte 348, not at 352 or later"),
        (123, b"\5", "lengths in the unit 5, which NIfTI does not have"),
        (254, struct.pack("<h", 0) + struct.pack("<3f", 0.9, 0.9, 0), "its qform says no place"),
        (280, struct.pack("<12f", *[0] * 12), "span no space"),
    ],
)
def test_what_no_header_may_say_is_refused_for_what_it_is(tmp_path, place, value, message):
    image = nibabel.Nifti1Image(np.zeros((4, 4, 4), np.int16), np.eye(4))
    image.set_qform(np.eye(4), code=1)
    nibabel.save(image, tmp_path / "a.nii")
    content = bytearray((tmp_path / "a.nii").read_bytes())
    content[place : place + len(value)] = value
    (tmp_path / "a.nii").write_bytes(content)
    with pytest.raises(InputError, match=rf"a\.nii .*{message}"):
        _ = read_file(tmp_path / "a.nii").affine


def test_without_a_place_nothing_is_turned_and_none_is_claimed(tmp_path):
    picture = picture_of(np.zeros((1, 4, 6)), spacing=(None, 0.5, 0.25))
    labels = np.zeros((1, 4, 6), np.uint8)
    labels[0, 3, 1] = 1
    picture.write_nifti(tmp_path / "a.nii.gz", labels)
    header = nibabel.load(tmp_path / "a.nii.gz").header
    assert (int(header["sform_code"]), int(header["qform_code"])) == (0, 0)
    again = read_file(tmp_path / "a.nii.gz")
    assert again.affine is None
    assert again.spacing_mm == (None, 0.5, 0.25)
    np.testing.assert_array_equal(again.labels(), labels)
    picture_of(np.zeros((1, 4, 6))).write_nifti(tmp_path / "b.nii.gz", labels)
    assert read_file(tmp_path / "b.nii.gz").spacing_mm is None
    assert SimpleITK.ReadImage(str(tmp_path / "b.nii.gz")).GetSpacing() == (1, 1, 1)


def test_nanometres_are_no_zeros_and_grids_are_compared_by_their_own_pixels(tmp_path):
    first = picture_of(np.zeros((3, 1, 4, 4)), affine=np.diag([4e-6, 4e-6, 4e-6, 1]))
    other = picture_of(np.zeros((3, 1, 4, 4)), affine=np.diag([4e-6, 5e-6, 4e-6, 1]))
    assert first.spacing_mm == pytest.approx((4e-6, 4e-6, 4e-6))
    assert not first.same_grid(other)
    assert first.same_grid(first)


HEADER = b"{'descr': '<f8', 'fortran_order': False, 'shape': (90000, 90000), }"
META = "ObjectType = Image\nNDims = 2\nDimSize = {0} {0}\nElementType = MET_SHORT\nElementDataFile = {1}\n"


def png(file, bits, colour, rows):
    """A PNG by hand, as the standard says: rows of packed samples."""
    raw = b"".join(b"\0" + row for row in rows)
    width = len(rows[0]) * 8 // bits // (3 if colour == 2 else 1)

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, len(rows), bits, colour, 0, 0, 0)
    file.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    )
    return file


def test_few_bits_are_class_ids_and_many_are_kept_or_refused(tmp_path):
    two = read_file(png(tmp_path / "2.png", 2, 0, [bytes([0b00011011])]), class_ids=True)
    np.testing.assert_array_equal(two.labels(), [[[0, 1, 2, 3]]])
    four = read_file(png(tmp_path / "4.png", 4, 0, [bytes([0x3F])]), class_ids=True)
    np.testing.assert_array_equal(four.labels(), [[[3, 15]]])
    sixteen = read_file(png(tmp_path / "16.png", 16, 0, [struct.pack(">2H", 300, 65535)]))
    np.testing.assert_array_equal(sixteen.slice(0), [[[300, 65535]]])
    with pytest.raises(InputError, match=r"has 16 bits a colour, of which 8 would be lost"):
        read_file(png(tmp_path / "c.png", 16, 2, [struct.pack(">3H", 1, 2, 3)])).slice(0)


@pytest.mark.parametrize(
    ("table", "top", "fine"),
    [
        ([0, 255], 1, True),
        ([0, 128, 255], 2, True),
        ([255, 0], 1, False),  # black is class 1
        ([255, 0], 0, False),
        ([255], 0, False),
        ([0, 255, 128], 2, False),
        ([0, 255, 0], 1, True),  # the rest is not used
        ([0, 0, 0], 2, True),
    ],
)
def test_a_table_of_greys_out_of_order_gives_no_class_ids(tmp_path, table, top, fine):
    labels = np.zeros((6, 7), np.uint8)
    labels[2:4, 3:] = top
    for name in ("a.png", "a.tif"):
        picture = Image.fromarray(labels)
        picture.putpalette([grey for grey in table for _ in range(3)])
        picture.save(tmp_path / name)
        with contextlib.nullcontext() if fine else pytest.raises(InputError, match=f"{name} has a table of greys out"):
            np.testing.assert_array_equal(read_file(tmp_path / name, class_ids=True).labels()[0], labels)


def test_tables_of_colours_may_have_any_order(tmp_path):
    picture = Image.fromarray(np.eye(3, dtype=np.uint8))
    picture.putpalette([128, 64, 128, 0, 0, 0])
    picture.save(tmp_path / "a.png")
    assert read_file(tmp_path / "a.png", class_ids=True).labels()[0].tolist() == np.eye(3).tolist()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("unit=mm\ncf=0\nc0=-32768.0\nc1=1.0\nvunit=gray value\n", "maps to others .c0=-32768.0"),
        ("cf=3\nc0=1\nc1=2\nc2=3\n", "maps to others"),
        ("images=12\nslices=12\n", "holds 12 images of ImageJ"),
        ("cf=0\nc0=0.0\nc1=1.0\nmin=0.0\nmax=3000.0\n", None),
        ("unit=micron\n", None),
    ],
)
def test_what_imagej_says_of_its_tiff_is_not_passed_over(tmp_path, lines, message):
    values = np.arange(12, dtype=np.uint16).reshape(3, 4) + 32000
    Image.fromarray(values).save(tmp_path / "a.tif", tiffinfo={270: f"ImageJ=1.53t\n{lines}"})
    with pytest.raises(InputError, match=message) if message else contextlib.nullcontext():
        np.testing.assert_array_equal(read_file(tmp_path / "a.tif").slice(0)[0], values)


def test_tiff_keeps_its_sign(tmp_path):
    """Signed 8 bit and unsigned 32 bit, which Pillow reads with the other sign."""
    for code, value, kind in (("<b", -3, 2), ("<I", 4_000_000_000, 1), ("<h", -700, 2), ("<f", 1.5, 3)):
        data = struct.pack(code, value)
        tags = [(256, 1), (257, 1), (258, 8 * len(data)), (259, 1), (262, 1), (273, 8), (277, 1), (278, 1)]
        tags += [(279, len(data)), (339, kind)]
        entries = b"".join(struct.pack("<HHII", tag, 4 if tag in (273, 279) else 3, 1, v) for tag, v in tags)
        body = b"II*\0" + struct.pack("<I", 12) + data.ljust(4, b"\0")
        (tmp_path / "a.tif").write_bytes(body + struct.pack("<H", len(tags)) + entries + bytes(4))
        picture = read_file(tmp_path / "a.tif")
        assert picture.slice(0).tolist() == [[[value]]]
        assert picture.dtype == np.dtype(code).newbyteorder("=")


def test_a_large_tiff_is_read_and_values_that_pillow_does_not_know_are_refused_as_such(tmp_path):
    pixels = np.arange(12, dtype=np.uint16).reshape(3, 4) * 5000
    Image.fromarray(pixels).save(tmp_path / "a.tif", big_tiff=True)
    assert (tmp_path / "a.tif").read_bytes().startswith(b"II+\0")
    np.testing.assert_array_equal(read_file(tmp_path / "a.tif").slice(0)[0], pixels)
    content = (tmp_path / "a.tif").read_bytes()
    sixteen, sixtyfour = (struct.pack("<HHQQ", 258, 3, 1, bits) for bits in (16, 64))
    assert sixteen in content
    (tmp_path / "b.tif").write_bytes(content.replace(sixteen, sixtyfour))
    with pytest.raises(InputError, match=r"b\.tif is damaged, or a TIFF file of a kind that is not read; save it as"):
        read_file(tmp_path / "b.tif").slice(0)


def test_a_wrong_checksum_is_damage(tmp_path):
    file = nifti(tmp_path / "a.nii.gz", np.zeros((4, 4, 4), np.int16), np.eye(4))
    content = bytearray(file.read_bytes())
    content[-6] ^= 1  # of the CRC
    file.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.nii\.gz cannot be read as NIfTI \(CRC check failed"):
        read_file(file).slice(0)


def test_sizes_are_checked_before_memory_is_asked_for(tmp_path):
    header = nibabel.Nifti1Header()
    header.set_data_shape((32767, 32767, 32767))
    header["vox_offset"] = 352
    (tmp_path / "a.nii").write_bytes(header.binaryblock + bytes(4))
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(header.binaryblock + bytes(4)))
    (tmp_path / "a.npy").write_bytes(
        b"\x93NUMPY\x01\0v\0" + b"{'descr': '<f8', 'fortran_order': False, 'shape': (90000, 90000), }".ljust(118)
    )
    png(tmp_path / "a.png", 1, 0, [b"\0"])
    content = bytearray((tmp_path / "a.png").read_bytes())
    content[16:24] = struct.pack(">II", 60000, 60000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    (tmp_path / "a.png").write_bytes(content)
    (tmp_path / "a.mha").write_text(META.format(90000, "LOCAL"))
    for file in sorted(tmp_path.iterdir()):
        with pytest.raises(InputError, match=r"(at most|can hold)"):
            read_file(file).slice(0)


def test_only_regular_files_are_opened(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(InputError, match="a pipe; a regular file is needed"):
        read_file(tmp_path / "a.png").slice(0)
    (tmp_path / "a.mha").write_text(META.format(2, "/etc/hostname"))
    with pytest.raises(InputError, match="keeps its voxels in another file"):
        read_file(tmp_path / "a.mha").slice(0)


def test_streams_larger_than_their_header_are_refused(tmp_path):
    large = ct_slice(SERIES, 0, (0, 0, 0))
    stream = io.BytesIO()
    Image.fromarray(np.zeros((48, 48), np.uint8)).save(stream, "JPEG2000")
    large.file_meta.TransferSyntaxUID = JPEG2000Lossless
    large.PixelData = pydicom.encaps.encapsulate([stream.getvalue()])
    large.Rows = 24
    with pytest.raises(InputError, match=r"stream of 48x48 px with 1 channel.*says 24x48"):
        read_file(save(large, tmp_path / "a.dcm")).slice(0)
    runs = ct_slice(SERIES, 0, (0, 0, 0))
    runs.compress(RLELossless, generate_instance_uid=False)
    runs.PixelData = pydicom.encaps.encapsulate([struct.pack("<16I", 2, 64, 64, *[0] * 13) + b"\x81\x01" * 9000])
    with pytest.raises(InputError, match="run-length segment that is longer than its 2,304 pixels"):
        read_file(save(runs, tmp_path / "b.dcm")).slice(0)


def test_padding_becomes_air_and_an_empty_patient_is_no_damage(tmp_path):
    one = ct_slice(SERIES, 0, (0, 0, 0), PatientID="", RescaleIntercept=-3024)
    picture = read_file(save(one, tmp_path / "a.dcm"))
    dataset = pydicom.dcmread(tmp_path / "a.dcm")
    stored = dataset.pixel_array * float(dataset.RescaleSlope) - 3024
    assert stored.min() < -1024
    np.testing.assert_array_equal(picture.slice(0)[0], np.maximum(stored, -1024))


@pytest.mark.parametrize(("signed", "said"), [(0, 63536), (1, 63536), (1, 4000), (0, 4000)])
def test_padding_brighter_than_any_metal_becomes_air_and_padding_of_tissue_stays(tmp_path, signed, said):
    one = ct_slice(SERIES, 0, (0, 0, 0), PixelRepresentation=signed, RescaleSlope=1)
    stored = np.zeros((one.Rows, one.Columns), "<u2") + np.uint16(1064)
    stored[:5], stored[5] = said, 0
    one.PixelData = stored.tobytes()
    one.add_new(0x00280120, "US", said)
    expected = np.where(stored == said, -1024.0 if said == 63536 else said - 1024, stored - 1024.0)
    np.testing.assert_array_equal(read_file(save(one, tmp_path / "a.dcm")).slice(0)[0], expected)
    one[0x00280120].value = 1064
    one.PixelData = np.minimum(stored, 4000).tobytes()
    assert read_file(save(one, tmp_path / "b.dcm")).slice(0).max() == 2976


def test_mr_is_read_and_two_echoes_are_two_pictures(tmp_path):
    for echo, i in itertools.product((1, 2), range(3)):
        one = ct_slice(
            SERIES, 10 * echo + i, (0, 0, i), Modality="MR", EchoTime=echo, RescaleSlope=None, RescaleIntercept=None
        )
        save(one, tmp_path / f"{echo}-{i}.dcm")
    pictures = find_pictures([tmp_path])
    assert [picture.shape for picture in pictures] == [(3, 48, 48)] * 2
    assert {picture.unit for picture in pictures} == {"raw value"}
    assert len({picture.name for picture in pictures}) == 2
    for i in range(2):
        save(ct_slice(uid(6), i, (0, 0, 0)), tmp_path / "same" / f"{i}.dcm")
    with pytest.raises(InputError, match="are at the same place, and nothing tells two images apart"):
        read_picture(tmp_path / "same").slice(0)


def test_an_overview_that_crosses_a_series_is_another_picture_or_refused_for_its_direction(tmp_path):
    for i in range(3):
        save(ct_slice(SERIES, i, (0, 0, i), ImageType=["ORIGINAL", "PRIMARY", "AXIAL"]), tmp_path / f"{i}.dcm")
    across = {"ImageOrientationPatient": [1, 0, 0, 0, 0, -1], "ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}
    save(ct_slice(SERIES, 9, (0, 0, 0), **across), tmp_path / "9.dcm")
    assert sorted(picture.shape for picture in find_pictures([tmp_path])) == [(1, 48, 48), (3, 48, 48)]
    save(ct_slice(SERIES, 9, (0, 0, 0), **across | {"ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"]}), tmp_path / "9.dcm")
    (picture,) = find_pictures([tmp_path])
    with pytest.raises(InputError, match=r"has ImageOrientationPatient .* must agree"):
        _ = picture.shape


def test_missing_slices_are_said(tmp_path):
    for i in (0, 1, 2, 4, 5):
        save(ct_slice(SERIES, i, (0, 0, 2.0 * i), SliceLocation=None), tmp_path / f"{i}.dcm")
    picture = read_picture(tmp_path)
    assert picture.notes[0] == "1 slices are missing (mm: 4 to 8)"
    assert "volumes are in voxels" in picture.notes[1]
    assert (picture.spacing_mm, picture.step_mm) == ((None, 0.5, 0.5), 2.0)
    assert picture.affine is None


def test_names_with_dots_and_without_endings_are_found_and_what_systems_leave_is_not(tmp_path):
    for i, name in enumerate(("CT_1.5mm_001", "1.2.840.5", "x.IMA", "y.DCM")):
        path = save(ct_slice(SERIES, i, (0, 0, i), SliceLocation=None), tmp_path / f"{i}.dcm")
        path.rename(tmp_path / name)
    for name in (".DS_Store", "._x.png", "Thumbs.db", "notes.txt"):
        (tmp_path / name).write_bytes(b"\0\5\x16\7" * 50)
    for name in ("$RECYCLE.BIN", "@eaDir", "__MACOSX"):
        (tmp_path / name).mkdir()
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / name / "thrown.png")
    Image.fromarray(np.zeros((4, 4), np.uint8)).save(tmp_path / "scan.v2.PNG", format="PNG")
    pictures = find_pictures([tmp_path])
    assert sorted(picture.shape[0] for picture in pictures) == [1, 4]
    assert "scan.v2" in {picture.name for picture in pictures}


def test_a_patient_makes_no_path(tmp_path):
    for i in range(2):
        save(ct_slice(SERIES, i, (0, 0, i), PatientID="../../x", SliceLocation=None), tmp_path / f"{i}.dcm")
    assert read_picture(tmp_path).name == f"series-{SERIES[-8:]}"


def test_uploads_are_the_same_pictures(tmp_path):
    values = RNG.integers(-99, 99, (4, 5, 6)).astype(np.int16)
    volume = SimpleITK.GetImageFromArray(values)
    for name in ("a.nii.gz", "a.mha", "a.nrrd"):
        SimpleITK.WriteImage(volume, str(tmp_path / name))
    Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4)).save(tmp_path / "a.png")
    save(ct_slice(SERIES, 0, (0, 0, 0)), tmp_path / "a.dcm")
    for file in sorted(tmp_path.iterdir()):
        np.testing.assert_array_equal(read_upload(file.name, file.read_bytes()).values(), read_file(file).values())
    with pytest.raises(InputError, match="does not begin like a PNG file"):
        read_upload("a.png", (tmp_path / "a.dcm").read_bytes())


NRRD = """NRRD0004
type: uint8
dimension: 3
space: left-posterior-superior
sizes: 4 3 2
space directions: (50,0,0) (0,70,0) (0,0,200)
{}encoding: raw
space origin: (1,2,3)

"""


@pytest.mark.parametrize(
    ("line", "mm"),
    [
        ("", 1),
        ('space units: "mm" "mm" "mm"\n', 1),
        ('space units: "um" "um" "um"\n', 1e-3),
        ('space units: "\u00b5m" "\u00b5m" "\u00b5m"\n', 1e-3),
        ('space units: "cm" "cm" "cm"\n', 10),
        ('space units: "meters" "meters" "meters"\n', 1000),
    ],
)
def test_lengths_of_nrrd_and_metaimage_are_in_the_unit_that_the_header_names(tmp_path, line, mm):
    (tmp_path / "a.nrrd").write_bytes(NRRD.format(line).encode() + bytes(range(24)))
    picture = read_file(tmp_path / "a.nrrd")
    np.testing.assert_allclose(picture.spacing_mm, np.array([200, 70, 50]) * mm)
    np.testing.assert_allclose(picture.affine @ [0, 0, 0, 1], [-mm, -2 * mm, 3 * mm, 1])
    np.testing.assert_array_equal(picture.slice(1)[0], np.arange(12, 24).reshape(3, 4))
    said = line.split('"')[1] if line else "?"
    if said in ("?", "mm", "um", "cm"):  # those of MetaIO
        header = META.format(2, "LOCAL").replace(
            "ElementType", f"ElementSpacing = 50 70\nDistanceUnits = {said}\nElementType"
        )
        (tmp_path / "a.mha").write_bytes(header.encode() + bytes(4))
        np.testing.assert_allclose(read_file(tmp_path / "a.mha").spacing_mm[1:], np.array([70, 50]) * mm)


@pytest.mark.parametrize(
    ("name", "line", "spacing"),
    [
        ("a.nrrd", "", None),
        ("a.nrrd", "spacings: 0.5 nan 2\n", None),
        ("a.nrrd", "spacings: 0.5 0.25 nan\n", (None, 0.25, 0.5)),
        ("a.nrrd", "spacings: 0.5 0.25 2\n", (2, 0.25, 0.5)),
        ("a.mha", "", None),
        ("a.mha", "ElementSize = 0.5 0.25 2\n", (2, 0.25, 0.5)),
    ],
)
def test_a_header_that_says_no_length_does_not_mean_millimetres(tmp_path, name, line, spacing):
    header = {
        "a.nrrd": f"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 4 3 2\n{line}encoding: raw\n\n",
        "a.mha": f"NDims = 3\nDimSize = 4 3 2\n{line}ElementType = MET_UCHAR\nElementDataFile = LOCAL\n",
    }
    (tmp_path / name).write_bytes(header[name].encode() + bytes(24))
    assert read_file(tmp_path / name).spacing_mm == spacing


@pytest.mark.parametrize(
    ("space", "known"),
    [("space: LAS", True), ("space: right-anterior-superior", True), ("space: left-posterior-superior", True)]
    + [(space, False) for space in ("space dimension: 3", "space: scanner-xyz", "space: 3D-right-handed")],
)
def test_axes_that_are_not_said_to_be_the_patients_are_not_taken_for_them(tmp_path, space, known):
    header = f"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 4 3 2\n{space}\nencoding: raw\n"
    header += "space directions: (-0.5,0,0) (0,-0.25,0) (0,0,2)\nspace origin: (9,8,7)\n\n"
    (tmp_path / "a.nrrd").write_bytes(header.encode() + bytes(range(24)))
    picture = read_file(tmp_path / "a.nrrd")
    np.testing.assert_allclose(picture.spacing_mm, (2, 0.25, 0.5))
    assert (picture.affine is not None) == known
    if not known:  # not turned either
        np.testing.assert_array_equal(picture.values()[:, 0], np.arange(24).reshape(2, 3, 4))


def test_directions_without_a_length_are_no_place(tmp_path):
    header = "NDims = 2\nDimSize = 4 3\nTransformMatrix = 1 0 0 1\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n"
    (tmp_path / "a.mha").write_bytes(header.encode() + bytes(12))
    picture = read_file(tmp_path / "a.mha")
    assert picture.affine is None
    assert picture.spacing_mm is None


@pytest.mark.parametrize(
    ("name", "line", "message"),
    [
        ("a.nrrd", "old min: -1000\nold max: 3000\n", "old min: -1000"),
        ("a.nrrd", "old min: nan\n", None),
        ("a.mha", "ElementToIntensityFunctionSlope = 1\nElementToIntensityFunctionOffset = -1024\n", "Offset = -1024"),
        ("a.mha", "ElementToIntensityFunctionSlope = 1.5\n", "Slope = 1.5"),
        ("a.mha", "ElementToIntensityFunctionSlope = 1.0\nElementToIntensityFunctionOffset = 0\n", None),
    ],
)
def test_numbers_that_stand_for_others_are_refused(tmp_path, name, line, message):
    """SimpleITK gives them as they are stored."""
    header = {
        "a.nrrd": f"NRRD0004\ntype: uchar\ndimension: 2\nsizes: 4 3\n{line}encoding: raw\n\n",
        "a.mha": f"NDims = 2\nDimSize = 4 3\n{line}ElementType = MET_UCHAR\nElementDataFile = LOCAL\n",
    }
    (tmp_path / name).write_bytes(header[name].encode() + bytes(12))
    with pytest.raises(InputError, match=f"stand for others .*{message}") if message else contextlib.nullcontext():
        read_file(tmp_path / name).slice(0)


def test_a_size_below_zero_is_no_size(tmp_path):
    line = "spacings: 0.5 0.25 -2\n"
    header = f"NRRD0004\ntype: uchar\ndimension: 3\nsizes: 4 3 2\n{line}encoding: raw\n\n"
    (tmp_path / "a.nrrd").write_bytes(header.encode() + bytes(24))
    with pytest.raises(InputError, match=r"a\.nrrd has the spacing .*-2"):
        read_file(tmp_path / "a.nrrd").slice(0)


def test_an_iodine_map_is_no_ct_in_hu(tmp_path):
    """Its values are kept as they are: those below -1,024 are no padding."""
    for name, changes in {"iodine": {"RescaleType": "MGML", "RescaleIntercept": -5000}, "plain": {}}.items():
        save(ct_slice(SERIES, 0, (0, 0, 0), **changes), tmp_path / f"{name}.dcm")
    iodine, plain = read_picture(tmp_path / "iodine.dcm"), read_picture(tmp_path / "plain.dcm")
    assert (iodine.unit, plain.unit) == ("raw value", "HU")
    dataset = pydicom.dcmread(tmp_path / "iodine.dcm")
    expected = dataset.pixel_array * float(dataset.RescaleSlope) - 5000
    assert expected.min() < -1024
    np.testing.assert_allclose(iodine.slice(0)[0], expected)


def test_a_label_map_that_was_compressed_with_loss_is_refused(tmp_path):
    labels = np.zeros((32, 32), np.uint8)
    labels[8:20, 8:20] = 1
    for name, options in {"a.jpg": {}, "a.tif": {"compression": "jpeg"}}.items():
        Image.fromarray(labels).save(tmp_path / name, **options)
        assert read_file(tmp_path / name).slice(0).shape == (1, 32, 32)  # an image may be
        with pytest.raises(InputError, match="is compressed with loss and keeps no class ids"):
            read_file(tmp_path / name, class_ids=True).labels()
    Image.fromarray(labels).save(tmp_path / "b.tif", compression="tiff_lzw")
    np.testing.assert_array_equal(read_file(tmp_path / "b.tif", class_ids=True).labels()[0], labels)


@pytest.mark.parametrize("units", ['"mm" "um" "um"', '"parsec" "parsec" "parsec"'])
def test_lengths_in_a_unit_that_is_not_known_or_in_several_are_refused(tmp_path, units):
    (tmp_path / "a.nrrd").write_bytes(NRRD.format(f"space units: {units}\n").encode() + bytes(24))
    with pytest.raises(InputError, match=r"a\.nrrd has lengths in .*; save it in mm"):
        read_file(tmp_path / "a.nrrd").slice(0)


@pytest.mark.parametrize(
    ("sizes", "directions", "right"),
    [
        ("1 4 3 2", "none (1,0,0) (0,1,0) (0,0,2.5)", True),  # a list of a single number
        ("4 3 2", "(1,0,0) (0,1,0) (0,0,2.5)", True),
        ("4 3 2", "(1,0,0) (0,1,0) none", False),
        ("4 3 2", "none (1,0,0) (0,1,0)", False),
        ("2 4 3 2", "none (1,0,0) (0,1,0) (0,0,2.5)", False),
    ],
)
@pytest.mark.parametrize("kind", ["short", "float", "uchar"])
def test_an_axis_of_nrrd_without_a_direction_is_refused_but_for_a_single_number(
    tmp_path, sizes, directions, right, kind
):
    dtype = {"short": "<i2", "float": "<f4", "uchar": "u1"}[kind]
    values = np.arange(np.prod([int(size) for size in sizes.split()]), dtype=dtype)
    header = f"NRRD0004\ntype: {kind}\ndimension: {len(sizes.split())}\nsizes: {sizes}\nspace: LPS\n"
    header += "kinds: list domain domain domain\n" if len(sizes.split()) == 4 else ""
    header += f"space directions: {directions}\nspace origin: (0,0,0)\nendian: little\nencoding: raw\n\n"
    (tmp_path / "a.nrrd").write_bytes(header.encode() + values.tobytes())
    if right:
        picture = read_file(tmp_path / "a.nrrd")
        assert picture.spacing_mm == (2.5, 1, 1)
        np.testing.assert_array_equal(picture.values()[:, 0], values.reshape(2, 3, 4))
    else:
        with pytest.raises(InputError, match=r"a\.nrrd (has an axis without|holds 2 numbers a voxel)"):
            read_file(tmp_path / "a.nrrd").values()


def test_a_qform_without_a_handedness_is_right_handed(tmp_path):
    """``pixdim[0]`` of 0 means 1 (nifti1.h, method 2)."""
    places = []
    for qfac in (0.0, 1.0):
        image = nibabel.Nifti1Image(np.zeros((4, 5, 6), np.int16), None)
        image.header.set_qform(np.diag([-2.0, -2.0, 3.0, 1.0]), code=1)
        image.header["pixdim"][0] = qfac
        content = bytearray(image.to_bytes())
        content[76:80] = np.float32(qfac).tobytes()
        (tmp_path / f"{qfac}.nii").write_bytes(content)
        places.append(read_picture(tmp_path / f"{qfac}.nii").affine)
    np.testing.assert_array_equal(*places)


def test_labels_are_written_under_a_name_that_is_a_text(tmp_path):
    nibabel.save(nibabel.Nifti1Image(np.zeros((4, 5, 6), np.int16), np.eye(4)), tmp_path / "a.nii")
    picture = read_picture(str(tmp_path / "a.nii"))
    picture.write_nifti(str(tmp_path / "b.nii.gz"), np.ones(picture.shape, np.uint8))
    assert read_picture(tmp_path / "b.nii.gz").labels().all()
