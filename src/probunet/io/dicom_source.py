"""What a DICOM object that is made out of others takes over from them: patient, study, character set, dates."""

from __future__ import annotations

import pydicom
from pydicom.valuerep import DA, TM, PersonName

from probunet.core.errors import InputError
from probunet.io.content import Content
from probunet.io.dicom import read_header

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


def source_of(content: Content) -> pydicom.Dataset:
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


def without_clock(segmentation: pydicom.Dataset, source: pydicom.Dataset, dimensions: str) -> None:
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
