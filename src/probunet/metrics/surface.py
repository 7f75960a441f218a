"""Distances between the surfaces of two segmentations, in 2-D and 3-D, in millimetres where the spacing is known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from probunet.core.errors import InputError
from probunet.core.numbers import checked_spacing
from probunet.metrics.convention import FOREGROUND, Convention
from probunet.metrics.distance import Floats, check_maps
from probunet.metrics.overlap import Maps, as_array, check_labels
from probunet.metrics.values import ImageValues, defined_mean

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class SurfaceDistances:
    """Of each of N samples to each of R references of B images, averaged over the evaluated classes.

    Two maps without the class are at distance 0 (left out of the mean over classes with ``empty="skip"``). Where one
    has it and the other has not there is no distance: NaN.
    """

    hausdorff: Floats
    """(B, N, R) the percentile of the distances from one surface to the other, the larger of both directions."""
    average: Floats
    """(B, N, R) mean over all points of both surfaces of the distance to the other one."""
    percentile: float
    convention: Convention


def surface_distances(
    samples: Maps,
    references: Maps,
    convention: Convention = FOREGROUND,
    *,
    spacing: Sequence[float] | None = None,
    percentile: float = 95.0,
) -> SurfaceDistances:
    """Hausdorff and average surface distances between all samples and references of each image.

    The surface of a class are its pixels with a neighbour that shares an edge (a face) and has another class; beyond
    the picture there is none of it. Distances are between the middles of pixels. Pixels that any reference ignores
    are taken as of no class.

    Args:
        samples: (B, N, H, W) or (B, N, D, H, W) integer labels.
        references: (B, R, ...) integer labels of the same shape.
        convention: classes, ignore label, and what two empty maps count.
        spacing: size of a pixel along each spatial axis, in mm; 1 along each if not given, which gives pixels.
        percentile: 95 for HD95, 100 for the Hausdorff distance.

    Raises:
        InputError: shapes that do not match, no 2-D or 3-D maps, no classes, or a spacing that fits no axis.

    Source: Taha and Hanbury 2015; the percentile of each direction, then the larger, as MONAI and others take it.
    """
    check_maps(samples, references)
    axes = samples.ndim - 2
    if axes not in (2, 3):
        raise InputError(f"maps with {axes} axes have no surfaces that are measured; give 2-D or 3-D maps")
    mm = checked_spacing(spacing, axes)
    if not 0 < percentile <= 100:
        raise InputError(f"percentile={percentile} must be above 0 and at most 100")
    split = samples.shape[1]
    hausdorff, average = np.full((2, len(samples), split, references.shape[1]), np.nan)
    for b in range(len(samples)):
        maps = np.concatenate([as_array(samples[b]), as_array(references[b])])
        known = np.ones(maps.shape[1:], bool)
        if convention.ignore is not None:
            known = (maps[split:] != convention.ignore).all(axis=0)
        for part, name in ((maps[:split], "samples"), (maps[split:], "references")):
            check_labels(part.reshape(1, len(part), -1), known.reshape(1, -1), convention, name)
        of_classes = [_pairs((maps == k) & known, split, mm, percentile, convention) for k in convention.evaluated]
        hausdorff[b], average[b] = _class_mean(np.stack(of_classes))
    return SurfaceDistances(hausdorff, average, percentile, convention)


def best_surface_distance(distances: SurfaceDistances, *, average: bool = False) -> ImageValues:
    """Distance of each reader to the nearest sample, averaged over the readers; smaller is better.

    An image with a reader from whom no sample has a distance (a mark where all samples are empty, or the reverse) is
    left out, so read it beside the share of images that are. It falls with the number of samples.

    Args:
        distances: of an image's samples and references.
        average: the average surface distance in place of the percentile.
    """
    values = distances.average if average else distances.hausdorff
    nearest = np.where(np.isnan(values), np.inf, values).min(axis=1)
    value = np.where(np.isinf(nearest).any(axis=1), np.nan, nearest.mean(axis=1))
    return ImageValues(value, np.isnan(value), distances.convention)


def _pairs(masks: Any, split: int, mm: tuple[float, ...], percentile: float, convention: Convention) -> Floats:
    """(2, N, R) percentile and mean between the first ``split`` masks and the others.

    Infinite where one of two is empty, NaN where both are and count nothing.
    """
    result = np.full((2, split, len(masks) - split), np.inf)
    empty = ~masks.reshape(len(masks), -1).any(axis=1)
    result[:, empty[:split, None] & empty[None, split:]] = np.nan if convention.empty == "skip" else 0.0
    if empty.all():
        return result
    masks = masks[(slice(None), *_box(masks.any(axis=0)))]
    surfaces = [_surface(mask) for mask in masks]
    away = [
        None if nothing else ndimage.distance_transform_edt(~surface, sampling=mm)
        for nothing, surface in zip(empty, surfaces, strict=True)
    ]
    for i in range(split):
        for j in range(split, len(masks)):
            to_reader, to_sample = away[j], away[i]
            if to_reader is not None and to_sample is not None:
                forth, back = to_reader[surfaces[i]], to_sample[surfaces[j]]
                ends = max(np.percentile(forth, percentile), np.percentile(back, percentile))
                result[:, i, j - split] = ends, np.concatenate([forth, back]).mean()
    return result


def _box(mask: Any) -> tuple[slice, ...]:
    """The smallest box around a mask."""
    return ndimage.find_objects(mask.astype(np.int8))[0]


def _surface(mask: Mask) -> Mask:
    inner = ndimage.binary_erosion(mask, ndimage.generate_binary_structure(mask.ndim, 1))
    return np.asarray(mask & ~inner)


def _class_mean(values: Floats) -> Floats:
    """(2, N, R) mean over the first axis of what is no NaN; NaN where nothing is, or some distance is infinite."""
    mean = defined_mean(values, axis=0)
    return np.where(np.isinf(mean), np.nan, mean)
