"""Patches of volumes, deformed: in the plane like images, through the plane by whole slices and mirrored.

The parameters of a case are drawn once and applied to its image and to all its readings. Rotation, scale, shear, turns
and elastic deformation are in the plane, the same for all slices, because slices are often far thicker than pixels are
wide. Beyond a volume the image repeats its border, and labels are ``IGNORE``, as in images.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from probunet.core.marks import marked_places
from probunet.core.types import IGNORE
from probunet.data.augment import (
    Augmentation,
    brightened,
    draw_exponents,
    first_positions,
    sampling_grid,
    warp_image,
    warp_labels,
)
from probunet.data.store import Store
from probunet.data.windows import cut_out

KNOWN_MARKS = 1000
"""Marked voxels of a case that are remembered, at most."""


class Patches:
    """Draws patches of a store of volumes.

    Args:
        store: of volumes.
        crop: depth, height and width of a patch in voxels.
        augmentation: how strongly to deform.
        device: where the patches are deformed, and where they are.
    """

    def __init__(self, store: Store, crop: tuple[int, ...], augmentation: Augmentation, device: torch.device) -> None:
        self.store, self.crop, self.augmentation, self.device = store, crop, augmentation, device
        self._marks: dict[int, npt.NDArray[np.int64]] = {}

    def draw(
        self,
        chosen: npt.NDArray[np.int64],
        columns: npt.NDArray[np.int64],
        generator: torch.Generator,
        on_device: torch.Generator,
        seed: int,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw one patch of each of some volumes.

        Args:
            chosen: (B,) their positions.
            columns: (B, r) or (1, r) the readings that are wanted.
            generator: source of randomness, on the CPU.
            on_device: source of randomness, on the device of the result.
            seed: of where patches are moved towards marks.

        Returns:
            (B, C, d, h, w) float32 and (B, r, d, h, w) uint8.
        """
        plane = (self.crop[1], self.crop[2])
        exponents = draw_exponents(self.augmentation, len(chosen), generator)
        grid = sampling_grid(self.augmentation, len(chosen), plane, plane, on_device)
        places = 2 * torch.rand(len(chosen), 3, generator=generator) - 1
        mirrored = torch.rand(len(chosen), 3, generator=generator) < 0.5 if self.augmentation.mirror else None
        random = np.random.default_rng(seed)
        columns = np.broadcast_to(columns, (len(chosen), columns.shape[1]))
        drawn = []
        for k, row in enumerate(chosen.tolist()):
            corner = self._corner(row, places[k], random)
            exponent = None if exponents is None else exponents[k : k + 1]
            image, labels = self._cut(row, columns[k], corner, grid[k], exponent)
            axes = [] if mirrored is None else [axis for axis in (-3, -2) if mirrored[k, axis]]
            drawn.append((image.flip(axes), labels.flip(axes)))
        images, readings = zip(*drawn, strict=True)
        return torch.stack(images), torch.stack(readings)

    def _corner(self, row: int, place: torch.Tensor, random: np.random.Generator) -> npt.NDArray[np.int64]:
        """First voxel of a patch, as drawn or moved to a mark; see ``Augmentation.marks``."""
        size, crop = np.array(self.store.size(row)), np.array(self.crop)
        corner = first_positions(self.augmentation, tuple(size.tolist()), self.crop, place[None])[0].long().numpy()
        share = self.augmentation.marks
        if not share or self.augmentation.shift is not None or (size <= crop).all() or random.random() >= share:
            return np.asarray(corner)
        marks = self._marks_of(row)
        if not len(marks) or ((marks >= corner) & (marks < corner + crop)).all(axis=1).any():
            return np.asarray(corner)
        mark = marks[random.integers(len(marks))]
        low, high = np.maximum(mark - crop + 1, 0), np.minimum(mark, size - crop)
        return np.where(size > crop, random.integers(low, np.maximum(high, low) + 1), corner)

    def _marks_of(self, row: int) -> npt.NDArray[np.int64]:
        """Voxels (M, 3) that some reader marked, a random few of many; looked for once."""
        if row not in self._marks:
            labels = self.store.labels[row]
            marks = marked_places(labels)
            if len(marks) > KNOWN_MARKS:
                marks = marks[np.random.default_rng(row).choice(len(marks), KNOWN_MARKS, replace=False)]
            self._marks[row] = marks
        return self._marks[row]

    def _cut(
        self,
        row: int,
        columns: npt.NDArray[np.int64],
        corner: npt.NDArray[np.int64],
        grid: torch.Tensor,
        exponent: npt.NDArray[np.float32] | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Image (C, d, h, w) and labels (r, d, h, w) where a grid (h, w, 2) begins at a corner of the volume."""
        places = grid.reshape(-1, 2).flip(1)  # row before column
        before = places.amin(dim=0).floor().long().cpu().numpy()
        behind = places.amax(dim=0).ceil().long().cpu().numpy()
        first, size = (corner[0], *(corner[1:] + before)), (self.crop[0], *(behind - before + 1))
        raw = cut_out(self.store.images[row], first, size)[None]
        raw = raw if exponent is None else brightened(raw, exponent)
        image = torch.from_numpy(self.store.normalised(np.array([row]), raw)).to(self.device)
        readings = self.store.checked(cut_out(self.store.labels[row][columns], first, size, fill=IGNORE))
        labels = torch.from_numpy(readings)[None].to(self.device)
        grid = (grid - torch.from_numpy(before[::-1].copy()).to(grid))[None]
        return (
            warp_image(image.flatten(1, 2), grid).unflatten(1, image.shape[1:3])[0],
            warp_labels(labels.flatten(1, 2), grid).unflatten(1, labels.shape[1:3])[0],
        )
