"""Evaluation images from a store, in order: all of an image or its central crop, with the readers who looked."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset, default_collate

from probunet.core.errors import InputError
from probunet.core.intensity import Intensity
from probunet.core.marks import box_of, marked
from probunet.core.numbers import is_whole
from probunet.core.types import IGNORE
from probunet.data.flips import modes
from probunet.data.manifest import Split
from probunet.data.store import Store
from probunet.data.windows import central_corner, cut_out

Crop: TypeAlias = int | tuple[int, ...]
"""Height and width in pixels, or depth, height and width in voxels; one number for all of them."""

Window: TypeAlias = tuple[tuple[int, ...], tuple[int, ...]]
"""First pixel and size, by axis; the first may lie before the image."""


def plain_crop(crop: Crop) -> Crop:
    """A crop in Python's own whole numbers.

    Raises:
        InputError: a side is no whole number.
    """
    sides = crop if isinstance(crop, list | tuple) else (crop,)
    if not sides or not all(is_whole(side) for side in sides):
        raise InputError(f"--data.crop {crop} is no size in pixels; give one whole number, or one an axis")
    return int(crop) if is_whole(crop) else tuple(map(int, sides))  # type: ignore[arg-type]


def checked_crop(store: Store, crop: Crop) -> tuple[int, ...]:
    """The sides of a crop, by axis.

    Raises:
        InputError: no whole numbers, of other axes than the store has, empty, or larger than its images; volumes may be
            smaller.
    """
    crop = plain_crop(crop)
    sides = (crop,) * store.dims if isinstance(crop, int) else crop
    if len(sides) != store.dims or min(sides) < 1:
        axes = "depth, height and width" if store.dims == 3 else "height and width"
        raise InputError(f"a crop of {'x'.join(map(str, sides))} does not fit {store.path}; give {axes}, or one number")
    if store.dims == 2 and any(want > have for want, have in zip(sides, store.size(0), strict=True)):
        (h, w), (height, width) = sides, store.size(0)
        images = f"{height}x{width} px images of {store.path}"
        raise InputError(f"a crop of {h}x{w} px does not fit the {images}; give a smaller one")
    return sides


class EvaluationImages(Dataset[dict[str, Any]]):
    """The crops of one split, in the store's order, with their present readers (or all modes of label flips).

    Of an image it is the central crop. Of a volume it is around the middle of what readers marked, or of the volume
    where nobody marked anything; beyond the volume the image repeats its border and labels are ``IGNORE``.

    Args:
        store: the prepared data.
        split: which part.
        crop: height and width in pixels, of volumes depth, height and width; ``None`` for all that is stored.
        limit: at most this many images, spread evenly over the split; ``None`` for all.
        intensity: from raw values to what the model sees: the model's own map where it was trained on other data; the
            store's if not given.

    Raises:
        InputError: no such split, or the crop is larger than the stored images.
    """

    def __init__(
        self,
        store: Store,
        split: Split,
        crop: Crop | None = None,
        limit: int | None = None,
        intensity: Intensity | None = None,
    ) -> None:
        self.store, self.indices, self.intensity = store, store.indices(split), intensity
        if limit is not None and limit < len(self.indices):
            spread = np.linspace(0, len(self.indices) - 1, limit).round().astype(int)
            self.indices = self.indices[spread]
        self.crop = None if crop is None else checked_crop(store, crop)
        self._windows: dict[int, Window] = {}

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def size(self) -> tuple[int, ...]:
        """Sides of all images in pixels, or of the largest volume along each axis."""
        return self.crop or tuple(self.store.sizes[self.indices].max(axis=0).tolist())

    def window(self, row: int) -> Window:
        """First pixel and size of what is shown of a case of the store."""
        if row not in self._windows:
            self._windows[row] = self._window(row)
        return self._windows[row]

    def _window(self, row: int) -> Window:
        size = self.store.size(row)
        if self.crop is None:
            return (0,) * len(size), size
        if self.store.dims == 2 or not (box := box_of(self.store.labels[row])):
            return central_corner(size, self.crop), self.crop
        first = tuple(
            min(max((begin + end - want) // 2, 0), side - want) if side > want else central_corner((side,), (want,))[0]
            for (begin, end), side, want in zip(box, size, self.crop, strict=True)
        )
        return first, self.crop

    def raw(self, position: int) -> npt.NDArray[Any]:
        """Raw values (C, *size) of what is shown of an image."""
        row = int(self.indices[position])
        return cut_out(self.store.images[row], *self.window(row))

    def batches(self, size: int) -> list[list[int]]:
        """Positions in order, cut where a batch is full, or readers or size change: one batch is one array."""
        cut: list[list[int]] = []
        counts = self.store.present[self.indices].sum(axis=1)
        shapes = (
            [self.window(row)[1] for row in self.indices.tolist()] if self.crop is None else [self.crop] * len(self)
        )
        kinds = list(zip(counts.tolist(), shapes, strict=True))
        for position in range(len(self)):
            if position and len(cut[-1]) < size and kinds[position] == kinds[position - 1]:
                cut[-1].append(position)
            else:
                cut.append([position])
        return cut

    def __getitem__(self, position: int) -> dict[str, Any]:
        """Give ``image`` (C, *size), ``labels`` (R, *size) of ``readers`` (R,) (columns of the store), ``index``."""
        row = int(self.indices[position])
        image = self.store.normalised(self.indices[position : position + 1], self.raw(position)[None], self.intensity)[
            0
        ]
        readers = np.flatnonzero(self.store.present[row])
        labels = self.store.checked(cut_out(self.store.labels[row][readers], *self.window(row), fill=IGNORE))
        shown = modes(labels[0], self.store.flips) if self.store.flips else labels
        return {
            "image": torch.from_numpy(image),
            "labels": torch.from_numpy(shown),
            "readers": torch.from_numpy(readers),
            "index": row,
        }

    def hidden_marks(self) -> tuple[int, int]:
        """Count the images whose marks all lie outside of the crop, and the images with any mark."""
        hidden = shown = 0
        for row in self.indices.tolist():
            labels, dims = self.store.labels[row], self.store.dims
            if marked(labels, dims).any():
                shown += 1
                hidden += not marked(cut_out(labels, *self.window(row), fill=IGNORE), dims).any()
        return hidden, shown

    def hidden_note(self) -> str | None:
        """A sentence for people where the crop hides all marks of some images; ``None`` where it does not."""
        hidden, shown = self.hidden_marks()
        if not hidden:
            return None
        return (
            f"note: {hidden:,} of the {shown:,} images with marks ({hidden / shown:.0%}) have all of them outside of "
            f"the central crop of {'x'.join(map(str, self.size))} px, and count as empty; give a larger crop"
        )


class SharedBatches(Dataset[dict[str, Any]]):
    """Whole batches of evaluation images, dealt out to several processes.

    A batch has the same images and the same number however many processes there are, so that whatever is drawn from a
    seed and its number is the same, too. Every process gets equally many: where they do not come out even, the last
    ones are repeats that do not count.

    Args:
        images: one by one.
        size: of a batch; those of images with differently many readers are smaller.
        part: (rank, ranks).
    """

    def __init__(self, images: EvaluationImages, size: int, part: tuple[int, int] = (0, 1)) -> None:
        self.images, self.part, self.rows = images, part, images.batches(size)

    def __len__(self) -> int:
        return -(-len(self.rows) // self.part[1])

    def __getitem__(self, position: int) -> dict[str, Any]:
        """Give the entries of :class:`EvaluationImages`, stacked, the batch's ``number``, and whether it ``counts``."""
        if not 0 <= position < len(self):
            raise IndexError(position)
        dealt = self.part[0] + position * self.part[1]
        number = dealt % len(self.rows)
        batch: dict[str, Any] = default_collate([self.images[row] for row in self.rows[number]])
        return {**batch, "number": number, "counts": dealt < len(self.rows)}
