"""The widespread ``LIDC-IDRI-slices`` layout of real crops with four readers' masks.

``<anything>/<patient>/nodule-<n>/images/slice-<k>.png`` and ``mask-0..3/slice-<k>.png`` beside it: 8-bit crops
on the native pixel grid. A mask's number is not a reader's identity, and a reader who drew nothing is an empty
mask.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from probunet.data.archives import decode_png, read_pngs
from probunet.data.prepare import Description, Drawn, Item, write_store
from probunet.data.splits import split_by_group
from probunet.data.store import Example, Intensity, Store
from probunet.errors import InputError
from probunet.progress import console

READERS = 4
LICENCE = (
    "LIDC-IDRI, CC BY 3.0: Armato et al., Medical Physics 38 (2011) 915-931 and The Cancer Imaging Archive "
    "(2015), doi:10.7937/K9/TCIA.2015.LO9QL9SX; Clark et al., J Digit Imaging 26 (2013) 1045-1057"
)
_MEMBER = re.compile(
    r"(?:^|/)(?P<patient>[^/]+)/nodule-(?P<lesion>\d+)/(?P<kind>images|mask-(?P<reader>\d+))/slice-(?P<slice>\d+)\.png$"
)


def find_crops(archive: Path, fractions: Sequence[float], seed: int) -> list[Item]:
    """Find all crops of an archive or folder, in the order of patient, lesion and slice.

    Args:
        archive: .tar, .tar.gz, .tar.xz, .zip or folder.
        fractions: shares of patients for train, validation and test.
        seed: of the split.

    Raises:
        InputError: unreadable or truncated, no crops of this layout inside, a mask missing, or one there twice.
    """
    found: dict[tuple[str, int, int], dict[str, bytes]] = {}
    for name, content in read_pngs(archive):
        if match := _MEMBER.search(name):
            kinds = found.setdefault((match["patient"], int(match["lesion"]), int(match["slice"])), {})
            if match["kind"] in kinds:
                raise InputError(f"{archive} holds {name} twice; keep one of them")
            kinds[match["kind"]] = content
    if not found:
        raise InputError(
            f"{archive} holds no crops named <patient>/nodule-<n>/images/slice-<k>.png; "
            "is it the LIDC-IDRI-slices layout?"
        )
    parts = split_by_group([patient for patient, _, _ in found], fractions, seed)
    expected = ["images", *(f"mask-{reader}" for reader in range(READERS))]
    items: list[Item] = []
    shape: tuple[int, ...] | None = None
    for patient, lesion, number in sorted(found):
        name = f"{patient}/nodule-{lesion}/slice-{number}"
        files, where = found[patient, lesion, number], f"{archive}: {name}"
        if missing := set(expected) - files.keys():
            raise InputError(f"{where} lacks {', '.join(sorted(missing))}; complete the archive")
        contents = [files[kind] for kind in expected]
        shape = shape or decode_png(contents[0], where).shape
        items.append(Item(Example(name, patient, parts[patient]), partial(draw_crop, contents, shape, where)))
    return items


def draw_crop(contents: Sequence[bytes], shape: tuple[int, ...], where: str) -> Drawn:
    """Decode one crop and its four masks.

    Args:
        contents: of the PNG files: the image, then the masks.
        shape: (H, W) that all must have.
        where: named in messages.

    Returns:
        (1, H, W) uint8 grey levels and (4, H, W) uint8 in {0, 1}.

    Raises:
        InputError: an unreadable PNG, another size, or a mask of more than two values.
    """
    image, *masks = (decode_png(content, where) for content in contents)
    for array in (image, *masks):
        if array.shape != shape:
            raise InputError(
                f"{where} has a PNG of {array.shape[0]}x{array.shape[1]} px where the others have "
                f"{shape[0]}x{shape[1]}; all crops must be of one size"
            )
    labels = np.stack(masks)
    if not np.isin(labels, (0, labels.max())).all():
        values = ", ".join(map(str, np.unique(labels)[:6]))
        raise InputError(f"{where} has mask values {values}; a mask must be 0 outside and one value inside")
    return image[None], (labels > 0).astype(np.uint8)


def prepare_slices(
    archive: Path, out: Path, fractions: tuple[float, float, float] = (0.7, 0.15, 0.15), seed: int = 0
) -> Store:
    """Prepare real LIDC-IDRI crops in the LIDC-IDRI-slices layout.

    Crops on which no reader marked anything are left out and counted.

    Args:
        archive: .tar, .tar.gz, .tar.xz, .zip or folder with <patient>/nodule-<n>/images/slice-<k>.png.
        out: folder of the store to make.
        fractions: shares of patients for train, validation and test; 0 0 1 puts everyone into test.
        seed: of the split by patient.

    Raises:
        InputError: the archive is unreadable or incomplete, or ``out`` cannot be written.
    """
    with console.status(f"reading {archive}"):
        items = find_crops(archive, fractions, seed)
    arguments = {
        "command": "prepare slices",
        "archive": archive.name,
        "fractions": list(fractions),
        "seed": seed,
    }
    description = Description(
        title="LIDC-IDRI crops on the native pixel grid, 8-bit, four readers",
        licence=LICENCE,
        arguments=arguments,
        intensity=Intensity("grey level", offset=128, scale=64),
        spacing_mm=None,
    )
    return write_store(out, items, description, np.uint8, threads=True)

