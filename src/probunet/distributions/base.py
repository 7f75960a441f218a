"""What ``model(image)`` is: a distribution over segmentations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import final

import torch
from torch.distributions import Distribution, Independent

from probunet.core.errors import InputError
from probunet.core.samples import Samples
from probunet.core.seeds import checked_count
from probunet.core.types import Label, Latent, Logits
from probunet.distributions.noise import Noise, Reconstruction, spread
from probunet.distributions.references import check_label, cross_entropy
from probunet.nets.decode import Decode, most_probable
from probunet.nets.tiling import Tiles

MOMENTS = 4096
"""Draws that stand for the mean and sigma of a prior without a formula for them."""


@final
class SegmentationDistribution:
    """P(Y | X) for a batch of B images: what a model says about every plausible segmentation.

    A hypothesis is its noise: random numbers (n, B, ...) that know nothing of the images. The same noise can be given
    to the distribution of another image, of a tile of the image, or of the next slice of a volume; what is shared by
    a batch, (n, 1, ...), goes with every image.

    Args:
        noise: its kind, bound to these images.
        strips: what decodes them one after the other along the first axis (rows of images, slices of volumes); a single
            one for a whole image.
        num_classes: classes K.
        shape: B, *size of the images.

    Attributes:
        distinct: how many different hypotheses there are for an image; ``None`` where there is no limit.
        independent: whether the draws of :meth:`sample` are independent of each other, unless they cover.
        components: how many parts with a weight of their own it has (members, experts); 1 where it has none.
        device: of the model.
    """

    def __init__(self, noise: Noise, strips: Sequence[Decode] | Tiles, num_classes: int, shape: Sequence[int]) -> None:
        self._noise, self._strips = noise, strips
        self.num_classes, self.shape = num_classes, tuple(shape)
        self.distinct, self.independent = noise.distinct, noise.independent
        self.components, self.device = noise.components, noise.device

    def noise(self, n: int, generator: torch.Generator | None = None, cover: bool = False) -> torch.Tensor:
        """Draw the noise of n hypotheses of every image.

        Args:
            n: how many.
            generator: source of randomness, on any device.
            cover: together they cover the distribution better than independent ones; each is still an exact draw.

        Returns:
            (n, B, ...).

        Raises:
            InputError: n is no number of hypotheses.
        """
        n = checked_count(n)
        return self._noise.draw(n, generator, cover)

    def labels(self, noise: torch.Tensor) -> Samples:
        """Give the hypotheses of a noise: the most probable class of every pixel.

        Returns:
            (n, B, *size) uint8 class ids, which metrics take as they are.
        """
        return self._labels(self._noise.place(noise))

    def logits(self, noise: torch.Tensor) -> torch.Tensor:
        """Give the logits of the hypotheses of a noise; a gradient flows to the parameters of the model.

        Returns:
            (n, B, K, *size) float32.
        """
        return self._logits(self._noise.place(noise))

    def probabilities(
        self, noise: torch.Tensor | None = None, samples: int = 64, generator: torch.Generator | None = None
    ) -> torch.Tensor:
        """Pixel-wise marginal class probabilities.

        Args:
            noise: of the hypotheses whose softmax is averaged; if not given, those of the whole distribution are
                meant, exact for a mixture of members, else averaged over draws that cover it.
            samples: how many draws these are.
            generator: their source.

        Returns:
            (B, K, *size) float32, non-negative, summing to 1 over K.
        """
        if noise is not None:
            return self._average(self._noise.place(noise))
        return self._average(*spread(self._noise, samples, generator, cover=True))

    def sample(self, n: int, generator: torch.Generator | None = None, cover: bool = False) -> Samples:
        """Draw n hypotheses of every image, (n, B, *size) uint8 class ids; see :meth:`noise`."""
        return self.labels(self.noise(n, generator, cover))

    def stream(self, noise: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Give :meth:`labels` and :meth:`probabilities` of a noise together, decoding once; memory holds one strip.

        Yields:
            (n, B, rows, ...) uint8 class ids and (B, K, rows, ...) class probabilities, along the first axis.
        """
        return self._stream(self._noise.place(noise))

    def log_prob(self, label: Label, samples: int = 64, generator: torch.Generator | None = None) -> torch.Tensor:
        """log P(Y | X), summed over the pixels whose label is not ignored.

        Args:
            label: (B, *size) class ids or ``IGNORE``.
            samples: draws of the estimator, where one is needed.
            generator: their source.

        Returns:
            (B,) nats; exact, or a lower bound in expectation where the model integrates over latents (importance
            weights from the posterior where there is one: Burda et al. 2016, Eq. 8).

        Raises:
            InputError: a label out of range, or of a model with latent maps in tiles.
        """
        self._check(label)
        if self._noise.local and isinstance(self._strips, Tiles):
            raise InputError("the likelihood of a model with latent maps needs the image whole, not in tiles")
        variables, total = self._noise.propose(label, samples, generator)
        top = 0
        for decode in self._strips:
            fits = []
            for hypothesis in variables:
                logits = decode(hypothesis).float()
                fits.append(-cross_entropy(logits, label[:, top : top + logits.shape[2]]))
            total = total + torch.stack(fits)
            top += logits.shape[2]
        return torch.logsumexp(total, dim=0)

    def strata(self, m: int = 1, generator: torch.Generator | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Draw from every component (member, expert; a distribution without components is one), with gradients.

        Args:
            m: independent draws of every component; one where all draws of a component are the same.
            generator: their source.

        Returns:
            Logits (C m, B, K, *size), component by component, and the logarithms of the components' weights, (C, B).
        """
        variables, log_weights = self._noise.strata(m, generator)
        return self._logits(variables), log_weights

    def component(self, chosen: torch.Tensor) -> SegmentationDistribution:
        """Give the distribution that is one component (expert, reader) alone; the network does not run again.

        Args:
            chosen: (B,) number of the component of every image.

        Raises:
            InputError: there are no components, or there is none of this number.
        """
        if chosen.shape != self.shape[:1] or not ((chosen >= 0) & (chosen < self.components)).all():
            raise InputError(f"give each of {self.shape[0]} images a component from 0 to {self.components - 1}")
        return SegmentationDistribution(self._noise.component(chosen), self._strips, self.num_classes, self.shape)

    def reconstruct(self, label: Label, generator: torch.Generator | None = None) -> Reconstruction:
        """Draw once from the posterior of a label and decode: what an evidence bound is made of.

        Raises:
            InputError: a label out of range, or a model without a posterior.
        """
        self._check(label)
        if isinstance(self._strips, Tiles):
            raise InputError("an image in tiles cannot be reconstructed from a posterior; give it whole")
        return self._noise.reconstruct(label, self._strips[0], generator)

    @property
    def latent(self) -> LatentSpace | None:
        """The space of the latent that a hypothesis is decoded from; ``None`` for a model without a single one."""
        return LatentSpace(self, self._noise.prior) if self._noise.prior is not None else None

    def _check(self, label: Label) -> None:
        check_label(label, self.shape, self.num_classes)

    def _labels(self, variables: torch.Tensor) -> Samples:
        with torch.no_grad():
            strips = [decode.labels(variables) for decode in self._strips]
        return (strips[0] if len(strips) == 1 else torch.cat(strips, dim=2)).as_subclass(Samples)

    def _logits(self, variables: torch.Tensor) -> torch.Tensor:
        strips = [torch.stack([decode(v).float() for v in variables]) for decode in self._strips]
        return strips[0] if len(strips) == 1 else torch.cat(strips, dim=3)

    def _stream(self, variables: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        for decode in self._strips:
            labels, total = [], torch.zeros((), device=variables.device)
            for hypothesis in variables:
                logits = decode(hypothesis).float()
                labels.append(most_probable(logits))
                total = total + logits.softmax(dim=1)
            yield torch.stack(labels), total / len(labels)
            del decode, labels, total, logits  # the next strip needs their memory

    def _average(self, variables: torch.Tensor, log_weights: torch.Tensor | None = None) -> torch.Tensor:
        """Average the softmax over variables (n, B, ...), with weights (n, B) or all alike."""
        strips = []
        for decode in self._strips:
            total = torch.zeros((), device=variables.device)
            for i, hypothesis in enumerate(variables):
                shares = decode(hypothesis).float().softmax(dim=1)
                total = total + (shares if log_weights is None else _each(log_weights[i].exp(), shares) * shares)
            strips.append(total if log_weights is not None else total / len(variables))
        return strips[0] if len(strips) == 1 else torch.cat(strips, dim=2)


def _each(values: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
    """See values (B,), one for each of maps (B, ...), as (B, 1, ...)."""
    return values.reshape(-1, *[1] * (maps.ndim - 1))


@final
class LatentSpace:
    """The latent space of a batch of images: one point is one hypothesis.

    Args:
        distribution: over the segmentations of the images.
        prior: P(z | X), batch shape (B,), event shape (D,).

    Attributes:
        dims: dimensions D.
        infers: whether there is a posterior.
    """

    def __init__(self, distribution: SegmentationDistribution, prior: Distribution) -> None:
        self._distribution, self.prior = distribution, prior
        self.dims = int(prior.event_shape[0])
        self.infers = distribution._noise.posterior is not None

    @property
    def axes(self) -> tuple[torch.Tensor, torch.Tensor] | None:
        """Mean and sigma of the prior, each (B, D), where it is an axis-aligned Gaussian; else ``None``."""
        return (self.prior.mean, self.prior.stddev) if isinstance(self.prior, Independent) else None

    def moments(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and sigma of the prior, each (B, D); a flow has no formula for them, and its draws are counted."""
        try:
            return self.prior.mean, self.prior.stddev
        except NotImplementedError:
            generator = torch.Generator().manual_seed(0)
            z = self.place(self._distribution.noise(MOMENTS, generator))
            return z.mean(dim=0), z.std(dim=0)

    def place(self, noise: torch.Tensor) -> torch.Tensor:
        """Give the latents (n, B, D) that a noise (n, B, ...) means."""
        return self._distribution._noise.place(noise)

    def posterior(self, label: Label) -> Independent:
        """Give Q(z | X, Y) of a label (B, *size).

        Raises:
            InputError: a label out of range, or a model that does not infer z.
        """
        self._distribution._check(label)
        posterior = self._distribution._noise.posterior
        if posterior is None:
            raise InputError("this model does not infer a latent from a label")
        return posterior(label)

    def labels(self, z: torch.Tensor) -> Samples:
        """Decode latents (n, B, D) to labels (n, B, *size)."""
        return self._distribution._labels(z)

    def stream(self, z: torch.Tensor) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Give labels and probabilities of latents (n, B, D) together; see ``SegmentationDistribution.stream``."""
        return self._distribution._stream(z)

    def logits(self, z: Latent) -> Logits:
        """Decode one latent per image, (B, D), to logits (B, K, *size)."""
        return self._distribution._logits(z[None])[0]

    def probabilities(self, z: torch.Tensor) -> torch.Tensor:
        """Average the softmax over latents (n, B, D): (B, K, *size)."""
        return self._distribution._average(z)
