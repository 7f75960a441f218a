"""DICOM objects of a CT series: a Segmentation for each hypothesis or group, and a Parametric Map of probabilities.

Written with highdicom (``pip install 'probunet[dicom]'``). Every object refers to the slices it was made from and
lies on their grid. The same content of the same origin gives the same bytes: UIDs are made of both, so that another
content or another origin has other UIDs, and dates are those of the source, for there is no clock in a file.
"""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.sr.coding import Code
from pydicom.uid import CTImageStorage, generate_uid

from probunet.core.errors import InputError
from probunet.core.packages import require
from probunet.core.version import VERSION
from probunet.core.writing import writing_file
from probunet.io.content import reason_of
from probunet.io.dicom_source import source_of, without_clock
from probunet.io.series import SAME_PLACE, UNKNOWN_THICKNESS, Series

if TYPE_CHECKING:
    from highdicom.pm import RealWorldValueMapping
    from highdicom.seg import SegmentDescription

Kind: TypeAlias = Literal["BINARY", "LABELMAP"]
"""Of a segmentation: a bit a voxel for each class, or one class number a voxel (DICOM PS3.3, C.8.20.2)."""

LONGEST = 64
"""Characters of a description (value representation LO, DICOM PS3.5, table 6.2-1)."""

LONGEST_TEXT = 1024
"""Characters of the meaning of a segment (value representation ST)."""

SERIES_NUMBER = 9000
"""Number of the first series written; scanners count from 1."""

_ABNORMAL = Code("49755003", "SCT", "Morphologically Abnormal Structure")
_STRUCTURE = Code("123037004", "SCT", "Anatomical Structure")
_PROBABILITY = Code("PROBABILITY", "99PROBUNET", "Probability")
_KNOWN = {
    "lesion": (_ABNORMAL, Code("52988006", "SCT", "Lesion")),
    "nodule": (_ABNORMAL, Code("27925004", "SCT", "Nodule")),
}


@dataclass(frozen=True, eq=False)
class Hypothesis:
    """One segmentation of a series.

    Attributes:
        labels: (S, rows, columns) unsigned integer class ids on the grid of the series, slices by ascending height.
        description: what viewers list, at most 64 characters: ``hypothesis 3 of 16``, ``group 1 of 4, frequency 0.62``.
        meaning: said of a segment where something more is to be said, at most 1,024 characters.
        about: number of that segment, the id of its class.
    """

    labels: npt.NDArray[np.unsignedinteger[Any]]
    description: str
    meaning: str = ""
    about: int = 1


class SegmentationWriter:
    """Writes what a model says about one series.

    Args:
        series: the source; its files are read again for patient and study.
        classes: names of all classes, background first.
        model: name of the model, for ``ManufacturerModelName`` and the algorithm.
        origin: what the hypotheses were drawn with (weights, seed, ...) as text; another one gives other UIDs.
        kind: of the segmentations; ``LABELMAP`` is smaller, ``BINARY`` is read by more viewers.

    Raises:
        InputError: highdicom is not installed, a source file cannot be used, two slices are at one place, or there
            is no class but the background.
    """

    def __init__(
        self, series: Series, classes: Sequence[str], model: str, origin: str = "", kind: Kind = "BINARY"
    ) -> None:
        require("highdicom", f"a DICOM segmentation of series {series.uid}")
        if len(classes) < 2:
            raise InputError(f"the classes {list(classes)} hold no foreground; name the background and at least one")
        same = np.flatnonzero(np.diff(series.heights) <= SAME_PLACE)
        if same.size:
            low, high = series.slices[same[0]].path, series.slices[same[0] + 1].path
            raise InputError(f"{low} and {high} are at the same place; a segmentation needs one slice per place")
        self.classes, self.model, self.origin, self.kind = list(classes), model, origin, kind
        self.shape = (len(series.slices), *series.slices[0].shape)
        self._sources = [source_of(one.content) for one in series.slices]
        self._sop_classes = {source.SOPInstanceUID: source.SOPClassUID for source in self._sources}
        for source in self._sources:
            source.ImageOrientationPatient = self._sources[0].ImageOrientationPatient  # of one series, but for rounding
            if source.SliceThickness is None:  # a segmentation needs one: then as thick as slices are apart
                source.SliceThickness = series.slice_spacing or UNKNOWN_THICKNESS
            if not source.SOPClassUID.keyword:  # a class of the manufacturer's own
                source.SOPClassUID = CTImageStorage

    def hypotheses(self, folder: Path, hypotheses: Iterable[Hypothesis]) -> list[Path]:
        """Write every hypothesis as a segmentation and series of its own.

        Args:
            folder: of the files ``hypothesis-001.dcm``, ``hypothesis-002.dcm``, ...
            hypotheses: one is held in memory at a time; one without any foreground is written too, with all frames.

        Raises:
            InputError: labels of another shape, type or range, a description too long, or a file that cannot be
                written.
        """
        files = []
        for i, one in enumerate(hypotheses, start=1):
            file = folder / f"hypothesis-{i:03d}.dcm"
            self.segmentation(file, one, SERIES_NUMBER + i)
            files.append(file)
        return files

    def segmentation(self, file: Path, hypothesis: Hypothesis, number: int) -> None:
        """Write one segmentation as a series of this number; see :meth:`hypotheses`."""
        labels, description = hypothesis.labels, hypothesis.description
        self._check(labels, self.shape, description)
        if labels.dtype.kind != "u" or labels.max() >= len(self.classes):
            raise InputError(
                f"{description}: labels of type {labels.dtype} up to {labels.max()} do not name the "
                f"{len(self.classes)} classes; give unsigned integers from 0 to {len(self.classes) - 1}"
            )
        self._write(file, labels, self.kind, description, number, hypothesis.meaning, hypothesis.about)

    def probabilities(self, file: Path, probabilities: npt.NDArray[np.floating[Any]]) -> None:
        """Write the pixel-wise probabilities of the foreground classes as a Parametric Map of 32-bit numbers.

        Viewers that know no fractional segmentations lay it over the picture, in colours from 0 to 1.

        Args:
            file: to write.
            probabilities: (S, K, rows, columns), of all K classes.

        Raises:
            InputError: another shape, values outside [0, 1], or a file that cannot be written.
        """
        self._check(probabilities, (self.shape[0], len(self.classes), *self.shape[1:]), "the probabilities")
        foreground = np.moveaxis(probabilities[:, 1:], 1, -1)
        low, high = foreground.min(), foreground.max()
        if not (low >= 0 and high <= 1 + 1e-5):  # sums of rounded numbers pass 1 by a little
            raise InputError(f"the probabilities run from {low:g} to {high:g}; they must be from 0 to 1")
        pixels = np.ascontiguousarray(foreground.clip(0, 1), dtype=np.float32)
        self._write(file, pixels, "PARAMETRIC MAP", "probability of each class", SERIES_NUMBER)

    def _check(self, array: npt.NDArray[Any], shape: tuple[int, ...], what: str) -> None:
        if array.shape != shape:
            raise InputError(f"{what}: an array of shape {array.shape} does not fit the series; {shape} is needed")
        if len(what) > LONGEST:
            raise InputError(f"the description {what!r} has {len(what)} characters; DICOM allows {LONGEST}")

    def _write(
        self,
        file: Path,
        pixels: npt.NDArray[Any],
        kind: str,
        description: str,
        number: int,
        meaning: str = "",
        about: int = 1,
    ) -> None:
        content = self._content(pixels, kind, description + meaning, number)
        with _naming(file):
            made = self._made(pixels, kind, self._header(description, number, content))
        for segment in [s for s in made.SegmentSequence if s.SegmentNumber == about] if meaning else ():
            segment.SegmentDescription = meaning.encode("ascii", "replace").decode()[:LONGEST_TEXT]
        made.walk(self._name_classes)
        without_clock(made, self._sources[0], _uid("dimensions", content))
        with writing_file(file) as temporary:
            made.save_as(temporary)

    def _content(self, pixels: npt.NDArray[Any], kind: str, description: str, number: int) -> str:
        """All that an object depends on, as a checksum."""
        digest = hashlib.sha256(np.ascontiguousarray(pixels).data)
        facts = [self.origin, self.model, VERSION, *self.classes, kind, description, number, pixels.shape]
        for fact in [*facts, *(source.SOPInstanceUID for source in self._sources)]:
            digest.update(f"{fact!s}\0".encode("utf-8", "surrogatepass"))
        return digest.hexdigest()

    def _name_classes(self, dataset: pydicom.Dataset, element: pydicom.DataElement) -> None:
        """Give references the SOP class that the source has, also where highdicom does not know it."""
        if element.keyword == "ReferencedSOPClassUID" and "ReferencedSOPInstanceUID" in dataset:
            element.value = self._sop_classes.get(dataset.ReferencedSOPInstanceUID, element.value)

    def _header(self, description: str, number: int, content: str) -> dict[str, Any]:
        return {
            "series_instance_uid": _uid("series", content),
            "series_number": number,
            "sop_instance_uid": _uid("instance", content),
            "instance_number": 1,
            "manufacturer": "probunet",
            "manufacturer_model_name": self.model,
            "software_versions": VERSION,
            "device_serial_number": "none",
            "content_description": description,
            "series_description": description,
        }

    def _made(self, pixels: npt.NDArray[Any], kind: str, header: dict[str, Any]) -> pydicom.Dataset:
        from highdicom import VOILUTTransformation
        from highdicom.pm import ParametricMap
        from highdicom.seg import Segmentation

        if kind == "PARAMETRIC MAP":
            made = ParametricMap(
                self._sources,
                pixels,
                contains_recognizable_visual_features=False,
                real_world_value_mappings=[[_as_they_are(name)] for name in self.classes[1:]],
                voi_lut_transformations=[VOILUTTransformation(window_center=0.5, window_width=1.0)],
                content_label="PROBABILITY",
                **header,
            )
            if "Laterality" not in made:  # must be there, empty where it is not known
                made.Laterality = None
            return made
        return Segmentation(
            self._sources,
            pixels,
            kind,
            [self._segment(i, name) for i, name in enumerate(self.classes[1:], start=1)],
            content_label="HYPOTHESIS",
            omit_empty_frames=bool(pixels.any()),  # without any foreground, all frames say so
            **header,
        )

    def _segment(self, number: int, name: str) -> SegmentDescription:
        from highdicom import AlgorithmIdentificationSequence
        from highdicom.seg import SegmentDescription

        local = Code(name[:16], "99PROBUNET", name[:LONGEST])  # SH, LO; a name that SNOMED CT is not known to have
        category, what = _KNOWN.get(name.lower(), (_STRUCTURE, local))
        family = Code("123109", "DCM", "Artificial Intelligence")
        algorithm = AlgorithmIdentificationSequence(self.model, family, VERSION)
        return SegmentDescription(number, name[:LONGEST], category, what, "AUTOMATIC", algorithm)


def _as_they_are(name: str) -> RealWorldValueMapping:
    """Stored values are probabilities of a class, without a unit."""
    from highdicom.pm import RealWorldValueMapping

    return RealWorldValueMapping(
        lut_label=name[:16],
        lut_explanation=f"probability of {name}"[:LONGEST],
        unit=Code("1", "UCUM", "no units"),
        value_range=(0.0, 1.0),
        slope=1.0,
        intercept=0.0,
        quantity_definition=_PROBABILITY,
    )


def _uid(of: str, content: str) -> str:
    """A UID of a part of a content, the same for the same one (DICOM PS3.5, B)."""
    return generate_uid(entropy_srcs=[of, content])


@contextmanager
def _naming(file: Path) -> Iterator[None]:
    """Turn what highdicom refuses in a source's header into one sentence; what it only warns of is no news."""
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    except InputError:
        raise
    except Exception as error:  # highdicom and pydicom raise nearly every kind there is on headers against the rules
        raise InputError(f"{file} cannot be made out of this series ({reason_of(error)}); write NIfTI") from error
