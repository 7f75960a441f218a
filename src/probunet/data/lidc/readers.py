"""Lung lesions and the outlines that up to four radiologists drew of them: the built-in data of this package.

From annotations to lesions: annotations of one scan belong to the same lesion when their tight bounding boxes
(of all contour points at exactly that z, pixels, inclusive: touching counts) overlap on a slice,
transitively. A lesion slice is a slice on which at least one annotation of the lesion has a contour.

LIDC-IDRI was read by twelve radiologists at five sites, and the files do not say who drew what. The index of
a reading is therefore not a reader's identity: it is the order of the annotations in the database, with the
missing readings last. Draw readings at random in training, and treat them as a set in evaluation.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from probunet.data.lidc.annotations import RATINGS, AnnotationTable, load_table
from probunet.data.lidc.contours import Contour, Grid, rasterise

READERS = 4
"""Readings of every scan."""
SPACING_MM, CROP = 0.5, 180
"""Pixel size and side in pixels of a stored crop (paper: 0.5 mm, trained on random crops of 128 px)."""

Box = tuple[int, int, int, int]
"""Lowest x, lowest y, highest x, highest y in pixels, inclusive."""


@dataclass(frozen=True, eq=False)
class LesionSlice:
    """One slice of one lesion with its four readings. Small and picklable.

    Attributes:
        patient: id like ``LIDC-IDRI-0001``.
        scan: row of the scan in the table (0 to 1,017).
        lesion: number of the lesion (0 to 2,649).
        z: mm, position of the slice in the scan.
        pixel_spacing: mm, of the scan.
        slice_thickness: mm, of the scan.
        slice_spacing: mm, of the scan.
        centre: (x, y) in pixels of the scan: the middle of the box around all readings of this slice.
        readings: four times all contours of one reading on this slice, possibly none.
        ratings: mean of each of the nine ratings over the lesion's annotations (of all its slices).
        position: -1 to 1: where the slice is between the lesion's lowest and highest slice.
    """

    patient: str
    scan: int
    lesion: int
    z: float
    pixel_spacing: float
    slice_thickness: float
    slice_spacing: float
    centre: tuple[float, float]
    readings: tuple[tuple[Contour, ...], ...]
    ratings: dict[str, float]
    position: float

    @property
    def name(self) -> str:
        """Identifier that is unique among all lesion slices and stays the same between releases."""
        return f"{self.patient}_scan{self.scan:04d}_lesion{self.lesion:04d}_z{self.z:+.3f}"

    @property
    def empty_readings(self) -> int:
        """How many of the four readings have no contour on this slice (0 to 3)."""
        return sum(not reading for reading in self.readings)

    def grid(self, spacing: float, size: int) -> Grid:
        """Give the target pixels' places in the scan: ``size`` x ``size`` pixels of ``spacing`` mm."""
        return Grid.centred(self.centre, spacing, size, self.pixel_spacing)

    def masks(self, spacing: float = SPACING_MM, size: int = CROP) -> npt.NDArray[np.uint8]:
        """Rasterise the four readings around the lesion.

        A reading without contour on this slice is an empty mask; so is an outline whose interior is empty
        because it is only one or two pixels wide (an outline's own pixels are not part of the lesion) or
        because no target pixel's centre is inside.
        Of the 40,009 readings with an outline, 137 are empty at 0.5 mm and 394 at 1 mm; on 60 and 211 lesion slices
        all four masks are then empty.

        Args:
            spacing: mm of the target pixels.
            size: number of target pixels along either side.

        Returns:
            (4, size, size) uint8, 1 inside the lesion.
        """
        grid = self.grid(spacing, size)
        return np.stack([rasterise(reading, grid) for reading in self.readings])


@dataclass(frozen=True)
class Lesion:
    """Annotations of one scan that outline the same thing.

    Attributes:
        scan: row of the scan in the table.
        annotations: rows of all its annotations, ascending.
        readings: the annotations folded into at most four readings, see ``fold_readings``.
    """

    scan: int
    annotations: tuple[int, ...]
    readings: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Annotations:
    """The table with the lesions found in it."""

    table: AnnotationTable

    @cached_property
    def boxes(self) -> dict[tuple[int, float], Box]:
        """Box of every annotation on every slice: (annotation, z) -> box."""
        table = self.table
        low = np.minimum.reduceat(table.points, table.contour_first[:-1], axis=0).tolist()
        high = np.maximum.reduceat(table.points, table.contour_first[:-1], axis=0).tolist()
        keys = zip(table.contour_annotation.tolist(), table.contour_z.tolist(), strict=True)
        boxes: dict[tuple[int, float], Box] = {}
        for key, (x0, y0), (x1, y1) in zip(keys, low, high, strict=True):
            box = (x0, y0, x1, y1)
            boxes[key] = join(boxes[key], box) if key in boxes else box
        return boxes

    @cached_property
    def contours(self) -> dict[tuple[int, float], list[int]]:
        """Rows of the contours of every annotation on every slice: (annotation, z) -> rows."""
        rows: dict[tuple[int, float], list[int]] = defaultdict(list)
        keys = zip(self.table.contour_annotation.tolist(), self.table.contour_z.tolist(), strict=True)
        for row, key in enumerate(keys):
            rows[key].append(row)
        return dict(rows)

    @cached_property
    def lesions(self) -> tuple[Lesion, ...]:
        """All 2,650 lesions, in the order of their first annotation."""
        by_slice: dict[tuple[int, float], list[tuple[int, Box]]] = defaultdict(list)
        slices: dict[int, dict[float, Box]] = defaultdict(dict)
        for (annotation, z), box in self.boxes.items():
            by_slice[int(self.table.annotation_scan[annotation]), z].append((annotation, box))
            slices[annotation][z] = box
        pairs = [
            (a, b)
            for here in by_slice.values()
            for k, (a, box_a) in enumerate(here)
            for b, box_b in here[k + 1 :]
            if overlap(box_a, box_b)
        ]
        return tuple(
            Lesion(
                int(self.table.annotation_scan[members[0]]),
                members,
                fold_readings({annotation: slices[annotation] for annotation in members}),
            )
            for members in connected(slices, pairs)
        )

    def lesion_slices(self) -> list[LesionSlice]:
        """List all 15,777 lesion slices of 875 patients: by lesion, then by z."""
        return [item for number in range(len(self.lesions)) for item in self.slices_of(number)]

    def slices_of(self, number: int) -> list[LesionSlice]:
        """List the slices of lesion ``number`` by ascending z."""
        table, lesion = self.table, self.lesions[number]
        ratings = table.ratings[list(lesion.annotations)].mean(axis=0).tolist()
        own = set(lesion.annotations)
        heights = sorted({z for annotation, z in self._keys_of_scan[lesion.scan] if annotation in own})
        middle, half = (heights[0] + heights[-1]) / 2, (heights[-1] - heights[0]) / 2
        items = []
        for z in heights:
            readings = tuple(
                tuple(table.contour(row) for member in reading for row in self.contours.get((member, z), ()))
                for reading in lesion.readings
            )
            boxes = [self.boxes[member, z] for member in lesion.annotations if (member, z) in self.boxes]
            items.append(
                LesionSlice(
                    patient=table.scan_patient[lesion.scan],
                    scan=lesion.scan,
                    lesion=number,
                    z=z,
                    pixel_spacing=float(table.pixel_spacing[lesion.scan]),
                    slice_thickness=float(table.slice_thickness[lesion.scan]),
                    slice_spacing=float(table.slice_spacing[lesion.scan]),
                    centre=middle_of(boxes),
                    readings=readings + ((),) * (READERS - len(readings)),
                    ratings=dict(zip(RATINGS, ratings, strict=True)),
                    position=(z - middle) / half if half > 0 else 0.0,
                )
            )
        return items

    @cached_property
    def _keys_of_scan(self) -> dict[int, list[tuple[int, float]]]:
        keys: dict[int, list[tuple[int, float]]] = defaultdict(list)
        for key in self.boxes:
            keys[int(self.table.annotation_scan[key[0]])].append(key)
        return keys


def load_annotations() -> Annotations:
    """Load the shipped reader annotations.

    Raises:
        InputError: the package's file is missing or damaged.
    """
    return Annotations(load_table())


def join(a: Box, b: Box) -> Box:
    """Give the smallest box around both."""
    return min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])


def overlap(a: Box, b: Box) -> bool:
    """Tell whether two boxes share a pixel; boxes are inclusive, so touching counts."""
    return a[0] <= b[2] and b[0] <= a[2] and a[1] <= b[3] and b[1] <= a[3]


def shared_area(a: Box, b: Box) -> int:
    """Number of pixels that two boxes share."""
    return max(0, min(a[2], b[2]) - max(a[0], b[0]) + 1) * max(0, min(a[3], b[3]) - max(a[1], b[1]) + 1)


def middle_of(boxes: Iterable[Box]) -> tuple[float, float]:
    """Middle (x, y) of the smallest box around all boxes, in pixels."""
    x0, y0, x1, y1 = np.array(list(boxes)).T
    return float(x0.min() + x1.max()) / 2, float(y0.min() + y1.max()) / 2


def connected(nodes: Iterable[int], pairs: Iterable[tuple[int, int]]) -> list[tuple[int, ...]]:
    """Group ``nodes`` that ``pairs`` join, directly or through others; groups and members ascend."""
    ordered = np.array(sorted(nodes), dtype=np.intp)
    ends = np.searchsorted(ordered, np.array(list(pairs), dtype=np.intp).reshape(-1, 2))
    joined = coo_array((np.ones(len(ends)), (ends[:, 0], ends[:, 1])), shape=(len(ordered), len(ordered)))
    _, numbers = connected_components(joined, directed=False)
    groups: dict[int, list[int]] = defaultdict(list)
    for node, number in zip(ordered.tolist(), numbers.tolist(), strict=True):
        groups[number].append(node)
    return [tuple(members) for members in groups.values()]


def fold_readings(slices: dict[int, dict[float, Box]]) -> tuple[tuple[int, ...], ...]:
    """Fold a lesion's annotations into at most four readings.

    A reader who saw two lesions where another saw one has two annotations in it. While there are more than
    four readings, the two that fit one reader best become one (their outlines are united): those that share
    the fewest slices; among these, those whose boxes share the fewest pixels over all slices; then those that
    come first.

    Args:
        slices: annotation -> z -> box.

    Returns:
        Up to four tuples of annotations, in the order of their first annotation.
    """
    readings: list[tuple[tuple[int, ...], dict[float, Box]]] = [
        ((annotation,), boxes) for annotation, boxes in sorted(slices.items())
    ]
    while len(readings) > READERS:
        _, _, i, j = min(
            (
                len(readings[i][1].keys() & readings[j][1].keys()),
                sum(shared_area(box, readings[j][1][z]) for z, box in readings[i][1].items() if z in readings[j][1]),
                i,
                j,
            )
            for j in range(len(readings))
            for i in range(j)
        )
        (members, boxes), (more, other) = readings[i], readings.pop(j)
        united = boxes | {z: join(boxes[z], box) if z in boxes else box for z, box in other.items()}
        readings[i] = (members + more, united)
    return tuple(members for members, _ in readings)
