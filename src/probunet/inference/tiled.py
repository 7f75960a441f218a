"""A large image with one consistent hypothesis throughout (paper, discussion): P(Y | X) computed tile by tile.

The prior sees the whole image, reduced where it is large, and every hypothesis has one z for the whole image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import final

import torch
from torch.distributions import Independent

from probunet.core.errors import InputError
from probunet.core.types import Image, Label, Logits, Samples
from probunet.distributions.base import SegmentationDistribution, cross_entropy
from probunet.models.base import SegmentationModel, check_image, check_label
from probunet.models.dropout_unet import DropoutUNet
from probunet.models.ensemble import Ensemble
from probunet.models.image2image_vae import Image2ImageVAE
from probunet.models.m_heads import MHeads
from probunet.models.probabilistic_unet import ProbabilisticUNet
from probunet.models.unet import UNet
from probunet.nets.gaussian import standard_normal
from probunet.nets.labels import one_hot, with_latent
from probunet.nets.prior import draw_from
from probunet.nets.tiling import Tiling, make_tiling, reduced, strips

TILE = 512
"""Side of a tile in pixels: with the margin of the paper's U-Net, 192 px, a third of what is computed is kept."""

PRIOR_SIZE = 1024
"""Longest side in pixels of what the prior net sees."""


TILEABLE = ProbabilisticUNet, Image2ImageVAE, DropoutUNet, UNet, MHeads, Ensemble
"""Models whose draws are a few numbers for the whole image; the others need it whole."""


@dataclass(frozen=True)
class _Parts:
    """A distribution taken apart: draws, (N, ...), that hold for the whole image, and the logits they lead to.

    Attributes:
        draw: from n and a generator to the draws of n hypotheses.
        cover: from n and a generator to draws whose average stands for the distribution; exact where it can be.
        propose: from a label, n and a generator to draws and their log importance weights (N, B).
        decode: from draws to strips from top to bottom, each the logits (B, K, rows, W) of every draw.
    """

    distinct: int | None
    draw: Callable[[int, torch.Generator | None], torch.Tensor]
    cover: Callable[[int, torch.Generator | None], torch.Tensor]
    propose: Callable[[Label, int, torch.Generator | None], tuple[torch.Tensor, torch.Tensor]]
    decode: Callable[[torch.Tensor], Iterator[Iterable[Logits]]]


@final
class TiledSegmentation(SegmentationDistribution):
    """P(Y | X) of a large image; the U-Net runs anew, tile by tile, whenever it is asked.

    Made by :func:`tiled`.
    """

    def __init__(self, parts: _Parts) -> None:
        self._parts = parts
        self.distinct = parts.distinct

    def stream(self, n: int, generator: torch.Generator | None = None) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Draw n hypotheses of every image and give them from top to bottom; memory holds one strip.

        Yields:
            (n, B, rows, W) uint8 class ids, and (B, K, rows, W) class probabilities averaged over these n.
        """
        draws = self._parts.draw(n, generator)
        for logits in self._parts.decode(draws):
            labels, total = [], torch.zeros((), device=draws.device)
            for one in logits:
                labels.append(one.argmax(dim=1).to(torch.uint8))
                total = total + one.softmax(dim=1)
            yield torch.stack(labels), total / n

    def sample(self, n: int, generator: torch.Generator | None = None) -> Samples:
        """Give n hypotheses, of uint8; see the base class."""
        return torch.cat([labels for labels, _ in self.stream(n, generator)], dim=-2)

    def probabilities(self, samples: int = 64, generator: torch.Generator | None = None) -> torch.Tensor:
        """Average the softmax over draws, or over all members; see the base class."""
        draws = self._parts.cover(samples, generator)
        means = []
        for logits in self._parts.decode(draws):
            total = torch.zeros((), device=draws.device)
            for one in logits:
                total = total + one.softmax(dim=1)
            means.append(total / len(draws))
        return torch.cat(means, dim=-2)

    def log_prob(self, label: Label, samples: int = 64, generator: torch.Generator | None = None) -> torch.Tensor:
        """Exact, or the importance-weighted bound with the posterior of the reduced image; see the base class."""
        draws, total = self._parts.propose(label, samples, generator)
        top = 0
        for logits in self._parts.decode(draws):
            fits = []
            for one in logits:
                fits.append(-cross_entropy(one, label[:, top : top + one.shape[-2]]))
            total = total + torch.stack(fits)
            top += one.shape[-2]
        return torch.logsumexp(total, dim=0) - math.log(len(draws))


def tiled(
    model: SegmentationModel,
    image: Image,
    tile: int = TILE,
    margin: int | None = None,
    prior_size: int = PRIOR_SIZE,
) -> TiledSegmentation:
    """Give what ``model(image)`` gives, with memory bounded by the tile.

    Exactly the same where the margin covers the receptive field and the image is not larger than ``prior_size``;
    only the dropout U-Net draws other masks (anew for every tile, so that pixels within the margin of a tile's edge
    depend on its neighbour's masks less than they would).

    Args:
        model: any model of this package.
        image: (B, C, H, W) float32.
        tile: side in pixels.
        margin: in pixels; see :func:`probunet.nets.tiling.make_tiling`.
        prior_size: longest side in pixels of what prior and posterior net see; larger images are averaged over
            areas.

    Raises:
        InputError: as the model does, a tile or margin that makes no sense, or a model that is not known here.
    """
    check_image(image, model.in_channels)
    if isinstance(model, ProbabilisticUNet | Image2ImageVAE):
        return TiledSegmentation(_latent(model, image, make_tiling(model.unet, tile, margin), prior_size))
    if isinstance(model, DropoutUNet):
        return TiledSegmentation(_dropout(model, image, make_tiling(model.unet, tile, margin)))
    if isinstance(model, UNet | MHeads | Ensemble):
        unet = model.members[0].unet if isinstance(model, Ensemble) else model.unet
        return TiledSegmentation(_mixture(model, image, make_tiling(unet, tile, margin)))
    raise InputError(f"a {type(model).__name__} cannot run tile by tile; give it the whole image")


def _latent(model: ProbabilisticUNet | Image2ImageVAE, image: Image, tiling: Tiling, prior_size: int) -> _Parts:
    small = reduced(image, prior_size)
    net = model.prior if isinstance(model, ProbabilisticUNet) else None
    dims = model.posterior.head.out_features // 2
    prior = net(small) if net else standard_normal(len(image), dims, image.device)
    sees_image = isinstance(model, ProbabilisticUNet) and model.posterior_sees_image

    def posterior(label: Label) -> Independent:
        check_label(label, image, model.num_classes)
        seen = reduced(one_hot(label, model.num_classes).to(image.dtype), prior_size) - 0.5
        return model.posterior(torch.cat([small, seen], dim=1) if sees_image else seen)

    def propose(label: Label, n: int, generator: torch.Generator | None) -> tuple[torch.Tensor, torch.Tensor]:
        proposal = posterior(label)
        z = draw_from(proposal, n, generator)
        return z, prior.log_prob(z) - proposal.log_prob(z)

    def draws(n: int, generator: torch.Generator | None) -> torch.Tensor:
        return draw_from(prior, n, generator)

    return _Parts(None, draws, draws, propose, lambda z: _decode_latents(model, image, tiling, z))


def _decode_latents(
    model: ProbabilisticUNet | Image2ImageVAE, image: Image, tiling: Tiling, latents: torch.Tensor
) -> Iterator[Iterable[Logits]]:
    if isinstance(model, ProbabilisticUNet) and model.combine is not None:
        combine = model.combine
        for projected in strips(lambda x: combine.project(model.unet(x)), image, tiling):
            yield (combine(projected, z).float() for z in latents)
        return
    head = model.head
    assert head is not None

    def hypothesis(z: torch.Tensor) -> Iterator[Logits]:
        return strips(lambda x: head(model.unet(with_latent(x, z))).float(), image, tiling)

    yield from zip(*(hypothesis(z) for z in latents), strict=True)


def _mixture(model: UNet | MHeads | Ensemble, image: Image, tiling: Tiling) -> _Parts:
    members = 1 if isinstance(model, UNet) else len(model.heads if isinstance(model, MHeads) else model.members)

    def draws(n: int, generator: torch.Generator | None) -> torch.Tensor:
        """Draw members as ``MixtureSegmentation`` does: (n, B) indices, every member once before any comes again."""
        keys = torch.rand((len(image), -(-n // members), members), generator=generator, device=image.device)
        return keys.argsort(dim=-1, stable=True).reshape(len(image), -1)[:, :n].T

    def cover(n: int, generator: torch.Generator | None) -> torch.Tensor:
        return torch.arange(members, device=image.device)[:, None].expand(-1, len(image))

    def propose(label: Label, n: int, generator: torch.Generator | None) -> tuple[torch.Tensor, torch.Tensor]:
        check_label(label, image, model.num_classes)
        return cover(n, generator), torch.zeros((members, len(image)), device=image.device)

    def decode(draws: torch.Tensor) -> Iterator[Iterable[Logits]]:
        batch = torch.arange(len(image), device=image.device)
        for maps in strips(lambda x: torch.cat(model(x).logits, dim=1), image, tiling):
            logits = maps.unflatten(1, (members, -1))
            yield (logits[batch, drawn] for drawn in draws)

    return _Parts(members, draws, cover, propose, decode)


def _dropout(model: DropoutUNet, image: Image, tiling: Tiling) -> _Parts:
    """A draw is the seed of a hypothesis' masks."""

    def draws(n: int, generator: torch.Generator | None) -> torch.Tensor:
        return torch.randint(2**62, (n,), generator=generator, device=image.device)

    def propose(label: Label, n: int, generator: torch.Generator | None) -> tuple[torch.Tensor, torch.Tensor]:
        check_label(label, image, model.num_classes)
        return draws(n, generator), torch.zeros((n, len(image)), device=image.device)

    def hypothesis(seed: int) -> Iterator[Logits]:
        own = torch.Generator(image.device).manual_seed(seed)
        return strips(lambda x: model(x).logits(own), image, tiling)

    def decode(seeds: torch.Tensor) -> Iterator[Iterable[Logits]]:
        return zip(*(hypothesis(seed) for seed in seeds.tolist()), strict=True)

    return _Parts(None, draws, draws, propose, decode)
