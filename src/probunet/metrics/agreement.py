"""How much readers agree: mean pairwise IoU of their masks, and Fleiss' kappa of their pixels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from probunet.core.types import IGNORE
from probunet.metrics.convention import Convention
from probunet.metrics.distance import pairwise_distance


class Agreement:
    """Agreement between readers, image by image; who reads may be different and differently many each time.

    Args:
        classes: number of classes.
    """

    def __init__(self, classes: int) -> None:
        self.classes, self.convention = classes, Convention(classes, ignore=IGNORE)
        self._pairs: list[float] = []
        self._alike, self._pixels = 0.0, 0
        self._shares = np.zeros(classes)

    def add(self, labels: npt.NDArray[np.uint8]) -> None:
        """Count an image; one with a single reader tells nothing.

        Args:
            labels: (R, H, W) class ids; pixels that any reader labels ``IGNORE`` are left out.
        """
        if len(labels) < 2:
            return
        distance = pairwise_distance(labels[None], None, self.convention)[0]
        self._pairs.append(float(1 - distance[np.triu_indices(len(labels), 1)].mean()))
        known = labels[:, (labels != IGNORE).all(axis=0)]
        self.add_counts(np.stack([(known == k).sum(axis=0) for k in range(self.classes)], axis=1))

    def add_counts(self, counts: npt.NDArray[np.integer]) -> None:
        """Count items (items, classes) by how many readers chose each class; every item has two readers or more."""
        readers = counts.sum(axis=1)
        self._alike += float(((counts * (counts - 1)).sum(axis=1) / (readers * (readers - 1))).sum())
        self._shares += (counts / readers[:, None]).sum(axis=0)
        self._pixels += len(counts)

    def iou(self) -> float:
        """Mean over images of the mean IoU over pairs of readers (1 where both are empty); NaN without any pair.

        For two classes the IoU of the foreground, otherwise the mean over all classes.
        """
        defined = [value for value in self._pairs if not np.isnan(value)]
        return float(np.mean(defined)) if defined else float("nan")

    def kappa(self) -> float:
        """Fleiss' kappa over all pixels; NaN without any pair or where all readers chose one class everywhere.

        Source: Fleiss 1971; where the number of readers varies, each item counts the same, with its own number.
        """
        if not self._pixels:
            return float("nan")
        chance = float(np.square(self._shares / self._pixels).sum())
        return (self._alike / self._pixels - chance) / (1 - chance) if chance < 1 else float("nan")
