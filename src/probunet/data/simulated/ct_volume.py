"""Simulated CT in three dimensions: all slices of a lesion, and slices above and below that nobody marked.

The parts are those of one slice (``ct.py``). What a slice of its own would draw anew is shared here: the wall, the
lesion's texture and contrast are the same on all slices, tissue and vessels change slowly from slice to slice, and only
the scanner's noise is of each slice alone. A voxel shows what its slice's thickness covers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from probunet.data.lidc.readers import LesionSlice
from probunet.data.lidc.whole import common_centre, slices_beyond, unmarked
from probunet.data.simulated.anatomy import Canvas
from probunet.data.simulated.ct import (
    HU_RANGE,
    add_lesion,
    add_vessels,
    add_walls,
    hidden_lesion,
    lung_tissue,
    mean_outline,
    scanner_noise,
)
from probunet.data.simulated.scene import Scene, draw_scene
from probunet.data.simulated.texture import Field

FRAME_MM = 5.0
"""Tissue and vessels are drawn anew so often along the axis, and blended in between."""


@dataclass(frozen=True)
class LesionVolume:
    """All slices of a lesion on one grid, and slices above and below.

    Attributes:
        slices: from the lowest to the highest, in equal steps; those that nobody marked have no contours.
        step: mm between them.
    """

    slices: tuple[LesionSlice, ...]
    step: float

    @property
    def name(self) -> str:
        """Identifier that is unique among all lesions."""
        return self.slices[0].name.rpartition("_z")[0]

    def masks(self, spacing: float, size: int) -> npt.NDArray[np.uint8]:
        """The four readings (4, D, size, size)."""
        return np.stack([lesion_slice.masks(spacing, size) for lesion_slice in self.slices], axis=1)


def lesion_volume(slices: Sequence[LesionSlice]) -> LesionVolume:
    """Put the slices of a lesion on one grid, around the middle of them all.

    Args:
        slices: those that somebody marked, by ascending z.
    """
    heights = np.array([lesion_slice.z for lesion_slice in slices])
    step = slices[0].slice_spacing
    places = np.rint((heights - heights[0]) / step).astype(int)
    if (np.diff(places) < 1).any():  # the scan's median distance is not that of these slices
        step = float(np.diff(heights).min())
        places = np.rint((heights - heights[0]) / step).astype(int)
    centre, beyond = common_centre(slices), slices_beyond(step)
    marked = dict(zip(places.tolist(), slices, strict=True))
    whole = []
    for place in range(-beyond, int(places[-1]) + beyond + 1):
        nearest = min(marked, key=lambda other: abs(other - place))
        own = marked.get(place) or unmarked(marked[nearest])
        whole.append(replace(own, centre=centre, z=float(heights[0] + place * step)))
    return LesionVolume(tuple(whole), step)


def simulate_volume(lesion: LesionVolume, spacing: float, size: int, seed: int = 0) -> Field:
    """Draw simulated CT around all slices of a lesion, on the grid of ``lesion.masks(spacing, size)``.

    Args:
        lesion: whose outlines.
        spacing: mm of a pixel.
        size: pixels a side.
        seed: another seed gives another image around the same lesion.

    Returns:
        (D, size, size) float32, HU within ``HU_RANGE``.
    """
    first = lesion.slices[0]
    identity = (seed, first.scan, first.lesion)
    scene, canvas = draw_scene(np.random.default_rng(identity), first), Canvas(size, spacing)
    means = np.stack([mean_outline(lesion_slice, spacing, size) for lesion_slice in lesion.slices])
    most = float(means.max())
    volume = _surroundings(identity, canvas, scene, lesion)
    for k, lesion_slice in enumerate(lesion.slices):
        rng = np.random.default_rng((*identity, 1))  # the same on all slices
        add_walls(rng, canvas, scene, volume[k], means.max(axis=0))
        rng = np.random.default_rng((*identity, 2))
        hidden = hidden_lesion(rng, scene, means[k], most)
        add_lesion(rng, canvas, scene, volume[k], hidden, lesion_slice)
    through = 0.35 * first.slice_thickness / lesion.step
    plane = float(np.hypot(scene.sharpness, 0.35 * first.pixel_spacing)) / spacing
    volume = ndimage.gaussian_filter(volume, (through, plane, plane), mode="nearest", truncate=2.5)
    for k in range(len(volume)):
        volume[k] += scanner_noise(np.random.default_rng((*identity, 3, k)), canvas, scene)
    return np.clip(volume, *HU_RANGE, out=volume)


def _surroundings(identity: tuple[int, int, int], canvas: Canvas, scene: Scene, lesion: LesionVolume) -> Field:
    """Tissue with vessels (D, size, size), blended between frames that are drawn on their own."""
    depth = np.arange(len(lesion.slices)) * lesion.step / FRAME_MM
    frames = []
    for number in range(int(depth[-1]) + 2):
        rng = np.random.default_rng((*identity, 4, number))
        frame = lung_tissue(rng, canvas, scene)
        add_vessels(rng, canvas, scene, frame, lesion.slices[0])
        frames.append(frame)
    below = depth.astype(int)
    share = (depth - below).astype(np.float32)[:, None, None]
    stack = np.stack(frames)
    return (1 - share) * stack[below] + share * stack[below + 1]
