"""The readers' XML: both schemas, what is left out, and files that are broken on purpose."""

import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from damage import SECONDS, examples
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lidc_download import NON_NODULE, later_xml, nodule, reader_xml, roi, square, uid

from probunet.core.errors import InputError
from probunet.data.lidc.xml import index_folder, read_copies, read_header, read_readings

SERIES = uid(1)
BOX, HOLE = square((10, 10), (16, 16)), square((12, 12), (14, 14))
GOOD = reader_xml(
    SERIES,
    nodule(
        "A", roi("1.2.1", -100, BOX), roi("1.2.1", -100, square((12, 12), (14, 14)), "FALSE"), roi("1.2.2", -97.5, BOX)
    )
    + nodule("small", roi("1.2.3", -95, [(7, 8)]), rated=False)
    + NON_NODULE,
    nodule("B", roi("1.2.1", -100, BOX), roi("1.2.2", -97.5, [(11, 11)]), rated=False) + NON_NODULE,
    "",
)


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_outlines_are_read_and_other_marks_counted(tmp_path):
    readings = read_readings(write(tmp_path / "a.xml", GOOD))
    assert (readings.series, readings.sessions) == (SERIES, 3)
    assert (readings.points, readings.non_nodules, readings.one_pixel) == (1, 2, 1)
    first, second = readings.nodules
    assert [first.name, second.name] == ["A", "B"]
    assert [(o.sop_uid, o.z, o.contour.inclusion) for o in first.outlines] == [
        ("1.2.1", -100.0, True),
        ("1.2.1", -100.0, False),
        ("1.2.2", -97.5, True),
    ]
    np.testing.assert_array_equal(first.outlines[0].contour.points, BOX)
    assert first.ratings == (1, 2, 3, 4, 5, 6, 7, 8, 9)
    assert second.ratings == (0,) * 9
    assert len(second.outlines) == 1


def test_the_later_schema_is_read_too(tmp_path):
    readings = read_readings(write(tmp_path / "a.xml", later_xml(SERIES, nodule("A", roi("1.2.1", -100, BOX)))))
    assert readings.series == SERIES
    assert len(readings.nodules) == 1


def test_files_of_a_folder_are_told_apart(tmp_path):
    write(tmp_path / "1" / "a.xml", GOOD)
    write(tmp_path / "2" / "a.XML", GOOD)
    write(tmp_path / "2" / "x-ray.xml", later_xml(SERIES, "<unblindedRead/>", modality="CXR"))
    write(tmp_path / "other.xml", "<html><body/></html>")
    write(tmp_path / "cut.xml", GOOD[:60])
    index = index_folder(tmp_path)
    assert {series: len(paths) for series, paths in index.files.items()} == {SERIES: 2}
    assert (index.chest, index.other, len(index.broken)) == (1, 1, 1)
    assert "cut.xml" in index.broken[0]


def test_copies_must_say_the_same(tmp_path):
    a, b = write(tmp_path / "a.xml", GOOD), write(tmp_path / "b.xml", GOOD)
    assert len(read_copies([a, b]).nodules) == 2
    other = write(tmp_path / "c.xml", GOOD.replace("<xCoord>13<", "<xCoord>14<", 1))
    with pytest.raises(InputError, match=r"c\.xml and .*a\.xml are of the same scan but differ"):
        read_copies([a, other])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("<xCoord>10<", "<xCoord>ten<", "nodule 'A' has the value 'ten' for xCoord"),
        ("<yCoord>10<", "<yCoord>-3<", "the value '-3' for yCoord"),
        ("<yCoord>10<", "<yCoord>70000<", "the value '70000' for yCoord"),
        ("<xCoord>10</xCoord>", "", "the value '' for xCoord"),
        ("<imageZposition>-100<", "<imageZposition>nan<", "the value 'nan' for imageZposition"),
        ("<inclusion>TRUE<", "<inclusion>MAYBE<", "the value 'MAYBE' for inclusion"),
        ("<subtlety>1<", "<subtlety>high<", "the value 'high' for rating"),
        ("SeriesInstanceUid", "Nothing", "names no series"),
        ("readingSession", "session", "has no reading session"),
        ("LidcReadMessage", "Message", "not a CT reader file"),
        ("</LidcReadMessage>", "", "not well-formed"),
        ('encoding="UTF-8"', 'encoding="klingon"', "cannot be read as XML"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, old, new, message):
    path = write(tmp_path / "a.xml", GOOD.replace(old, new))
    with pytest.raises(InputError, match=message) as caught:
        read_readings(path)
    assert str(path) in str(caught.value)


def test_missing_pieces_are_named(tmp_path):
    for marks, message in (
        (nodule("A"), "neither an outline nor a point"),
        (nodule("A", roi("1.2", -1, [])), "an outline without points"),
        (nodule("A", roi("", "", BOX)), "neither imageSOP_UID nor imageZposition"),
    ):
        with pytest.raises(InputError, match=message):
            read_readings(write(tmp_path / "a.xml", reader_xml(SERIES, marks)))
    with pytest.raises(InputError, match="cannot be read as XML"):
        read_readings(tmp_path / "missing.xml")


LAUGHS = (
    '<?xml version="1.0"?><!DOCTYPE LidcReadMessage [<!ENTITY a0 "ha">'
    + "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 10))
    + "]><LidcReadMessage>&a9;</LidcReadMessage>"
)
OUTSIDE = '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/hostname">]><LidcReadMessage>&b;</LidcReadMessage>'


@pytest.mark.parametrize("text", [LAUGHS, OUTSIDE], ids=["billion laughs", "external entity"])
def test_entities_are_refused_at_once(tmp_path, text):
    path = write(tmp_path / "a.xml", text)
    started = time.monotonic()
    for read in (read_header, read_readings):
        with pytest.raises(InputError, match="defines a document type or entities"):
            read(path)
    assert time.monotonic() - started < 1


@settings(max_examples=examples(150), deadline=SECONDS, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused_in_one_sentence(tmp_path, data):
    """Bytes are replaced, removed or doubled at random places of a good file."""
    content = bytearray(GOOD, "utf-8")
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content) - 1))
        end = min(len(content), start + data.draw(st.integers(0, 40)))
        twice = bytes(content[start:end]) * 2
        piece = data.draw(st.one_of(st.binary(max_size=6), st.sampled_from([b"<", b"&", b"</roi>", b"-", twice])))
        content[start:end] = piece
        if not content:
            break
    path = tmp_path / "damaged.xml"
    path.write_bytes(content)
    for read in (read_header, read_readings):
        with suppress(InputError):
            read(path)
