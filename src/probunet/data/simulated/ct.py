"""Simulated CT: a patch of lung in HU around the outlines that real readers drew.

LIDC-IDRI's images cannot be shipped, its readers' outlines can. This module draws an image that such outlines
could come from: lung tissue, vessels, bronchi, at times chest wall or mediastinum, and in the middle the
lesion. It is simulated CT, not CT, and says nothing about how well a model would do on patients.

The lesion enters by a *hidden lesion*: one outline, which lies somewhere between what one and what all readers
drew, and one contrast, which is random whatever the number of readers who drew. Only the shape of the *mean* of the
readings' filled outlines and the *mean* of the ratings enter, so the image cannot tell who drew what, and how many
drew shows in the size of the lesion and in its ratings alone.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from probunet.data.lidc.contours import rasterise
from probunet.data.lidc.readers import CROP, SPACING_MM, LesionSlice
from probunet.data.simulated.anatomy import (
    Canvas,
    Tubes,
    Wall,
    chest_wall,
    draw_tubes,
    grow_vessels,
    joined,
    mediastinum,
    place_wall,
)
from probunet.data.simulated.scene import Scene, draw_scene
from probunet.data.simulated.texture import Field, random_field

HU_RANGE = (-1024.0, 3071.0)
"""Lowest and highest value of a simulated pixel, as in 12-bit CT."""


def simulate_ct(lesion_slice: LesionSlice, spacing: float = SPACING_MM, size: int = CROP, seed: int = 0) -> Field:
    """Draw simulated CT around one lesion slice, on the same grid as ``lesion_slice.masks(spacing, size)``.

    The result depends on the slice's scan, lesion number and z, on the mean of its readings and ratings, and
    on the arguments; the same input gives the same image. Slices of one lesion share tissue, wall and noise
    level, not the course of vessels.

    Args:
        lesion_slice: whose outlines.
        spacing: mm of a pixel.
        size: pixels a side.
        seed: another seed gives another image around the same lesion.

    Returns:
        (size, size) float32, HU within ``HU_RANGE``.
    """
    identity = (seed, lesion_slice.scan, lesion_slice.lesion)
    scene = draw_scene(np.random.default_rng(identity), lesion_slice)
    rng = np.random.default_rng((*identity, round((lesion_slice.z + 10_000) * 1000)))
    canvas = Canvas(size, spacing)
    hidden = hidden_lesion(rng, scene, mean_outline(lesion_slice, spacing, size))
    image = lung_tissue(rng, canvas, scene)
    add_vessels(rng, canvas, scene, image, lesion_slice)
    add_walls(rng, canvas, scene, image, hidden)
    add_lesion(rng, canvas, scene, image, hidden, lesion_slice)
    sigma = np.hypot(scene.sharpness, 0.35 * lesion_slice.pixel_spacing) / spacing
    image = ndimage.gaussian_filter(image, sigma, mode="nearest", truncate=2.5)
    image += scanner_noise(rng, canvas, scene)
    return np.clip(image, *HU_RANGE, out=image)


def mean_outline(lesion_slice: LesionSlice, spacing: float, size: int) -> Field:
    """Give the mean of the four readings' filled outlines with partly covered pixels, (size, size) float32, 0
    to 1.

    Every pixel is split into 3 x 3 (spacing above 0.7 mm) or 2 x 2.
    """
    factor = 3 if spacing > 0.7 else 2
    fine = lesion_slice.grid(spacing, size).refined(factor)
    total = np.zeros((fine.height, fine.width), dtype=np.uint8)
    for reading in lesion_slice.readings:
        if reading:
            total += rasterise(reading, fine)
    rows, columns = np.flatnonzero(total.any(axis=1)), np.flatnonzero(total.any(axis=0))
    mean = np.zeros((size, size), dtype=np.float32)
    if len(rows):
        top, bottom = rows[0] // factor, rows[-1] // factor + 1
        left, right = columns[0] // factor, columns[-1] // factor + 1
        window = total[top * factor : bottom * factor, left * factor : right * factor]
        parts = window.reshape(bottom - top, factor, right - left, factor).sum(axis=(1, 3), dtype=np.int64)
        mean[top:bottom, left:right] = parts / (factor * factor * len(lesion_slice.readings))
    return mean


def hidden_lesion(rng: np.random.Generator, scene: Scene, mean: Field, most: float | None = None) -> Field:
    """Draw what is really there: one outline and how well it is seen.

    Args:
        rng: of the slice.
        scene: of the lesion.
        mean: the readers' mean outline, 0 to 1.
        most: its largest value in the whole lesion; that of this slice if not given.

    Returns:
        (size, size) float32: 0 outside of the lesion, up to its contrast (0.15 to 1) inside.
    """
    most = float(mean.max()) if most is None else most
    if not most:
        return mean
    inside = np.clip(3 * (mean / np.float32(most) - np.float32(scene.level)) + np.float32(0.5), 0, 1)
    seen = 0.62 + 0.2 * (0.8 * scene.clarity + 0.6 * rng.normal())
    return inside * np.float32(np.clip(seen, 0.15, 1.0))


def lung_tissue(rng: np.random.Generator, canvas: Canvas, scene: Scene) -> Field:
    """Lung without vessels: fine and coarse texture, denser towards the back, at times with emphysema."""
    _, y = canvas.axes()
    coarse = random_field(rng, canvas.size, 7 / canvas.spacing)
    fine = random_field(rng, canvas.size, 1.1 / canvas.spacing)
    image = np.float32(scene.rough) * (0.8 * fine + 0.5 * coarse)
    if scene.emphysema > 0:
        holes = random_field(rng, canvas.size, 3 / canvas.spacing)
        image -= np.clip(holes - 0.6, 0, 1) * np.float32(110 * scene.emphysema)
    image += np.float32(scene.lung) + np.float32(scene.gravity) * y
    return image


def _blend(image: Field, share: Field, value: Field | float) -> None:
    """Move ``image`` in place towards ``value`` by ``share`` (0 to 1)."""
    image += share * (value - image)


def add_vessels(
    rng: np.random.Generator, canvas: Canvas, scene: Scene, image: Field, lesion_slice: LesionSlice
) -> None:
    """Draw vessels, and at times a bronchus beside one, into the image."""
    tubes = grow_vessels(rng, canvas, np.array(scene.hilum), scene.vessels, lesion_slice.slice_thickness)
    _blend(image, draw_tubes(canvas, tubes), float(rng.uniform(0, 60)))
    if rng.random() < 0.35:  # a bronchus beside a vessel: a dark lumen with a thin wall
        pick = int(rng.integers(len(tubes.radii)))
        radius = max(1.3, 1.2 * tubes.radii[pick])
        shift = rng.normal(0, 1, 2)
        shift *= (radius + tubes.radii[pick] + 0.4) / max(np.hypot(*shift), 1e-6)
        starts, ends = tubes.starts[pick : pick + 1] + shift, tubes.ends[pick : pick + 1] + shift
        one = np.ones(1)
        _blend(image, draw_tubes(canvas, Tubes(starts, ends, one * (radius + 0.6), one * 0.75)), -150.0)
        _blend(image, draw_tubes(canvas, Tubes(starts, ends, one * (radius - 0.2), one)), -970.0)


def add_walls(rng: np.random.Generator, canvas: Canvas, scene: Scene, image: Field, mean: Field) -> None:
    """Put chest wall (place < 0.5), mediastinum (0.4 to 0.65: both up to 0.5) or nothing beside the lesion."""
    if scene.place < 0.5:
        wall = _wall_beside(scene, scene.direction, scene.gap, True, canvas, mean)
        depth, along = wall.depth(canvas)
        if depth.max() > -1:
            body = chest_wall(rng, canvas, depth, along)
            _blend(image, np.clip(depth / np.float32(0.8) + 0.5, 0, 1), body)
    if 0.38 < scene.place < 0.68:
        far = scene.gap if scene.place > 0.5 else scene.gap + 15
        wall = _wall_beside(scene, scene.direction + np.pi, far, False, canvas, mean)
        depth, along = wall.depth(canvas)
        if depth.max() > -1:
            _blend(image, np.clip(depth / np.float32(0.8) + 0.5, 0, 1), mediastinum(rng, canvas, depth, along))


def _wall_beside(scene: Scene, direction: float, gap: float, lung_inside: bool, canvas: Canvas, mean: Field) -> Wall:
    """Place a wall ``gap`` mm beyond the lesion's farthest pixel in ``direction``."""
    rows, columns = np.nonzero(mean > 0.1)
    reach = 0.0
    if len(rows):
        along = columns * np.cos(direction) + rows * np.sin(direction)
        middle = (canvas.size - 1) / 2 * (np.cos(direction) + np.sin(direction))
        reach = float((along.max() - middle + 0.5) * canvas.spacing)
    shape = np.random.default_rng(int(scene.place * 2**40))  # the same on every slice of the lesion
    return place_wall(shape, direction, max(reach, 0) + gap, lung_inside)


def add_lesion(
    rng: np.random.Generator,
    canvas: Canvas,
    scene: Scene,
    image: Field,
    mean: Field,
    lesion_slice: LesionSlice,
) -> None:
    """Draw the lesion into the image, by the ratings of its texture, margin, calcification and spiculation."""
    rows, columns = np.nonzero(mean)
    if not len(rows):
        return
    ratings = lesion_slice.ratings
    border = int(np.ceil(9 / canvas.spacing))
    window = (
        slice(max(rows.min() - border, 0), rows.max() + border + 1),
        slice(max(columns.min() - border, 0), columns.max() + border + 1),
    )
    here = mean[window]
    width = 2 * np.sqrt(float(here.sum() / here.max()) / np.pi) * canvas.spacing  # mm, of a disc of the same area
    blur = min(0.25 + 0.2 * (5 - ratings["margin"]), 0.1 * width + 0.15) / canvas.spacing
    soft = ndimage.gaussian_filter(here, blur, mode="constant", truncate=2.5)
    # An outline's own pixels are half lesion: small lesions are a little larger and so brighter than their masks.
    soft *= min((float(here.max()) / max(float(soft.max()), 1e-6)) ** 0.7 * (1 + 1.2 * np.exp(-width / 2)), 3.0)
    texture = random_field(rng, canvas.size, 1.4 / canvas.spacing)[window]
    patchy = random_field(rng, canvas.size, 3.0 / canvas.spacing)[window]
    ground = np.clip((5 - ratings["texture"]) / 4, 0, 1)  # 0 solid, 1 ground glass
    share = np.clip(soft * (1 + np.float32(0.05 + 0.2 * ground) * patchy), 0, 1)
    ends = 1 - 0.15 * abs(lesion_slice.position) ** 6 * min(1.0, lesion_slice.slice_thickness / 2.5)
    subtle = 0.75 + 0.25 * np.clip((ratings["subtlety"] - 1) / 4, 0, 1)
    strength = scene.contrast * ends * subtle * np.exp(rng.normal(0, 0.06))
    share = np.clip(share * np.float32(strength), 0, 1)
    solid_part = np.clip(1 - ground * (1.7 - 1.2 * soft), 0, 1)
    inside = np.float32(scene.ground_glass) + solid_part * np.float32(scene.solid - scene.ground_glass)
    inside += texture * np.float32(18 + 45 * ground)
    inside += _calcium(ratings["calcification"], soft, texture, float(rng.uniform(250, 700)))
    part = image[window]
    part += share * np.maximum(inside - part, 0)
    _add_spicules(rng, canvas, image, mean, lesion_slice, float(strength))


def _calcium(rating: float, soft: Field, texture: Field, most: float) -> Field:
    """HU that calcification adds; rating 6 is none, 3 solid, 5 central, 4 off centre, 2 laminated, 1 popcorn."""
    amount = np.clip((6 - rating) / 3, 0, 1)
    core = np.clip((soft - (1 - amount)) / 0.4, 0, 1)
    return np.float32(most * amount) * core * np.clip(1 + np.float32(0.3) * texture, 0, 2)


def _add_spicules(
    rng: np.random.Generator,
    canvas: Canvas,
    image: Field,
    mean: Field,
    lesion_slice: LesionSlice,
    strength: float,
) -> None:
    """Strands and vessels that reach the lesion: the more, the higher its spiculation is rated."""
    spiky = (lesion_slice.ratings["spiculation"] - 1) / 4
    count = int(rng.poisson(0.5 + 9 * spiky))
    if not count:
        return
    rows, columns = np.nonzero(mean > 0.3 * mean.max())
    pick = rng.integers(len(rows), size=count)
    starts = np.stack([columns[pick], rows[pick]], axis=1).astype(np.float64) * canvas.spacing - canvas.half
    middle = np.array([columns.mean(), rows.mean()]) * canvas.spacing - canvas.half
    out = starts - middle + rng.normal(0, 0.3, starts.shape)
    out /= np.maximum(np.hypot(out[:, 0], out[:, 1]), 1e-6)[:, None]
    width = np.sqrt(len(rows)) * canvas.spacing
    ends = starts + out * (rng.uniform(0.2, 0.6, (count, 1)) * width + rng.uniform(1, 5, (count, 1)))
    radii = rng.uniform(0.25, 0.6, count)
    weights = rng.uniform(0.3, 0.8, count) * min(1.0, strength) * np.sqrt(float(mean.max()))
    first = Tubes(starts, (starts + ends) / 2, radii, weights)
    second = Tubes((starts + ends) / 2, ends, radii * 0.7, weights * 0.6)
    cover = draw_tubes(canvas, joined(first, second))
    image += cover * np.maximum(-60 - image, 0)


def scanner_noise(rng: np.random.Generator, canvas: Canvas, scene: Scene) -> Field:
    """Scanner noise after the reconstruction kernel: sharp kernels give finer and stronger noise."""
    grain = random_field(rng, canvas.size, scene.sharpness * 0.9 / canvas.spacing, ring=True)
    return grain * np.float32(scene.noise * (0.45 / scene.sharpness) ** 0.5)
