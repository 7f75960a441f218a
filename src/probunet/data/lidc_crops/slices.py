"""The widespread ``LIDC-IDRI-slices`` layout of real crops with four readers' masks.

``<anything>/<patient>/nodule-<n>/images/slice-<k>.png`` and ``mask-0..3/slice-<k>.png`` beside it: 8-bit crops
on the native pixel grid. A mask's number is not a reader's identity, and a reader who drew nothing is an empty
mask. The layout does not say how large a pixel is; the built-in annotations do (``slices_spacing.py``).
"""

from __future__ import annotations

import logging
import re
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
from probunet.data.lidc_crops.png_cases import Part, draw_case, find_cases
from probunet.data.lidc_crops.spacing import Sizes, mask_sizes, match_spacing
from probunet.data.manifest import Case
from probunet.data.prepare import CaseSource, Description, Drawn, write_store
from probunet.data.resample import largest_size, resample
from probunet.data.splits import FRACTIONS, split_by_patient
from probunet.data.store import Store
from probunet.io.archives import decode_png

log = logging.getLogger(__name__)

LAYOUT = "<patient>/nodule-<n>/images/slice-<k>.png"
_MEMBER = re.compile(
    r"(?:^|/)(?P<patient>[^/]+)/nodule-(?P<lesion>\d+)/(?:images|mask-(?P<reader>\d+))/slice-(?P<slice>\d+)\.png$"
)


def part_of(name: str) -> Part | None:
    """Tell what a PNG file of this layout is, by its name."""
    if not (match := _MEMBER.search(name)):
        return None
    patient, lesion, number = match["patient"], int(match["lesion"]), int(match["slice"])
    kind = "image" if match["reader"] is None else f"mask-{match['reader']}"
    return Part(f"{patient}/nodule-{lesion}/slice-{number}", patient, (patient, lesion, number), kind)


def find_crops(archive: Path, fractions: Sequence[float], seed: int) -> list[CaseSource]:
    """Find all crops of an archive or folder, in the order of patient, lesion and slice.

    Args:
        archive: .tar, .tar.gz, .tar.xz, .zip or folder.
        fractions: shares of patients for train, validation and test.
        seed: of the split.

    Raises:
        InputError: unreadable or truncated, no crops of this layout inside, a mask missing, or one there twice.
    """
    cases = find_cases(archive, part_of, LAYOUT)
    parts = split_by_patient([case.part.patient for case in cases], fractions, seed)
    shape = decode_png(cases[0].contents[0], f"{archive}: {cases[0].part.case}").shape
    return [
        CaseSource(
            Case(case.part.case, case.part.patient, parts[case.part.patient]),
            partial(draw_case, case.contents, shape, f"{archive}: {case.part.case}"),
        )
        for case in cases
    ]


def prepare_slices(
    archive: Path,
    out: Path,
    fractions: tuple[float, float, float] = FRACTIONS,
    seed: int = 0,
    spacing: float | None = None,
    size: int | None = None,
) -> Store:
    """Prepare real LIDC-IDRI crops in the LIDC-IDRI-slices layout.

    Crops on which no reader marked anything are left out and counted.

    The arguments are those of the command ``probunet prepare slices``.

    Raises:
        InputError: the archive is unreadable or incomplete, or ``out`` cannot be written.
    """
    if size is not None and spacing is None:
        raise InputError(f"a size of {size} px goes with --spacing; without it the crops stay as they are")
    if spacing is not None and not 0.1 <= spacing <= 5:
        raise InputError(f"a spacing of {spacing} mm is not between 0.1 and 5 mm; the paper uses 0.5")
    with console.status(f"reading {archive}"):
        sources = find_crops(archive, fractions, seed)
    arguments: dict[str, Any] = {
        "command": "prepare slices",
        "archive": archive.name,
        "fractions": list(fractions),
        "seed": seed,
    }
    title = "LIDC-IDRI crops on the native pixel grid, 8-bit, four readers"
    notes: dict[str, Any] = {}
    if spacing is not None:
        sources, notes, size = _resampled(sources, spacing, size)
        arguments |= {"spacing": spacing, "size": size}
        title = f"LIDC-IDRI crops resampled to {spacing:g} mm, 8-bit, four readers"
    description = Description(
        title=title,
        licence=LICENCE,
        arguments=arguments,
        intensity=Intensity("grey level", offset=128, scale=64),
        spacing_mm=None if spacing is None else (spacing, spacing),
        notes=notes,
    )
    return write_store(out, sources, description, np.uint8, threads=True)


def _resampled(
    sources: list[CaseSource], spacing: float, size: int | None
) -> tuple[list[CaseSource], dict[str, Any], int]:
    """Give the sources whose pixel size is known at another one, notes on the rest, and the pixels along a side."""
    lesions: dict[tuple[str, str], list[Sizes]] = defaultdict(list)
    with console.status("looking for the crops' lesions in the built-in annotations"):
        for source in sources:
            image, labels = source.draw()
            lesions[lesion_of(source)].append(mask_sizes(labels))
        native = match_spacing(lesions)
    known = [source for source in sources if lesion_of(source) in native]
    if not known:
        raise InputError("no lesion was found in the built-in annotations, so no spacing is known; leave out --spacing")
    side = min(image.shape[1:])
    largest = largest_size(side, (native[lesion_of(source)] for source in known), spacing)
    if not 1 <= (size or largest) <= largest:
        raise InputError(f"{size or 'no'} px of {spacing:g} mm do not lie inside every crop; at most {largest} do")
    size = size or largest
    notes = {
        "lesions_found_in_the_built_in_annotations": len(native),
        "lesions_left_out_not_found_there": len(lesions) - len(native),
        "crops_left_out_not_found_there": len(sources) - len(known),
        "native_spacing_mm": [min(native.values()), max(native.values())],
    }
    log.info(
        f"{len(native):,} of {len(lesions):,} lesions ({len(known):,} of {len(sources):,} crops) are in the built-in "
        f"annotations; resampled from {min(native.values()):.3f}-{max(native.values()):.3f} mm to {spacing:g} mm"
    )
    drawn = [
        CaseSource(one.case, partial(_draw_resampled, one, native[lesion_of(one)], spacing, size)) for one in known
    ]
    return drawn, notes, size


def _draw_resampled(source: CaseSource, native: float, spacing: float, size: int) -> Drawn:
    return resample(*source.draw(), (native, native), (spacing, spacing), (size, size))


def lesion_of(source: CaseSource) -> tuple[str, str]:
    """Patient and lesion that a crop is of."""
    patient, lesion, _ = source.case.name.split("/")
    return patient, lesion
