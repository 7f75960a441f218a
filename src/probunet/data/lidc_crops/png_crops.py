"""The 180x180 crops of LIDC-IDRI that the authors of the Probabilistic U-Net published as PNG files.

``images/<patient>/z<position>_c<crop>.png`` and ``gt/<patient>/z<position>_c<crop>_l0.png`` to ``_l3.png``, usually
below ``train``, ``val`` or ``test``: 8-bit, masks 0 and 255, 0.5 mm a pixel (Kohl et al., 2019, arXiv:1905.13077).
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from probunet.core.console import console
from probunet.core.errors import InputError
from probunet.core.intensity import Intensity
from probunet.data.lidc_crops.imported import described
from probunet.data.lidc_crops.png_cases import CropFiles, Part, draw_case, find_cases
from probunet.data.manifest import Case, Split
from probunet.data.prepare import CaseSource, write_store
from probunet.data.splits import FRACTIONS, split_by_patient
from probunet.data.store import Store
from probunet.io.archives import decode_png

log = logging.getLogger(__name__)

LAYOUT = "images/<patient>/z<position>_c<crop>.png"
PUBLISHED = (180, 180)
"""Pixels of the published crops; their spacing is 0.5 mm, that of others is unknown."""
_MEMBER = re.compile(
    r"(?:^|/)(?:images/(?P<of_image>[^/]+)/(?P<image>z[^/]*_c\d+)"
    r"|gt/(?P<of_mask>[^/]+)/(?P<mask>z[^/]*_c\d+)_l(?P<reader>\d+))\.png$"
)
_NUMBER = re.compile(r"^z(?P<z>-?[\d.]+)_c(?P<crop>\d+)$")
_SPLITS: dict[str, Split] = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}


def part_of(name: str) -> Part | None:
    """Tell what a PNG file of this layout is, by its name."""
    if not (match := _MEMBER.search(name)):
        return None
    patient, crop = match["of_image"] or match["of_mask"], match["image"] or match["mask"]
    above = [_SPLITS[folder] for folder in name[: match.start()].split("/") if folder in _SPLITS]
    kind = "image" if match["image"] else f"mask-{match['reader']}"
    return Part(f"{patient}/{crop}", patient, (patient, *_place(crop)), kind, above[-1] if above else None)


def prepare_crops(source: Path, out: Path, fractions: Sequence[float] | None, seed: int) -> Store:
    """Prepare the 180x180 PNG crops.

    Args:
        source: folder, tar or zip; or a folder with several archives (train, validation, test).
        out: folder of the store to make.
        fractions: shares of patients for a new split; the folders train, val and test are the split unless given.
        seed: of a new split.

    Raises:
        InputError: the source is unreadable or incomplete, a patient is in two splits, or ``out`` cannot be written.
    """
    with console.status(f"reading {source}"):
        cases = find_cases(source, part_of, LAYOUT)
    splits, decided = _splits(source, cases, fractions, seed)
    shape = decode_png(cases[0].contents[0], f"{source}: {cases[0].part.case}").shape
    sources = [
        CaseSource(
            Case(case.part.case, case.part.patient, split),
            partial(draw_case, case.contents, shape, f"{source}: {case.part.case}"),
        )
        for case, split in zip(cases, splits, strict=True)
    ]
    log.info(f"{len(sources):,} crops of {len({case.part.patient for case in cases}):,} patients; {decided}")
    title = "LIDC-IDRI crops published with the Hierarchical Probabilistic U-Net, 8-bit, four readers"
    spacing, values = (0.5, 0.5) if shape == PUBLISHED else None, Intensity("grey level", offset=128, scale=64)
    description = described(title, source, values, spacing, decided, fractions, seed)
    return write_store(out, sources, description, np.uint8, threads=True)


def _splits(
    source: Path, cases: Sequence[CropFiles], fractions: Sequence[float] | None, seed: int
) -> tuple[list[Split], str]:
    """Give every case's split, and in words where it comes from."""
    patients = [case.part.patient for case in cases]
    own = [case.part.split for case in cases]
    if fractions is not None or not any(own):
        parts = split_by_patient(patients, fractions or FRACTIONS, seed)
        return [parts[patient] for patient in patients], "split by patient, drawn anew"
    chosen: dict[str, Split] = {}
    for patient, split, case in zip(patients, own, cases, strict=True):
        if split is None:
            raise InputError(f"{source}: {case.part.case} is in none of train, val and test, where others are; sort it")
        if chosen.setdefault(patient, split) != split:
            raise InputError(
                f"{source}: patient {patient} is in {chosen[patient]} and in {split}; give --fractions to split anew"
            )
    return [chosen[patient] for patient in patients], "split as in the source"


def _place(crop: str) -> tuple[str | float, ...]:
    """Sort crops by position in mm; names of another form by themselves."""
    match = _NUMBER.match(crop)
    try:
        return (float(match["z"]), int(match["crop"]), crop) if match else (0.0, 0, crop)
    except ValueError:
        return 0.0, 0, crop
