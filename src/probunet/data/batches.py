"""Batches from a store: training batches as a pure function of (seed, step), evaluation crops in order."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset, IterableDataset, default_collate

from probunet.core.errors import InputError
from probunet.core.intensity import Intensity
from probunet.core.seeds import seed_of
from probunet.core.types import IGNORE, Image, Label
from probunet.data.augment import Augmentation, draw_brightness, sampling_grid, warp_image, warp_labels
from probunet.data.flips import draw_flips, modes
from probunet.data.manifest import Split
from probunet.data.store import Store, marked
from probunet.data.windows import central_corner

Crop: TypeAlias = int | tuple[int, int]
"""Height and width in pixels; one number for both."""


@dataclass
class Batch:
    """What a model trains on.

    Attributes:
        image: (B, C, h, w) float32.
        label: (B, h, w) uint8, one random reader (or one draw of the label flips) of every image.
        labels: (B, R, h, w) uint8, all readers of the same image (or that one draw), where they are asked for.
        reader: (B,) int64, the column of the store that ``label`` is of: the same person in every batch where
            :attr:`Store.reader_names` names one; 0 where labels flip.
    """

    image: Image
    label: Label
    labels: torch.Tensor | None = None
    reader: torch.Tensor | None = None


class TrainingBatches(IterableDataset[Batch]):
    """An endless stream of augmented batches, each case a random image and a random one of its readers.

    Every image is seen once before any is seen again. Batch number ``step`` depends on the seed and the step
    alone, so that a resumed training run continues with the batch that comes next.

    Args:
        store: the prepared data.
        crop: height and width of the images, in pixels.
        batch_size: cases a batch.
        augmentation: how strongly to deform.
        seed: of order, readers and deformations.
        first_step: asked once when the iteration starts.
        part: (rank, ranks) where several processes share every batch.
        all_readers: whether a batch also carries the labels of all readers; the rest of it stays the same.
        device: where images are deformed and labels flip, and where batches are; another kind of device draws other
            random numbers from the same seed.

    Raises:
        InputError: the crop is larger than the stored images, or to be turned and not square; there are fewer
            training images than a batch; or the processes cannot share a batch evenly, which would give some images
            more weight than others.
    """

    def __init__(
        self,
        store: Store,
        crop: Crop,
        batch_size: int,
        augmentation: Augmentation,
        seed: int,
        first_step: Callable[[], int] = lambda: 0,
        part: tuple[int, int] = (0, 1),
        all_readers: bool = False,
        device: torch.device | str = "cpu",
    ) -> None:
        self.store, self.crop, self.batch_size = store, _checked_crop(store, crop), batch_size
        self.augmentation, self.seed, self.first_step, self.part = augmentation, seed, first_step, part
        self.all_readers, self.device = all_readers, torch.device(device)
        self.indices = store.indices("train")
        if augmentation.turn and self.crop[0] != self.crop[1]:
            raise InputError(
                f"augmentation.turn takes square crops, data.crop is {self.crop[0]}x{self.crop[1]} pixels; "
                "change data.crop, or set data.augmentation.turn to false"
            )
        if augmentation.gamma_probability and store.images.dtype != np.uint8:
            raise InputError(
                f"{store.path} holds {store.images.dtype} images, gamma is for 8-bit ones; "
                "set data.augmentation.gamma_probability to 0"
            )
        if len(self.indices) < batch_size:
            raise InputError(
                f"{store.path} has {len(self.indices)} training images, fewer than the batch size {batch_size}; "
                "lower data.batch_size"
            )
        if batch_size % part[1]:
            raise InputError(
                f"a batch of {batch_size} cannot be shared evenly by {part[1]} processes; "
                "change data.batch_size or the number of devices"
            )

    def __iter__(self) -> Iterator[Batch]:
        step = self.first_step()
        while True:
            yield self.batch(step)
            step += 1

    def batch(self, step: int) -> Batch:
        """Make batch number ``step`` (this process's part of it)."""
        rank, ranks = self.part
        chosen = self._chosen(step)
        seed = seed_of(self.seed, 1 + step * ranks + rank)
        generator = torch.Generator().manual_seed(seed)
        on_device = generator if self.device.type == "cpu" else torch.Generator(self.device).manual_seed(seed)
        raw = draw_brightness(self.augmentation, self.store.images[chosen], generator)
        image = torch.from_numpy(self.store.normalised(chosen, raw)).to(self.device)
        reader = self._readers(chosen, generator)
        taken = np.arange(self.store.readers)[None] if self.all_readers else reader[:, None]
        labels = torch.from_numpy(self.store.readings(chosen[:, None], taken)).to(self.device)
        source = (int(image.shape[-2]), int(image.shape[-1]))
        move = partial(self._towards_marks, chosen=chosen, source=source, seed=seed_of(seed, "marks"))
        grid = sampling_grid(self.augmentation, len(chosen), source, self.crop, on_device, move)
        warped = warp_labels(labels, grid)
        label = warped[np.arange(len(chosen)), reader] if self.all_readers else warped[:, 0]
        if self.store.flips:
            label = draw_flips(label, self.store.flips, on_device)
            warped = label[:, None]
        return Batch(warp_image(image, grid), label, warped if self.all_readers else None, torch.from_numpy(reader))

    def _towards_marks(
        self, corners: torch.Tensor, chosen: npt.NDArray[np.int64], source: tuple[int, int], seed: int
    ) -> torch.Tensor:
        """Move a share of the crops that miss every reader's mark so that they hold one; see ``Augmentation.marks``."""
        share, size, random = self.augmentation.marks, np.array(self.crop), np.random.default_rng(seed)
        if not share or self.augmentation.shift is not None or self.crop == source or self.store.flips:
            return corners
        moved = corners.long().cpu().numpy()
        for k, row in enumerate(chosen):
            labels, (top, left) = self.store.labels[row], moved[k]
            if random.random() >= share or marked(labels[:, top : top + size[0], left : left + size[1]]).any():
                continue
            places = np.argwhere(((labels != 0) & (labels != IGNORE)).any(axis=0))
            if len(places):
                place = places[random.integers(len(places))]
                moved[k] = random.integers(np.maximum(place - size + 1, 0), np.minimum(place, source - size) + 1)
        return torch.from_numpy(moved).to(corners)

    def _readers(self, chosen: npt.NDArray[np.int64], generator: torch.Generator) -> npt.NDArray[np.int64]:
        """Draw one of the readers who looked at each image."""
        if self.store.complete:
            return torch.randint(self.store.readers, (len(chosen),), generator=generator).numpy()
        present = self.store.present[chosen]
        chance = torch.where(torch.from_numpy(present), torch.rand(present.shape, generator=generator), -1.0)
        return chance.argmax(dim=1).numpy()

    def names(self, step: int) -> list[str]:
        """Name the cases of batch number ``step`` (this process's part of it), in its order."""
        return [self.store.cases[i].name for i in self._chosen(step)]

    def _chosen(self, step: int) -> npt.NDArray[np.int64]:
        rank, ranks = self.part
        positions = np.arange(step * self.batch_size, (step + 1) * self.batch_size)[rank::ranks]
        return np.sort(self.indices[self._shuffled(positions)])

    def _shuffled(self, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        rounds, places = np.divmod(positions, len(self.indices))
        orders = {int(r): self._order(int(r)) for r in np.unique(rounds)}
        return np.array([orders[int(r)][p] for r, p in zip(rounds, places, strict=True)])

    def _order(self, round_: int) -> npt.NDArray[np.int64]:
        return np.random.default_rng([self.seed, round_]).permutation(len(self.indices))


class EvaluationImages(Dataset[dict[str, Any]]):
    """The central crops of one split, in the store's order, with their present readers (or all modes of label flips).

    Args:
        store: the prepared data.
        split: which part.
        crop: height and width in pixels; ``None`` for the whole stored image.
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
        height, width = store.images.shape[-2:]
        h, w = (height, width) if crop is None else _checked_crop(store, crop)
        top, left = central_corner((height, width), (h, w))
        self.window: tuple[Any, ...] = (..., slice(top, top + h), slice(left, left + w))

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        rows, columns = self.window[1:]
        return rows.stop - rows.start, columns.stop - columns.start

    def batches(self, size: int) -> list[list[int]]:
        """Positions in order, cut where a batch is full or the number of readers changes: one batch is one array."""
        cut: list[list[int]] = []
        counts = self.store.present[self.indices].sum(axis=1)
        for position in range(len(self)):
            if position and len(cut[-1]) < size and counts[position] == counts[position - 1]:
                cut[-1].append(position)
            else:
                cut.append([position])
        return cut

    def __getitem__(self, position: int) -> dict[str, Any]:
        """Give ``image`` (C, h, w), ``labels`` (R, h, w) of ``readers`` (R,) (columns of the store), and ``index``."""
        rows = self.indices[position : position + 1]
        image = self.store.normalised(rows, self.store.images[rows][self.window], self.intensity)[0]
        readers = np.flatnonzero(self.store.present[rows[0]])
        labels = self.store.readings(rows[:, None], readers[None])[0][self.window]
        shown = modes(labels[0], self.store.flips) if self.store.flips else np.ascontiguousarray(labels)
        return {
            "image": torch.from_numpy(image),
            "labels": torch.from_numpy(shown),
            "readers": torch.from_numpy(readers),
            "index": int(rows[0]),
        }

    def hidden_marks(self) -> tuple[int, int]:
        """Count the images whose marks all lie outside of the crop, and the images with any mark."""
        hidden = shown = 0
        for row in self.indices:
            labels = self.store.labels[row]
            if marked(labels).any():
                shown += 1
                hidden += not marked(labels[self.window]).any()
        return hidden, shown

    def hidden_note(self) -> str | None:
        """A sentence for people where the crop hides all marks of some images; ``None`` where it does not."""
        hidden, shown = self.hidden_marks()
        if not hidden:
            return None
        height, width = self.size
        return (
            f"note: {hidden:,} of the {shown:,} images with marks ({hidden / shown:.0%}) have all of them outside of "
            f"the central crop of {height}x{width} px, and count as empty; give a larger crop"
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


def _checked_crop(store: Store, crop: Crop) -> tuple[int, int]:
    height, width = store.images.shape[-2:]
    h, w = (crop, crop) if isinstance(crop, int) else crop
    if h > height or w > width:
        raise InputError(f"a crop of {h}x{w} px does not fit the {height}x{width} px images of {store.path}")
    return h, w
