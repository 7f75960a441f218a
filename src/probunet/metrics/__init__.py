"""Metrics: pure functions on label maps. No file here knows a model."""

from probunet.metrics.distance import Distances, pairwise_distance, pairwise_distances
from probunet.metrics.energy import EnergyDistance, energy_distance, energy_distance_from

__all__ = [
    "Distances",
    "EnergyDistance",
    "energy_distance",
    "energy_distance_from",
    "pairwise_distance",
    "pairwise_distances",
]
