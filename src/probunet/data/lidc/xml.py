"""The readers' XML files of LIDC-IDRI, as they come with the scans.

Two schemas share the collection: ``LidcReadMessage`` (namespace ``http://www.nih.gov``) holds the readings of a
CT scan, ``IdriReadMessage`` (``http://www.nih.gov/idri``) those of a chest X-ray, which are recognised and
counted, not read. A CT file has a session per reader; a reader marks three kinds of things:

- a lesion of 3 mm or more: outlines on one or several slices, usually with nine ratings;
- a smaller one: a single point on a single slice;
- something that is no nodule: a point (``locus``).

Only the first kind is a segmentation; the others are counted. An outline of a single pixel inside a lesion of the
first kind has nothing inside (an outline's own pixels are outside the lesion); it is counted and left out, which
is what the built-in contours do too.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from xml.etree.ElementTree import Element, ParseError

import numpy as np
from defusedxml import DefusedXmlException
from defusedxml import ElementTree as SafeTree

from probunet.core.errors import InputError
from probunet.data.lidc.annotations import RATINGS
from probunet.data.lidc.contours import Contour

Kind = Literal["ct", "chest x-ray", "other"]
_CT, _BOTH = "LidcReadMessage", "IdriReadMessage"
_LARGEST = np.iinfo(np.int16).max


@dataclass(frozen=True, eq=False)
class Outline:
    """One closed outline on one slice.

    Attributes:
        sop_uid: SOP instance UID of the slice; empty where the file names none.
        z: mm, the position that the file gives, or ``None``.
        contour: the points (x, y) in pixels of the scan, and whether it is a lesion's outline or a hole.
    """

    sop_uid: str
    z: float | None
    contour: Contour

    @property
    def content(self) -> tuple[float, bool, bytes]:
        """What two sources of the same outline have in common."""
        return self.z or 0.0, self.contour.inclusion, self.contour.points.tobytes()


@dataclass(frozen=True, eq=False)
class Nodule:
    """What one reader outlined as one lesion.

    Attributes:
        name: the reader's own name for it, for messages.
        ratings: the nine ratings in the order of ``RATINGS``; 0 where the reader gave none.
        outlines: of two pixels or more each.
        one_pixel: how many further outlines were single pixels and left out.
    """

    name: str
    ratings: tuple[int, ...]
    outlines: tuple[Outline, ...]
    one_pixel: int = 0

    @property
    def content(self) -> frozenset[tuple[float, bool, bytes]]:
        """The outlines, in any order."""
        return frozenset(outline.content for outline in self.outlines)


@dataclass(frozen=True, eq=False)
class Readings:
    """One CT file.

    Attributes:
        path: of the file.
        series: series instance UID of the scan.
        sessions: number of reading sessions.
        nodules: what was outlined, by session, in the order of the file.
        points: lesions below 3 mm, given as a point.
        non_nodules: marks that are no nodules.
    """

    path: Path
    series: str
    sessions: int
    nodules: tuple[Nodule, ...]
    points: int
    non_nodules: int

    @property
    def one_pixel(self) -> int:
        """Outlines of a single pixel that were left out."""
        return sum(nodule.one_pixel for nodule in self.nodules)


@dataclass(frozen=True)
class Index:
    """The reader files of a folder.

    Attributes:
        files: series instance UID of a CT scan -> its files (the collection has up to six copies of one).
        chest: number of chest X-ray files.
        other: number of other XML files.
        broken: a sentence for each file that cannot be read.
    """

    files: dict[str, tuple[Path, ...]]
    chest: int
    other: int
    broken: tuple[str, ...]


def index_folder(folder: Path) -> Index:
    """Find all reader files below ``folder`` by the header of each.

    Raises:
        InputError: the folder does not exist or cannot be listed.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder with the readers' XML files")
    files: dict[str, list[Path]] = defaultdict(list)
    counts: dict[Kind, int] = {"ct": 0, "chest x-ray": 0, "other": 0}
    broken = []
    for path in sorted(path for path in folder.rglob("*") if path.suffix.lower() == ".xml"):
        try:
            kind, series = read_header(path)
        except InputError as error:
            broken.append(str(error))
            continue
        counts[kind] += 1
        if kind == "ct":
            files[series].append(path)
    return Index(
        {series: tuple(paths) for series, paths in files.items()}, counts["chest x-ray"], counts["other"], tuple(broken)
    )


def read_header(path: Path) -> tuple[Kind, str]:
    """Read as much of a file as tells what it is.

    Returns:
        Its kind, and the series instance UID that it names (empty for other files).

    Raises:
        InputError: unreadable, not well-formed, with a document type or entities, or a CT file without series.
    """
    with _parsing(path), path.open("rb") as stream:  # iterparse would leave a file open that it does not read whole
        root: Element | None = None
        for event, element in SafeTree.iterparse(stream, events=("start", "end"), forbid_dtd=True):
            root = element if root is None else root
            if _local(root) not in (_CT, _BOTH):
                return "other", ""
            if event == "end" and _local(element) == "ResponseHeader":
                return _kind(root), _series(root, path)
    raise InputError(f"{path} has no ResponseHeader; it is not a reader file of LIDC-IDRI, or is cut short")


def read_readings(path: Path) -> Readings:
    """Read one CT file.

    Raises:
        InputError: unreadable, not well-formed, with a document type or entities, not a CT reader file, or with a
            value that is missing or out of range; names the file and the value.
    """
    with _parsing(path):
        root: Element = SafeTree.parse(path, forbid_dtd=True).getroot()
    if _local(root) not in (_CT, _BOTH) or _kind(root) != "ct":
        raise InputError(f"{path} is not a CT reader file of LIDC-IDRI; its root is {_local(root)[:40]}")
    space = root.tag[: root.tag.rfind("}") + 1]
    sessions = root.findall(f"{space}readingSession")
    if not sessions:
        raise InputError(f"{path} has no reading session; fetch the file again")
    elements = [element for session in sessions for element in session.findall(f"{space}unblindedReadNodule")]
    marked = [_nodule(element, space, path) for element in elements]
    nodules = tuple(nodule for nodule in marked if nodule.outlines)
    non_nodules = sum(len(session.findall(f"{space}nonNodule")) for session in sessions)
    return Readings(path, _series(root, path), len(sessions), nodules, len(marked) - len(nodules), non_nodules)


def read_copies(paths: Sequence[Path]) -> Readings:
    """Read the file of a scan; where there are several, they must say the same.

    Raises:
        InputError: see ``read_readings``; or two files of one scan differ.
    """
    first, *others = (read_readings(path) for path in paths)
    for other in others:
        if Counter(nodule.content for nodule in other.nodules) != Counter(nodule.content for nodule in first.nodules):
            raise InputError(f"{other.path} and {first.path} are of the same scan but differ; keep one of them")
    return first


def _nodule(element: Element, space: str, path: Path) -> Nodule:
    """Give what a reader marked as a nodule; a small one, given as a point, has no outlines."""
    name = (element.findtext(f"{space}noduleID") or "without a name").strip()
    where = f"{path}: nodule '{name}'"
    ratings = [element.findtext(f"{space}characteristics/{space}{rating}") for rating in RATINGS]
    outlines = [_outline(roi, space, where) for roi in element.iterfind(f"{space}roi")]
    if not outlines:
        raise InputError(f"{where} has neither an outline nor a point; fetch the file again")
    large = tuple(outline for outline in outlines if len(outline.contour.points) > 1)
    numbers = tuple(_integer(rating, where, "rating") if rating else 0 for rating in ratings)
    return Nodule(name, numbers, large, len(outlines) - len(large))


def _outline(roi: Element, space: str, where: str) -> Outline:
    sop_uid = (roi.findtext(f"{space}imageSOP_UID") or "").strip()
    text = (roi.findtext(f"{space}imageZposition") or "").strip()
    z = _position(text, where) if text else None
    if not sop_uid and z is None:
        raise InputError(f"{where} has an outline with neither imageSOP_UID nor imageZposition; fetch the file again")
    inclusion = (roi.findtext(f"{space}inclusion") or "").strip().upper()
    if inclusion not in ("TRUE", "FALSE"):
        raise InputError(f"{where} has the value '{inclusion[:40]}' for inclusion; it must be TRUE or FALSE")
    points = [
        (
            _integer(edge.findtext(f"{space}xCoord"), where, "xCoord"),
            _integer(edge.findtext(f"{space}yCoord"), where, "yCoord"),
        )
        for edge in roi.iterfind(f"{space}edgeMap")
    ]
    if not points:
        raise InputError(f"{where} has an outline without points; fetch the file again")
    return Outline(sop_uid, z, Contour(np.array(points, dtype=np.int16), inclusion == "TRUE"))


@contextmanager
def _parsing(path: Path) -> Iterator[None]:
    """Turn what a parser raises into a sentence; a document type, and with it every entity, is refused."""
    try:
        yield
    except InputError:
        raise
    except DefusedXmlException as error:
        raise InputError(f"{path} defines a document type or entities ({error}); a reader file has none") from error
    except ParseError as error:
        raise InputError(f"{path} is not well-formed XML ({error}); fetch the file again") from error
    except (OSError, ValueError, LookupError) as error:
        raise InputError(f"{path} cannot be read as XML ({error}); fetch the file again") from error


def _local(element: Element) -> str:
    return element.tag.rpartition("}")[2]


def _kind(root: Element) -> Kind:
    """A message of the later schema is of a chest X-ray if it names that modality or an X-ray series."""
    if _local(root) == _CT:
        return "ct"
    modality = root.findtext("{*}ResponseHeader/{*}Modality", "").strip()
    x_ray = root.find("{*}ResponseHeader/{*}CXRSeriesInstanceUid")
    return "chest x-ray" if modality == "CXR" or x_ray is not None else "ct"


def _series(root: Element, path: Path) -> str:
    header = root.find("{*}ResponseHeader")
    texts = {_local(child).lower(): (child.text or "").strip() for child in (header if header is not None else ())}
    series = texts.get("seriesinstanceuid") or texts.get("ctseriesinstanceuid") or ""
    if not series:
        raise InputError(f"{path} names no series (SeriesInstanceUid); fetch the file again")
    return series


def _integer(text: str | None, where: str, what: str) -> int:
    try:
        value = int(text or "")
    except ValueError:
        value = -1
    if not 0 <= value <= _LARGEST:
        raise InputError(f"{where} has the value '{(text or '').strip()[:40]}' for {what}; a whole number is needed")
    return value


def _position(text: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError(f"{where} has the value '{text[:40]}' for imageZposition; a number of mm is needed")
    return value
