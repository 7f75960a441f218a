"""Augmentation: parameters are drawn once per case, then applied to the image and to every label.

Elastic deformation, rotation, shear, scale, mirroring and a translated crop (paper, appendix H) are one sampling
grid, on the device of the batch. Images are interpolated linearly; labels are never blended (nearest
neighbour), and what lies outside the stored image is ``IGNORE``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from probunet.core.errors import InputError
from probunet.core.types import IGNORE, Image
from probunet.data.windows import central_corner


@dataclass(frozen=True)
class Augmentation:
    """How strongly to deform; all zero (and scale 1) means a random crop only.

    Attributes:
        probability: of a case to be deformed at all; the others are cropped and mirrored only, which keeps the
            sharpness that deformation takes from an image.
        rotation: largest angle in degrees, drawn uniformly from both sides.
        scale: largest factor; the logarithm is drawn uniformly, so 1.2 means 1/1.2 to 1.2.
        shear: largest shear (tangent of the angle).
        elastic: standard deviation of the elastic displacement, in pixels.
        elastic_spacing: distance between the independent displacements that are interpolated, in pixels.
        mirror: mirror left to right in half of the cases; volumes along each of their axes.
        turn: turn by 0, 90, 180 or 270 degrees, each as often; square crops only, in the plane. With
            ``mirror`` these are the eight symmetries of the square, and no value is interpolated.
        shift: largest translation of the crop along each axis, in whole pixels; ``None`` for as much as the image
            allows.
        marks: of the crops that miss every reader's mark although the image has one, the share that is moved so that
            it holds a marked pixel (a third, as in nnU-Net); only where ``shift`` is ``None``.
        gamma: smallest and largest exponent of the brightness of 8-bit images, drawn on a logarithmic scale (the
            authors' Cityscapes code: 0.7 to 1.5).
        gamma_probability: of a case's brightness to be changed (the authors' Cityscapes code: 0.3).

    Raises:
        InputError: a value out of its range.
    """

    probability: float = 1.0
    rotation: float = 22.5
    scale: float = 1.2
    shear: float = 0.1
    elastic: float = 1.5
    elastic_spacing: float = 16.0
    mirror: bool = False
    turn: bool = False
    shift: int | None = None
    marks: float = 1 / 3
    gamma: tuple[float, float] = (0.7, 1.5)
    gamma_probability: float = 0.0

    def __post_init__(self) -> None:
        low, high = self.gamma
        allowed = {
            "probability": 0 <= self.probability <= 1,
            "rotation": 0 <= self.rotation < math.inf,
            "scale": 0 < self.scale < math.inf,
            "shear": 0 <= self.shear < math.inf,
            "elastic": 0 <= self.elastic < math.inf,
            "elastic_spacing": 0 < self.elastic_spacing < math.inf,
            "shift": self.shift is None or self.shift >= 0,
            "marks": 0 <= self.marks <= 1,
            "gamma": 0 < low <= high < math.inf,
            "gamma_probability": 0 <= self.gamma_probability <= 1,
        }
        if wrong := [name for name, right in allowed.items() if not right]:
            raise InputError(
                f"augmentation.{wrong[0]} {getattr(self, wrong[0])} is out of its range: shares from 0 to 1, scale, "
                "elastic_spacing and gamma above 0, all others 0 or more"
            )


def sampling_grid(
    augmentation: Augmentation,
    batch: int,
    source: tuple[int, int],
    crop: tuple[int, int],
    generator: torch.Generator,
    move: Callable[[torch.Tensor], torch.Tensor] = lambda corners: corners,
) -> torch.Tensor:
    """Draw where every output pixel comes from.

    Args:
        augmentation: how strongly to deform.
        batch: cases B.
        source: height and width of the stored images, in pixels.
        crop: height and width of the result, in pixels; the same where crops are turned.
        generator: source of randomness, on the device of the result.
        move: from first row and column (B, 2) of the crops, as drawn, to where they shall be.

    Returns:
        (B, h, w, 2), x and y in the pixel coordinates of the source, pixel centres at integers.
    """
    device = generator.device

    def uniform(limit: float, *shape: int) -> torch.Tensor:
        return (2 * torch.rand(batch, *shape, generator=generator, device=device) - 1) * limit

    deformed = (torch.rand(batch, generator=generator, device=device) < augmentation.probability).float()
    angle = uniform(math.radians(augmentation.rotation)) * deformed
    factor = torch.exp(uniform(math.log(augmentation.scale)) * deformed)
    shear = uniform(augmentation.shear) * deformed
    cos, sin = factor * angle.cos(), factor * angle.sin()
    matrix = torch.stack([cos, cos * shear - sin, sin, sin * shear + cos], dim=-1).reshape(-1, 2, 2)
    if augmentation.mirror:
        matrix = matrix * (1 - 2 * (uniform(1.0, 1, 1) > 0).float() * torch.tensor([[1.0, 0.0]], device=device))
    if augmentation.turn:
        matrix = matrix @ _quarter_turns(uniform(1.0))
    middle = [(size - 1) / 2 for size in crop]
    rows, columns = (torch.arange(size, device=device) - half for size, half in zip(crop, middle, strict=True))
    points = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1)
    grid = torch.einsum("hwj,bij->bhwi", points.float(), matrix)
    corners = move(first_positions(augmentation, source, crop, uniform(1.0, 2).flip(-1)))
    grid = grid + (corners + torch.tensor(middle, device=device)).flip(-1)[:, None, None, :]  # x before y
    if augmentation.elastic:
        grid = grid + _elastic(augmentation, batch, crop, generator) * deformed[:, None, None, None]
    return grid


def _quarter_turns(place: torch.Tensor) -> torch.Tensor:
    """Matrices (B, 2, 2) of 0 to 3 quarter turns, in whole numbers, from places (B,) between -1 and 1."""
    turns = ((place + 1) * 2).long().clamp(max=3)
    cos, sin = torch.tensor([[1, 0, -1, 0], [0, 1, 0, -1]], dtype=place.dtype, device=place.device)[:, turns]
    return torch.stack([cos, -sin, sin, cos], dim=-1).reshape(-1, 2, 2)


def first_positions(
    augmentation: Augmentation, source: tuple[int, ...], crop: tuple[int, ...], place: torch.Tensor
) -> torch.Tensor:
    """First row and column (B, axes) of each crop, whole pixels inside the source, so that a crop blurs nothing.

    Along an axis that is shorter than the crop it is the central one, below 0.

    Args:
        augmentation: how far a crop may lie from the centre.
        source: sides of the stored image, by axis.
        crop: sides of the result.
        place: (B, axes), -1 to 1 from the first place that is allowed to the last.
    """
    centre = torch.tensor(central_corner(source, crop), device=place.device)
    last = torch.tensor([have - want for have, want in zip(source, crop, strict=True)], device=place.device)
    reach = torch.stack([centre, last - centre])  # before and behind the centre
    reach = torch.where(last < 0, 0, reach)
    if augmentation.shift is not None:
        reach = reach.clamp(max=augmentation.shift)
    before, behind = reach
    return centre + ((behind - before) / 2 + place * (before + behind) / 2).round()


def draw_brightness(augmentation: Augmentation, raw: npt.NDArray[Any], generator: torch.Generator) -> npt.NDArray[Any]:
    """Raise the grey levels of some cases to a random power: 255 (x / 255)^gamma.

    Args:
        augmentation: how strongly and how often.
        raw: (B, C, H, W) uint8.
        generator: source of randomness, on the CPU; untouched where ``gamma_probability`` is 0.

    Returns:
        (B, C, H, W) float32, or ``raw`` itself where nothing is to be changed.
    """
    exponents = draw_exponents(augmentation, len(raw), generator)
    return raw if exponents is None else brightened(raw, exponents)


def draw_exponents(
    augmentation: Augmentation, batch: int, generator: torch.Generator
) -> npt.NDArray[np.float32] | None:
    """The power (B,) of each case, 1 for those that keep their brightness; ``None`` where all do."""
    if not augmentation.gamma_probability:
        return None
    low, high = (math.log(g) for g in augmentation.gamma)
    draws = torch.rand((2, batch), generator=generator).numpy()
    exponents = np.where(draws[0] < augmentation.gamma_probability, np.exp(low + (high - low) * draws[1]), 1.0)
    return exponents.astype(np.float32)


def brightened(raw: npt.NDArray[Any], exponents: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Grey levels (B, C, *size) to the power (B,) of each case, between 0 and 255."""
    powers = exponents.reshape(-1, *(1,) * (raw.ndim - 1))
    return np.asarray(255 * (raw.astype(np.float32) / 255) ** powers)


def _elastic(augmentation: Augmentation, batch: int, crop: tuple[int, int], generator: torch.Generator) -> torch.Tensor:
    knots = [math.ceil(size / augmentation.elastic_spacing) + 1 for size in crop]
    noise = torch.randn(batch, 2, *knots, generator=generator, device=generator.device)
    smooth = F.interpolate(noise, size=crop, mode="bicubic", align_corners=True)
    return augmentation.elastic * smooth.movedim(1, -1)


def warp_image(image: Image, grid: torch.Tensor) -> Image:
    """Interpolate images linearly; beyond the border the last pixel repeats (its label is ``IGNORE``).

    A place that is a pixel's own gives that pixel's value, to the bit.

    Args:
        image: (B, C, H, W) float32.
        grid: (B, h, w, 2), from :func:`sampling_grid`.

    Returns:
        (B, C, h, w).
    """
    places = _normalised(grid, image)
    linear = F.grid_sample(image, places, padding_mode="border", align_corners=True)
    own = (grid == grid.round()).all(dim=-1)[:, None]
    if not own.any():
        return linear
    nearest = F.grid_sample(image, places, mode="nearest", padding_mode="border", align_corners=True)
    return torch.where(own, nearest, linear)


def warp_labels(labels: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
    """Take the nearest label; beyond the border it is ``IGNORE``.

    Args:
        labels: (B, R, H, W) uint8.
        grid: (B, h, w, 2), from :func:`sampling_grid`.

    Returns:
        (B, R, h, w) uint8.
    """
    shifted = labels.float() - IGNORE  # so that the zero that grid_sample fills in means IGNORE
    warped = F.grid_sample(shifted, _normalised(grid, labels), mode="nearest", align_corners=True)
    return (warped + IGNORE).to(torch.uint8)


def _normalised(grid: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
    height, width = source.shape[-2:]
    return 2 * grid / torch.tensor([width - 1, height - 1], device=grid.device).clamp(min=1) - 1
