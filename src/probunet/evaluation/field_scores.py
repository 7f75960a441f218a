"""The figures of other papers and challenges, for samples and readers of any tool."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from probunet.core.errors import InputError
from probunet.metrics.areas import area_crps, area_error, gaussian_area_crps
from probunet.metrics.calibration import class_frequencies
from probunet.metrics.convention import Convention
from probunet.metrics.correlation import cross_correlation
from probunet.metrics.distance import Floats, iou_and_dice
from probunet.metrics.energy import Draws
from probunet.metrics.insight import collective_insight
from probunet.metrics.matching import matched_dice_from, nearest_dice_from
from probunet.metrics.measures import Spread, gap_share, sizes
from probunet.metrics.surface import best_surface_distance, surface_distances
from probunet.metrics.thresholds import CURVAS, QUBIQ, SOFT, dice_at_thresholds

Figure: TypeAlias = Literal["thresholds", "matching", "insight", "correlation", "areas", "surfaces", "sizes", "gaps"]
"""What is measured beside the figures of every table, from all samples of an image."""
FIGURES: tuple[Figure, ...] = get_args(Figure)

MEANING = {
    "dice_qubiq": "Dice of frequencies above 0, .1, ..., .9 among samples and among readers (QUBIQ)",
    "dice_soft": "the same at .1, .3, .5, .7, .9 (Dice_soft of D-Persona)",
    "dice_curvas": "the same at six thresholds from .1 to .8 (CURVAS-PDACVI)",
    "nearest_dice": "Dice of the reader nearest to each sample (dice_max in the code of D-Persona)",
    "matched_dice": "Dice of readers, each with a sample of its own (Dice_match of D-Persona)",
    "collective_insight": "3 S D A / (S + D + A) (CIMD)",
    "combined_sensitivity": "share of the union of the readers in the union of the samples (S_c of CIMD)",
    "diversity_agreement": "1 - half the differences of the largest and smallest variance of two maps (D_a of CIMD)",
    "cross_correlation": "of the samples' uncertainty with what readers deviate from them (NCC of PHiSeg)",
    "area_crps": "fair CRPS of the samples' areas (volumes) against each reader's, in the unit of the areas",
    "area_crps_relative": "the same over the readers' mean area; images without any mark left out",
    "area_crps_gaussian": "CRPS of the samples' mean area against a normal distribution of the readers' (CURVAS)",
    "area_error": "median of the samples' areas (volumes) against each reader's, in the unit of the areas",
    "area_error_relative": "the same over the readers' mean area; images without any mark left out",
    "hausdorff95": "95th percentile of the surface distance of each reader to the nearest sample; left out where all "
    "samples are empty and a reader is not, or the reverse",
    "surface_distance": "average surface distance of each reader to the nearest sample; left out likewise",
    "area_median": "median of the samples' areas (volumes), in the unit of the areas",
    "area_low": "5th percentile of the samples' areas",
    "area_high": "95th percentile of the samples' areas",
    "area_inside": "share of the readers whose area lies from area_low to area_high",
    "diameter_median": "median over the samples of the longest diameter in a slice (RECIST), 0 where empty",
    "empty": "share of the samples that mark nothing",
    "reader_area": "mean of the readers' areas (volumes), in the unit of the areas",
    "reader_diameter": "mean over the readers of the longest diameter in a slice, 0 where empty",
    "reader_empty": "share of the readers who mark nothing",
    "gaps": "share of the samples in which an empty slice lies between two that are not",
    "reader_gaps": "share of the readings in which an empty slice lies between two that are not",
}
"""What is special about each figure, beside the convention of the distance."""
DESCRIPTIVE = (
    *("area_median", "area_low", "area_high", "diameter_median", "empty"),
    *("reader_area", "reader_diameter", "reader_empty", "reader_gaps"),
)
"""Figures that are no better where they are larger or smaller, and are not tested between sets."""


def checked_figures(asked: Sequence[str] | None) -> tuple[Figure, ...]:
    """The figures that are asked for by name; ``all`` are all of them.

    Raises:
        InputError: a name that is none.
    """
    names = list(FIGURES) if "all" in (asked or ()) else list(asked or ())
    if unknown := [name for name in names if name not in FIGURES]:
        raise InputError(f"--also {unknown[0][:40]} is not known; choose from all, {', '.join(FIGURES)}")
    return tuple(figure for figure in FIGURES if figure in names)


def field_scores(
    samples: Any,
    references: Any,
    convention: Convention,
    figures: Collection[Figure],
    spacing: Sequence[float] | None = None,
    draws: Draws = "independent",
) -> dict[tuple[str, int], Floats]:
    """Values (B,) of some images of equal shape by name and 0, which stands for all samples.

    What an image's numbers of samples and readers do not allow is left out: a matching of fewer samples than readers,
    the fair CRPS of a single sample, matchings with weighted references.

    Args:
        samples: (B, N, ...) integer labels.
        references: (B, R, ...) integer labels.
        convention: what is compared, and how.
        figures: which of them.
        spacing: size of a pixel along each spatial axis, in mm; pixels if not given.
        draws: how the samples were drawn.

    Raises:
        InputError: see ``pairwise_distances`` and ``surface_distances``.
    """
    values: dict[str, Floats] = {}
    distances, dice = iou_and_dice(samples, references, convention)
    count, readers = distances.cross.shape[1:]
    weighted = convention.weights is not None
    if "thresholds" in figures:
        shares = class_frequencies(samples, convention)
        for name, cuts in (("dice_qubiq", QUBIQ), ("dice_soft", SOFT), ("dice_curvas", CURVAS)):
            values[name] = dice_at_thresholds(shares, references, cuts, convention).value
    if "matching" in figures and not weighted:
        values["nearest_dice"] = nearest_dice_from(dice).value
        if count >= readers:
            values["matched_dice"] = matched_dice_from(dice).value
    if "insight" in figures and not weighted:
        insight = collective_insight(samples, references, convention)
        values["collective_insight"] = insight.value
        values["combined_sensitivity"] = insight.combined_sensitivity
        values["diversity_agreement"] = insight.diversity_agreement
    if "correlation" in figures:
        values["cross_correlation"] = cross_correlation(samples, references, convention).value
    if "areas" in figures:
        pixel, fair = math.prod(spacing or (1.0,)), draws == "complete" or (draws == "independent" and count > 1)
        if fair:
            values["area_crps"] = area_crps(distances, pixel, draws=draws).value
            values["area_crps_relative"] = area_crps(distances, pixel, relative=True, draws=draws).value
        values["area_error"] = area_error(distances, pixel).value
        values["area_error_relative"] = area_error(distances, pixel, relative=True).value
        values["area_crps_gaussian"] = gaussian_area_crps(distances, pixel).value
    if "surfaces" in figures:
        between = surface_distances(samples, references, convention, spacing=spacing)
        values["hausdorff95"] = best_surface_distance(between).value
        values["surface_distance"] = best_surface_distance(between, average=True).value
    if "sizes" in figures:
        values |= _sizes(samples, references, convention, spacing)
    if "gaps" in figures and np.ndim(samples) == 5:
        for name, maps in (("gaps", samples), ("reader_gaps", references)):
            values[name] = np.mean([gap_share(maps, k) for k in convention.evaluated], axis=0)
    return {(name, 0): value for name, value in values.items()}


def _sizes(samples: Any, references: Any, convention: Convention, spacing: Sequence[float] | None) -> dict[str, Floats]:
    """Of each image where the samples' areas and diameters lie and where the readers', averaged over the classes."""
    rows = []
    for drawn, read in zip(samples, references, strict=True):
        if convention.ignore is not None:
            known = (read != convention.ignore).all(axis=0)
            drawn, read = (np.where(known, maps, convention.ignore) for maps in (drawn, read))
        of_classes = [_spread(drawn, read, k, spacing, convention.weights) for k in convention.evaluated]
        rows.append(np.mean(of_classes, axis=0))
    return dict(zip(_SIZES, np.array(rows).reshape(len(rows), len(_SIZES)).T, strict=True))


_SIZES = (
    *("area_median", "area_low", "area_high", "area_inside", "diameter_median", "empty"),
    *("reader_area", "reader_diameter", "reader_empty"),
)


def _spread(
    drawn: Any, read: Any, label: int, spacing: Sequence[float] | None, weights: Sequence[float] | None
) -> list[float]:
    """The values of ``_SIZES`` of one image and class."""
    ours, theirs = sizes(drawn, label, spacing), sizes(read, label, spacing)
    spread = Spread.of(ours.size)
    low, high = spread.interval_90
    inside = (theirs.size >= low) & (theirs.size <= high)
    of_readers = (inside, theirs.size, theirs.diameter, theirs.size == 0)
    share, *others = (float(np.average(values, weights=weights)) for values in of_readers)
    return [spread.median, low, high, share, Spread.of(ours.diameter).median, ours.empty, *others]
