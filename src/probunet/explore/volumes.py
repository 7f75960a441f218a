"""What is said of a volume as a whole: where it is marked, how large hypotheses and readings are, and their groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from probunet.core.marks import foreground
from probunet.io.geometry import Spacing
from probunet.io.pictures import Picture
from probunet.metrics.clusters import groups
from probunet.metrics.measures import Sizes, sizes

Labels = npt.NDArray[np.uint8]
MOST_VOXELS = 2**26
"""Of all hypotheses of a field, up to which they are drawn as volumes."""
_SIDES = np.array([["L", "R"], ["P", "A"], ["F", "H"]])
"""Letters of the directions in which x, y and z of NIfTI fall and rise."""


@dataclass(frozen=True)
class Extent:
    """Several label maps of one volume: the pixels that each marks in every slice, and how large each is."""

    pixels: npt.NDArray[np.int64]
    """(n, D)"""
    sizes: Sizes | None
    """``None`` of no maps."""

    @classmethod
    def of(cls, labels: Labels, spacing: Spacing | None) -> Extent:
        """Of label maps (n, D, H, W); every class but background counts, and what nobody knows does not."""
        marked = foreground(labels).view(np.uint8)
        return cls(np.count_nonzero(marked, axis=(2, 3)), sizes(marked, 1, spacing) if len(marked) else None)

    def as_json(self) -> dict[str, Any]:
        """As plain data; no summary of no maps."""
        return {
            "pixels": self.pixels.tolist(),
            "size": [] if self.sizes is None else self.sizes.size.tolist(),
            "diameter": [] if self.sizes is None else self.sizes.diameter.tolist(),
            "summary": self.sizes and self.sizes.as_json(),
        }


def facts(labels: Labels, readers: Labels, picture: Picture, classes: int, distance: float) -> dict[str, Any]:
    """Of hypotheses (n, D, h, w) and readings (R, D, H, W) of a volume, as plain data."""
    spacing = picture.spacing_mm
    return {
        "hypotheses": Extent.of(labels, spacing).as_json(),
        "readers": Extent.of(readers, spacing).as_json(),
        "groups": [vars(group) for group in groups(labels, classes, distance)],
    }


def letters(picture: Picture) -> dict[str, str] | None:
    """Sides of the patient at the sides of a slice and at either end of the slices, where the file says it."""
    if picture.affine is None:
        return None
    ends = {}
    for name, axis in (("left", 0), ("top", 1), ("first", 2)):
        step = picture.affine[:3, axis]
        most = int(np.abs(step).argmax())
        rises = int(step[most] > 0)
        ends[name] = str(_SIDES[most, 1 - rises])
        ends[{"left": "right", "top": "bottom", "first": "last"}[name]] = str(_SIDES[most, rises])
    return ends
