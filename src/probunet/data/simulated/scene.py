"""What all slices of one lesion in simulated CT have in common, drawn at random."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from probunet.data.lidc.readers import LesionSlice


@dataclass(frozen=True)
class Scene:
    """What all slices of one lesion have in common."""

    lung: float  # HU of lung tissue
    gravity: float  # HU per mm towards the back
    rough: float  # HU of the tissue's texture
    emphysema: float  # 0 (none) to 1
    hilum: tuple[float, float]
    vessels: float  # per 1,000 mm^2
    contrast: float  # the lesion's, relative to what its ratings say
    solid: float  # HU of its solid part
    ground_glass: float  # HU of its ground glass
    sharpness: float  # mm, standard deviation of the reconstruction kernel
    noise: float  # HU
    place: float  # 0 to 1: which surroundings
    direction: float  # radians: where the wall is
    gap: float  # mm between the lesion and the wall
    level: float  # 0 to 1: where the true outline runs between what any and what all readers drew
    clarity: float  # standard normal: how well the lesion is seen


def draw_scene(rng: np.random.Generator, lesion_slice: LesionSlice) -> Scene:
    """Draw what all slices of a lesion have in common."""
    thickness = lesion_slice.slice_thickness
    towards = rng.uniform(0, 2 * np.pi)
    far = rng.uniform(45, 130)
    direction = towards + np.pi + rng.normal(0, 0.5)  # the chest wall is opposite of the hilum
    return Scene(
        lung=rng.normal(-855, 25),
        gravity=rng.uniform(0.1, 0.9),
        rough=rng.uniform(12, 32),
        emphysema=max(0.0, rng.uniform(-1.5, 1.0)),
        hilum=(far * np.cos(towards), far * np.sin(towards)),
        vessels=rng.uniform(3.0, 7.5),
        contrast=float(np.exp(rng.normal(0, 0.08))),
        solid=rng.normal(35, 20),
        ground_glass=rng.normal(-570, 45),
        sharpness=rng.uniform(0.25, 0.6),
        noise=float(np.clip(np.exp(rng.normal(2.85, 0.4)) * np.sqrt(2.0 / thickness), 6, 90)),
        place=rng.random(),
        direction=direction,
        gap=rng.choice([rng.uniform(-0.5, 1.5), rng.exponential(14) + 1], p=[0.3, 0.7]),
        level=rng.uniform(0.2, 0.8),
        clarity=rng.normal(),
    )
