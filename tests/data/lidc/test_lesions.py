"""Outlines on real slices: masks computed by hand, lesions in contact, and slices found by name or by z."""

from pathlib import Path

import numpy as np
import pytest
from lidc_download import ct_slice, expected_hu, nodule, reader_xml, roi, save, sop_uid, square, uid, write_series

from probunet.core.errors import InputError
from probunet.core.intensity import AIR
from probunet.data.lidc.annotations import load_table
from probunet.data.lidc.check import cross_check
from probunet.data.lidc.contours import Grid
from probunet.data.lidc.crops import crop_scan, resample
from probunet.data.lidc.lesions import builtin_nodules, find_lesions
from probunet.data.lidc.xml import Index, read_readings
from probunet.io.series import make_series, read_headers

SERIES = uid(1)
BOX = square((10, 10), (16, 16))


def series_of(folder, **changes):
    (slices,) = read_headers(write_series(folder, SERIES, **changes))[0].values()
    return make_series(slices)


def nodules_of(folder, *sessions):
    path = folder / "readers.xml"
    path.write_text(reader_xml(SERIES, *sessions))
    return read_readings(path).nodules


def drawn(index, points, inclusion="TRUE", z=None):
    return roi(sop_uid(SERIES, index), index * 2.5 - 100 if z is None else z, points, inclusion)


def expected(*boxes, size=33, offset=13):
    """Masks (4, size, size) with ones in (y0, y1, x0, x1), pixel ``offset`` of the scan in the middle."""
    masks = np.zeros((4, size, size), np.uint8)
    shift = (size - 1) // 2 - offset
    for reader, (y0, y1, x0, x1) in enumerate(boxes):
        masks[reader, y0 + shift : y1 + shift + 1, x0 + shift : x1 + shift + 1] = 1
    return masks


def test_masks_and_image_on_the_scans_own_grid(tmp_path):
    """Reader 1 draws a square with a hole, reader 2 a narrower rectangle, reader 3 nothing on this slice."""
    series = series_of(tmp_path)
    nodules = nodules_of(
        tmp_path,
        nodule("A", drawn(1, BOX), drawn(1, square((12, 12), (14, 14)), "FALSE")),
        nodule("B", drawn(1, square((12, 10), (16, 16))), drawn(2, BOX)),
        nodule("C", drawn(2, BOX)),
        "",
    )
    lesions = find_lesions(nodules, series)
    assert (lesions.lesions, lesions.folded, lesions.remarks) == (1, 0, ())
    assert [(one.z, index) for one, index in lesions.slices] == [(-97.5, 1), (-95.0, 2)]
    images, labels = crop_scan(series, lesions, spacing=0.5, size=33)
    masks = expected((11, 15, 11, 15), (11, 15, 13, 15))
    masks[0, 15:18, 15:18] = 0  # the hole with its own pixels: 12 to 14 of the scan, 3 less than in the crop
    np.testing.assert_array_equal(labels[0], masks)
    nothing = (0, -1, 0, -1)
    np.testing.assert_array_equal(labels[1], expected(nothing, (11, 15, 11, 15), (11, 15, 11, 15)))
    hu = np.full((33, 33), AIR)
    hu[3:, 3:] = expected_hu(1)[:30, :30]  # rows and columns -3 to 29 of the scan
    np.testing.assert_array_equal(images[0, 0], hu)


def test_an_anisotropic_pixel_grid(tmp_path):
    """Rows 1 mm apart, columns 0.5 mm: a 5 x 5 interior becomes 9 rows (half a pixel off either side) by 5 columns."""
    series = series_of(tmp_path, PixelSpacing=[1.0, 0.5])
    lesions = find_lesions(nodules_of(tmp_path, nodule("A", drawn(0, BOX))), series)
    images, labels = crop_scan(series, lesions, spacing=0.5, size=33)
    np.testing.assert_array_equal(labels[0], expected((9, 17, 11, 15)))
    np.testing.assert_array_equal(images[0, 0, 0:33:2, 16], expected_hu(0)[5:22, 13])  # every second row is a scan's
    assert images[0, 0, 17, 16] == expected_hu(0)[13:15, 13].mean()


def test_an_oblique_series(tmp_path):
    """Slices turned by 30 degrees around x: the plane of the outlines is the slice's own, so masks stay the same."""
    root = np.sqrt(3) / 2
    paths = [
        save(
            ct_slice(SERIES, i, (0, -along / 2, along * root), ImageOrientationPatient=[1, 0, 0, 0, root, 0.5]),
            tmp_path / f"{i}.dcm",
        )
        for i, along in enumerate((4.0, 0.0, 2.0))
    ]
    (slices,) = read_headers(paths)[0].values()
    series = make_series(slices)
    nodules = nodules_of(tmp_path, nodule("A", drawn(0, BOX, z=4 * root), roi("unknown", 2 * root, BOX)))
    lesions = find_lesions(nodules, series)
    assert [(round(one.z, 6), series.slices[i].path.name) for one, i in lesions.slices] == [(2, "2.dcm"), (4, "0.dcm")]
    images, labels = crop_scan(series, lesions, spacing=0.5, size=33)
    np.testing.assert_array_equal(labels[0], expected((11, 15, 11, 15)))
    np.testing.assert_array_equal(images[1, 0, 3:, 3:], expected_hu(0)[:30, :30])
    assert lesions.remarks == ("1 outlines name a SOP instance UID that the series does not have; their z was used",)


@pytest.mark.parametrize(("left", "lesions"), [(16, 1), (17, 2)])
def test_lesions_in_contact_are_one(tmp_path, left, lesions):
    """Boxes are inclusive: 10 to 16 and 16 to 22 share the column 16, and 17 to 22 shares none."""
    nodules = nodules_of(tmp_path, nodule("A", drawn(1, BOX)), nodule("B", drawn(1, square((left, 10), (22, 16)))))
    found = find_lesions(nodules, series_of(tmp_path))
    assert found.lesions == lesions
    assert len(found.slices) == lesions


def test_an_outline_of_an_unknown_slice_is_found_by_its_z(tmp_path):
    series = series_of(tmp_path)
    nodules = nodules_of(tmp_path, nodule("A", roi("1.2.3", -95.2, BOX), roi("", -92.5, BOX)))
    lesions = find_lesions(nodules, series)
    assert [index for _, index in lesions.slices] == [2, 3]
    assert lesions.remarks == (
        "1 outlines name a SOP instance UID that the series does not have; their z was used",
        "1 outlines give a z up to 0.2 mm from that of their slice; the slice was chosen by SOP instance UID where "
        "there is one",
    )


def test_the_name_of_a_slice_wins_over_its_z_and_the_contradiction_is_a_remark(tmp_path):
    lesions = find_lesions(nodules_of(tmp_path, nodule("A", drawn(1, BOX, z=-90))), series_of(tmp_path))
    assert [(one.z, index) for one, index in lesions.slices] == [(-97.5, 1)]
    assert "1 outlines give a z up to 7.5 mm from that of their slice" in lesions.remarks[0]


def test_a_z_that_fits_two_slices_is_refused(tmp_path):
    paths = [save(ct_slice(SERIES, i, (0, 0, z)), tmp_path / f"{i}.dcm") for i, z in enumerate((-100, -100, -97.5))]
    (slices,) = read_headers(paths)[0].values()
    with pytest.raises(InputError, match=r"z -100 mm fits several slices \(0\.dcm, 1\.dcm\)"):
        find_lesions(nodules_of(tmp_path, nodule("A", roi("", -100, BOX))), make_series(slices))


def test_missing_slices_are_refused_or_left_out_but_still_join(tmp_path):
    """A and B meet on a slice that is missing only: one lesion, whose other slices stay."""
    far = square((30, 30), (36, 36))
    marks = nodule("A", drawn(1, BOX), drawn(7, BOX)), nodule("B", drawn(7, BOX), drawn(2, far))
    series = series_of(tmp_path)
    with pytest.raises(InputError, match=r"1 outlined slices \(z -82.5 to -82.5 mm\) are not among the 5 slices"):
        find_lesions(nodules_of(tmp_path, *marks), series)
    lesions = find_lesions(nodules_of(tmp_path, *marks), series, partial=True)
    assert lesions.lesions == 1
    assert [index for _, index in lesions.slices] == [1, 2]
    assert "1 outlined slices" in lesions.remarks[0]
    assert "left out" in lesions.remarks[0]


def test_an_outline_beyond_the_image_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"up to pixel \(48, 16\) on a slice of 48x48 px"):
        find_lesions(nodules_of(tmp_path, nodule("A", drawn(1, square((40, 10), (48, 16))))), series_of(tmp_path))


def test_a_coarser_grid_averages_and_a_finer_one_interpolates():
    checkers = (np.indices((40, 40)).sum(0) % 2 * 1000).astype(np.float32)
    coarse = resample(checkers, Grid((10.0, 10.0), 4.0, 5, 5))
    assert np.abs(coarse - 500).max() <= 32  # a grid that only picked pixels would give 0 everywhere
    ramp = np.tile(np.arange(40, dtype=np.float32) * 10, (40, 1))
    fine = resample(ramp, Grid((10.0, 10.0), 0.5, 6, 6))
    np.testing.assert_array_equal(fine, np.tile([100, 105, 110, 115, 120, 125], (6, 1)))


def test_beyond_the_slice_is_air_and_nothing_is_below():
    hu = np.full((10, 10), -3024, np.float32)
    hu[:, 5:] = 40
    image = resample(hu, Grid((-4.0, 0.0), 1.0, 12, 10))
    assert set(np.unique(image).tolist()) == {AIR, 40}
    assert (image[:10, 9:] == 40).all()
    assert (image[10:] == AIR).all()
    assert (resample(hu, Grid((100.0, 100.0), 1.0, 4, 4)) == AIR).all()


def test_builtin_contours_come_in_the_same_form_and_agree_with_themselves(tmp_path):
    """An XML made of the built-in contours of one scan: one single-pixel outline more, then two nodules less."""
    table = load_table()
    series = table.scan_series[table.scan_patient.index("LIDC-IDRI-0003")]
    nodules = builtin_nodules(table, series)

    def write(nodules) -> Index:
        path = tmp_path / "readers.xml"
        marks = []
        for one in nodules:
            rois = (roi("1.2", o.z, o.contour.points.tolist(), str(o.contour.inclusion).upper()) for o in one.outlines)
            text = nodule(one.name, *rois, *([roi("1.2", 0, [(5, 5)])] if one is nodules[1] else []))
            for value, rating in enumerate(one.ratings, 1):
                text = text.replace(f">{value}</", f">r{rating}</", 1)
            marks.append(text.replace(">r", ">"))
        path.write_text(reader_xml(series, *marks))
        return Index({series: (path,), uid(5): (Path("x"),)}, 0, 0, ())

    result = cross_check(write(nodules), table)
    assert (result.scans, result.absent, result.unknown, result.copies) == (1, 1017, 1, 0)
    assert (result.same, result.same_ratings) == (len(nodules), len(nodules))
    (remark,) = result.remarks
    assert "the same but for single-pixel outlines (1), only in the XML" in remark
    changed = cross_check(write(nodules[2:]), table)
    assert changed.same == len(nodules) - 2
    assert [remark.endswith("only built in") for remark in changed.remarks] == [False, True, True]


def test_a_series_that_is_not_built_in_is_named():
    with pytest.raises(InputError, match=r"the built-in contours know no series 1\.2\.3"):
        builtin_nodules(load_table(), "1.2.3")
