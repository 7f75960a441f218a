"""Training batches from a store, as a pure function of (seed, step)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import count
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import IterableDataset

from probunet.core.errors import InputError
from probunet.core.marks import marked, marked_places
from probunet.core.seeds import seed_of
from probunet.core.types import Image, Label
from probunet.data.augment import (
    Augmentation,
    draw_brightness,
    sampling_grid,
    warp_image,
    warp_labels,
)
from probunet.data.batches import Crop, checked_crop
from probunet.data.flips import Flip
from probunet.data.patches import Patches
from probunet.data.store import Store


@dataclass
class Batch:
    """What a model trains on.

    Attributes:
        image: (B, C, *size) float32.
        label: (B, *size) uint8, one random reader (or one draw of the label flips) of every image.
        labels: (B, R, *size) uint8, all readers of the same image (or that one draw), where they are asked for.
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
        crop: height and width of the images in pixels; depth, height and width of volumes, which may be smaller.
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
        self.store, self.crop, self.batch_size = store, checked_crop(store, crop), batch_size
        self.augmentation, self.seed, self.first_step, self.part = augmentation, seed, first_step, part
        self.all_readers, self.device = all_readers, torch.device(device)
        self.indices = store.indices("train")
        self.patches = Patches(store, self.crop, augmentation, self.device) if store.dims == 3 else None
        if augmentation.turn and self.crop[-2] != self.crop[-1]:
            raise InputError(
                f"augmentation.turn takes square crops, data.crop is {self.crop[-2]}x{self.crop[-1]} pixels; "
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
        first = self.first_step()
        if self.device.type == "cpu":  # which would have to share its cores
            yield from map(self.batch, count(first))
        with ThreadPoolExecutor(1, "batches") as ahead:  # while a GPU works on a batch, the next one is made
            coming = ahead.submit(self.batch, first)
            for step in count(first + 1):
                ready, coming = coming, ahead.submit(self.batch, step)
                yield ready.result()

    def batch(self, step: int) -> Batch:
        """Make batch number ``step`` (this process's part of it)."""
        rank, ranks = self.part
        chosen = self._chosen(step)
        seed = seed_of(self.seed, 1 + step * ranks + rank)
        generator = torch.Generator().manual_seed(seed)
        on_device = generator if self.device.type == "cpu" else torch.Generator(self.device).manual_seed(seed)
        raw = None if self.patches else draw_brightness(self.augmentation, self.store.images[chosen], generator)
        reader = self._readers(chosen, generator)
        taken = np.arange(self.store.readers)[None] if self.all_readers else reader[:, None]
        if self.patches:
            image, warped = self.patches.draw(chosen, taken, generator, on_device, seed_of(seed, "marks"))
        else:
            image, warped = self._images(chosen, taken, raw, on_device, seed)
        label = warped[np.arange(len(chosen)), reader] if self.all_readers else warped[:, 0]
        if self.store.flips:
            label = draw_flips(label, self.store.flips, on_device)
            warped = label[:, None]
        return Batch(image, label, warped if self.all_readers else None, torch.from_numpy(reader))

    def _images(
        self,
        chosen: npt.NDArray[np.int64],
        columns: npt.NDArray[np.int64],
        raw: npt.NDArray[Any] | None,
        on_device: torch.Generator,
        seed: int,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Deformed images (B, C, h, w) and readings (B, r, h, w) of some cases."""
        image = torch.from_numpy(self.store.normalised(chosen, raw)).to(self.device)
        labels = torch.from_numpy(self.store.readings(chosen[:, None], columns)).to(self.device)
        source = (int(image.shape[-2]), int(image.shape[-1]))
        move = partial(self._towards_marks, chosen=chosen, source=source, seed=seed_of(seed, "marks"))
        crop = (self.crop[0], self.crop[1])
        grid = sampling_grid(self.augmentation, len(chosen), source, crop, on_device, move)
        return warp_image(image, grid), warp_labels(labels, grid)

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
            places = marked_places(labels)
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


def draw_flips(label: torch.Tensor, flips: Sequence[Flip], generator: torch.Generator) -> torch.Tensor:
    """Flip classes at random, each image and each class independently.

    Args:
        label: (B, H, W) class ids.
        flips: the possible ones.
        generator: source of randomness.

    Returns:
        (B, H, W), a new tensor.
    """
    draws = torch.rand((len(label), len(flips)), generator=generator, device=label.device)
    table = torch.arange(256, device=label.device).repeat(len(label), 1)
    for flip, draw in zip(flips, draws.T, strict=True):
        table[:, flip.class_id] = torch.where(draw < flip.probability, flip.flipped_id, flip.class_id)
    return table.gather(1, label.flatten(1).long()).reshape(label.shape).to(label.dtype)
