"""Hypotheses from random fields: the noise is a seed, of masks, of logits, or of latent maps at several scales."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TypeAlias, final

import torch
from torch.distributions import Normal, kl_divergence

from probunet.core.draws import drawn
from probunet.core.types import Image, Label, Logits
from probunet.distributions.noise import Noise, Reconstruction, Weighted, spread, systematic
from probunet.nets.decode import Decode
from probunet.nets.latent_decoder import Choose
from probunet.nets.readers import Persons

Descend: TypeAlias = Callable[[Choose, torch.Tensor | None], list[Logits]]
"""Asks for the latents of every level, coarsest first, and gives logits (B, K, *size): the last are the hypothesis,
those before it what the coarser levels alone make of it. The priors are those of a reader of each image, (B,); of all
readers, if not given, in a model that knows them."""

WHOLE = 2**62
"""Random whole numbers are below it: seeds, and those that choose a reader."""


@dataclass(frozen=True)
class Levels:
    """Latents z_0, z_1, ... at several scales, each a map that depends on the coarser ones (Kohl et al. 2019).

    Attributes:
        descend: through the levels of P(z_l | z_<l, X) to the logits.
        infer: from a label to the same way through Q(z_l | z_<l, X, Y).
    """

    descend: Descend
    infer: Callable[[Label], Callable[[Choose], object]]


@final
class Seeds(Noise):
    """Noise (n, B) of int64 seeds, each of a random field without end (see ``probunet.nets.fields``).

    Args:
        batch: images B.
        device: of the model.
        levels: the latents that the fields become, where these can be inferred from a label.
        readers: (B,) number of the reader who draws each image, of a model that knows them; a variable then is the
            number beside the seed.
    """

    def __init__(
        self, batch: int, device: torch.device, levels: Levels | None = None, readers: torch.Tensor | None = None
    ) -> None:
        self._batch, self.device, self._levels, self._readers = batch, device, levels, readers
        self.local = levels is not None

    def draw(self, n: int, generator: torch.Generator | None, cover: bool = False) -> torch.Tensor:
        """Draw seeds; those that cover come in pairs of opposite fields. See the base class."""
        count = -(-n // 2) if cover else n
        seeds = drawn(partial(torch.randint, WHOLE), (count, self._batch), generator, self.device)
        return torch.stack([seeds, seeds ^ 1], dim=1).flatten(0, 1)[:n] if cover else seeds

    def place(self, noise: torch.Tensor) -> torch.Tensor:
        """A field is its seed; see the base class."""
        if self._readers is None:
            return noise
        return torch.stack(torch.broadcast_tensors(self._readers, noise), dim=-1)

    def strata(self, m: int, generator: torch.Generator | None, cover: bool = False) -> Weighted:
        """A single component; see the base class."""
        return self.place(self.draw(m, generator, cover)), torch.zeros((1, self._batch), device=self.device)

    def propose(self, label: Label, n: int, generator: torch.Generator | None) -> Weighted:
        """Draw latents from the posterior, with their weights over all levels; seeds where there is none.

        See the base class.
        """
        if self._levels is None:
            return spread(self, n, generator)
        return _weighted(self._levels, label, n, generator, self._readers)

    def reconstruct(self, label: Label, decode: Decode, generator: torch.Generator | None) -> Reconstruction:
        """Draw the latents of all levels from the posterior and decode; KL of every level, given the coarser draws.

        See the base class.
        """
        if self._levels is None:
            return super().reconstruct(label, decode, generator)
        met = _meet(self._levels.descend, self._levels.infer(label), generator, self._readers)
        levels = [kl_divergence(q, p).flatten(1).sum(dim=1) for q, p in zip(met.posterior, met.prior, strict=True)]
        return Reconstruction(met.outputs, torch.stack(levels, dim=1), "level")


@final
class FieldsOfReaders(Noise):
    """Noise (n, B, 2) int64: a number that chooses a reader by the shares, and the seed of a random field.

    A variable is the number of the reader beside the seed.

    Args:
        log_shares: logarithms of the shares of the R readers, (R,).
        batch: images B.
        levels: see :class:`Seeds`.
    """

    def __init__(self, log_shares: torch.Tensor, batch: int, levels: Levels | None = None) -> None:
        self.log_shares, self._batch, self._levels = log_shares, batch, levels
        self.device, self.components, self.local = log_shares.device, len(log_shares), levels is not None

    def draw(self, n: int, generator: torch.Generator | None, cover: bool = False) -> torch.Tensor:
        """Draw; together, a reader of share w covers n w hypotheses, rounded up or down. See the base class.

        Opposite fields are of the same reader where the shares allow it.
        """
        seeds = Seeds(self._batch, self.device).draw(n, generator, cover)
        choices = drawn(partial(torch.randint, WHOLE), seeds.shape, generator, self.device)
        if cover:
            pairs = choices[: -(-n // 2)].repeat_interleave(2, dim=0)[:n]
            choices = (systematic(pairs.double()[..., None], generator)[..., 0] * WHOLE).long()
        return torch.stack([choices, seeds], dim=-1)

    def place(self, noise: torch.Tensor) -> torch.Tensor:
        """See the base class."""
        shares = self.log_shares.detach().cpu().double().exp().cumsum(dim=0)[:-1]
        readers = (noise[..., :1] > (shares * WHOLE).long().to(noise.device)).sum(dim=-1)
        return torch.stack([readers, noise[..., 1]], dim=-1)

    def strata(self, m: int, generator: torch.Generator | None, cover: bool = False) -> Weighted:
        """Draw m fields of every reader; see the base class."""
        everyone = torch.arange(self.components, device=self.device)[:, None].expand(-1, self._batch)
        variables = [self.component(readers).strata(m, generator, cover)[0] for readers in everyone]
        return torch.cat(variables), self.log_shares[:, None].expand(-1, self._batch)

    def component(self, chosen: torch.Tensor) -> Seeds:
        """Give the fields of one reader for every image; see the base class."""
        return Seeds(self._batch, self.device, self._levels, chosen)

    def propose(self, label: Label, n: int, generator: torch.Generator | None) -> Weighted:
        """Draw latents from the posterior, weighted by the mixture of all priors; seeds where there is none.

        See the base class.
        """
        if self._levels is None:
            return spread(self, n, generator)
        return _weighted(self._levels, label, n, generator, None, self.log_shares)

    def reconstruct(self, label: Label, decode: Decode, generator: torch.Generator | None) -> Reconstruction:
        """Draw the latents from the posterior and decode; KL of every level, estimated without bias at these draws.

        The prior of a level is the mixture of the readers' in which each weighs as likely as the coarser draws make it.
        See the base class.
        """
        if self._levels is None:
            return super().reconstruct(label, decode, generator)
        met = _meet(self._levels.descend, self._levels.infer(label), generator, None)
        prior = met.log_priors(self.log_shares)
        levels = met.log_posteriors() - prior.diff(dim=0, prepend=torch.zeros_like(prior[:1]))
        return Reconstruction(met.outputs, levels.T, "level")


def fields_of(image: Image, persons: Persons | None, levels: Levels | None = None) -> Seeds | FieldsOfReaders:
    """Give the noise of images (B, C, *size): seeds, and beside them readers where a model knows these."""
    if persons is None:
        return Seeds(len(image), image.device, levels)
    return FieldsOfReaders(persons.log_shares, len(image), levels)


@dataclass(frozen=True)
class _Met:
    """Latents that were drawn from the posterior, and by level the distributions Q and P that they met.

    Attributes:
        outputs: logits that they are decoded to.
        latents: by level, (B, D, *size).
        posterior: likewise.
        prior: likewise, of one reader for each image; or of all readers, (R, B, D, *size).
    """

    outputs: list[Logits]
    latents: list[torch.Tensor]
    posterior: list[Normal]
    prior: list[Normal]

    def log_posteriors(self) -> torch.Tensor:
        """Log Q(z_l | z_<l, X, Y) of every level, (L, B)."""
        pairs = zip(self.posterior, self.latents, strict=True)
        return torch.stack([normal.log_prob(z).flatten(1).sum(dim=1) for normal, z in pairs])

    def log_priors(self, log_shares: torch.Tensor) -> torch.Tensor:
        """Log P(z_0, ..., z_l | X) of all levels down to each, (L, B): of the mixture over readers of some shares."""
        joint, levels = log_shares[:, None], []
        for normal, z in zip(self.prior, self.latents, strict=True):
            joint = joint + normal.log_prob(z).reshape(len(log_shares), len(z), -1).sum(dim=-1)
            levels.append(joint.logsumexp(dim=0))
        return torch.stack(levels)


def _meet(
    descend: Descend, infer: Callable[[Choose], object], generator: torch.Generator | None, readers: torch.Tensor | None
) -> _Met:
    """Draw the latents of all levels from the posterior, and decode them under the priors of readers."""
    latents: list[torch.Tensor] = []
    posterior: list[Normal] = []
    prior: list[Normal] = []

    def draw(level: int, normal: Normal) -> torch.Tensor:
        posterior.append(normal)
        mean = normal.mean
        noise = drawn(torch.randn, mean.shape, generator, mean.device, mean.dtype)
        latents.append(mean + normal.stddev * noise)
        return latents[-1]

    def meet(level: int, normal: Normal) -> torch.Tensor:
        prior.append(normal)
        return latents[level]

    infer(draw)
    return _Met(descend(meet, readers), latents, posterior, prior)


def _weighted(
    levels: Levels,
    label: Label,
    n: int,
    generator: torch.Generator | None,
    readers: torch.Tensor | None,
    log_shares: torch.Tensor | None = None,
) -> Weighted:
    """Draw latents from the posterior, those of all levels behind each other (n, B, L), with log P / Q / n, (n, B)."""
    infer = levels.infer(label)
    latents, log_weights = [], []
    for _ in range(n):
        met = _meet(levels.descend, infer, generator, readers)
        latents.append(torch.cat([z.flatten(1) for z in met.latents], dim=1))
        alone = latents[-1].new_zeros(1)
        prior = met.log_priors(alone if log_shares is None else log_shares)[-1]
        log_weights.append(prior - met.log_posteriors().sum(dim=0))
    return torch.stack(latents), torch.stack(log_weights) - math.log(n)
