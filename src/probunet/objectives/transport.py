"""The coupling of hypotheses and readers with least cost (optimal transport; Gao et al. 2023, section 3.3)."""

from __future__ import annotations

import math

import numpy as np
import torch
from scipy.optimize import linear_sum_assignment


def transport_plan(cost: torch.Tensor, looked: torch.Tensor, limit: float) -> torch.Tensor:
    """Move the mass of every reader to the hypotheses at least cost, none of which takes more than its share.

    Readers have equal masses, so that the linear program has a solution in whole readers: an assignment, in which a
    hypothesis stands for as many readers as fit its limit (at least one).

    Args:
        cost: (B, N, R) of every pair of hypothesis and reader; no gradient flows through the plan.
        looked: (B, R) bool; readers who did not look at an image have no mass there.
        limit: largest share of the readers that one hypothesis takes, above 0; 1 moves each to its nearest.

    Returns:
        (B, N, R), summing to 1 / (readers who looked) over N, and to 1 in all; 0 where nobody looked.
    """
    costs, present = cost.detach().double().cpu().numpy(), looked.cpu().numpy()
    plan = np.zeros(costs.shape)
    for b, (pairs, here) in enumerate(zip(costs, present, strict=True)):
        readers = np.flatnonzero(here)
        if len(readers) and np.isfinite(pairs).all():
            places = max(1, math.floor(limit * len(readers) + 1e-9), -(-len(readers) // len(pairs)))
            places_of = np.repeat(np.arange(len(pairs)), places)
            taken, reader = linear_sum_assignment(pairs[places_of][:, readers])
            plan[b, places_of[taken], readers[reader]] = 1 / len(readers)
    return torch.from_numpy(plan).to(cost)
