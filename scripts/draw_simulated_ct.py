"""Draw the contact sheets of simulated CT in ``docs/pictures``: every patch above the mean of its four masks.

    python scripts/draw_simulated_ct.py

``simulated_ct.png`` shows 48 lesion slices at 1 mm (80 x 80 pixels), ``simulated_ct_fine.png`` 24 others at 0.5 mm
(180 x 180 pixels); window -1,000 to 400 HU. The masks' grey is the number of readers: black 0, white 4.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from probunet.data.lidc.readers import LesionSlice, load_annotations
from probunet.data.simulated.ct import simulate_ct

PICTURES = Path(__file__).resolve().parents[1] / "docs" / "pictures"
WINDOW = (-1000.0, 400.0)
LEVELS = 24
"""Grey levels of the picture: fewer than 256 make a small file."""


def sheet(items: list[LesionSlice], spacing: float, size: int, columns: int, tile: int) -> Image.Image:
    """Put patches of ``tile`` x ``tile`` pixels over their mean masks, ``columns`` in a row."""
    rows = -(-len(items) // columns)
    canvas = np.full((rows * 2 * (tile + 2), columns * (tile + 2)), 90, np.uint8)
    for number, item in enumerate(items):
        row, column = divmod(number, columns)
        low, high = WINDOW
        image = np.clip((simulate_ct(item, spacing, size) - low) / (high - low), 0, 1)
        image = np.round(image * (LEVELS - 1)) / (LEVELS - 1)
        for k, (array, resample) in enumerate(
            ((image, Image.Resampling.BILINEAR), (item.masks(spacing, size).mean(axis=0), Image.Resampling.NEAREST))
        ):
            top, left = (2 * row + k) * (tile + 2), column * (tile + 2)
            canvas[top : top + tile, left : left + tile] = _resized(array, tile, resample)
    return Image.fromarray(canvas)


def _resized(array: npt.NDArray[np.floating], tile: int, resample: Image.Resampling) -> npt.NDArray[np.uint8]:
    picture = Image.fromarray((array * 255).astype(np.uint8))
    return np.asarray(picture if picture.width == tile else picture.resize((tile, tile), resample))


def main() -> None:
    """Draw both sheets."""
    items = load_annotations().lesion_slices()
    rng = np.random.default_rng(1)
    chosen = [items[k] for k in sorted(rng.choice(len(items), 72, replace=False))]
    for name, part, spacing, size, columns, tile in (
        ("simulated_ct.png", chosen[::2] + chosen[1::6], 1.0, 80, 12, 80),
        ("simulated_ct_fine.png", chosen[3::6] + chosen[5::6], 0.5, 180, 8, 180),
    ):
        picture = sheet(part, spacing, size, columns, tile)
        picture.save(PICTURES / name, optimize=True)
        print(f"{name}: {(PICTURES / name).stat().st_size / 1000:.0f} kB, {picture.width} x {picture.height}")


if __name__ == "__main__":
    main()
