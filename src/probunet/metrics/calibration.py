"""Are the pixel-wise probabilities right, and is the uncertainty where the readers disagree?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.special import entr

from probunet.core.errors import InputError
from probunet.core.numbers import whole_number
from probunet.core.samples import images_first
from probunet.metrics.convention import FOREGROUND, Convention
from probunet.metrics.distance import Floats, check_maps, checked_mask, reference_probabilities
from probunet.metrics.overlap import Maps, as_array, check_labels
from probunet.metrics.significance import Groups, Interval, bootstrap_sums
from probunet.metrics.values import ImageValues

Probabilities = npt.NDArray[np.floating[Any]] | torch.Tensor
_ROUNDING = 0.01
"""How far from 1 the probabilities of a pixel may sum, for those in half precision."""


@dataclass(frozen=True)
class Calibration:
    """Sums over pixels and evaluated classes, for each of B images and each bin of predicted probability.

    Bins have equal width; the last one includes 1.
    """

    count: Floats
    """(B, bins) pixels times evaluated classes."""
    predicted: Floats
    """(B, bins) summed predicted probability."""
    observed: Floats
    """(B, bins) summed fraction of the readers who give the pixel the class."""
    squared: Floats
    """(B, bins) summed squared error against each reader, averaged over the readers."""
    convention: Convention
    """Which classes and pixels were compared (its ``empty`` and ``overlap`` mean nothing here)."""

    @property
    def bins(self) -> int:
        """Bins of equal width between 0 and 1."""
        return int(self.count.shape[1])

    def __str__(self) -> str:
        classes = ", ".join(map(str, self.convention.evaluated))
        return f"classes {classes} of {self.convention.num_classes} pooled, {self.bins} bins of equal width"

    def curve(self) -> Floats:
        """The reliability curve (bins, 3): pixels, mean predicted, mean observed (NaN in an empty bin)."""
        count, predicted, observed = (x.sum(axis=0) for x in (self.count, self.predicted, self.observed))
        used = np.where(count > 0, count, np.nan)
        return np.stack([count, predicted / used, observed / used], axis=1)

    def ece(self, groups: Groups | None = None, **options: Any) -> Interval:
        """Expected calibration error: bins' |mean predicted - mean observed|, weighted by their pixels.

        With the interval of ``bootstrap_sums`` (same options). Easy background fills the lowest bin and makes
        the error small: compare it on the same images only.
        """
        table = np.concatenate([self.count, self.predicted - self.observed], axis=1)
        bins = self.count.shape[1]

        def error(sums: Floats) -> Floats:
            return np.asarray(np.abs(sums[:, bins:]).sum(axis=1) / sums[:, :bins].sum(axis=1))

        return self._interval(table, error, groups, options)

    def brier(self, groups: Groups | None = None, **options: Any) -> Interval:
        """Brier score: mean squared error of the probability against each reader; 0 to 1 for each class.

        It contains the readers' own variance, so that even perfect probabilities score above 0.
        """
        table = np.stack([self.squared.sum(axis=1), self.count.sum(axis=1)], axis=1)
        return self._interval(table, lambda sums: sums[:, 0] / sums[:, 1], groups, options)

    def _interval(
        self, table: Floats, statistic: Callable[[Floats], Floats], groups: Groups | None, options: dict[str, Any]
    ) -> Interval:
        """Images without a pixel that counts are left out, and counted."""
        kept = self.count.sum(axis=1) > 0
        labels = None if groups is None else np.asarray(groups)[kept]
        interval = bootstrap_sums(table[kept], statistic, labels, **options)
        return replace(interval, left_out=int((~kept).sum()))


def joined(parts: Sequence[Calibration]) -> Calibration:
    """The sums of several batches of images, one after another."""
    count, predicted, observed, squared = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("count", "predicted", "observed", "squared")
    )
    return Calibration(count, predicted, observed, squared, parts[0].convention)


def class_frequencies(maps: Maps, convention: Convention = FOREGROUND) -> Floats:
    """(B, num_classes, ...) fraction of the maps (B, N, ...) that give each pixel each class.

    Raises:
        InputError: labels that are neither classes nor the ignore label.
    """
    maps = images_first(maps)
    check_maps(maps, maps)
    array = as_array(maps)
    known = array if convention.ignore is None else np.where(array == convention.ignore, 0, array)
    check_labels(known.reshape(*known.shape[:2], -1), None, convention, "samples")
    out = np.empty((len(array), convention.num_classes, *array.shape[2:]))
    for label in range(convention.num_classes):
        out[:, label] = (array == label).mean(axis=1)
    return out


def reliability(
    probabilities: Probabilities,
    references: Maps,
    convention: Convention = FOREGROUND,
    *,
    mask: Maps | None = None,
    bins: int = 15,
) -> Calibration:
    """Compare pixel-wise class probabilities with the fraction of readers who chose the class.

    Args:
        probabilities: (B, num_classes, ...) predicted marginals, from a model or ``class_frequencies`` of
            samples.
        references: (B, R, ...) integer labels.
        convention: its evaluated classes are pooled; pixels that any reference ignores are left out; its weights are
            the probabilities of the references.
        mask: (B, ...) True where a pixel is left out besides.
        bins: of equal width between 0 and 1.

    Raises:
        InputError: shapes that do not match, or probabilities outside 0 to 1 or that do not sum to 1 over classes.

    Source: Guo et al. 2017 (ECE, here for each class and against soft labels); Brier 1950.
    """
    whole_number("bins", bins)
    sums = np.zeros((4, len(references), bins))
    for b, predicted, observed in pixel_pairs(probabilities, references, convention, mask):
        for label in convention.evaluated:
            p, y = predicted[label], observed[label]
            index = np.minimum((p * bins).astype(np.int64), bins - 1)
            for k, values in enumerate((np.ones_like(p), p, y, p * p - 2 * p * y + y)):
                sums[k, b] += np.bincount(index, values, bins)
    return Calibration(sums[0], sums[1], sums[2], sums[3], convention)


def disagreement_correlation(
    probabilities: Probabilities,
    references: Maps,
    convention: Convention = FOREGROUND,
    *,
    mask: Maps | None = None,
) -> ImageValues:
    """Correlation (-1 to 1) of predictive entropy and the readers' disagreement over an image's pixels.

    Disagreement is the entropy of the readers' class frequencies at a pixel; this is the normalised
    cross-correlation of the two maps. An image where either is constant (readers who agree everywhere) has
    none and is left out. All classes count. Arguments as for ``reliability``.

    Raises:
        InputError: see ``reliability``.
    """
    value = np.full(len(references), np.nan)
    for b, predicted, observed in pixel_pairs(probabilities, references, convention, mask):
        mine, theirs = entr(predicted).sum(axis=0), entr(observed).sum(axis=0)
        if mine.size and np.ptp(mine) > 1e-12 and np.ptp(theirs) > 1e-12:
            value[b] = np.corrcoef(mine, theirs)[0, 1]
    return ImageValues(value, np.isnan(value), convention)


def pixel_pairs(
    probabilities: Probabilities, references: Maps, convention: Convention, mask: Maps | None
) -> Iterator[tuple[int, Floats, Floats]]:
    """Each image: its number, predicted and observed frequencies (K, P) of the pixels that count."""
    references = images_first(references)
    check_maps(references, references)
    images, readers, classes = references.shape[0], references.shape[1], convention.num_classes
    expected = (images, classes, *references.shape[2:])
    if tuple(probabilities.shape) != expected:
        raise InputError(f"probabilities must have the shape {expected}, not {tuple(probabilities.shape)}")
    share = reference_probabilities(convention, readers)
    mask = None if mask is None else as_array(checked_mask(mask, references)).reshape(images, -1)
    for b in range(images):
        labels = as_array(references[b]).reshape(readers, -1)
        keep = np.ones(labels.shape[1], bool) if mask is None else ~mask[b]
        if convention.ignore is not None:
            keep &= (labels != convention.ignore).all(axis=0)
        labels = labels[:, keep]
        if ((labels < 0) | (labels >= classes)).any():
            raise InputError(
                f"references hold a label outside 0 to {classes - 1}, the range that num_classes={classes} "
                "means; correct num_classes or name the ignore label"
            )
        p = as_array(probabilities[b]).reshape(classes, -1)[:, keep].astype(np.float64)
        if not ((p >= -1e-6) & (p <= 1 + 1e-6)).all():
            raise InputError("probabilities must lie between 0 and 1; give softmax outputs, not logits")
        if p.size and not (np.abs(total := p.sum(axis=0) - 1) <= _ROUNDING).all():
            raise InputError(
                f"the probabilities of a pixel sum to {1 + total[np.abs(total).argmax()]:.3g} over the classes, not to "
                "1; give those of all classes, and of samples without ignored pixels"
            )
        yield b, np.clip(p, 0, 1), np.stack([share @ (labels == label) for label in range(classes)])
