"""What a training sees: augmented crops of the training images, and a part of the validation images."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from probunet.core.errors import InputError
from probunet.core.numbers import is_whole
from probunet.data.augment import Augmentation
from probunet.data.batches import Crop, EvaluationImages, plain_crop
from probunet.data.store import Store
from probunet.data.training_batches import TrainingBatches


@dataclass(frozen=True)
class TrainingData:
    """What to train on.

    Attributes:
        store: folder of the prepared store.
        crop: height and width that the model sees, in pixels, of volumes depth, height and width; one number for all.
        batch_size: images a step, over all processes.
        augmentation: how strongly to deform.
        validation_images: how many images of the validation split are used for D_GED^2, spread evenly.

    Raises:
        InputError: no image a step, or none for validation; or a crop that is no size.
    """

    store: Path
    crop: Crop
    batch_size: int = 32
    augmentation: Augmentation = field(default_factory=Augmentation)
    validation_images: int = 256

    def __post_init__(self) -> None:
        for name in ("batch_size", "validation_images"):
            value = getattr(self, name)
            if not is_whole(value) or value < 1:
                raise InputError(f"--data.{name} {value} is no number of images; give 1 or more")
            object.__setattr__(self, name, int(value))
        object.__setattr__(self, "crop", plain_crop(self.crop))

    def batches(
        self,
        store: Store,
        seed: int,
        first_step: Callable[[], int] = lambda: 0,
        part: tuple[int, int] = (0, 1),
        all_readers: bool = False,
        device: str | torch.device = "cpu",
    ) -> TrainingBatches:
        """Give the endless training batches; see :class:`TrainingBatches` for the arguments and what is raised."""
        return TrainingBatches(
            store,
            self.crop,
            self.batch_size,
            self.augmentation,
            seed,
            first_step=first_step,
            part=part,
            all_readers=all_readers,
            device=device,
        )

    def validation(self, store: Store) -> EvaluationImages:
        """Give the validation images; see :class:`EvaluationImages` for what is raised."""
        return EvaluationImages(store, "validation", self.crop, self.validation_images)
