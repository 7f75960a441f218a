"""The crops of one lesion, on all its slices, as a volume.

All crops of a lesion have the same window, so they stack. The slices of the layout are those that some reader marked,
so a stack ends where the last reader ended: a model never sees what lies above and below. Grey levels were scaled slice
by slice; neighbours are brought to one scale (``grey.py``), but HU are lost.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from probunet.core.console import console
from probunet.core.errors import InputError
from probunet.core.intensity import Intensity
from probunet.data.lidc.annotations import LICENCE
from probunet.data.lidc_crops.grey import matched_slices
from probunet.data.lidc_crops.slices import find_crops, lesion_of
from probunet.data.lidc_crops.spacing import Key, mask_sizes, match_voxels
from probunet.data.manifest import Case
from probunet.data.prepare import CaseSource, Description
from probunet.data.prepare_volumes import Volume, VolumeSource, write_volumes
from probunet.data.splits import FRACTIONS
from probunet.data.store import Store

log = logging.getLogger(__name__)

NOTE = "a stack begins with the first and ends with the last slice that some reader marked"


def prepare_stacks(archive: Path, out: Path, fractions: tuple[float, float, float] = FRACTIONS, seed: int = 0) -> Store:
    """Prepare real LIDC-IDRI crops in the LIDC-IDRI-slices layout as one volume for each lesion.

    Args:
        archive: .tar, .tar.gz, .tar.xz, .zip or folder.
        out: folder of the store to make.
        fractions: shares of patients for train, validation and test.
        seed: of the split by patient; the same patients as in slices.

    Raises:
        InputError: the archive is unreadable or incomplete, a slice of a lesion is missing, or ``out`` cannot be
            written.
    """
    with console.status(f"reading {archive}"):
        lesions: dict[Key, list[CaseSource]] = defaultdict(list)
        for source in find_crops(archive, fractions, seed):
            lesions[lesion_of(source)].append(source)
    for key, slices in lesions.items():
        _check_complete(archive, key, slices)
    with console.status("looking for the crops' lesions in the built-in annotations"):
        voxels = match_voxels({key: [mask_sizes(s.draw()[1]) for s in slices] for key, slices in lesions.items()})
    known = [between for between, _ in voxels.values() if between is not None]
    log.info(f"{len(known):,} of {len(lesions):,} lesions are in the built-in annotations, which say their voxel size")
    sources = [
        VolumeSource(
            Case("/".join(key), slices[0].case.patient, slices[0].case.split),
            partial(_stack, slices, voxels.get(key, (None, 0.0))),
        )
        for key, slices in lesions.items()
    ]
    arguments: dict[str, Any] = {"command": "prepare slices", "dims": 3, "archive": archive.name}
    description = Description(
        title="LIDC-IDRI crops stacked to volumes, 8-bit, four readers; stacks end where the last reader ended",
        licence=LICENCE,
        arguments={**arguments, "fractions": list(fractions), "seed": seed},
        intensity=Intensity("grey level", offset=128, scale=64),
        spacing_mm=None,
        notes={
            "ends": NOTE,
            "grey_levels": "scaled slice by slice in the source; neighbouring slices matched, HU are not known",
            "lesions_of_known_voxel_size": len(known),
        },
    )
    return write_volumes(out, sources, description, np.uint8, jobs=1)


def _check_complete(archive: Path, key: Key, slices: Sequence[CaseSource]) -> None:
    numbers = [int(source.case.name.rpartition("-")[2]) for source in slices]
    missing = sorted(set(range(numbers[0], numbers[-1] + 1)) - set(numbers))
    if missing:
        raise InputError(f"{archive}: {'/'.join(key)} lacks slice-{missing[0]}, so it is no volume; complete the files")


def _stack(slices: Sequence[CaseSource], voxel: tuple[float | None, float]) -> Volume:
    images, labels = zip(*(source.draw() for source in slices), strict=True)
    between, pixel = voxel
    spacing = None if between is None else (between, pixel, pixel)
    return Volume(matched_slices(np.concatenate(images))[None], np.stack(labels, axis=1), spacing)
