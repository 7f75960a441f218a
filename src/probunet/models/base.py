"""``model(image)`` is a probability distribution over segmentations: the interface of every model.

A new model is one file with one class, see docs/add_a_model.md.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self, TypeAlias, final

import torch
from torch import nn

from probunet.core.errors import InputError
from probunet.core.intensity import Intensity
from probunet.core.records import record_arguments
from probunet.core.types import Image, Label
from probunet.distributions.base import SegmentationDistribution
from probunet.distributions.noise import Noise
from probunet.nets.combine import Split
from probunet.nets.decode import Decode
from probunet.nets.readers import Persons
from probunet.nets.receptive_field import ReceptiveField
from probunet.nets.tiling import PRIOR_SIZE, TILE, Tiles, make_tiling, reduced
from probunet.nets.unet import MINIMUM_SIZE
from probunet.objectives.loss import Loss

Reader: TypeAlias = str | torch.Tensor | None
"""A person's name, or the number (B,) of the reader of every image; ``None`` for any of them."""

LEAST = {"in_channels": 1, "num_classes": 2, "channels": 1, "convolutions": 1, "latent_dims": 1, "combine_channels": 1}
"""Smallest number that an argument of this name may be, or hold, in any model."""


@dataclass(frozen=True)
class Parts:
    """What a model makes of an image, neither part of which is computed before it is asked for.

    Attributes:
        noise: gives the kind of noise that the hypotheses are drawn with, bound to the whole image.
        decode: gives what turns the variables of hypotheses into logits.
    """

    noise: Callable[[], Noise]
    decode: Callable[[], Decode]


class SegmentationModel(nn.Module, ABC):
    """A network from images to distributions over segmentations.

    Attributes:
        in_channels: channels of the image.
        num_classes: classes K.
        dims: axes of an image, 2 or 3: the constructor's argument of this name, 2 where there is none.
        arguments: of the constructor, complete with defaults, as plain data; a saved model is made again from them.
        intensity: from raw values to what the model was trained on; ``None`` for a model that was not loaded.
    """

    in_channels: int
    num_classes: int
    dims: int
    arguments: dict[str, Any]
    intensity: Intensity | None = None
    reader_names: tuple[str, ...] = ()
    """The persons who drew the labels, where the model knows them: the components of its distribution."""
    persons: Persons | None
    """What the readers change in a network that knows them."""
    reader_parameters: tuple[str, ...] = ("persons.embedding",)
    """Parameters whose row r is reader r and nothing else, so that a new reader is fitted by one more row of each."""
    reader_shares: str = "persons.shares"
    """Buffer of the shares of the readings that each reader drew, of a model with ``reader_names``."""
    split: Split | None = None
    """The two halves of a model that runs f_comb once a hypothesis: for ONNX and for the page."""
    learns_from_readers: bool = False
    """Whether it is trained by :meth:`loss_of_readers`, with all readings of an image in every step."""

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """Record the arguments; making the network is left to the class.

        Raises:
            InputError: the model could not be made again: a class inside a function or class, or an argument that is
                no plain data; or an argument is below ``LEAST``.
        """
        if cls.__qualname__ != cls.__name__:
            raise InputError(
                f"{cls.__qualname__} is inside a function or class, where no saved model finds it again; "
                "put the class at the outermost level of a file"
            )
        model = super().__new__(cls)
        arguments = record_arguments(cls, args, kwargs)
        check_sizes(cls.__name__, arguments)
        object.__setattr__(model, "arguments", arguments)
        object.__setattr__(model, "dims", arguments.get("dims", 2))
        return model

    @final
    def normalise(self, raw: torch.Tensor) -> Image:
        """Map raw values, in the unit of the training pictures, to what the model sees.

        Args:
            raw: of any shape and number type.

        Raises:
            InputError: nothing is known of the pictures that the model was trained on.
        """
        if self.intensity is None:
            raise InputError("this model was not loaded, so nobody knows the unit of its images; map them yourself")
        return (raw.float() - self.intensity.offset) / self.intensity.scale

    @abstractmethod
    def parts(self, image: Image, corner: tuple[int, ...]) -> Parts:
        """Give what a distribution is made of.

        Args:
            image: (B, C, *size) float32, checked; or a part of one.
            corner: of the part, along every axis; multiples of the coarsest voxel of :attr:`receptive_field`.
        """

    @property
    @abstractmethod
    def receptive_field(self) -> ReceptiveField:
        """What the network behind ``Parts.decode`` needs around a voxel; see ``probunet.nets.receptive_field``."""

    @final  # type: ignore[misc]
    def __call__(self, image: Image, reader: Reader = None) -> SegmentationDistribution:
        """Give :meth:`forward` with the hooks of PyTorch."""
        distribution: SegmentationDistribution = super().__call__(image, reader)
        return distribution

    @final  # type: ignore[misc]
    def forward(self, image: Image, reader: Reader = None) -> SegmentationDistribution:
        """Give the distribution over segmentations of every image.

        Args:
            image: (B, C, *size) float32; any height and width from 16x16 up, and of a volume any number of slices.
            reader: the person whose drawing is meant; any of them, in proportion to their shares, if not given.

        Raises:
            InputError: wrong shape or channels, too small, or not finite; or a reader whom the model does not know.
        """
        check_image(image, self.in_channels, self.dims)
        parts = self.parts(image, (0,) * self.dims)
        whole = SegmentationDistribution(parts.noise(), [parts.decode()], self.num_classes, label_shape(image))
        return self._drawn_by(reader, whole)

    @final
    def tiled(
        self,
        image: Image,
        tile: int | None = None,
        margin: int | Sequence[int] | None = None,
        prior_size: int | None = None,
        reader: Reader = None,
    ) -> SegmentationDistribution:
        """Give what :meth:`forward` gives, with memory bounded by the tile; the network runs whenever it is asked.

        Exactly the same where the margin covers the view and the image is not larger than ``prior_size``.

        Args:
            image: (B, C, *size) float32; on the device of the model, or where it has room.
            tile: side in voxels, ``TILE`` if not given.
            margin: in voxels, one number for all axes or one an axis; see :func:`probunet.nets.tiling.make_tiling`.
            prior_size: longest side in voxels, ``PRIOR_SIZE`` if not given, of what those nets see that look at the
                image as a whole; larger
                images are averaged over areas.
            reader: see :meth:`forward`.

        Raises:
            InputError: as :meth:`forward`, or a tile or margin that makes no sense.
        """
        check_image(image, self.in_channels, self.dims)
        tiling = make_tiling(self.receptive_field, TILE[self.dims] if tile is None else tile, margin)
        device = next((parameter.device for parameter in self.parameters()), image.device)
        tiles = Tiles(lambda part, corner: self.parts(part.to(device), corner).decode(), image, tiling)
        whole = reduced(image, PRIOR_SIZE[self.dims] if prior_size is None else prior_size)
        noise = self.parts(whole.to(device), (0,) * self.dims).noise()
        return self._drawn_by(reader, SegmentationDistribution(noise, tiles, self.num_classes, label_shape(image)))

    def _drawn_by(self, reader: Reader, whole: SegmentationDistribution) -> SegmentationDistribution:
        if reader is None:
            return whole
        if isinstance(reader, torch.Tensor):
            return whole.component(reader.to(whole.device))
        return whole.component(torch.full(whole.shape[:1], self.number_of(reader), device=whole.device))

    @final
    def number_of(self, reader: str) -> int:
        """Give the number of a reader, by which batches and components know the person.

        Raises:
            InputError: the model does not know the reader.
        """
        if reader not in self.reader_names:
            known = ", ".join(self.reader_names) or "none, as it was trained without their names"
            raise InputError(f"reader '{str(reader)[:80]}' is not known; this model knows {known}")
        return self.reader_names.index(reader)

    def loss(self, image: Image, label: Label, generator: torch.Generator | None = None) -> Loss:
        """Give the training objective for one reader's label (B, *size) of every image: that of :meth:`loss_under`."""
        return self.loss_under(self.forward(image), label, generator)

    def loss_under(
        self, distribution: SegmentationDistribution, label: Label, generator: torch.Generator | None = None
    ) -> Loss:
        """Give the training objective for a label under what the model says of its image: all of it, or one reader.

        Args:
            distribution: :meth:`forward` of the images, or a component of it.
            label: (B, *size) class ids or ``IGNORE``.
            generator: source of randomness, on any device.

        Raises:
            InputError: a label out of range.
        """
        raise NotImplementedError(f"{type(self).__name__} has no objective; give it the method loss")

    def loss_of_readers(self, image: Image, labels: torch.Tensor, generator: torch.Generator | None = None) -> Loss:
        """Give the training objective for all readers of an image together, of a model that learns from them.

        Args:
            image: (B, C, *size) float32.
            labels: (B, R, *size) class ids or ``IGNORE``; of a reader who did not look at an image, ``IGNORE`` alone.
            generator: source of randomness, on any device.

        Raises:
            InputError: as of :meth:`loss`.
        """
        raise NotImplementedError(f"{type(self).__name__} has no objective for all readers together")

    def loss_of_reader(
        self, image: Image, label: Label, reader: torch.Tensor, generator: torch.Generator | None = None
    ) -> Loss:
        """Give the training objective of a model with :attr:`reader_names`, for the label of one known reader.

        Args:
            image: (B, C, *size) float32.
            label: (B, *size) class ids or ``IGNORE``.
            reader: (B,) numbers of the readers who drew them.
            generator: source of randomness, on any device.

        Raises:
            InputError: as of :meth:`loss`, or there is no reader of this number.
        """
        whole = self.forward(image)
        loss = self.loss_under(whole.component(reader), label, generator)
        return replace(loss, distribution=whole, strata=None)


def check_sizes(name: str, arguments: Mapping[str, Any]) -> None:
    """Refuse the arguments of a network without classes, scales, channels or convolutions.

    Args:
        name: of the model.
        arguments: of its constructor, as plain data.

    Raises:
        InputError: an argument is below ``LEAST``, or a list that is empty.
    """
    for argument, least in LEAST.items():
        value = arguments.get(argument)
        sizes = value if isinstance(value, list) else [value]
        if not sizes or any(isinstance(size, int | float) and size < least for size in sizes):
            raise InputError(
                f"{name}({argument}=...) is {str(value)[:80]}; give "
                + (f"numbers of at least {least}, one or more" if isinstance(value, list) else f"at least {least}")
            )


def check_image(image: Image, in_channels: int, dims: int) -> None:
    """Refuse what cannot be segmented.

    Raises:
        InputError: not (B, C, *size), wrong number of channels, smaller than 16x16, no slices, integer, or not finite.
    """
    if not isinstance(image, torch.Tensor) or not image.is_floating_point():
        kind = getattr(image, "dtype", type(image).__name__)
        raise InputError(f"an image batch of type {kind} is no tensor of floating point numbers; convert it first")
    if image.ndim != 2 + dims or image.shape[1] != in_channels or not len(image):
        axes = "depth, height, width" if dims == 3 else "height, width"
        raise InputError(
            f"an image batch of shape {tuple(image.shape)} does not fit a model of {dims} dimensions and "
            f"{in_channels} input channel(s); give (batch, {in_channels}, {axes})"
        )
    if min(image.shape[-2:]) < MINIMUM_SIZE or not image.shape[2]:
        raise InputError(
            f"an image of {image.shape[-2]}x{image.shape[-1]} px is too small; "
            f"give at least {MINIMUM_SIZE}x{MINIMUM_SIZE} px"
        )
    pieces = image.unbind(2) if dims == 3 else [image]  # of a volume that need not fit into memory
    if not all(bool(torch.isfinite(piece).all()) for piece in pieces):
        bad = sum(int((~torch.isfinite(piece)).sum()) for piece in pieces)
        raise InputError(f"the image holds {bad} values that are NaN or infinite; clean the image first")


def label_shape(image: Image) -> tuple[int, ...]:
    """Shape (B, *size) of the labels of images (B, C, *size)."""
    return (len(image), *image.shape[2:])
