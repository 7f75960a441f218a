"""The surroundings of a simulated lung lesion: vessels, bronchi, chest wall, ribs, mediastinum.

Lengths are mm, positions (x, y) in mm from the middle of the patch, x to the right, y downwards (towards the
back of a patient lying on it). Nothing here knows of a lesion but through a distance that the wall has to
keep.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from probunet.data.simulated.texture import Field, random_field

Points = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Tubes:
    """Straight pieces of tubes, T of them.

    Attributes:
        starts: (T, 2) mm.
        ends: (T, 2) mm.
        radii: (T,) mm.
        weights: (T,) 0 to 1, how much of the slice's thickness a tube fills.
    """

    starts: Points
    ends: Points
    radii: Points
    weights: Points


@dataclass(frozen=True)
class Canvas:
    """A square patch.

    Attributes:
        size: pixels a side.
        spacing: mm.
    """

    size: int
    spacing: float

    @property
    def half(self) -> float:
        """Half the patch's width in mm, to the outer pixels' centres."""
        return self.spacing * (self.size - 1) / 2

    def axes(self) -> tuple[Field, Field]:
        """Coordinates (1, size) x and (size, 1) y of the pixels in mm."""
        axis = (np.arange(self.size) * self.spacing - self.half).astype(np.float32)
        return axis[None, :], axis[:, None]


def draw_tubes(canvas: Canvas, tubes: Tubes) -> Field:
    """Give the share of every pixel that is covered by tubes (the largest of all tubes), 0 to 1.

    Every piece is evaluated in a small window around it, all pieces of similar thickness at once.

    Returns:
        (size, size) float32.
    """
    cover = np.zeros(canvas.size * canvas.size, dtype=np.float32)
    thin = tubes.radii < 1.3
    for chosen in (thin, ~thin):
        if chosen.any():
            _splat(cover, canvas, tubes, chosen)
    return cover.reshape(canvas.size, canvas.size)


def _splat(cover: Field, canvas: Canvas, tubes: Tubes, chosen: npt.NDArray[np.bool_]) -> None:
    starts = (tubes.starts[chosen] + canvas.half) / canvas.spacing
    ends = (tubes.ends[chosen] + canvas.half) / canvas.spacing
    radii = tubes.radii[chosen] / canvas.spacing
    edge = max(1.0, 0.7 / canvas.spacing)  # width of the soft border, pixels
    reach = radii[:, None] + edge / 2
    low = np.ceil(np.minimum(starts, ends) - reach).astype(np.int64)
    high = np.floor(np.maximum(starts, ends) + reach).astype(np.int64)
    on_canvas = ((high >= 0) & (low < canvas.size)).all(axis=1)
    if not on_canvas.any():
        return
    low, high, starts, ends, radii = (
        low[on_canvas],
        high[on_canvas],
        starts[on_canvas],
        ends[on_canvas],
        radii[on_canvas],
    )
    weights = tubes.weights[chosen][on_canvas] * np.minimum(1, 2 * radii / edge)
    window = np.arange(int((high - low).max()) + 1)
    columns = low[:, 0, None] + window
    rows = low[:, 1, None] + window
    step = (ends - starts).astype(np.float32)
    scale = 1 / np.maximum((step**2).sum(axis=1), 1e-6)
    dx = (columns - starts[:, :1]).astype(np.float32)[:, None, :]
    dy = (rows - starts[:, 1:]).astype(np.float32)[:, :, None]
    sx, sy = step[:, 0, None, None], step[:, 1, None, None]
    along = np.clip((dx * sx + dy * sy) * scale[:, None, None].astype(np.float32), 0, 1)
    gap = np.sqrt((dx - along * sx) ** 2 + (dy - along * sy) ** 2)
    value = np.clip((radii[:, None, None].astype(np.float32) - gap) / np.float32(edge) + np.float32(0.5), 0, 1)
    value *= weights[:, None, None].astype(np.float32)
    inside = ((columns >= 0) & (columns < canvas.size))[:, None, :] & ((rows >= 0) & (rows < canvas.size))[:, :, None]
    inside &= value > 0
    flat = rows[:, :, None] * canvas.size + columns[:, None, :]
    np.maximum.at(cover, flat[inside], value[inside])


def grow_vessels(rng: np.random.Generator, canvas: Canvas, hilum: Points, density: float, thickness: float) -> Tubes:
    """Draw the vessels that cross the patch: many cut across as dots, some running in the slice, some
    branching.

    Args:
        rng: random numbers.
        canvas: the patch.
        hilum: (2,) mm, where vessels come from; near it they are thick.
        density: vessels per 1,000 mm^2.
        thickness: mm, slice thickness; thin vessels fill only part of it.
    """
    half = canvas.half + 6
    count = max(6, rng.poisson(density * (2 * half) ** 2 / 1000))
    starts = rng.uniform(-half, half, (count, 2))
    outward = starts - hilum
    distance = np.hypot(outward[:, 0], outward[:, 1])
    heading = np.arctan2(outward[:, 1], outward[:, 0]) + rng.normal(0, 0.55, count)
    calibre = np.exp(rng.normal(-0.45, 0.45, count)) * np.clip(1.7 - distance / 80, 0.8, 1.6)  # mm, radius
    steps = np.where(rng.random(count) < 0.6, 0, np.minimum(1 + rng.geometric(0.25, count), 14))
    parents = _wander(rng, starts, heading, calibre, steps, thickness)
    forks = rng.random(len(parents.starts)) < 0.16
    forks &= np.hypot(*(parents.ends - parents.starts).T) > 1
    if not forks.any():
        return parents
    direction = parents.ends[forks] - parents.starts[forks]
    turn = rng.choice([-1.0, 1.0], forks.sum()) * rng.uniform(0.45, 1.1, forks.sum())
    children = _wander(
        rng,
        parents.ends[forks],
        np.arctan2(direction[:, 1], direction[:, 0]) + turn,
        parents.radii[forks] * rng.uniform(0.6, 0.9, forks.sum()),
        rng.integers(1, 6, forks.sum()),
        thickness,
    )
    return joined(parents, children)


def joined(*parts: Tubes) -> Tubes:
    """Put several sets of tubes into one."""
    return Tubes(
        np.concatenate([p.starts for p in parts]),
        np.concatenate([p.ends for p in parts]),
        np.concatenate([p.radii for p in parts]),
        np.concatenate([p.weights for p in parts]),
    )


def _wander(
    rng: np.random.Generator,
    starts: Points,
    heading: Points,
    radii: Points,
    steps: npt.NDArray[np.integer],
    thickness: float,
) -> Tubes:
    """Let tubes run for a number of steps with slowly turning heading and falling radius; 0 steps is a dot."""
    longest = int(steps.max(initial=0))
    count = len(starts)
    length = rng.uniform(1.8, 2.8, (count, 1))
    angles = heading[:, None] + np.cumsum(rng.normal(0, 0.2, (count, longest + 1)), axis=1)
    moves = np.stack([np.cos(angles), np.sin(angles)], axis=2) * length[:, :, None]
    # a dot still is a little longer than wide: a vessel is never cut exactly across
    moves[:, 0] *= np.where(steps == 0, rng.uniform(0.0, 0.6, count), 1.0)[:, None]
    ends = starts[:, None, :] + np.cumsum(moves, axis=1)
    begins = np.concatenate([starts[:, None, :], ends[:, :-1]], axis=1)
    nth = np.arange(longest + 1)
    taper = radii[:, None] * (1 - 0.45 * nth / (longest + 1))
    share = (nth + 0.6) / (np.maximum(steps, 1)[:, None] + 0.2)
    leaving = np.clip(np.sin(np.pi * share), 0, 1) ** 0.7  # a vessel enters the slice at one end, leaves at the other
    lying = leaving * np.minimum(1.0, 2.2 * taper / thickness)  # a lying tube fills part of the slice only
    weights = np.where(steps[:, None] == 0, rng.uniform(0.35, 1.0, (count, 1)), lying)
    alive = nth[None, :] <= np.maximum(steps[:, None] - 1, 0)
    return Tubes(begins[alive], ends[alive], taper[alive], weights[alive])


@dataclass(frozen=True)
class Wall:
    """A border between lung and body: a large circle with a few waves on it.

    Attributes:
        centre: (x, y) mm of the circle.
        radius: mm.
        lung_inside: True for the chest wall around the lung, False for a mediastinum, heart or diaphragm that
            bulges into it.
        waves: (K, 3) amplitude in mm, waves per radian, phase.
        direction: radians, from the circle's centre to the place where lengths along the wall are 0.
    """

    centre: tuple[float, float]
    radius: float
    lung_inside: bool
    waves: Points
    direction: float

    def depth(self, canvas: Canvas) -> tuple[Field, Field]:
        """Depth into the body in mm (negative in the lung) and length along the wall in mm, both (size, size)."""
        x, y = canvas.axes()
        dx, dy = x - np.float32(self.centre[0]), y - np.float32(self.centre[1])
        cos, sin = np.float32(np.cos(self.direction)), np.float32(np.sin(self.direction))
        angle = np.arctan2(cos * dy - sin * dx, cos * dx + sin * dy)
        distance = np.sqrt(dx * dx + dy * dy) - np.float32(self.radius)
        for amplitude, frequency, phase in self.waves.astype(np.float32):
            distance += amplitude * np.sin(frequency * angle + phase)
        return (distance if self.lung_inside else -distance), angle * np.float32(self.radius)


def place_wall(rng: np.random.Generator, direction: float, gap: float, lung_inside: bool) -> Wall:
    """Place a wall ``gap`` mm from the patch's middle in ``direction`` (radians).

    Args:
        rng: random numbers.
        direction: where the wall is, seen from the middle.
        gap: mm of lung between the middle and the wall.
        lung_inside: see ``Wall``.
    """
    radius = rng.uniform(55, 140) if lung_inside else rng.uniform(22, 90)
    reach = gap - radius if lung_inside else gap + radius
    centre = (float(reach * np.cos(direction)), float(reach * np.sin(direction)))
    # sines of the angle from the place where the wall was put: they do not move it there
    waves = np.array([[rng.normal(0, 0.6), n, 0] for n in (2, 3, 5)]) * [[radius / 40, 1, 1]]
    return Wall(centre, radius, lung_inside, waves, direction if lung_inside else direction + np.pi)


def chest_wall(rng: np.random.Generator, canvas: Canvas, depth: Field, along: Field) -> Field:
    """Attenuation in HU inside a chest wall: muscle, fat, ribs, air outside the body; (size, size)."""
    muscle = np.float32(rng.normal(50, 10))
    fat = np.float32(rng.normal(-100, 10))
    marble = random_field(rng, canvas.size, 3.5 / canvas.spacing)
    fat_from = np.float32(rng.uniform(8, 25))
    share = np.clip((depth - fat_from) / 6 + 1.2 * marble - 0.3, 0, 1)
    tissue = (muscle + share * (fat - muscle)).astype(np.float32)
    tissue += np.clip(1 - np.abs(depth - 2) / 1.2, 0, 1) * np.float32(rng.uniform(-110, 0))  # fat on the pleura
    middle = rng.uniform(-70, -25)
    while middle < 75:
        wide = rng.uniform(3.2, 5.5)
        inner = rng.uniform(2.0, 4.5) + wide
        _add_bone(rng, tissue, along - np.float32(middle), depth - np.float32(inner), rng.uniform(6, 19), wide)
        middle += rng.uniform(24, 50)
    skin = np.float32(rng.uniform(28, 110))
    return tissue + np.clip(depth - skin, 0, 1) * (-1000 - tissue)


def _add_bone(rng: np.random.Generator, tissue: Field, u: Field, v: Field, long: float, wide: float) -> None:
    """Put an ellipse of bone (half axes ``long`` and ``wide`` mm, at u = v = 0): hard shell, softer marrow."""
    tilt = np.float32(rng.normal(0, 0.12))
    norm = np.sqrt((u / np.float32(long)) ** 2 + ((v - tilt * u) / np.float32(wide)) ** 2)
    inside = (1 - norm) * np.float32(wide)  # mm, about
    shell = np.clip(inside + np.float32(0.5), 0, 1)
    marrow = np.clip((inside - np.float32(rng.uniform(0.4, 1.2))) / np.float32(0.25 * wide), 0, 1)
    tissue += shell * (np.float32(rng.uniform(400, 900)) - tissue)
    tissue += marrow * (np.float32(rng.uniform(90, 260)) - tissue)


def mediastinum(rng: np.random.Generator, canvas: Canvas, depth: Field, along: Field) -> Field:
    """Attenuation in HU inside mediastinum, heart or diaphragm: blood, fat, at times a vertebra; (size, size)."""
    blood = np.float32(rng.choice([rng.normal(45, 8), rng.uniform(90, 240)], p=[0.6, 0.4]))  # with contrast medium
    marble = random_field(rng, canvas.size, 6 / canvas.spacing)
    fat = np.clip(1.5 * marble - np.float32(rng.uniform(0.5, 2.5)), 0, 1)
    rim = np.clip(1 - depth / np.float32(rng.uniform(1.5, 6)), 0, 1) * np.float32(rng.uniform(0, 0.9))
    tissue = blood + np.maximum(fat, rim) * (-95 - blood)
    if rng.random() < 0.35:
        wide = rng.uniform(11, 16)
        middle = np.float32(rng.normal(0, 8))
        _add_bone(
            rng,
            tissue,
            along - middle,
            depth - np.float32(wide + rng.uniform(2, 5)),
            rng.uniform(14, 20),
            wide,
        )
    return tissue
