"""Hypotheses of a whole volume, slice by slice and strip by strip, straight to disk.

In a volume every hypothesis has one noise for all slices, for example z = mu(slice) + sigma(slice) * noise: each slice
keeps exactly the distribution that the model gives it (the product of the slices' priors would be far narrower than
any of them), while neighbouring slices, whose mu and sigma are close, get neighbouring z. Likewise the members of an
ensemble, the heads, and the random fields of dropout and of latent maps stay the same through a volume.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import torch

from probunet.core.errors import InputError
from probunet.core.files import writing_file
from probunet.models.base import SegmentationModel
from probunet.nets.tiling import PRIOR_SIZE, TILE


@dataclass(frozen=True)
class Strip:
    """Some rows of one slice, over its whole width.

    Attributes:
        index: of the slice.
        top: of the rows in the slice.
        labels: (N, rows, W) uint8 class ids of the N hypotheses.
        probabilities: (K, rows, W) float32, the softmax averaged over these hypotheses.
    """

    index: int
    top: int
    labels: npt.NDArray[np.uint8]
    probabilities: npt.NDArray[np.float32]


def stream_samples(
    model: SegmentationModel,
    slices: Iterable[torch.Tensor],
    n: int,
    generator: torch.Generator,
    tile: int = TILE,
    margin: int | None = None,
    prior_size: int = PRIOR_SIZE,
) -> Iterator[Strip]:
    """Draw n hypotheses of a volume; memory holds one slice and one strip of the answer.

    Args:
        model: any model.
        slices: each (C, H, W) float32, in order along the axis, on the device of the model; may be read one by one.
            A single image is a volume of one slice.
        n: how many hypotheses.
        generator: source of randomness, on the device of the model.
        tile: side in pixels.
        margin: in pixels, see :func:`probunet.nets.tiling.make_tiling`.
        prior_size: longest side in pixels of what the prior net sees.

    Yields:
        Strips, slice after slice and from top to bottom.

    Raises:
        InputError: what the model refuses, with the number of the slice.
    """
    noise: torch.Tensor | None = None
    for index, image in enumerate(slices):
        top = 0
        with torch.inference_mode():
            try:
                whole = max(image.shape[-2:]) <= min(tile, prior_size)
                distribution = model(image[None]) if whole else model.tiled(image[None], tile, margin, prior_size)
                noise = distribution.noise(n, generator) if noise is None else noise
            except InputError as error:
                raise InputError(f"slice {index}: {error}") from error
            for labels, probabilities in distribution.stream(noise):
                yield Strip(index, top, labels[:, 0].cpu().numpy(), probabilities[0].float().cpu().numpy())
                top += labels.shape[-2]


def write_strips(
    strips: Iterable[Strip], n: int, num_classes: int, shape: tuple[int, int, int], samples: Path, probabilities: Path
) -> None:
    """Write strips as they come to two .npy files, each of which appears when it is complete.

    ``numpy.load(file, mmap_mode="r")`` reads them without loading them. They are written piece by piece and not
    through a memory map, because the written pages of a map count as memory of the process.

    Args:
        strips: from :func:`stream_samples`.
        n: hypotheses.
        num_classes: classes K.
        shape: slices S, height and width in pixels.
        samples: file for (N, S, H, W) uint8 class ids.
        probabilities: file for (S, K, H, W) float32.

    Raises:
        InputError: the strips do not fill the shape, or a file cannot be written; neither file is left then.
    """
    depth, height, width = shape
    with ExitStack() as stack:
        ids, shares = (
            stack.enter_context(stack.enter_context(writing_file(file)).open("wb")) for file in (samples, probabilities)
        )
        ids_begin = _begin(ids, (n, depth, height, width), np.dtype(np.uint8))
        shares_begin = _begin(shares, (depth, num_classes, height, width), np.dtype(np.float32))
        rows = 0
        for strip in strips:
            below = strip.top + strip.labels.shape[1]
            if strip.labels.shape[::2] != (n, width) or below > height or strip.index >= depth:
                raise InputError(
                    f"rows {strip.top} to {below} of slice {strip.index}, {strip.labels.shape[2]} px wide, in "
                    f"{len(strip.labels)} hypotheses do not fit a volume of {depth}x{height}x{width} in {n}"
                )
            for i, labels in enumerate(strip.labels):
                ids.seek(ids_begin + ((i * depth + strip.index) * height + strip.top) * width)
                ids.write(labels.tobytes())
            for k, share in enumerate(strip.probabilities):
                shares.seek(shares_begin + 4 * ((strip.index * num_classes + k) * height + strip.top) * width)
                shares.write(share.tobytes())
            rows += strip.labels.shape[1]
        if rows != depth * height:
            raise InputError(f"{rows} rows came for a volume of {depth} slices of {height} rows; give all slices")


def _begin(file: BinaryIO, shape: tuple[int, ...], dtype: np.dtype) -> int:
    """Write the header of a .npy file and give the file its full size."""
    header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    begin = file.tell()
    file.truncate(begin + math.prod(shape) * dtype.itemsize)
    return begin
