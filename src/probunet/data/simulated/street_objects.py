"""What stands in a simulated street, drawn into an image and a label map at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

SKY, BUILDING, ROAD, SIDEWALK, VEGETATION, PERSON, CAR = range(7)
Colour = npt.NDArray[np.float64]
Point = tuple[float, float]

CARS = np.array([[150, 30, 35], [35, 60, 130], [200, 200, 205], [40, 40, 45], [110, 115, 120], [205, 165, 45]], float)
CLOTHES = np.array([[160, 45, 55], [45, 65, 120], [35, 35, 40], [190, 175, 150], [70, 100, 70], [205, 120, 40]], float)
SKIN = np.array([[225, 185, 155], [160, 110, 80], [95, 65, 50]], float)


class Canvas:
    """An RGB image and a label map that are painted together, far things first.

    Args:
        height: in pixels.
        width: in pixels.
        horizon: row of the horizon.
        vanishing: column of the vanishing point.
        haze: colour that far things fade into.
    """

    METRES = 2.0
    """Height of the camera: at scale 1 this is the distance from the lowest row to the horizon."""

    def __init__(self, height: int, width: int, horizon: float, vanishing: float, haze: Colour) -> None:
        self.height, self.width, self.horizon, self.vanishing, self.haze = height, width, horizon, vanishing, haze
        self.image = Image.new("RGB", (width, height))
        self.label = Image.new("L", (width, height), SKY)
        self._image, self._label = ImageDraw.Draw(self.image), ImageDraw.Draw(self.label)

    def ground(self, metres: float, scale: float) -> Point:
        """Where a point of the ground is seen.

        Args:
            metres: to the right of the middle of the road.
            scale: 1 at the lower border of the image, 0 at the horizon.
        """
        return self.vanishing + metres * self.metre(scale), self.horizon + scale * (self.height - self.horizon)

    def metre(self, scale: float) -> float:
        """Pixels of one metre at a distance."""
        return scale * (self.height - self.horizon) / self.METRES

    def polygon(self, points: Sequence[Point], kind: int, colour: Colour, scale: float = 1.0) -> None:
        """Paint an area; the farther it is, the more it fades."""
        self._image.polygon(points, fill=self._faded(colour, scale))
        self._label.polygon(points, fill=kind)

    def box(
        self, left: float, top: float, right: float, bottom: float, kind: int, colour: Colour, scale: float
    ) -> None:
        """Paint an upright rectangle."""
        self.polygon([(left, top), (right, top), (right, bottom), (left, bottom)], kind, colour, scale)

    def ellipse(
        self, x: float, y: float, radius_x: float, radius_y: float, kind: int, colour: Colour, scale: float
    ) -> None:
        """Paint an ellipse around a middle point."""
        corners = [(x - radius_x, y - radius_y), (x + radius_x, y + radius_y)]
        self._image.ellipse(corners, fill=self._faded(colour, scale))
        self._label.ellipse(corners, fill=kind)

    def shadow(self, x: float, y: float, radius_x: float, radius_y: float) -> None:
        """Darken an ellipse of the ground; the label stays."""
        corners = [(x - radius_x, y - radius_y), (x + radius_x, y + radius_y)]
        self._image.ellipse(corners, fill=(38, 38, 42))

    def _faded(self, colour: Colour, scale: float) -> tuple[int, int, int]:
        share = min(scale * 1.6 + 0.3, 1.0)
        red, green, blue = np.clip(share * colour + (1 - share) * self.haze, 0, 255).astype(int).tolist()
        return red, green, blue


def person(canvas: Canvas, rng: np.random.Generator, metres: float, scale: float) -> None:
    """Legs, trunk, arms and head, 1.6 to 1.9 m tall, walking."""
    x, foot = canvas.ground(metres, scale)
    unit = canvas.metre(scale) * rng.uniform(1.6, 1.9) / 1.75
    coat, trousers = rng.permutation(CLOTHES)[:2]
    trousers, skin = 0.8 * trousers, rng.choice(SKIN)
    step = rng.uniform(0.08, 0.28) * unit
    canvas.shadow(x, foot, 0.45 * unit, 0.08 * unit)
    for side in (-1, 1):
        hip = x + side * 0.09 * unit
        canvas.polygon(
            [
                (hip - 0.1 * unit, foot - 0.85 * unit),
                (hip + 0.1 * unit, foot - 0.85 * unit),
                (x + side * step + 0.09 * unit, foot),
                (x + side * step - 0.09 * unit, foot),
            ],
            PERSON,
            trousers,
            scale,
        )
    wide = rng.uniform(0.22, 0.3) * unit
    shoulders, waist = foot - 1.48 * unit, foot - 0.75 * unit
    trunk = [(x - wide, shoulders), (x + wide, shoulders), (x + 0.85 * wide, waist), (x - 0.85 * wide, waist)]
    canvas.polygon(trunk, PERSON, coat, scale)
    canvas.ellipse(x, foot - 1.62 * unit, 0.12 * unit, 0.15 * unit, PERSON, skin, scale)
    canvas.ellipse(x, foot - 1.7 * unit, 0.12 * unit, 0.09 * unit, PERSON, np.array([50.0, 40, 35]), scale)


def car(canvas: Canvas, rng: np.random.Generator, metres: float, scale: float) -> None:
    """A car from behind or from the front: body, cabin with its window, wheels, lights, shadow."""
    x, ground = canvas.ground(metres, scale)
    unit = canvas.metre(scale)
    half, colour = rng.uniform(0.85, 1.0) * unit, rng.choice(CARS) * rng.uniform(0.8, 1.15)
    high = rng.uniform(1.4, 1.9) * unit
    canvas.shadow(x, ground, 1.15 * half, 0.16 * unit)
    for side in (-1, 1):
        middle = x + side * 0.75 * half
        wheel = 0.15 * half
        canvas.box(middle - wheel, ground - 0.4 * unit, middle + wheel, ground, CAR, np.full(3, 25.0), scale)
    canvas.box(x - half, ground - 0.55 * high, x + half, ground - 0.18 * unit, CAR, colour, scale)
    roof = [(x - 0.85 * half, ground - 0.55 * high), (x - 0.65 * half, ground - high)]
    canvas.polygon([*roof, *[(2 * x - a, b) for a, b in roof[::-1]]], CAR, colour * 0.9, scale)
    glass = [(x - 0.7 * half, ground - 0.58 * high), (x - 0.55 * half, ground - 0.93 * high)]
    canvas.polygon([*glass, *[(2 * x - a, b) for a, b in glass[::-1]]], CAR, np.array([70.0, 90, 105]), scale)
    lights = np.array([210.0, 40, 35]) if rng.random() < 0.6 else np.array([245.0, 240, 205])
    for side in (-1, 1):
        middle = x + side * 0.8 * half
        low, top = ground - 0.4 * high, ground - 0.5 * high
        canvas.box(middle - 0.13 * half, top, middle + 0.13 * half, low, CAR, lights, scale)
    plate = np.array([225.0, 225, 210])
    canvas.box(x - 0.2 * half, ground - 0.36 * high, x + 0.2 * half, ground - 0.28 * high, CAR, plate, scale)


def tree(canvas: Canvas, rng: np.random.Generator, metres: float, scale: float) -> None:
    """A trunk and a crown of overlapping clumps of leaves, 4 to 7 m tall."""
    x, foot = canvas.ground(metres, scale)
    unit = canvas.metre(scale)
    high, wide = rng.uniform(4, 7) * unit, rng.uniform(1.0, 1.7) * unit
    green = np.array([rng.uniform(45, 95), rng.uniform(95, 135), rng.uniform(35, 60)])
    canvas.shadow(x, foot, 0.5 * wide, 0.1 * unit)
    trunk = np.array([85.0, 65, 45])
    canvas.box(x - 0.13 * unit, foot - 0.6 * high, x + 0.13 * unit, foot, VEGETATION, trunk, scale)
    for _ in range(14):
        angle, far = rng.uniform(0, 2 * np.pi), np.sqrt(rng.uniform(0, 1))
        dx, dy = far * np.cos(angle) * wide * 0.75, far * np.sin(angle) * 0.25 * high
        light = 1.15 - 0.5 * (dy / (0.25 * high) + 1) / 2 + rng.uniform(-0.12, 0.12)
        size = rng.uniform(0.35, 0.6) * wide
        canvas.ellipse(x + dx, foot - 0.7 * high + dy, size, 0.9 * size, VEGETATION, green * light, scale)


def facade(
    canvas: Canvas, rng: np.random.Generator, metres: float, near: float, far: float, storeys: int, colour: Colour
) -> None:
    """The front of a house along the street, with storeys of windows in perspective.

    Args:
        canvas: where it is painted.
        rng: source of randomness.
        metres: distance of the front from the middle of the road, negative to the left.
        near: scale of its near edge.
        far: scale of its far edge.
        storeys: of 3 m.
        colour: of the wall.
    """
    high = 3.0 * storeys + 1

    def at(along: float, up: float) -> Point:
        scale = 1 / ((1 - along) / near + along / far)  # distances, not scales, are even along the street
        x, y = canvas.ground(metres, scale)
        return x, y - up * canvas.metre(scale)

    def quad(a: float, b: float, low: float, top: float, paint: Colour) -> None:
        canvas.polygon([at(a, low), at(a, top), at(b, top), at(b, low)], BUILDING, paint, (near + far) / 2)

    quad(0, 1, 0, high, colour)
    quad(0, 1, high - 0.5, high, colour * 0.7)
    columns = max(int((1 / far - 1 / near) * 1.6), 1)
    glass = np.array([60.0, 75, 95]) * rng.uniform(0.7, 1.3)
    for storey in range(storeys):
        for column in range(columns):
            left = (column + 0.25) / columns
            quad(left, left + 0.5 / columns, 3 * storey + 0.9, 3 * storey + 2.5, glass * rng.uniform(0.7, 1.5))
