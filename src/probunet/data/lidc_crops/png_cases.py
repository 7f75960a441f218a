"""Cases of one image and several readers' masks in PNG files that are told apart by their names."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from probunet.core.errors import InputError
from probunet.data.manifest import Split
from probunet.data.prepare import Drawn
from probunet.io.archives import decode_png, read_pngs

READERS = 4
KINDS = ("image", *(f"mask-{reader}" for reader in range(READERS)))
"""What every case has, in the order in which its files are kept."""


class Part(NamedTuple):
    """What the name of one PNG file says.

    Attributes:
        case: name of the case.
        patient: whose it is.
        order: what cases are sorted by.
        kind: one of ``KINDS``.
        split: the part of the data that the layout puts it in, if any.
    """

    case: str
    patient: str
    order: tuple[str | float, ...]
    kind: str
    split: Split | None = None


class CropFiles(NamedTuple):
    """A complete case: the part that its image is, and the five contents in the order of ``KINDS``."""

    part: Part
    contents: tuple[bytes, ...]


def find_cases(source: Path, part_of: Callable[[str], Part | None], layout: str) -> list[CropFiles]:
    """Collect the cases of a folder or archive; PNG files that are none of the layout are passed over.

    Args:
        source: folder or archive.
        part_of: from the name of a PNG file to what it is, or ``None``.
        layout: named where there is nothing.

    Returns:
        The cases in their order.

    Raises:
        InputError: unreadable, no case inside, or a case that is incomplete, there twice or in two splits.
    """
    found: dict[str, dict[str, bytes]] = {}
    parts: dict[str, Part] = {}
    for name, content in read_pngs(source):
        if (part := part_of(name)) is None:
            continue
        files = found.setdefault(part.case, {})
        if part.kind in files:
            raise InputError(f"{source} holds {name} twice (as {part.kind} of {part.case}); keep one of them")
        if part.kind not in KINDS:
            raise InputError(f"{source} holds {name}, a {part.kind}; there are {READERS} readers, counted from 0")
        files[part.kind] = content
        first = parts.setdefault(part.case, part)
        if first.split != part.split:
            raise InputError(f"{source} holds {part.case} in {first.split} and in {part.split}; keep one of them")
    if not found:
        raise InputError(f"{source} holds no crops named {layout}; is it that layout?")
    for case, files in found.items():
        if missing := [kind for kind in KINDS if kind not in files]:
            raise InputError(f"{source}: {case} lacks {', '.join(missing)}; complete the files")
    ordered = sorted(parts.values(), key=lambda part: part.order)
    return [CropFiles(part, tuple(found[part.case][kind] for kind in KINDS)) for part in ordered]


def draw_case(contents: Sequence[bytes], shape: tuple[int, ...], where: str) -> Drawn:
    """Decode one image and its four masks.

    Args:
        contents: of the PNG files: the image, then the masks.
        shape: (H, W) that all must have.
        where: named in messages.

    Returns:
        (1, H, W) uint8 grey levels and (4, H, W) uint8 in {0, 1}.

    Raises:
        InputError: an unreadable PNG, another size, or a mask of more than two values.
    """
    image, *masks = (decode_png(content, f"{where} ({kind})") for content, kind in zip(contents, KINDS, strict=True))
    for array, kind in zip((image, *masks), KINDS, strict=True):
        if array.shape != shape:
            raise InputError(
                f"{where} has a PNG ({kind}) of {array.shape[0]}x{array.shape[1]} px where the others have "
                f"{shape[0]}x{shape[1]}; all crops must be of one size"
            )
    labels = np.stack(masks)
    if not np.isin(labels, (0, labels.max())).all():
        values = ", ".join(map(str, np.unique(labels)[:6]))
        raise InputError(f"{where} has mask values {values}; a mask must be 0 outside and one value inside")
    return image[None], (labels > 0).astype(np.uint8)
