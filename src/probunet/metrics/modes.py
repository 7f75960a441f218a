"""Do the samples come as often as they should: frequencies of whole modes and of single pixels' classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import rel_entr

from probunet.core.errors import InputError
from probunet.core.samples import images_first
from probunet.core.seeds import checked_seed
from probunet.metrics.distance import Distances, Floats, check_maps
from probunet.metrics.overlap import Maps, as_array
from probunet.metrics.significance import Groups, Interval, bootstrap_sums

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class ModeFrequencies:
    """How often each of R modes was the nearest, and how far that is from the true probabilities."""

    counts: Counts
    """(R,) samples whose nearest mode it is, over all images."""
    probabilities: Floats
    """(R,) the true ones."""
    total_variation: Interval
    """Half the summed absolute difference of frequency and probability: 0 to 1."""
    kl: Interval
    """KL(frequency, probability) in nats; infinite if a mode of probability 0 was seen."""
    total_variation_floor: float
    """What as many independent draws from the true probabilities, counted in the same way, give on average."""
    left_out: int
    """Images without a defined distance."""


def mode_counts(distances: Distances, *, n: int | None = None) -> Counts:
    """(B, R) how many of the first n samples have reference r as the nearest; ties count for the first.

    Images that are left out have zeros.

    Raises:
        InputError: n is more than the samples, or there are no references.

    Source: the authors' evaluation of stochastic Cityscapes (Kohl et al. 2018, Fig. 5).
    """
    available, modes = distances.cross.shape[1:]
    n = available if n is None else n
    if not 1 <= n <= available or modes == 0:
        raise InputError(f"n={n} samples and at least one mode are needed; there are {available} and {modes}")
    counts = np.zeros((len(distances.cross), modes), np.int64)
    kept = np.flatnonzero(~distances.left_out)
    nearest = distances.cross[kept, :n].argmin(axis=2)
    np.add.at(counts, (kept[:, None], nearest), 1)
    return counts


def first_of_equal_modes(distances: Distances) -> Counts:
    """(B, R) for every mode the first mode that is the same label map: where a class is absent, its flip is no change.

    A sample of such a mode counts for the first of its equals, so that even draws of the known modes do not have the
    known frequencies.

    >>> modes = np.array([[[[1, 0]], [[1, 1]], [[1, 0]]]])
    >>> first_of_equal_modes(pairwise_distances(modes, modes)).tolist()
    [[0, 1, 0]]
    """
    return np.asarray(
        (distances.references <= 0).argmax(axis=2) if distances.references.size else np.zeros((0, 0)), np.int64
    )


def mode_frequencies(
    distances: Distances,
    probabilities: npt.ArrayLike,
    *,
    n: int | None = None,
    groups: Groups | None = None,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> ModeFrequencies:
    """Frequencies of nearest modes against the true probabilities, with bootstrap intervals over images.

    See :func:`mode_frequencies_from`.

    Args:
        distances: of samples to the R modes of each image, the modes in the same order everywhere.
        probabilities: (R,) of the modes (scaled to sum to 1).
        n: samples an image; None: all.
        groups: (B,) images that are drawn together (the city, the patient).
        confidence: of the intervals.
        resamples: bootstrap draws.
        seed: of the draws.

    Raises:
        InputError: the probabilities do not fit the modes, or no image is defined.
    """
    return mode_frequencies_from(
        mode_counts(distances, n=n),
        probabilities,
        first_of_equal_modes(distances),
        groups=groups,
        confidence=confidence,
        resamples=resamples,
        seed=seed,
    )


def mode_frequencies_from(
    counts: Counts,
    probabilities: npt.ArrayLike,
    equals: Counts,
    *,
    groups: Groups | None = None,
    confidence: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> ModeFrequencies:
    """The same from :func:`mode_counts`, which may come batch by batch; images without counts are left out.

    Both distances are biased upwards by the finite number of samples; ``total_variation_floor`` says by how
    much.

    Args:
        counts: (B, R) samples of each image whose nearest mode it is.
        probabilities: (R,) of the modes (scaled to sum to 1).
        equals: (B, R) see :func:`first_of_equal_modes`.
        groups: (B,) images that are drawn together (the city, the patient).
        confidence: of the intervals.
        resamples: bootstrap draws.
        seed: of the draws.

    Raises:
        InputError: the probabilities do not fit the modes, or no image is defined.
    """
    known = np.asarray(probabilities, np.float64)
    if known.shape != (counts.shape[1],) or not (known >= 0).all() or not known.sum() > 0:
        raise InputError(f"{counts.shape[1]} modes need as many probabilities, not an array of shape {known.shape}")
    known = known / known.sum()
    kept = counts.any(axis=1)
    labels = None if groups is None else np.asarray(groups)[kept]
    options = (labels, confidence, resamples, seed)
    table = counts[kept].astype(np.float64)
    draws = _draws_of_the_known(counts[kept].sum(axis=1), equals[kept], known, seed)
    return ModeFrequencies(
        counts=counts.sum(axis=0),
        probabilities=known,
        total_variation=bootstrap_sums(table, lambda sums: _total_variation(sums, known), *options),
        kl=bootstrap_sums(table, lambda sums: _kl(sums, known), *options),
        total_variation_floor=float(_total_variation(draws, known).mean()),
        left_out=int((~kept).sum()),
    )


def pixel_frequencies(label: Maps, samples: Maps, switches: Sequence[tuple[int, int]]) -> Counts:
    """Pixel-wise frequencies of flipped classes: (S, 3) counts, one row for each switchable class.

    Args:
        label: (B, ...) classes before any flip.
        samples: (B, N, ...) sampled classes.
        switches: S pairs (class, flipped class).

    Returns:
        Pixels of the class times samples; how many of those samples kept it; how many flipped it. What is
        missing from the sum went to a third class.

    Source: the authors' evaluation of stochastic Cityscapes (Kohl et al. 2018, Fig. 5 and appendix).
    """
    samples = images_first(samples)
    check_maps(samples, label[:, None])
    labels, drawn = as_array(label), as_array(samples)
    counts = np.zeros((len(switches), 3), np.int64)
    for image, maps in zip(labels, drawn, strict=True):
        for row, (before, after) in zip(counts, switches, strict=True):
            here = maps[:, image == before]
            row += here.size, np.count_nonzero(here == before), np.count_nonzero(here == after)
    return counts


def _draws_of_the_known(samples: Counts, equals: Counts, known: Floats, seed: int, draws: int = 1000) -> Floats:
    """(draws, R) counts over all images, each with its own number of samples (B,) and its own equal modes (B, R)."""
    rng = np.random.default_rng(checked_seed(seed))
    kinds, of_kind = np.unique(equals, axis=0, return_inverse=True)
    totals = np.zeros((draws, len(known)))
    for k, firsts in enumerate(kinds):
        counted = np.bincount(firsts, known, len(known))
        totals += rng.multinomial(int(samples[of_kind.ravel() == k].sum()), counted / counted.sum(), draws)
    return totals


def _total_variation(sums: Floats, known: Floats) -> Floats:
    return np.asarray(0.5 * np.abs(sums / sums.sum(axis=1, keepdims=True) - known).sum(axis=1))


def _kl(sums: Floats, known: Floats) -> Floats:
    return np.asarray(rel_entr(sums / sums.sum(axis=1, keepdims=True), known).sum(axis=1))
