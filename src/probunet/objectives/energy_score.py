"""The unbiased energy score of a model's own hypotheses against readers, differentiable: train on what is measured.

2/(K R) sum d(S_k, Y_r) - 1/(K (K - 1)) sum over i != j of d(S_i, S_j) estimates, without bias and up to the readers'
own diversity, the energy distance D_GED^2. Its minimum is the readers' distribution itself (d = 1 - IoU is of negative
type: Szekely and Rizzo 2013). With the pairs i = j kept, the repulsion is too weak by 1/K, and hypotheses collapse.
One reader per image is enough for that: the expectation over images is the same, only noisier.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import torch

from probunet.core.errors import InputError
from probunet.core.types import IGNORE
from probunet.distributions.base import SegmentationDistribution
from probunet.metrics.convention import Convention, Empty
from probunet.nets.labels import one_hot

Relaxation: TypeAlias = Literal["soft", "straight_through"]
"""``soft``: class probabilities instead of labels; ``straight_through``: labels, with the gradient of probabilities."""


@dataclass(frozen=True)
class EnergyScore:
    """How the energy score is added to a model's own objective.

    Attributes:
        weight: nats per unit of the score; the reconstruction is a sum over pixels, the score lies between -1 and 2.
        samples: hypotheses K of every image, 2 or more.
        relaxation: of the hypotheses, see ``Relaxation``.
        temperature: logits are divided by it before the softmax. Faint probabilities all over an image add up to
            pixels that no label has; a low temperature takes them away, and the distance is closer to the metric's.
        warm_in: share of the training over which the weight rises from 0, linearly.
        models: names of the models of an experiment that are trained with it; all of them if not given.
    """

    weight: float = 100.0
    samples: int = 6
    relaxation: Relaxation = "soft"
    temperature: float = 0.3
    warm_in: float = 0.0
    models: tuple[str, ...] | None = None

    def check(self, models: Collection[str]) -> None:
        """Refuse what has no meaning, before any training begins.

        Args:
            models: names of the models of the experiment.

        Raises:
            InputError: fewer than two samples, a weight or temperature that is not positive, a share outside
                [0, 1], an unknown relaxation, or an unknown model.
        """
        if unknown := sorted(set(self.models or ()) - set(models)):
            raise InputError(f"energy.models names '{unknown[0]}'; the models are {', '.join(models)}")
        if self.samples < 2:
            raise InputError(f"energy.samples={self.samples}, but repulsion needs pairs; give at least 2")
        if not self.weight > 0:
            raise InputError(f"energy.weight={self.weight} is not positive; leave energy out to train without it")
        if not self.temperature > 0:
            raise InputError(f"energy.temperature={self.temperature} is not positive; give for example 0.3")
        if not 0 <= self.warm_in <= 1:
            raise InputError(f"energy.warm_in={self.warm_in} is not a share of the training; give 0 to 1")
        if self.relaxation not in get_args(Relaxation):
            known = ", ".join(get_args(Relaxation))
            raise InputError(f"energy.relaxation={self.relaxation!r} is not known; choose one of {known}")

    def weight_at(self, progress: float) -> float:
        """Weight at a share of the training (0 to 1)."""
        return self.weight * (min(1.0, progress / self.warm_in) if self.warm_in else 1.0)

    def of(
        self,
        distribution: SegmentationDistribution,
        labels: torch.Tensor,
        convention: Convention,
        generator: torch.Generator | None = None,
        strata: tuple[torch.Tensor, torch.Tensor] | None = None,
        by_reader: bool = False,
    ) -> torch.Tensor:
        """Mean score of hypotheses over the images of a batch that have a pixel to compare.

        Args:
            distribution: of B images. Where it has components, each is drawn at least twice, or once where all its
                draws are the same, and its weight counts.
            labels: (B, R, *size) class ids or ``IGNORE``, of one or more readers; one who did not look at an image
                is ``IGNORE`` everywhere, and left out.
            convention: its evaluated classes and what empty ones count, see ``Store.convention``.
            generator: source of randomness, on any device.
            strata: draws of every component that are there already; taken where they are as many as would be drawn.
            by_reader: whether component r of the distribution is the reader of column r. The score of all against
                all then is averaged with those of every component against its own reader, in proportion to who looked.

        Returns:
            Scalar, differentiable.

        Raises:
            InputError: not as many readers as components where one is the other.
        """
        each = max(-(-self.samples // distribution.components), 2)
        enough = strata is not None and len(strata[0]) >= each * distribution.components
        logits, log_weights = strata if strata is not None and enough else distribution.strata(each, generator)
        classes = list(convention.evaluated)
        maps = relaxed(logits / self.temperature, self.relaxation)[:, :, classes].flatten(3)
        known = (labels != IGNORE).flatten(2)
        looked = known.any(dim=2)
        counts = (known | ~looked[..., None]).all(dim=1) & looked.any(dim=1, keepdim=True)
        readers = one_hot(labels.flatten(0, 1), logits.shape[2])[:, classes].flatten(2)
        readers = readers.unflatten(0, labels.shape[:2]).movedim(1, 0).to(maps.dtype)
        seen = counts[:, None].to(maps.dtype)
        weights = looked.T.to(maps.dtype)
        maps, readers = maps * seen, readers * seen
        score = unbiased_energy_score(maps, readers, weights, convention.empty, log_weights.exp())
        if by_reader:
            score = (score + _score_by_reader(maps, readers, weights, convention.empty)) / 2
        scored = counts.any(dim=1)
        return (score * scored).sum() / scored.sum().clamp(min=1)


def _score_by_reader(samples: torch.Tensor, readers: torch.Tensor, weights: torch.Tensor, empty: Empty) -> torch.Tensor:
    """The score of each component's samples against its own reader, averaged over those who looked.

    The arguments are those of :func:`unbiased_energy_score`, with as many components as readers.
    """
    each, uneven = divmod(len(samples), len(readers))
    if uneven or not each:
        raise InputError(f"{len(samples)} hypotheses do not divide among {len(readers)} readers, one component each")
    scores = torch.stack(
        [
            unbiased_energy_score(samples[r * each : (r + 1) * each], reader[None], weights[r : r + 1], empty)
            for r, reader in enumerate(readers)
        ]
    )
    return (scores * weights).sum(dim=0) / weights.sum(dim=0).clamp(min=1)


def relaxed(logits: torch.Tensor, relaxation: Relaxation) -> torch.Tensor:
    """Turn logits (N, B, K, *size) into maps with a gradient: probabilities, or one-hot labels straight through."""
    soft = logits.softmax(dim=2)
    if relaxation == "soft":
        return soft
    labels = logits.argmax(dim=2)
    hard = one_hot(labels.flatten(0, 1), logits.shape[2]).unflatten(0, labels.shape[:2]).to(soft.dtype)
    return hard + soft - soft.detach()


def unbiased_energy_score(
    samples: torch.Tensor,
    readers: torch.Tensor,
    weights: torch.Tensor,
    empty: Empty = "zero",
    components: torch.Tensor | None = None,
) -> torch.Tensor:
    """2 mean d(S, Y) - mean over i != j of d(S, S') of each image, components by their weights.

    Args:
        samples: (N, B, K, P) probabilities of the evaluated classes, 0 where a pixel does not count; N from 2 up.
            Where there are C components, they come one after the other, each with N / C independent samples; a single
            sample stands for a component without any variation.
        readers: (R, B, K, P), R from 1 up.
        weights: (R, B) of the readers, 0 for one who did not look at an image.
        empty: what a class that neither map has contributes.
        components: their weights, (C, B), which sum to 1 over C; a single one if not given.

    Returns:
        (B,), in expectation D_GED^2 plus the readers' own diversity.
    """
    if components is None:
        components = weights.new_ones((1, weights.shape[1]))
    each = len(samples) // len(components)
    mass = components.T.to(samples.dtype).repeat_interleave(each, dim=1) / each  # (B, N)
    share = weights / weights.sum(dim=0).clamp(min=1)
    to_readers = (mass[..., None] * soft_distances(samples, readers, empty) * share.T[:, None]).sum(dim=(1, 2))
    among = (mass[:, :, None] * mass[:, None] * soft_distances(samples, samples, empty)).unflatten(2, (-1, each))
    between = among.unflatten(1, (-1, each)).sum(dim=(2, 4))  # (B, C, C); the distance of a sample to itself is 0
    within = between.diagonal(dim1=1, dim2=2).sum(dim=1)
    return 2 * to_readers - between.sum(dim=(1, 2)) - within / max(each - 1, 1)


def soft_distances(first: torch.Tensor, second: torch.Tensor, empty: Empty = "zero") -> torch.Tensor:
    """1 - IoU of maps of probabilities times the presence of either: sum |p - q| / sum m * max m, m = max(p, q).

    It is the metric itself on hard maps, for every convention about empty ones; zero between equal maps, soft or
    hard, so that a blurred hypothesis is not repelled from itself (the product form, sum pq, does that); and against
    an empty map it is the probability of the surest pixel, so that a hypothesis learns how often to be empty.

    Args:
        first: (N, B, K, P) probabilities of each class at each pixel, 0 where a pixel does not count.
        second: (M, B, K, P).
        empty: what a class that neither map has contributes, in proportion to its absence.

    Returns:
        (B, N, M) distances, 0 to 1; 0 where ``skip`` leaves nothing.
    """
    first, second = first.movedim(0, 2), second.movedim(0, 2)  # (B, K, N, P)
    apart = torch.cdist(first, second, p=1.0)
    twice_union = first.sum(dim=-1)[..., None] + second.sum(dim=-1)[..., None, :] + apart  # 2 max = p + q + |p - q|
    presence = torch.maximum(first.amax(dim=-1)[..., None], second.amax(dim=-1)[..., None, :])
    smallest = torch.finfo(apart.dtype).eps
    distance = 2 * apart / twice_union.clamp(min=smallest) * presence
    if empty == "skip":
        return distance.sum(dim=1) / presence.sum(dim=1).clamp(min=smallest)
    if empty == "one":
        distance = distance + (1 - presence)
    return distance.mean(dim=1)
