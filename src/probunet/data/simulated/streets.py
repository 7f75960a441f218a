"""Simulated street scenes: photographs-to-be whose classes flip with known probabilities (paper, section 4.2).

A road to the vanishing point, pavements, houses, trees, cars and people under changing light. Every scene shows
every class, and each class that flips on at least ``MINIMUM`` of the pixels, so that all 32 modes are different.
"""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy.ndimage import zoom

from probunet.data.blocks import majority_of_blocks
from probunet.data.simulated.street_objects import (
    BUILDING,
    CAR,
    PERSON,
    ROAD,
    SIDEWALK,
    SKY,
    VEGETATION,
    Canvas,
    Colour,
    car,
    facade,
    person,
    tree,
)

CLASSES = ("sky", "building", "road", "sidewalk", "vegetation", "person", "car")
FLIPPABLE = (SIDEWALK, PERSON, CAR, VEGETATION, ROAD)
MINIMUM = 0.03
"""Least share of the pixels of each class that flips."""
OVERSAMPLED = 3
ROAD_HALF, PAVEMENT = 3.2, 2.3
"""Metres: half the road, and the width of the pavement beside it."""

Pixels = npt.NDArray[np.uint8]


def draw_scene(rng: np.random.Generator, height: int, width: int) -> tuple[Pixels, Pixels]:
    """Draw one street scene.

    Args:
        rng: source of all randomness; drawn from again until every class is large enough.
        height: in pixels, at least 32.
        width: in pixels, at least 32.

    Returns:
        (3, height, width) RGB and (height, width) ids of ``CLASSES``.
    """
    while True:
        canvas = _compose(rng, OVERSAMPLED * height, OVERSAMPLED * width)
        label = majority_of_blocks(np.asarray(canvas.label), OVERSAMPLED)
        counts = np.bincount(label.ravel(), minlength=len(CLASSES))
        if counts.min() > 0 and counts[list(FLIPPABLE)].min() >= MINIMUM * label.size:
            image = canvas.image.resize((width, height), Image.Resampling.BOX)
            return _photograph(rng, np.asarray(image, dtype=np.float64), label), label


def _compose(rng: np.random.Generator, height: int, width: int) -> Canvas:
    sky = np.array([rng.uniform(135, 200), rng.uniform(165, 215), rng.uniform(200, 245)])
    sky = sky if rng.random() < 0.6 else np.full(3, rng.uniform(170, 225))
    horizon, vanishing = rng.uniform(0.36, 0.48) * height, rng.uniform(0.35, 0.65) * width
    canvas = Canvas(height, width, horizon, vanishing, 0.9 * sky)
    canvas.box(0, 0, width, horizon, SKY, sky, 1.0)
    _skyline(canvas, rng)
    pavement = np.array([1.0, 0.97, 0.92]) * rng.uniform(135, 180)
    canvas.box(0, horizon, width, height, SIDEWALK, pavement, 1.0)
    _strip(canvas, -ROAD_HALF, ROAD_HALF, ROAD, np.full(3, rng.uniform(65, 105)))
    for side in (-1, 1):
        _strip(canvas, side * ROAD_HALF, side * (ROAD_HALF + 0.2), SIDEWALK, 1.2 * pavement)
        _row_of_houses(canvas, rng, side)
    _markings(canvas, rng)
    _traffic(canvas, rng)
    return canvas


def _skyline(canvas: Canvas, rng: np.random.Generator) -> None:
    """Far houses along the horizon."""
    x = 0.0
    while x < canvas.width:
        wide, high = rng.uniform(0.04, 0.12) * canvas.width, rng.uniform(0.04, 0.16) * canvas.height
        colour = np.array([1, 0.97, 0.95]) * rng.uniform(110, 170)
        canvas.box(x, canvas.horizon - high, x + wide, canvas.horizon + 2, BUILDING, colour, 0.1)
        x += wide


def _strip(canvas: Canvas, left: float, right: float, kind: int, colour: Colour) -> None:
    """A strip of ground that runs to the vanishing point; metres from the middle of the road."""
    ends = [canvas.ground(left, 1.05), canvas.ground(right, 1.05), (canvas.vanishing, canvas.horizon)]
    canvas.polygon(ends, kind, colour)


def _row_of_houses(canvas: Canvas, rng: np.random.Generator, side: int) -> None:
    """Houses on one side, the farthest painted first, with gaps here and there."""
    metres = side * (ROAD_HALF + PAVEMENT)
    edges = [1.3]
    while edges[-1] > 0.05:
        edges.append(1 / (1 / edges[-1] + rng.uniform(1.0, 2.6)))
    for near, far in reversed(list(itertools.pairwise(edges))):
        if rng.random() < 0.85:
            tone = np.array([[185, 150, 120], [165, 95, 75], [200, 190, 170], [140, 140, 145]])[rng.integers(4)]
            shade = (0.8 if side < 0 else 1.0) * rng.uniform(0.8, 1.1)
            facade(canvas, rng, metres, near, far, int(rng.integers(1, 5)), tone * shade)


def _markings(canvas: Canvas, rng: np.random.Generator) -> None:
    """White dashes along the middle of the road."""
    phase, white = rng.uniform(0, 1), np.full(3, 215.0)
    for i in range(10):
        near, far = (1 / (0.8 + (i + phase + part) * 1.2) for part in (0, 0.5))
        ends = [canvas.ground(m, s) for m, s in ((-0.08, near), (0.08, near), (0.08, far), (-0.08, far))]
        canvas.polygon(ends, ROAD, white, near)


def _traffic(canvas: Canvas, rng: np.random.Generator) -> None:
    """Trees, cars and people, from far to near."""
    things = []
    for _ in range(rng.integers(2, 6)):
        side = rng.choice((-1, 1))
        things.append((rng.uniform(0.14, 0.55), tree, side * (ROAD_HALF + rng.uniform(0.3, 0.9))))
    for _ in range(rng.integers(1, 5)):
        lane = rng.choice((-1, 1)) * rng.uniform(1.2, 2.1)
        things.append((rng.uniform(0.22, 0.75), car, lane))
    for _ in range(rng.integers(1, 5)):
        crossing = rng.random() < 0.2
        metres = rng.uniform(-ROAD_HALF, ROAD_HALF) if crossing else rng.choice((-1, 1)) * rng.uniform(3.6, 5.2)
        things.append((rng.uniform(0.5, 1.15), person, metres))
    for scale, paint, metres in sorted(things, key=lambda thing: thing[0]):
        paint(canvas, rng, float(metres), float(scale))


def _photograph(rng: np.random.Generator, image: npt.NDArray[np.float64], label: Pixels) -> Pixels:
    """Texture of every material, light from one side, colour of the light, exposure and sensor noise."""
    height, width = label.shape
    strength = np.array([0.02, 0.05, 0.06, 0.05, 0.16, 0.04, 0.03])[label]
    fine = rng.normal(0, 1, label.shape)
    knots = rng.normal(0, 1, (5, 9))
    broad = zoom(knots, (height / 5, width / 9), order=1, mode="nearest", grid_mode=True)
    texture = 1 + strength * (fine + 0.8 * broad)
    sun = 1 + rng.uniform(-0.2, 0.2) * np.linspace(-1, 1, width)[None, :]
    tint = 1 + rng.uniform(-0.06, 0.06, 3)
    lit = image * (texture * sun * rng.uniform(0.65, 1.15))[..., None] * tint
    noisy = lit + rng.normal(0, rng.uniform(1, 5), lit.shape)
    return np.moveaxis(np.clip(noisy, 0, 255).round().astype(np.uint8), -1, 0)
