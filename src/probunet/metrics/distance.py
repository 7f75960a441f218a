"""Distance between segmentations, 1 - IoU: the only place that knows what two empty masks mean."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
import numpy.typing as npt
import torch

from probunet.core.errors import InputError
from probunet.core.machine import cores
from probunet.metrics.overlap import Domain, Maps, as_array, count_overlaps

Empty: TypeAlias = Literal["zero", "one", "skip"]
"""Distance of a class that neither map has.

- ``"zero"``: 0, they agree (the paper's LIDC evaluation, and most later LIDC work).
- ``"one"``: 1, as a plain intersection / (union + epsilon) gives; such a map is at distance 1 from itself.
- ``"skip"``: the class is left out of that pair's class average (the authors' Cityscapes evaluation). A pair
  for which no class is left has no distance: NaN, and the image is counted in ``left_out``.
"""

Overlap: TypeAlias = Literal["iou", "dice"]
Floats: TypeAlias = npt.NDArray[np.float64]

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
    weights: Floats | None
    """(B, R) probabilities of the references, which sum to 1; None: equal."""
    overlap: Overlap
    """Whether the distances are 1 - IoU or 1 - Dice."""
    convention: str
    """What was measured, in words, for tables and files."""


def pairwise_distances(
    samples: Maps,
    references: Maps,
    *,
    num_classes: int = 2,
    classes: Sequence[int] | None = None,
    ignore: int | Maps | None = None,
    empty: Empty = "zero",
    weights: Maps | Sequence[float] | None = None,
    overlap: Overlap = "iou",
    workers: int | None = None,
) -> Distances:
    """1 - IoU between all samples and references of each image, and within each of the two sets.

    Args:
        samples: (B, N, ...) integer labels; NumPy array (memory-mapped ones are read block by block) or
            tensor on any device.
        references: (B, R, ...) integer labels of the same spatial shape.
        num_classes: labels are 0 .. num_classes - 1.
        classes: the classes whose distances are averaged; None: the foreground (1,) for two classes, all
            otherwise.
        ignore: a label, whose pixels are left out of the whole image where **any** reference has it, so that
            all pairs of an image are compared on the same pixels and the distance stays a metric; or a mask
            (B, ...) that is True where a pixel is left out.
        empty: what a class that neither map has contributes, see ``Empty``.
        weights: (R,) or (B, R) probabilities of the references (scaled to sum to 1); None: equal.
        overlap: ``"iou"`` for 1 - IoU (the paper's), ``"dice"`` for 1 - Dice.
        workers: threads; None: one for each core this process may use.

    Raises:
        InputError: shapes that do not match, labels that are no integers or out of range, weights that are no
            probabilities.

    Source: Kohl et al. 2018, section 4 and Eq. 5 (d = 1 - IoU).
    """
    check_maps(samples, references)
    if empty not in get_args(Empty):
        raise InputError(f'empty={empty!r} is no convention; choose "zero", "one" or "skip"')
    if overlap not in get_args(Overlap):
        raise InputError(f'overlap={overlap!r} is not known; choose "iou" or "dice"')
    domain, mask = evaluated_domain(samples, num_classes, classes, ignore)
    images, count, readers = len(samples), samples.shape[1], references.shape[1]
    pixels = math.prod(samples.shape[2:])
    flat = samples.reshape(images, count, pixels), references.reshape(images, readers, pixels)
    maps, k = count + readers, len(domain.classes)
    step = min(max(1, _TASK_BYTES // (8 * k * maps**2)), 64)
    distance = np.empty((images, maps, maps))
    area = np.empty((images, maps, k), np.int64)

    def measure(start: int) -> None:
        part = slice(start, start + step)
        part_mask = None if mask is None else mask[part]
        counted = count_overlaps(flat[0][part], flat[1][part], part_mask, domain)
        area[part] = np.diagonal(counted.shared, axis1=2, axis2=3).swapaxes(1, 2)
        distance[part] = _class_mean(_distance(counted.shared, empty, overlap), empty)
        distance[part][counted.valid == 0] = np.nan

    _in_threads(measure, range(0, images, step), workers)
    return Distances(
        cross=distance[:, :count, count:],
        samples=distance[:, :count, :count],
        references=distance[:, count:, count:],
        sample_area=area[:, :count],
        reference_area=area[:, count:],
        left_out=np.asarray(np.isnan(distance).any(axis=(1, 2))),
        weights=reference_probabilities(weights, images, readers),
        overlap=overlap,
        convention=describe(domain, ignore, empty, overlap),
    )


def pairwise_distance(first: Maps, second: Maps | None = None, **convention: Any) -> Floats:
    """1 - IoU (B, N, M) between every map of ``first`` (B, N, ...) and of ``second`` (B, M, ...).

    Without ``second``, among the maps of ``first``. Takes the arguments of ``pairwise_distances``; an ignore
    label counts where any map of the last given set has it.
    """
    if second is None:
        return pairwise_distances(first[:, :0], first, **convention).references
    return pairwise_distances(first, second, **convention).cross


def describe(domain: Domain, ignore: Any, empty: Empty, overlap: Overlap = "iou") -> str:
    """The convention in words, as every table and file carries it."""
    named = {"iou": "1 - IoU", "dice": "1 - Dice"}[overlap]
    both_empty = {"zero": "d = 0 if both are empty", "one": "d = 1 if both are empty"}.get(
        empty, "classes absent from both left out"
    )
    if ignore is None:
        ignored = "no pixel ignored"
    else:
        ignored = f"label {ignore} ignored" if isinstance(ignore, int) else "masked pixels ignored"
    chosen = ", ".join(map(str, domain.classes))
    return f"{named}, classes {chosen} of {domain.num_classes}, {both_empty}, {ignored}"


def check_maps(samples: Maps, references: Maps) -> None:
    """Refuse label maps that cannot be compared."""
    for name, maps in (("samples", samples), ("references", references)):
        is_integer = (
            not (maps.is_floating_point() or maps.is_complex())
            if isinstance(maps, torch.Tensor)
            else isinstance(maps, np.ndarray) and maps.dtype.kind in "bui"
        )
        if not is_integer:
            kind = getattr(maps, "dtype", type(maps).__name__)
            raise InputError(f"{name} must be an array or tensor of integer labels, not {kind}")
        if maps.ndim < 3:
            raise InputError(
                f"{name} have the shape {tuple(maps.shape)}; needed is (images, maps, ...spatial), "
                "with the image axis first"
            )
    if len(samples) != len(references) or samples.shape[2:] != references.shape[2:]:
        raise InputError(
            f"samples {tuple(samples.shape)} and references {tuple(references.shape)} must have the same "
            "number of images (axis 0) and the same spatial shape (from axis 2)"
        )


def evaluated_domain(
    samples: Maps, num_classes: int, classes: Sequence[int] | None, ignore: int | Maps | None
) -> tuple[Domain, Maps | None]:
    """Which classes and pixels count, and the ignore mask flattened to (B, P).

    Raises:
        InputError: classes outside the range, an ignored label that is evaluated, a mask of another shape.
    """
    if num_classes < 2:
        raise InputError(f"num_classes={num_classes}, but background counts too: give 2 or more")
    if classes is None:
        classes = (1,) if num_classes == 2 else range(num_classes)
    chosen = tuple(int(label) for label in classes)
    if not chosen or len(set(chosen)) < len(chosen) or not all(0 <= c < num_classes for c in chosen):
        raise InputError(f"classes={list(chosen)} must be one or more different labels from 0 to {num_classes - 1}")
    if ignore is None or isinstance(ignore, int | np.integer):
        label = None if ignore is None else int(ignore)
        if label in chosen:
            raise InputError(f"label {label} is both evaluated and ignored; take it out of classes or ignore")
        return Domain(num_classes, chosen, label), None
    expected = (len(samples), *samples.shape[2:])
    if ignore.dtype not in (np.dtype(bool), torch.bool) or tuple(ignore.shape) != expected:
        raise InputError(
            f"an ignore mask must be boolean of shape {expected}, not {ignore.dtype} {tuple(ignore.shape)}"
        )
    return Domain(num_classes, chosen, None), ignore.reshape(len(samples), math.prod(expected[1:]))


def _distance(shared: npt.NDArray[np.int64], empty: Empty, overlap: Overlap) -> Floats:
    """(B, K, M, M) distance of each pair in each class from the shared pixels of the same shape."""
    area = np.diagonal(shared, axis1=2, axis2=3)
    total = area[..., :, None] + area[..., None, :]
    above, below = (shared, total - shared) if overlap == "iou" else (2 * shared, total)
    both_empty = {"zero": 1.0, "one": 0.0, "skip": np.nan}[empty]
    similarity = np.full(shared.shape, both_empty)
    np.divide(above, below, out=similarity, where=below > 0)
    return 1.0 - similarity


def _class_mean(distance: Floats, empty: Empty) -> Floats:
    if empty != "skip":
        return distance.mean(axis=1)
    present = ~np.isnan(distance)
    count = present.sum(axis=1)
    total = np.where(present, distance, 0.0).sum(axis=1)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)


def reference_probabilities(weights: Any, images: int, readers: int) -> Floats | None:
    """The weights (B, R) scaled to sum to 1 for each image, or None for equal ones.

    Raises:
        InputError: they do not fit the references or are no probabilities.
    """
    if weights is None:
        return None
    array = as_array(weights).astype(np.float64)
    if array.shape not in ((readers,), (images, readers)):
        raise InputError(f"weights have the shape {array.shape}; needed is ({readers},) or ({images}, {readers})")
    total = array.sum(axis=-1, keepdims=True)
    if not (np.isfinite(array).all() and (array >= 0).all() and (total > 0).all()):
        raise InputError("weights must be finite, not negative, and more than zero in sum for every image")
    return np.broadcast_to(array / total, (images, readers))


def _in_threads(work: Any, items: Any, workers: int | None) -> None:
    threads = min(workers or cores(), len(items))
    if threads <= 1:
        for item in items:
            work(item)
        return
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(work, items):
            pass
