"""Augmentation: parameters are drawn once per example, then applied to the image and to every label.

Elastic deformation, rotation, shear, scale, mirroring and a translated crop (paper, appendix H) are one sampling
grid, on the device of the batch. Images are interpolated linearly; labels are never blended (nearest
neighbour), and what lies outside the stored image is ``IGNORE``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.nn import functional as F

from probunet.core.types import IGNORE, Image


@dataclass(frozen=True)
class Augmentation:
    """How strongly to deform; all zero (and scale 1) means a random crop only.

    Attributes:
        probability: of an example to be deformed at all; the others are cropped and mirrored only, which keeps the
            sharpness that deformation takes from an image.
        rotation: largest angle in degrees, drawn uniformly from both sides.
        scale: largest factor; the logarithm is drawn uniformly, so 1.2 means 1/1.2 to 1.2.
        shear: largest shear (tangent of the angle).
        elastic: standard deviation of the elastic displacement, in pixels.
        elastic_spacing: distance between the independent displacements that are interpolated, in pixels.
        mirror: mirror left to right in half of the cases.
        shift: largest translation of the crop, in whole pixels; ``None`` for as much as the stored image allows.
        gamma: smallest and largest exponent of the brightness of 8-bit images, drawn on a logarithmic scale (the
            authors' Cityscapes code: 0.7 to 1.5).
        gamma_probability: of an example's brightness to be changed (the authors' Cityscapes code: 0.3).
    """

    probability: float = 1.0
    rotation: float = 22.5
    scale: float = 1.2
    shear: float = 0.1
    elastic: float = 1.5
    elastic_spacing: float = 16.0
    mirror: bool = False
    shift: float | None = None
    gamma: tuple[float, float] = (0.7, 1.5)
    gamma_probability: float = 0.0


def sampling_grid(
    augmentation: Augmentation,
    batch: int,
    source: tuple[int, int],
    crop: tuple[int, int],
    generator: torch.Generator,
) -> torch.Tensor:
    """Draw where every output pixel comes from.

    Args:
        augmentation: how strongly to deform.
        batch: examples B.
        source: height and width of the stored images, in pixels.
        crop: height and width of the result, in pixels.
        generator: source of randomness, on the device of the result.

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
    rows = torch.arange(crop[0], device=device) - (crop[0] - 1) / 2
    columns = torch.arange(crop[1], device=device) - (crop[1] - 1) / 2
    points = torch.stack(torch.meshgrid(columns, rows, indexing="xy"), dim=-1)
    grid = torch.einsum("hwj,bij->bhwi", points.float(), matrix)
    slack = torch.tensor([source[1] - crop[1], source[0] - crop[0]], device=device) / 2
    if augmentation.shift is not None:
        slack = slack.clamp(-augmentation.shift, augmentation.shift)
    grid = grid + (uniform(1.0, 2) * slack).round()[:, None, None, :]  # whole pixels: a crop blurs nothing
    if augmentation.elastic:
        grid = grid + _elastic(augmentation, batch, crop, generator) * deformed[:, None, None, None]
    return grid + torch.tensor([(source[1] - 1) / 2, (source[0] - 1) / 2], device=device)


def draw_brightness(augmentation: Augmentation, raw: npt.NDArray[Any], generator: torch.Generator) -> npt.NDArray[Any]:
    """Raise the grey levels of some examples to a random power: 255 (x / 255)^gamma.

    Args:
        augmentation: how strongly and how often.
        raw: (B, C, H, W) uint8.
        generator: source of randomness, on the CPU; untouched where ``gamma_probability`` is 0.

    Returns:
        (B, C, H, W) float32, or ``raw`` itself where nothing is to be changed.
    """
    if not augmentation.gamma_probability:
        return raw
    low, high = (math.log(g) for g in augmentation.gamma)
    draws = torch.rand((2, len(raw)), generator=generator).numpy()
    exponent = np.where(draws[0] < augmentation.gamma_probability, np.exp(low + (high - low) * draws[1]), 1.0)
    return 255 * (raw.astype(np.float32) / 255) ** exponent.astype(np.float32)[:, None, None, None]


def _elastic(augmentation: Augmentation, batch: int, crop: tuple[int, int], generator: torch.Generator) -> torch.Tensor:
    knots = [math.ceil(size / augmentation.elastic_spacing) + 1 for size in crop]
    noise = torch.randn(batch, 2, *knots, generator=generator, device=generator.device)
    smooth = F.interpolate(noise, size=crop, mode="bicubic", align_corners=True)
    return augmentation.elastic * smooth.movedim(1, -1)


def warp_image(image: Image, grid: torch.Tensor) -> Image:
    """Interpolate images linearly; beyond the border the last pixel repeats (its label is ``IGNORE``).

    Args:
        image: (B, C, H, W) float32.
        grid: (B, h, w, 2), from :func:`sampling_grid`.

    Returns:
        (B, C, h, w).
    """
    return F.grid_sample(image, _normalised(grid, image), padding_mode="border", align_corners=True)


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
    return 2 * grid / torch.tensor([width - 1, height - 1], device=grid.device) - 1
