"""DICOM Segmentation objects of a CT series: a series for each hypothesis or group, and one of probabilities.

Written with highdicom (``pip install 'probunet[dicom]'``). Every object refers to the slices it was made from and
lies on their grid. The same content of the same origin gives the same bytes: UIDs are made of both, so that another
content or another origin has other UIDs, and dates are those of the source, for there is no clock in a file.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.sr.coding import Code
from pydicom.uid import CTImageStorage, generate_uid
from pydicom.valuerep import DA, TM, PersonName

from probunet.core.errors import InputError
from probunet.core.files import writing_file
from probunet.core.packages import require
from probunet.io.content import Content, reason_of
from probunet.io.dicom import read_header
from probunet.io.series import SAME_PLACE, Series

if TYPE_CHECKING:
    from highdicom.seg import Segmentation, SegmentDescription

LONGEST = 64
"""Characters of a description (value representation LO, DICOM PS3.5, table 6.2-1)."""

SERIES_NUMBER = 9000
"""Number of the first series written; scanners count from 1."""

_ABNORMAL = Code("49755003", "SCT", "Morphologically Abnormal Structure")
_STRUCTURE = Code("123037004", "SCT", "Anatomical Structure")
_KNOWN = {
    "lesion": (_ABNORMAL, Code("52988006", "SCT", "Lesion")),
    "nodule": (_ABNORMAL, Code("27925004", "SCT", "Nodule")),
}
_MAY_BE_EMPTY = (
    "PatientName",
    "PatientBirthDate",
    "PatientSex",
    "StudyDate",
    "StudyTime",
    "StudyID",
    "AccessionNumber",
)


_CHECKED = ("PatientBirthDate", "PatientSex", "StudyDate", "StudyTime")
_DATED = ("Study", "Series", "Acquisition", "Content")
"""What a date and a time in a source are of, the first that is known taken for the segmentation."""
NO_DATE = "19000101"
"""Date of a segmentation whose source has none; DICOM does not let it be empty."""


@dataclass(frozen=True, eq=False)
class Hypothesis:
    """One segmentation of a series.

    Attributes:
        labels: (S, rows, columns) unsigned integer class ids on the grid of the series, slices by ascending height.
        description: what viewers list, at most 64 characters: ``hypothesis 3 of 16``, ``group 1 of 4, frequency 0.62``.
    """

    labels: npt.NDArray[np.unsignedinteger[Any]]
    description: str


class SegmentationWriter:
    """Writes what a model says about one series.

    Args:
        series: the source; its files are read again for patient and study.
        classes: names of all classes, background first.
        model: name of the model, for ``ManufacturerModelName`` and the algorithm.
        origin: what the hypotheses were drawn with (weights, seed, ...) as text; another one gives other UIDs.

    Raises:
        InputError: highdicom is not installed, a source file cannot be used, two slices are at one place, or there
            is no class but the background.
    """

    def __init__(self, series: Series, classes: Sequence[str], model: str, origin: str = "") -> None:
        require("highdicom", f"a DICOM segmentation of series {series.uid}")
        if len(classes) < 2:
            raise InputError(f"the classes {list(classes)} hold no foreground; name the background and at least one")
        same = np.flatnonzero(np.diff(series.heights) <= SAME_PLACE)
        if same.size:
            low, high = series.slices[same[0]].path, series.slices[same[0] + 1].path
            raise InputError(f"{low} and {high} are at the same place; a segmentation needs one slice per place")
        self.classes, self.model, self.origin = list(classes), model, origin
        self.shape = (len(series.slices), *series.slices[0].shape)
        self._sources = [_source(one.content) for one in series.slices]
        self._sop_classes = {source.SOPInstanceUID: source.SOPClassUID for source in self._sources}
        for source in self._sources:
            if not source.SOPClassUID.keyword:  # a class of the manufacturer's own
                source.SOPClassUID = CTImageStorage

    def hypotheses(self, folder: Path, hypotheses: Iterable[Hypothesis]) -> list[Path]:
        """Write every hypothesis as a binary segmentation and series of its own.

        Args:
            folder: of the files ``hypothesis-001.dcm``, ``hypothesis-002.dcm``, ...
            hypotheses: one is held in memory at a time; one without any foreground is written too, with all frames.

        Raises:
            InputError: labels of another shape, type or range, a description too long, or a file that cannot be
                written.
        """
        files = []
        for i, one in enumerate(hypotheses, start=1):
            self._check(one.labels, self.shape, one.description)
            if one.labels.dtype.kind != "u" or one.labels.max() >= len(self.classes):
                raise InputError(
                    f"{one.description}: labels of type {one.labels.dtype} up to {one.labels.max()} do not name the "
                    f"{len(self.classes)} classes; give unsigned integers from 0 to {len(self.classes) - 1}"
                )
            file = folder / f"hypothesis-{i:03d}.dcm"
            self._write(file, one.labels, "BINARY", one.description, SERIES_NUMBER + i, bool(one.labels.any()))
            files.append(file)
        return files

    def probabilities(self, file: Path, probabilities: npt.NDArray[np.floating[Any]]) -> None:
        """Write the pixel-wise probabilities of the foreground classes, in steps of 1/255.

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
        present = bool((foreground >= 0.5 / 255).any())
        self._write(file, foreground.clip(0, 1), "FRACTIONAL", "probability of each class", SERIES_NUMBER, present)

    def _check(self, array: npt.NDArray[Any], shape: tuple[int, ...], what: str) -> None:
        if array.shape != shape:
            raise InputError(f"{what}: an array of shape {array.shape} does not fit the series; {shape} is needed")
        if len(what) > LONGEST:
            raise InputError(f"the description {what!r} has {len(what)} characters; DICOM allows {LONGEST}")

    def _write(
        self, file: Path, pixels: npt.NDArray[Any], kind: str, description: str, number: int, present: bool
    ) -> None:
        from highdicom.seg import Segmentation

        content = self._content(pixels, kind, description, number)
        with _naming(file):
            segmentation = self._made(Segmentation, pixels, kind, description, number, present, content)
        segmentation.walk(self._name_classes)
        _without_clock(segmentation, self._sources[0], _uid("dimensions", content))
        with writing_file(file) as temporary:
            segmentation.save_as(temporary)

    def _content(self, pixels: npt.NDArray[Any], kind: str, description: str, number: int) -> str:
        """All that an object depends on, as a checksum."""
        digest = hashlib.sha256(np.ascontiguousarray(pixels).data)
        facts = [self.origin, self.model, version("probunet"), *self.classes, kind, description, number, pixels.shape]
        for fact in [*facts, *(source.SOPInstanceUID for source in self._sources)]:
            digest.update(f"{fact!s}\0".encode("utf-8", "surrogatepass"))
        return digest.hexdigest()

    def _name_classes(self, dataset: pydicom.Dataset, element: pydicom.DataElement) -> None:
        """Give references the SOP class that the source has, also where highdicom does not know it."""
        if element.keyword == "ReferencedSOPClassUID" and "ReferencedSOPInstanceUID" in dataset:
            element.value = self._sop_classes.get(dataset.ReferencedSOPInstanceUID, element.value)

    def _made(
        self, make: Any, pixels: npt.NDArray[Any], kind: str, description: str, number: int, present: bool, content: str
    ) -> Segmentation:
        return make(
            self._sources,
            pixels,
            kind,
            [self._segment(i, name) for i, name in enumerate(self.classes[1:], start=1)],
            series_instance_uid=_uid("series", content),
            series_number=number,
            sop_instance_uid=_uid("instance", content),
            instance_number=1,
            manufacturer="probunet",
            manufacturer_model_name=self.model,
            software_versions=version("probunet"),
            device_serial_number="none",
            content_label="PROBABILITY" if kind == "FRACTIONAL" else "HYPOTHESIS",
            content_description=description,
            series_description=description,
            omit_empty_frames=present,  # without any foreground, all frames say so
        )

    def _segment(self, number: int, name: str) -> SegmentDescription:
        from highdicom import AlgorithmIdentificationSequence
        from highdicom.seg import SegmentDescription

        local = Code(name[:16], "99PROBUNET", name[:LONGEST])  # SH, LO; a name that SNOMED CT is not known to have
        category, what = _KNOWN.get(name.lower(), (_STRUCTURE, local))
        family = Code("123109", "DCM", "Artificial Intelligence")
        algorithm = AlgorithmIdentificationSequence(self.model, family, version("probunet"))
        return SegmentDescription(number, name[:LONGEST], category, what, "AUTOMATIC", algorithm)


def _uid(of: str, content: str) -> str:
    """A UID of a part of a content, the same for the same one (DICOM PS3.5, B)."""
    return generate_uid(entropy_srcs=[of, content])


def _without_clock(segmentation: pydicom.Dataset, source: pydicom.Dataset, dimensions: str) -> None:
    """Put what is known of the source in the place of the time of writing, and a fixed UID in that of a random one."""
    dated = [key for key in _DATED if source.get(f"{key}Date") and _is_valid(source, f"{key}Date")]
    date = str(source.get(f"{dated[0]}Date")) if dated else NO_DATE
    timed = [key for key in dated[:1] if source.get(f"{key}Time") and _is_valid(source, f"{key}Time")]
    segmentation.ContentDate = date
    segmentation.ContentTime = str(source.get(f"{timed[0]}Time")) if timed else "000000"

    def change(dataset: pydicom.Dataset, element: pydicom.DataElement) -> None:
        if element.keyword in ("InstanceCreationDate", "InstanceCreationTime", "ContributionDateTime"):
            del dataset[element.tag]
        elif element.keyword == "DimensionOrganizationUID":
            element.value = dimensions

    segmentation.walk(change)


def _source(content: Content) -> pydicom.Dataset:
    """Read what a segmentation takes over from a slice; its pixels are not needed."""
    dataset = read_header(content)
    _in_unicode(dataset)
    for key in ("StudyInstanceUID", "FrameOfReferenceUID"):
        if not dataset.get(key):
            raise InputError(f"{content.name} lacks {key}, without which no viewer can lay a segmentation over it")
    for key in _MAY_BE_EMPTY:
        if key not in dataset:  # must be there, says the standard, but whoever took out names may have removed it
            setattr(dataset, key, None)
    for key in _CHECKED:
        if not _is_valid(dataset, key):  # what no date and no time can say is left out, not made up
            setattr(dataset, key, None)
    if not dataset.get("SliceThickness"):
        dataset.SliceThickness = None
    return dataset


@contextmanager
def _naming(file: Path) -> Iterator[None]:
    """Turn what highdicom refuses in a source's header into one sentence."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:  # highdicom and pydicom raise nearly every kind there is on headers against the rules
        raise InputError(f"{file} cannot be made out of this series ({reason_of(error)}); write NIfTI") from error


def _in_unicode(dataset: pydicom.Dataset) -> None:
    """Write texts of any character set as UTF-8, which highdicom knows; they stay as they were."""
    characters = dataset.get("SpecificCharacterSet")
    if characters in (None, "", "ISO_IR 6", "ISO_IR 100", "ISO_IR 192"):
        return
    dataset.decode()
    for element in dataset:
        if element.VR in ("PN", "LO", "SH", "ST", "LT", "UT") and isinstance(element.value, str | PersonName):
            element.value = str(element.value)
    dataset.SpecificCharacterSet = "ISO_IR 192"


def _is_valid(dataset: pydicom.Dataset, key: str) -> bool:
    """Whether a value can be written again as DICOM says: dates are days, times are times, sexes are M, F and O."""
    value = dataset.get(key)
    if value in (None, ""):
        return True
    if key == "PatientSex":
        return str(value) in ("M", "F", "O")
    read = DA if key.endswith("Date") else TM
    try:
        return read(str(value)) is not None
    except (ValueError, TypeError):
        return False
