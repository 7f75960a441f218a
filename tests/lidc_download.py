"""Small but true pieces of a LIDC-IDRI download: DICOM series and readers' XML of both schemas."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

ROOT = "1.3.6.1.4.1.14519.5.2.1.6279.6001."
AXIAL = (1, 0, 0, 0, 1, 0)
SIDE = 48
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


def uid(number: int) -> str:
    return f"{ROOT}{100000000 + number}"


def sop_uid(series: str, index: int) -> str:
    return f"{series}.{index + 1}"


def hu(index: int, side: int = SIDE) -> np.ndarray:
    """Slice number ``index``: HU that differ at every pixel, between -1,000 and about 1,300."""
    return (np.arange(side * side).reshape(side, side) + 10 * index - 1000).astype(np.int16)


def ct_slice(series: str, index: int, position: Sequence[float], **changes: object) -> Dataset:
    """One slice as pydicom data set; ``changes`` are attributes by keyword, ``None`` leaves one out."""
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = sop_uid(series, index)
    dataset.SOPClassUID = CTImageStorage
    dataset.SOPInstanceUID = sop_uid(series, index)
    dataset.SeriesInstanceUID = series
    dataset.StudyInstanceUID = series + ".0"
    dataset.PatientID = "LIDC-IDRI-0001"
    dataset.Modality = "CT"
    dataset.ImagePositionPatient = [float(value) for value in position]
    dataset.ImageOrientationPatient = list(AXIAL)
    dataset.SliceLocation = float(position[2])
    dataset.SliceThickness = 2.5
    dataset.PixelSpacing = [0.5, 0.5]
    pixels = hu(index)
    dataset.Rows, dataset.Columns = pixels.shape
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit = 15
    dataset.PixelRepresentation = 1
    dataset.RescaleSlope, dataset.RescaleIntercept = 2, -1024
    dataset.PixelData = ((pixels.astype(np.int32) + 1024) // 2).astype("<i2").tobytes()
    for key, value in changes.items():
        if value is None:
            delattr(dataset, key)
        else:
            setattr(dataset, key, value)
    return dataset


def expected_hu(index: int) -> np.ndarray:
    """What the slices hold after slope 2 and intercept -1024: even HU."""
    return (hu(index).astype(np.int32) + 1024) // 2 * 2 - 1024


def save(dataset: Dataset, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def write_series(folder: Path, series: str, count: int = 5, step: float = 2.5, **changes: object) -> list[Path]:
    """An axial series; files are named against the order of their positions, as in real downloads."""
    return [
        save(ct_slice(series, i, (-10, -20, i * step - 100), **changes), folder / f"1-{count - i:03d}.dcm")
        for i in range(count)
    ]


def square(low: tuple[int, int], high: tuple[int, int]) -> list[tuple[int, int]]:
    """A closed chain of neighbouring pixels (x, y) around a rectangle."""
    (x0, y0), (x1, y1) = low, high
    return [
        *((x, y0) for x in range(x0, x1)),
        *((x1, y) for y in range(y0, y1)),
        *((x, y1) for x in range(x1, x0, -1)),
        *((x0, y) for y in range(y1, y0, -1)),
    ]


def roi(sop: str, z: object, points: Sequence[tuple[object, object]], inclusion: str = "TRUE") -> str:
    edges = "".join(f"<edgeMap><xCoord>{x}</xCoord><yCoord>{y}</yCoord></edgeMap>" for x, y in points)
    return (
        f"<roi><imageZposition>{z}</imageZposition><imageSOP_UID>{sop}</imageSOP_UID>"
        f"<inclusion>{inclusion}</inclusion>{edges}</roi>"
    )


def nodule(name: str, *rois: str, rated: bool = True) -> str:
    ratings = "".join(f"<{key}>{value}</{key}>" for value, key in enumerate(RATINGS, 1))
    characteristics = f"<characteristics>{ratings}</characteristics>" if rated else ""
    return f"<unblindedReadNodule><noduleID>{name}</noduleID>{characteristics}{''.join(rois)}</unblindedReadNodule>"


NON_NODULE = (
    "<nonNodule><nonNoduleID>9</nonNoduleID><imageZposition>-95</imageZposition><imageSOP_UID>1.2</imageSOP_UID>"
    "<locus><xCoord>3</xCoord><yCoord>4</yCoord></locus></nonNodule>"
)


def reader_xml(series: str, *sessions: str) -> str:
    """A CT file: one string of nodules per reader."""
    readings = "".join(
        f"<readingSession><annotationVersion>3.12</annotationVersion><servicingRadiologistID>anon"
        f"</servicingRadiologistID>{marks}</readingSession>"
        for marks in sessions
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<LidcReadMessage uid="1.2.3" xmlns="http://www.nih.gov">'
        f"<ResponseHeader><Version>1.7</Version><SeriesInstanceUid>{series}</SeriesInstanceUid></ResponseHeader>"
        f"{readings}</LidcReadMessage>"
    )


def later_xml(series: str, *sessions: str, modality: str = "CT") -> str:
    """The later schema; of a chest X-ray in all of the collection."""
    x_ray = f"<CXRSeriesInstanceUid>{uid(999)}</CXRSeriesInstanceUid>" if modality == "CXR" else ""
    kind = "CXRreadingSession" if modality == "CXR" else "readingSession"
    readings = "".join(f"<{kind}>{marks}</{kind}>" for marks in sessions)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<IdriReadMessage uid="1.2.3" xmlns="http://www.nih.gov/idri">'
        f"<ResponseHeader><CTSeriesInstanceUid>{series}</CTSeriesInstanceUid>{x_ray}<Modality>{modality}</Modality>"
        f"</ResponseHeader>{readings}</IdriReadMessage>"
    )
