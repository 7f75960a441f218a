"""What the stores of imported crops say of themselves."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from probunet.core.intensity import Intensity
from probunet.data.lidc.annotations import LICENCE
from probunet.data.prepare import Description


def described(
    title: str,
    source: Path,
    intensity: Intensity,
    spacing_mm: tuple[float, float] | None,
    split: str,
    fractions: Sequence[float] | None,
    seed: int,
) -> Description:
    """The description of a store of ``prepare import``.

    Args:
        title: of the data.
        source: file or folder of the crops.
        intensity: from its values to what a model sees.
        spacing_mm: of its pixels, where it is known.
        split: who decided it, in words.
        fractions: of the patients in each split; ``None`` where the source has its own splits.
        seed: of the splits.
    """
    return Description(
        title=title,
        licence=LICENCE,
        arguments={
            "command": "prepare import",
            "source": source.name,
            "fractions": None if fractions is None else list(fractions),
            "seed": seed,
        },
        intensity=intensity,
        spacing_mm=spacing_mm,
        notes={"split": split},
    )
