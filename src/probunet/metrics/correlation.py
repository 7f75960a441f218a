"""Does the samples' uncertainty lie where readers differ from them? The figure of PHiSeg, for label maps."""

from __future__ import annotations

import numpy as np

from probunet.metrics.calibration import class_frequencies
from probunet.metrics.convention import FOREGROUND, Convention
from probunet.metrics.distance import check_maps
from probunet.metrics.overlap import Maps, as_array, check_labels
from probunet.metrics.values import ImageValues

_CONSTANT = 1e-12


def cross_correlation(samples: Maps, references: Maps, convention: Convention = FOREGROUND) -> ImageValues:
    """Normalised cross-correlation of two maps of an image, averaged over its readers: -1 to 1 (best).

    One map is the mean cross-entropy between the samples and their mean, the other that between the samples and a
    reader. For samples that are label maps every sample that differs at a pixel costs the same, however log 0 is
    bounded, and a correlation does not see a factor. So the maps are sum_k f_k (1 - f_k) and 1 - f_y, with f_k the
    share of samples with class k and y the reader's class. Samples that are probabilities give another number.

    A reader for whom one of the maps is constant has no correlation and is left out; so is an image without any.

    Args:
        samples: (B, N, ...) integer labels.
        references: (B, R, ...) integer labels; pixels with the ignore label in any of them count nowhere.
        convention: number of classes, ignore label; all classes count.

    Raises:
        InputError: shapes that do not match, or no classes.

    Source: Baumgartner et al. 2019 (PHiSeg), section 3.
    """
    check_maps(samples, references)
    value = np.full(len(references), np.nan)
    for b in range(len(references)):
        readers = as_array(references[b]).reshape(references.shape[1], -1)
        keep = np.ones(readers.shape[1], bool)
        if convention.ignore is not None:
            keep = (readers != convention.ignore).all(axis=0)
        if not keep.any():
            continue
        readers, mine = readers[:, keep], as_array(samples[b]).reshape(samples.shape[1], -1)[:, keep]
        check_labels(mine[None], None, convention, "samples")
        check_labels(readers[None], None, convention, "references")
        share = class_frequencies(mine[None], convention)[0]
        spread = (share * (1 - share)).sum(axis=0)
        missed = 1 - np.take_along_axis(share, readers.astype(np.int64), axis=0)
        if spread.size and np.ptp(spread) > _CONSTANT:
            kept = missed[np.ptp(missed, axis=1) > _CONSTANT]
            value[b] = np.mean([np.corrcoef(spread, reader)[0, 1] for reader in kept]) if len(kept) else np.nan
    return ImageValues(value, np.isnan(value), convention)
