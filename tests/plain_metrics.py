"""The definitions as plain double loops, to compare the fast path with."""

import numpy as np


def plain_distance(a, b, classes, empty="zero", keep=None, overlap="iou"):
    keep = np.ones(a.shape, bool) if keep is None else keep
    per_class = []
    for label in classes:
        x, y = (a == label) & keep, (b == label) & keep
        union, both = (x | y).sum(), (x & y).sum()
        if union == 0:
            if empty != "skip":
                per_class.append({"zero": 0.0, "one": 1.0}[empty])
        elif overlap == "iou":
            per_class.append(1 - both / union)
        else:
            per_class.append(1 - 2 * both / (x.sum() + y.sum()))
    return np.mean(per_class) if per_class and keep.any() else np.nan


def plain_matrix(first, second, classes, empty="zero", keep=None, overlap="iou"):
    """(N, M) for one image."""
    return np.array([[plain_distance(a, b, classes, empty, keep, overlap) for b in second] for a in first])
