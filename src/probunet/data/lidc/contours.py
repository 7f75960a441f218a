"""Readers' outlines to masks, at sub-pixel accuracy.

LIDC-IDRI's outlines are closed chains of pixels of the scan, given as (x, y) = (column, row) with pixel
centres at integers. An *inclusion* outline runs on the first pixels outside the lesion; an *exclusion*
outline runs on the first pixels outside what is left of the lesion, around a hole. So an outline's own pixels
are never part of the lesion: they are taken from the filled inclusion and added to the hole. (Masks of real
LIDC-IDRI crops that others made agree: 503 of 545 readings with holes are found pixel by pixel among them
this way, none if the hole leaves its outline out.)

The rule on the scan's own grid, "fill the outline, then take away the outline's own pixels", is carried to any
other grid by a continuous form: a point is inside iff the closed polygon contains it (even-odd) and it is
farther than half a pixel from the outline's line; a hole is what the polygon contains and what is within half a
pixel of its line. The line joins points that are neighbours (one of eight). Where an outline jumps (1 % of
all have a jump), the polygon closes the gap, and only what lies exactly on its edge is taken away: nobody drew
there. On the scan's own grid the two forms are the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

HALF_PIXEL = 0.5


@dataclass(frozen=True, eq=False)
class Contour:
    """One outline on one slice.

    Attributes:
        points: (P, 2) integer (x, y), pixels of the scan. Closed: the last point is joined to the first.
        inclusion: True for a lesion's outline, False for a hole.
    """

    points: npt.NDArray[np.int16]
    inclusion: bool


@dataclass(frozen=True)
class Grid:
    """Where target pixels lie in the scan's pixel coordinates.

    Pixel (row, column) of the target has its centre at ``origin + step * (column, aspect * row)``.

    Attributes:
        origin: (x, y) of the centre of target pixel (0, 0), pixels of the scan.
        step: target pixel's width, pixels of the scan.
        height: rows.
        width: columns.
        aspect: target pixel's height divided by its width, both in pixels of the scan: 1 unless the scan's pixels
            are not square.
    """

    origin: tuple[float, float]
    step: float
    height: int
    width: int
    aspect: float = 1.0

    @classmethod
    def centred(
        cls,
        centre: tuple[float, float],
        spacing: float,
        size: int,
        pixel_spacing: float,
        row_spacing: float | None = None,
    ) -> Grid:
        """Make a square grid of ``size`` pixels of ``spacing`` mm around ``centre`` (x, y in scan pixels).

        ``centre`` comes to lie at target coordinate ``(size - 1) / 2``: on the middle pixel of an odd size,
        on the corner of the four middle pixels of an even one. ``pixel_spacing`` is mm between the scan's columns,
        ``row_spacing`` between its rows, the same unless given.
        """
        step, aspect = spacing / pixel_spacing, pixel_spacing / (row_spacing or pixel_spacing)
        half = step * (size - 1) / 2
        return cls((centre[0] - half, centre[1] - half * aspect), step, size, size, aspect)

    @property
    def steps(self) -> tuple[float, float]:
        """Width and height of a target pixel in pixels of the scan."""
        return self.step, self.step * self.aspect

    def refined(self, factor: int) -> Grid:
        """Split every pixel into ``factor`` x ``factor`` smaller ones."""
        step = self.step / factor
        shift = (self.step - step) / 2
        x, y = self.origin
        return Grid((x - shift, y - shift * self.aspect), step, self.height * factor, self.width * factor, self.aspect)


def rasterise(contours: Iterable[Contour], grid: Grid) -> npt.NDArray[np.uint8]:
    """Fill one reader's outlines on one slice: the union of inclusions without the union of holes.

    Args:
        contours: all outlines of one reading on one slice; none gives an empty mask.
        grid: where the target pixels are. A target pixel is set iff its centre is inside.

    Returns:
        (height, width) uint8, 1 inside.
    """
    mask = np.zeros((grid.height, grid.width), dtype=bool)
    holes = []
    for contour in contours:
        if contour.inclusion:
            _paint(mask, contour, grid)
        else:
            holes.append(contour)
    for contour in holes:
        _paint(mask, contour, grid)
    return mask.view(np.uint8)


def _paint(mask: npt.NDArray[np.bool_], contour: Contour, grid: Grid) -> None:
    """Set ``mask`` inside an inclusion without its line; clear it inside a hole and on the hole's line."""
    steps = np.asarray(grid.steps)
    polygon = (contour.points - np.asarray(grid.origin)) / steps  # (x, y) in target pixels
    line = HALF_PIXEL / steps
    low = np.maximum(np.ceil(polygon.min(axis=0) - line), 0).astype(np.int64)
    high = np.minimum(np.floor(polygon.max(axis=0) + line), (grid.width - 1, grid.height - 1)).astype(np.int64)
    if (high < low).any():
        return
    polygon -= low
    width, height = (high - low + 1).tolist()
    following = np.roll(polygon, -1, axis=0)
    jump = np.abs(np.roll(contour.points, -1, axis=0) - contour.points).max(axis=1) > 1
    inside = _even_odd(polygon, following, height, width)
    inside[_near(polygon, np.where(jump[:, None], polygon, following), line, height, width)] = not contour.inclusion
    if jump.any():
        pieces = _short_segments(polygon[jump], following[jump], 1.0 / float(steps.max()))
        inside[_near(*pieces, 1e-6 * line, height, width)] = not contour.inclusion
    window = mask[low[1] : low[1] + height, low[0] : low[0] + width]
    window[inside] = contour.inclusion


_Points = npt.NDArray[np.float64]


def _short_segments(starts: _Points, ends: _Points, longest: float) -> tuple[_Points, _Points]:
    """Cut segments into pieces at most ``longest`` wide and high."""
    steps = ends - starts
    pieces = np.ceil(np.abs(steps).max(axis=1) / longest - 1e-6).astype(np.int64)
    index = np.repeat(np.arange(len(pieces)), pieces)
    nth = np.arange(len(index)) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    share = steps[index] / pieces[index, None]
    starts = starts[index] + nth[:, None] * share
    return starts, starts + share


def _even_odd(starts: _Points, ends: _Points, height: int, width: int) -> npt.NDArray[np.bool_]:
    """Even-odd rule at integer coordinates: toggle at every crossing of a row, then run along the row."""
    y_low = np.minimum(starts[:, 1], ends[:, 1])
    y_high = np.maximum(starts[:, 1], ends[:, 1])
    first = np.ceil(y_low).astype(np.int64)  # rows with y_low <= row < y_high
    count = np.ceil(y_high).astype(np.int64) - first
    index = np.repeat(np.arange(len(count)), count)
    rows = first[index] + np.arange(len(index)) - np.repeat(np.cumsum(count) - count, count)
    step = ends[index] - starts[index]
    x = starts[index, 0] + (rows - starts[index, 1]) * step[:, 0] / step[:, 1]
    columns = np.clip(np.ceil(x), 0, width).astype(np.int64)
    valid = (rows >= 0) & (rows < height)
    flat = rows[valid] * (width + 1) + columns[valid]
    toggles = np.bincount(flat, minlength=height * (width + 1)).reshape(height, width + 1)[:, :width]
    return (np.cumsum(toggles, axis=1) & 1).astype(bool)


def _near(
    starts: _Points, ends: _Points, reach: _Points, height: int, width: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Rows and columns of the pixels whose distance to a segment is at most one, ``reach`` (x, y) being the unit.

    Segments are short, so it is enough to look around them.
    """
    low = np.ceil(np.minimum(starts, ends) - reach - 1e-9).astype(np.int64)
    high = np.floor(np.maximum(starts, ends) + reach + 1e-9).astype(np.int64)
    window = np.arange(int((high - low).max()) + 1)
    x = (low[:, 0, None, None] + window[None, None, :]).astype(np.float64)
    y = (low[:, 1, None, None] + window[None, :, None]).astype(np.float64)
    squash = float(reach[0] / reach[1])  # 1 for square pixels: lengths below are in units of the pixel's width
    step = (ends - starts)[:, :, None, None] * np.array([1.0, squash])[None, :, None, None]
    dx = x - starts[:, 0, None, None]
    dy = (y - starts[:, 1, None, None]) * squash
    squared = step[:, 0] ** 2 + step[:, 1] ** 2
    along = np.clip((dx * step[:, 0] + dy * step[:, 1]) / np.maximum(squared, 1e-12), 0, 1)
    gap = (dx - along * step[:, 0]) ** 2 + (dy - along * step[:, 1]) ** 2
    near = (gap <= (float(reach[0]) + 1e-9) ** 2) & (x >= 0) & (x < width) & (y >= 0) & (y < height)
    segment, row, column = np.nonzero(near)
    return low[segment, 1] + row, low[segment, 0] + column
