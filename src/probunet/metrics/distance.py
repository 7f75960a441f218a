"""Distance between segmentations, 1 - IoU or 1 - Dice, among the samples and references of every image."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from probunet.core.errors import InputError
from probunet.core.machine import cores
from probunet.core.numbers import whole_number
from probunet.core.samples import images_first
from probunet.metrics.convention import FOREGROUND, Convention, Overlap
from probunet.metrics.overlap import Maps, count_overlaps
from probunet.metrics.values import defined_mean

Floats: TypeAlias = npt.NDArray[np.float64]

_PLANE = 64
"""Pixels from which on it is no accident that every one is marked in one slice alone."""
_TASK_BYTES = 1 << 24  # of counts that one thread holds at a time


@dataclass(frozen=True)
class Distances:
    """Distances among N samples and R references of B images, averaged over the evaluated classes.

    An image with an undefined distance holds NaN there and True in ``left_out``: no pixel of it counts, or
    (with ``empty="skip"``) some pair has none of the evaluated classes.
    """

    cross: Floats
    """(B, N, R) from each sample to each reference."""
    samples: Floats
    """(B, N, N) among the samples, i = j included."""
    references: Floats
    """(B, R, R) among the references, i = j included."""
    sample_area: npt.NDArray[np.int64]
    """(B, N, K) pixels of each evaluated class."""
    reference_area: npt.NDArray[np.int64]
    """(B, R, K) pixels of each evaluated class."""
    left_out: npt.NDArray[np.bool_]
    """(B,) images without a defined distance."""
    convention: Convention
    """What was measured."""

    @property
    def weights(self) -> Floats | None:
        """(R,) probabilities of the references; None: equal."""
        return None if self.convention.weights is None else np.asarray(self.convention.weights)


def pairwise_distances(
    samples: Maps,
    references: Maps,
    convention: Convention = FOREGROUND,
    *,
    mask: Maps | None = None,
    workers: int | None = None,
) -> Distances:
    """Distances between all samples and references of each image, and within each of the two sets.

    Args:
        samples: (B, N, ...) integer labels; NumPy array (memory-mapped ones are read block by block) or
            tensor on any device. Those of a model, (n, B, ...), are taken as they are, here and in every metric.
        references: (B, R, ...) integer labels of the same spatial shape.
        convention: what is compared, and how.
        mask: (B, ...) True where a pixel is left out, besides those that ``convention.ignore`` leaves out.
        workers: threads; None: one for each core this process may use.

    Raises:
        InputError: shapes that do not match, labels that are no integers or out of range, weights that do not fit
            the references.

    Source: Kohl et al. 2018, section 4 and Eq. 5 (d = 1 - IoU).
    """
    return _measured(samples, references, convention, (convention.overlap,), mask, workers)[0]


def iou_and_dice(
    samples: Maps, references: Maps, convention: Convention = FOREGROUND, *, workers: int | None = None
) -> tuple[Distances, Distances]:
    """Distances as 1 - IoU and as 1 - Dice from one count of the pixels; arguments of ``pairwise_distances``."""
    iou, dice = _measured(samples, references, convention, ("iou", "dice"), None, workers)
    return iou, dice


def pairwise_distance(
    first: Maps, second: Maps | None = None, convention: Convention = FOREGROUND, *, workers: int | None = None
) -> Floats:
    """Distance (B, N, M) between every map of ``first`` (B, N, ...) and of ``second`` (B, M, ...).

    Without ``second``, among the maps of ``first``. An ignore label counts where any map of the last given set has
    it.
    """
    first = images_first(first)
    if second is None:
        return pairwise_distances(first[:, :0], first, replace(convention, weights=None), workers=workers).references
    return pairwise_distances(first, second, convention, workers=workers).cross


def _measured(
    samples: Maps,
    references: Maps,
    convention: Convention,
    overlaps: Sequence[Overlap],
    mask: Maps | None,
    workers: int | None,
) -> list[Distances]:
    """The distances of each kind of overlap, from pixels that are counted once."""
    samples, references = images_first(samples), images_first(references)
    check_maps(samples, references)
    refuse_planes(references, convention.num_classes, "references")
    refuse_planes(samples, convention.num_classes, "samples")
    images, count, readers = len(samples), samples.shape[1], references.shape[1]
    reference_probabilities(convention, readers)
    flat_mask = None if mask is None else checked_mask(mask, samples).reshape(images, -1)
    pixels = math.prod(samples.shape[2:])
    flat = samples.reshape(images, count, pixels), references.reshape(images, readers, pixels)
    maps, k = count + readers, len(convention.evaluated)
    step = min(max(1, _TASK_BYTES // (8 * k * maps**2)), 64)
    distance = np.empty((len(overlaps), images, maps, maps))
    area = np.empty((images, maps, k), np.int64)

    def measure(start: int) -> None:
        part = slice(start, start + step)
        part_mask = None if flat_mask is None else flat_mask[part]
        counted = count_overlaps(flat[0][part], flat[1][part], part_mask, convention, samples.shape[-1])
        area[part] = np.diagonal(counted.shared, axis1=2, axis2=3).swapaxes(1, 2)
        for of_kind, overlap in zip(distance, overlaps, strict=True):
            of_kind[part] = _class_mean(_distance(counted.shared, convention, overlap), convention)
            of_kind[part][counted.valid == 0] = np.nan

    _in_threads(measure, range(0, images, step), workers)
    return [
        Distances(
            cross=of_kind[:, :count, count:],
            samples=of_kind[:, :count, :count],
            references=of_kind[:, count:, count:],
            sample_area=area[:, :count],
            reference_area=area[:, count:],
            left_out=np.asarray(np.isnan(of_kind).any(axis=(1, 2))),
            convention=convention.with_overlap(overlap),
        )
        for of_kind, overlap in zip(distance, overlaps, strict=True)
    ]


def check_map(name: str, maps: object) -> None:
    """Refuse what are no label maps: other numbers than integers, or a mask that would be lost."""
    is_integer = (
        not (maps.is_floating_point() or maps.is_complex())
        if isinstance(maps, torch.Tensor)
        else isinstance(maps, np.ndarray) and maps.dtype.kind in "bui"
    )
    if not is_integer:
        kind = getattr(maps, "dtype", type(maps).__name__)
        raise InputError(f"{name} must be an array or tensor of integer labels, not {kind}")
    if np.ma.is_masked(maps):
        raise InputError(f"{name} are a masked array, whose mask would be lost; fill it with the ignore label")


def check_maps(samples: Maps, references: Maps) -> None:
    """Refuse label maps that cannot be compared."""
    for name, maps in (("samples", samples), ("references", references)):
        check_map(name, maps)
        if maps.ndim < 3:
            raise InputError(
                f"{name} have the shape {tuple(maps.shape)}; needed is (images, maps, ...spatial), "
                "with the image axis first"
            )
        if 0 in maps.shape[2:]:
            raise InputError(f"{name} have the shape {tuple(maps.shape)}, in which no image has a pixel")
    if len(samples) != len(references) or samples.shape[2:] != references.shape[2:]:
        raise InputError(
            f"samples {tuple(samples.shape)} and references {tuple(references.shape)} must have the same "
            "number of images (axis 0) and the same spatial shape (from axis 2)"
        )


def refuse_planes(maps: Maps, num_classes: int, name: str) -> None:
    """Refuse a plane for each class (one-hot) in place of class ids, which would pass for slices of a volume.

    Raises:
        InputError: an axis has as many places as there are classes, and every pixel of every map is 1 at one of them
            and 0 at all others.
    """
    pixels = math.prod(maps.shape[2:]) // num_classes
    for axis in (2, maps.ndim - 1):
        if maps.ndim < 5 or maps.shape[axis] != num_classes or pixels < _PLANE or not len(maps) or not maps.shape[1]:
            continue
        if all(bool((image.sum(axis - 1) == 1).all()) and int(image.max()) == 1 for image in maps):
            raise InputError(
                f"{name} {tuple(maps.shape)} hold a plane for each class along axis {axis} (one-hot); give class ids, "
                f"argmax along that axis"
            )


def checked_mask(mask: Maps, maps: Maps) -> Maps:
    """The mask of ignored pixels.

    Raises:
        InputError: it is not boolean, or of another shape than the maps (B, N, ...) have.
    """
    expected = (len(maps), *maps.shape[2:])
    kind, shape = getattr(mask, "dtype", type(mask).__name__), getattr(mask, "shape", ())
    if kind not in (np.dtype(bool), torch.bool) or tuple(shape) != expected:
        raise InputError(f"mask must be boolean of shape {expected}, not {kind} {tuple(shape)}")
    return mask


def reference_probabilities(convention: Convention, readers: int) -> Floats:
    """(R,) probabilities of the references, equal ones where the convention has none.

    Raises:
        InputError: there are more or fewer weights than references.
    """
    if convention.weights is None:
        return np.full(readers, 1 / max(readers, 1))
    if len(convention.weights) != readers:
        raise InputError(f"there are {len(convention.weights)} weights for {readers} references; give one each")
    return np.asarray(convention.weights)


def _distance(shared: npt.NDArray[np.int64], convention: Convention, overlap: Overlap) -> Floats:
    """(B, K, M, M) distance of each pair in each class from the shared pixels of the same shape."""
    area = np.diagonal(shared, axis1=2, axis2=3)
    total = area[..., :, None] + area[..., None, :]
    above, below = (shared, total - shared) if overlap == "iou" else (2 * shared, total)
    both_empty = {"zero": 1.0, "one": 0.0, "skip": np.nan}[convention.empty]
    similarity = np.full(shared.shape, both_empty)
    np.divide(above, below, out=similarity, where=below > 0)
    return 1.0 - similarity


def _class_mean(distance: Floats, convention: Convention) -> Floats:
    return defined_mean(distance, axis=1) if convention.empty == "skip" else distance.mean(axis=1)


def samples_to_count(distances: Distances, n: int | None) -> int:
    """How many samples of each image count: n, or all of them.

    Raises:
        InputError: n is no whole number from 1 to the number of samples.
    """
    available = distances.cross.shape[1]
    if n is not None and whole_number("n", n) > available:
        raise InputError(f"n={n} samples an image were asked for, but there are {available}")
    return available if n is None else n


def _in_threads(work: Any, items: Any, workers: int | None) -> None:
    threads = min(cores() if workers is None else whole_number("workers", workers), len(items))
    if threads <= 1:
        for item in items:
            work(item)
        return
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(work, items):
            pass
