"""Laws that every model obeys, to run on a model of your own: tiles, volumes, the page and the metrics rely on them.

>>> import torch, probunet as pu
>>> model = pu.UNet(channels=(4, 6, 6))
>>> images = torch.randn(2, 1, 24, 20, generator=torch.Generator().manual_seed(0))
>>> pu.testing.check_model(model, images, labels=(images[:, 0] > 0).to(torch.uint8))
"""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import torch

from probunet.core.errors import InputError
from probunet.core.types import IGNORE, Image, Label
from probunet.metrics.convention import Convention
from probunet.models.base import SegmentationModel
from probunet.nets.layers import cut
from probunet.objectives.energy_score import EnergyScore
from probunet.runs.exported import save
from probunet.runs.trained import load

Law = Callable[[SegmentationModel, Image, Label], None]
"""Takes a model that it may change, images (B, C, *size) and labels (B, *size)."""

SAME = 0.999
"""Share of pixels that must agree where classes may be as good as equal."""
LARGE = {2: ((101, 70), 32), 3: ((20, 40, 20), 16)}
"""Size in voxels of the image that is cut into tiles, by dims, and the side of the tiles."""


def check_model(model: SegmentationModel, images: Image, labels: Label, laws: Iterable[str] | None = None) -> None:
    """Check that a model obeys the laws.

    Args:
        model: untrained or trained; it stays as it is.
        images: (B, C, *size) with B of 2 or more, height and width of 16 px or more, as the model sees them: about
            -3 to 3. The model is checked on their device.
        labels: (B, *size) class ids, of which some occur and some pixels may be ignored.
        laws: names out of :data:`LAWS`; all if not given.

    Raises:
        AssertionError: a law is broken; the sentence says which and how.
    """
    for name in LAWS if laws is None else laws:
        try:
            LAWS[name](copy.deepcopy(model).to(images.device).eval(), images, labels)
        except AssertionError as error:
            raise AssertionError(f"{type(model).__name__} breaks the law '{name}': {error}") from error


def shapes_and_types(model: SegmentationModel, images: Image, labels: Label) -> None:
    """Samples are class ids (n, B, *size), probabilities (B, K, *size) add up to 1, a likelihood is (B,)."""
    (batch, _, *size), classes = images.shape, model.num_classes
    with torch.no_grad():
        distribution = model(images)
        samples = distribution.sample(3, _generator())
        probabilities = distribution.probabilities(samples=4, generator=_generator())
        likelihood = distribution.log_prob(labels, 4, _generator())
    _holds(samples.shape == (3, batch, *size), f"3 samples have the shape {tuple(samples.shape)}")
    _holds(samples.dtype == torch.uint8, f"samples are {samples.dtype}, not uint8")
    _holds(int(samples.max()) < classes, f"a sample holds {int(samples.max())}, of {classes} classes")
    _holds(probabilities.shape == (batch, classes, *size), f"probabilities have the shape {tuple(probabilities.shape)}")
    _close(probabilities.sum(dim=1), torch.ones_like(probabilities[:, 0]), "probabilities do not add up to 1")
    _holds(likelihood.shape == (batch,), f"log_prob has the shape {tuple(likelihood.shape)}")


def a_seed_gives_one_sample(model: SegmentationModel, images: Image, labels: Label) -> None:
    """Two passes with the same generator give the same samples, and a pass changes nothing that was given before."""
    with torch.no_grad():
        first = model(images)
        expected = first.sample(4, _generator())
        _same(model(images).sample(4, _generator()), expected, "another pass gives other samples", least=1.0)
        model(images + 3)
        _same(first.sample(4, _generator()), expected, "another image changes the samples of the first", least=1.0)


def every_parameter_learns(model: SegmentationModel, images: Image, labels: Label) -> None:
    """The loss is finite, and its gradient reaches every trainable parameter."""
    loss = model.train().loss(images, labels, _generator())
    _holds(bool(torch.isfinite(loss.total)), "the loss is not finite")
    loss.total.backward()
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            reached = parameter.grad is not None and bool(parameter.grad.abs().sum() > 0)
            _holds(reached, f"no gradient reaches {name}")


def the_energy_score_trains_it(model: SegmentationModel, images: Image, labels: Label) -> None:
    """The energy score of its own hypotheses against several readers has a gradient."""
    readers = torch.stack([labels, torch.zeros_like(labels)], dim=1)
    distribution = model.train().loss(images, labels, _generator()).distribution or model(images)
    score = EnergyScore(samples=3).of(distribution, readers, Convention(model.num_classes), _generator())
    score.backward()
    reached = sum(float(p.grad.abs().sum()) for p in model.parameters() if p.grad is not None)
    _holds(reached > 0, "the energy score has no gradient")


def one_noise_is_one_hypothesis(model: SegmentationModel, images: Image, labels: Label) -> None:
    """Labels, logits and probabilities of a noise are of the same hypotheses; a sample is the labels of its noise."""
    with torch.inference_mode():
        distribution = model(images)
        for cover in (False, True):
            noise = distribution.noise(5, _generator(), cover)
            logits = distribution.logits(noise)
            _holds(logits.dtype == torch.float32, f"logits are {logits.dtype}, not float32")
            _same(distribution.labels(noise), logits.argmax(dim=2), "labels are not the argmax of the logits")
            average = logits.softmax(dim=2).mean(dim=0)
            _close(distribution.probabilities(noise), average, "probabilities are not the mean softmax of the logits")
        noise = distribution.noise(4, _generator())
        _same(distribution.sample(4, _generator()), distribution.labels(noise), "sample(n) is not labels(noise(n))")


def noise_knows_nothing_of_the_image(model: SegmentationModel, images: Image, labels: Label) -> None:
    """The same numbers are drawn for any image of any size, and one noise goes with every image of a batch."""
    with torch.inference_mode():
        first = model(images).noise(3, _generator())
        other = model(_enlarged(images, [2 * length for length in images.shape[2:]]) + 5).noise(3, _generator())
        _holds(torch.equal(first, other), "another image gets another noise from the same generator")
        shared = model(images).labels(first[:, :1])
        alone = torch.cat([model(image[None]).labels(first[:, :1]) for image in images], dim=1)
        _same(shared, alone, "one noise gives other hypotheses in a batch")


def a_batch_is_its_images(model: SegmentationModel, images: Image, labels: Label) -> None:
    """What is said of an image does not depend on its neighbours in the batch."""
    model, images = model.double(), images.double()
    with torch.inference_mode():
        whole = model(images)
        noise = whole.noise(2, _generator())
        for i in range(len(images)):
            alone, own = model(images[i : i + 1]), noise[:, i : i + 1]
            _close(whole.logits(noise)[:, i : i + 1], alone.logits(own), f"image {i} is another one by itself", 1e-5)


def tiles_are_the_whole(model: SegmentationModel, images: Image, labels: Label) -> None:
    """In overlapping tiles a large image has the hypotheses that it has whole."""
    size, tile = LARGE[model.dims]
    image = _enlarged(images[:1], size)
    if image.device.type != "cpu":  # a GPU rounds the convolutions of another size in another way
        model, image = model.double(), image.double()
    with torch.inference_mode():
        whole, tiles = model(image), model.tiled(image, tile)
        noise = whole.noise(3, _generator())
        _holds(torch.equal(noise, tiles.noise(3, _generator())), "tiles draw another noise")
        _same(tiles.labels(noise), whole.labels(noise), "tiles give other labels: is 'view' too small?")
        _close(tiles.probabilities(noise), whole.probabilities(noise), "tiles give other probabilities", 1e-5)


def a_folder_gives_it_back(model: SegmentationModel, images: Image, labels: Label) -> None:
    """Saved and loaded, it is the same model with the same weights."""
    with tempfile.TemporaryDirectory() as place, torch.inference_mode():
        save(model, Path(place) / "model")
        other = load(Path(place) / "model", str(images.device), [type(model)])
        expected = model(images).sample(4, _generator())
        _same(other(images).sample(4, _generator()), expected, "loaded, it samples something else", least=1.0)


def extreme_images_give_finite_losses(model: SegmentationModel, images: Image, labels: Label) -> None:
    """Constant, very bright and very dark images have a finite loss with finite gradients."""
    for value in (0.0, 1e4, -1e4):
        model.train().zero_grad()
        loss = model.loss(torch.full_like(images, value), labels, _generator()).total
        loss.backward()
        finite = all(bool(torch.isfinite(p.grad).all()) for p in model.parameters() if p.grad is not None)
        _holds(
            bool(torch.isfinite(loss)) and finite, f"an image of {value:g} has a loss or gradient that is not finite"
        )


def ignored_pixels_cost_nothing(model: SegmentationModel, images: Image, labels: Label) -> None:
    """The reconstruction is a sum over pixels that are not ignored: fewer of them cost less, none cost nothing."""
    half, none = labels.clone(), torch.full_like(labels, IGNORE)
    half[..., ::2, :] = IGNORE
    costs = [float(model.loss(images, some, _generator()).terms["reconstruction"]) for some in (labels, half, none)]
    _holds(costs[1] < 0.8 * costs[0], f"with half of the pixels ignored it costs {costs[1]:g} of {costs[0]:g}")
    _holds(costs[2] == 0, f"with all pixels ignored it costs {costs[2]:g}")


def training_makes_labels_likelier(model: SegmentationModel, images: Image, labels: Label) -> None:
    """Twenty steps on a few images make what stands in them more likely than it was."""
    bright = (images[:, 0] > images[:, 0].mean()).to(torch.uint8)
    before = _likelihood(model, images, bright)
    optimiser = torch.optim.Adam(model.train().parameters(), 1e-2)
    for step in range(20):
        optimiser.zero_grad()
        model.loss(images, bright, torch.Generator().manual_seed(step)).total.backward()
        optimiser.step()
    after = _likelihood(model, images, bright)
    _holds(after > before + 10, f"log P went from {before:.1f} to {after:.1f} in twenty steps")


def unusable_input_is_refused(model: SegmentationModel, images: Image, labels: Label) -> None:
    """Images and labels that do not fit are refused by ``InputError``, not computed with."""
    unusable = {
        "another number of channels": torch.cat([images, images], dim=1),
        "another number of axes": images[:, :, None],
        "no batch": images[0],
        "NaN": torch.full_like(images, float("nan")),
        "whole numbers": images.to(torch.int64),
    }
    for what, image in unusable.items():
        _refused(lambda image=image: model(image), f"an image with {what}")  # type: ignore[misc]
    for what, label in {"a class too many": labels * 0 + model.num_classes, "another size": labels[..., 1:]}.items():
        _refused(lambda label=label: model.loss(images, label, _generator()), f"a label map with {what}")  # type: ignore[misc]


LAWS: dict[str, Law] = {
    law.__name__: law
    for law in (
        shapes_and_types,
        a_seed_gives_one_sample,
        every_parameter_learns,
        the_energy_score_trains_it,
        one_noise_is_one_hypothesis,
        noise_knows_nothing_of_the_image,
        a_batch_is_its_images,
        tiles_are_the_whole,
        a_folder_gives_it_back,
        extreme_images_give_finite_losses,
        ignored_pixels_cost_nothing,
        training_makes_labels_likelier,
        unusable_input_is_refused,
    )
}
"""By name."""


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(7)


def _likelihood(model: SegmentationModel, images: Image, labels: Label) -> float:
    with torch.no_grad():
        return float(model.eval()(images).log_prob(labels, 16, _generator()).mean())


def _enlarged(images: Image, size: Sequence[int]) -> Image:
    """Images repeated up to a size."""
    times = [-(-length // own) for length, own in zip(size, images.shape[2:], strict=True)]
    return cut(images.repeat(1, 1, *times), size)


def _holds(condition: bool, sentence: str) -> None:
    if not condition:
        raise AssertionError(sentence)


def _same(labels: torch.Tensor, expected: torch.Tensor, sentence: str, least: float = SAME) -> None:
    _holds(labels.shape == expected.shape, f"{sentence} (shape {tuple(labels.shape)}, not {tuple(expected.shape)})")
    share = float((labels == expected).float().mean())
    _holds(share >= least, f"{sentence} (in {1 - share:.2%} of the pixels)")


def _close(values: torch.Tensor, expected: torch.Tensor, sentence: str, tolerance: float = 1e-4) -> None:
    _holds(values.shape == expected.shape, f"{sentence} (shape {tuple(values.shape)}, not {tuple(expected.shape)})")
    largest = float((values - expected).abs().max())
    _holds(largest <= tolerance * max(1.0, float(expected.abs().max())), f"{sentence} (by up to {largest:.2g})")


def _refused(call: Callable[[], object], what: str) -> None:
    try:
        call()
    except InputError:
        return
    raise AssertionError(f"{what} is not refused")
