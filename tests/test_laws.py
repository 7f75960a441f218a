"""Laws that every model obeys; a new model is one line in ``MODELS``."""

import copy
from collections.abc import Callable
from functools import partial

import pytest
import torch

import probunet as pu
from probunet.core.errors import InputError
from probunet.core.types import IGNORE
from probunet.distributions.latent import divergence
from probunet.metrics import Convention
from probunet.models.base import SegmentationModel
from probunet.nets.prior import PriorFamily
from probunet.objectives.energy_score import EnergyScore


def _with_prior(family: PriorFamily, channels: int, classes: int) -> SegmentationModel:
    return pu.ProbabilisticUNet(channels, classes, channels=(4, 6, 6), latent_dims=3, prior_family=family)


MODELS: dict[str, Callable[[int, int], SegmentationModel]] = {
    "unet": lambda c, k: pu.UNet(c, k, channels=(4, 6, 6)),
    "dropout_unet": lambda c, k: pu.DropoutUNet(c, k, channels=(4, 6, 6)),
    "ensemble": lambda c, k: pu.Ensemble(c, k, channels=(4, 6, 6), members=3),
    "m_heads": lambda c, k: pu.MHeads(c, k, channels=(4, 6, 6), heads=3),
    "image2image_vae": lambda c, k: pu.Image2ImageVAE(c, k, channels=(4, 6, 6), latent_dims=3),
    "probabilistic_unet": lambda c, k: pu.ProbabilisticUNet(c, k, channels=(4, 6, 6), latent_dims=3),
    "fixed_prior": lambda c, k: pu.ProbabilisticUNet(c, k, channels=(4, 6, 6), prior="fixed"),
    "fixed_prior_posterior_on_label": lambda c, k: pu.ProbabilisticUNet(
        c, k, channels=(4, 6, 6), prior="fixed", posterior="label"
    ),
    **{family: partial(_with_prior, family) for family in ("full", "mixture", "flow")},
    "readers": lambda c, k: pu.ProbabilisticUNet(
        c, k, channels=(4, 6, 6), latent_dims=3, reader_names=("A", "B", "C"), shares=(2, 1, 1)
    ),
    "batch_norm": lambda c, k: pu.ProbabilisticUNet(c, k, channels=(4, 6, 6), latent_dims=3, batch_norm=True),
    "geco_and_top_k": lambda c, k: pu.ProbabilisticUNet(
        c, k, channels=(4, 6, 6), latent_dims=3, objective=pu.GECO(0.1), pixels=pu.TopK(0.9)
    ),
    "latent_at_start": lambda c, k: pu.ProbabilisticUNet(c, k, channels=(4, 6, 6), inject="start"),
    "stochastic_segmentation_network": lambda c, k: pu.StochasticSegmentationNetwork(c, k, channels=(4, 6, 6), rank=3),
    "hierarchical_probabilistic_unet": lambda c, k: pu.HierarchicalProbabilisticUNet(
        c, k, channels=(4, 6, 6), latent_dims=(1, 2), pixels=pu.TopK(0.2)
    ),
    "hierarchical_elbo": lambda c, k: pu.HierarchicalProbabilisticUNet(
        c, k, channels=(4, 6, 6), latent_dims=(1, 2), objective=pu.ELBO(), pixels=pu.All()
    ),
    "phiseg": lambda c, k: pu.PHiSeg(c, k, channels=(4, 6, 6), latent_dims=(1, 2)),
    "mixture_of_experts": lambda c, k: pu.MixtureOfExperts(c, k, channels=(4, 6, 6), experts=3),
}


@pytest.fixture(params=MODELS)
def make(request: pytest.FixtureRequest) -> Callable[[int, int], SegmentationModel]:
    def build(channels: int, classes: int) -> SegmentationModel:
        torch.manual_seed(0)
        return MODELS[request.param](channels, classes)

    return build


def images(batch: int, channels: int = 1, height: int = 24, width: int = 20) -> torch.Tensor:
    return torch.randn(batch, channels, height, width, generator=torch.Generator().manual_seed(1))


def labels(batch: int, classes: int, height: int = 24, width: int = 20) -> torch.Tensor:
    chosen = torch.randint(classes, (batch, height, width), generator=torch.Generator().manual_seed(2))
    chosen[:, :2] = IGNORE
    return chosen.to(torch.uint8)


@pytest.mark.parametrize(("batch", "channels", "classes", "height", "width"), [(1, 1, 2, 16, 16), (3, 2, 5, 19, 33)])
def test_shapes_and_types(make, batch, channels, classes, height, width, generator):
    distribution = make(channels, classes)(images(batch, channels, height, width))
    samples = distribution.sample(3, generator)
    assert samples.shape == (3, batch, height, width)
    assert samples.dtype == torch.uint8
    assert samples.min() >= 0
    assert samples.max() < classes
    probabilities = distribution.probabilities(samples=4, generator=generator)
    assert probabilities.shape == (batch, classes, height, width)
    torch.testing.assert_close(probabilities.sum(dim=1), torch.ones(batch, height, width))
    assert distribution.log_prob(labels(batch, classes, height, width), 4, generator).shape == (batch,)


def test_same_generator_gives_the_same_sample(make):
    model, image = make(1, 2), images(2)
    first, second = (model(image).sample(4, torch.Generator().manual_seed(7)) for _ in range(2))
    assert torch.equal(first, second)


def test_a_gradient_reaches_every_trainable_parameter(make, generator):
    model = make(1, 3)
    model.loss(images(2), labels(2, 3), generator).total.backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_the_energy_score_trains_every_model(make, generator):
    """Any model takes the score of its own hypotheses beside its own objective."""
    model, readers = make(1, 3), torch.stack([labels(2, 3), torch.zeros(2, 24, 20, dtype=torch.uint8)], dim=1)
    loss = model.loss(images(2), labels(2, 3), generator)
    distribution = loss.distribution or model(images(2))
    model.zero_grad()
    EnergyScore(samples=3).of(distribution, readers, Convention(3), generator).backward()
    assert sum(float(p.grad.abs().sum()) for p in model.parameters() if p.grad is not None) > 0


@pytest.mark.parametrize("cover", [False, True])
@pytest.mark.parametrize("batch", [1, 2])
def test_labels_logits_and_probabilities_of_a_noise_are_of_the_same_hypotheses(make, batch, cover, generator):
    model = make(1, 3).eval()
    with torch.inference_mode():
        distribution = model(images(batch))
        noise = distribution.noise(5, generator, cover)
        logits = distribution.logits(noise)
        assert logits.shape == (5, batch, 3, 24, 20)
        assert logits.dtype == torch.float32
        assert (distribution.labels(noise) == logits.argmax(dim=2)).float().mean() > 0.999  # near ties
        torch.testing.assert_close(distribution.probabilities(noise), logits.softmax(dim=2).mean(dim=0))
        ((streamed, marginals),) = distribution.stream(noise)
        assert (streamed == logits.argmax(dim=2)).float().mean() > 0.999
        torch.testing.assert_close(marginals, distribution.probabilities(noise))


def test_two_classes_are_compared_without_their_logits(make, generator):
    """What is fused for two classes is what their logits say."""
    with torch.inference_mode():
        distribution = make(1, 2).eval()(images(1))
        noise = distribution.noise(5, generator)
        assert (distribution.labels(noise) == distribution.logits(noise).argmax(dim=2)).float().mean() > 0.999


def test_a_sample_is_the_labels_of_its_noise(make):
    with torch.inference_mode():
        distribution = make(1, 2).eval()(images(2))
        noise = distribution.noise(4, torch.Generator().manual_seed(7))
        assert torch.equal(distribution.sample(4, torch.Generator().manual_seed(7)), distribution.labels(noise))


def test_noise_knows_nothing_of_the_image(make):
    """The same numbers are drawn for any image of any size, and one noise goes with every image of a batch."""
    model = make(1, 2).eval()
    with torch.inference_mode():
        first, second = (
            model(image).noise(3, torch.Generator().manual_seed(7)) for image in (images(2), images(2, 1, 40, 48) + 5)
        )
        assert torch.equal(first, second)
        shared = model(images(3)).labels(first[:, :1])
        alone = torch.cat([model(images(3)[i : i + 1]).labels(first[:, :1]) for i in range(3)], dim=1)
        assert (shared == alone).float().mean() > 0.999


def test_covering_noise_is_an_exact_draw(make):
    """Over many calls, the marginals of few hypotheses that cover are those of independent ones."""
    model = make(1, 2).eval()
    with torch.inference_mode():
        distribution = model(images(1, 1, 16, 16))
        many = distribution.probabilities(distribution.noise(300, torch.Generator().manual_seed(1)))
        calls = [
            distribution.probabilities(distribution.noise(3, torch.Generator().manual_seed(i), cover=True))
            for i in range(100)
        ]
    assert (torch.stack(calls).mean(dim=0) - many).abs().mean() < 0.03


def test_in_tiles_it_is_the_whole_image(make, generator):
    model = make(1, 3).eval()
    image, label = images(2, 1, 150, 101), labels(2, 3, 150, 101)
    with torch.inference_mode():
        whole, tiles = model(image), model.tiled(image, tile=32)
        assert (tiles.distinct, tiles.independent) == (whole.distinct, whole.independent)
        noise = tiles.noise(3, torch.Generator().manual_seed(7))
        assert torch.equal(noise, whole.noise(3, torch.Generator().manual_seed(7)))
        assert (tiles.labels(noise) == whole.labels(noise)).float().mean() > 0.9999  # ties may fall either way
        torch.testing.assert_close(tiles.probabilities(noise), whole.probabilities(noise), atol=1e-5, rtol=0)
        if isinstance(model, pu.PHiSeg | pu.HierarchicalProbabilisticUNet):
            with pytest.raises(InputError, match="latent maps needs the image whole"):
                tiles.log_prob(label, 3, generator)
            return
        seeds = [torch.Generator().manual_seed(3) for _ in range(2)]
        first, second = tiles.log_prob(label, 3, seeds[0]), whole.log_prob(label, 3, seeds[1])
        torch.testing.assert_close(first, second, rtol=1e-5, atol=1e-2)


def test_a_posterior_that_is_the_prior_diverges_by_nothing(make):
    model = make(1, 2).eval()
    latent = model(images(3)).latent
    if latent is None or latent.axes is None:
        pytest.skip("no posterior of the form of the prior")
    assert torch.equal(divergence(latent.prior, latent.prior, latent.prior.mean), torch.zeros(3))


def test_save_and_load_is_the_identity(make, tmp_path):
    model = make(1, 2)
    torch.save(model.state_dict(), tmp_path / "weights.pt")
    other = make(1, 2)
    for parameter in other.parameters():
        torch.nn.init.zeros_(parameter)
    other.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    seeds = [torch.Generator().manual_seed(3) for _ in range(2)]
    assert torch.equal(model(images(2)).sample(4, seeds[0]), other(images(2)).sample(4, seeds[1]))


def test_a_batch_equals_its_images_one_by_one(make, generator):
    """What is said of an image does not depend on its neighbours."""
    model, image, label = make(1, 2).double().eval(), images(3).double(), labels(3, 2)
    whole = model(image)
    noise = whole.noise(2, generator)
    inferred = whole.latent.posterior(label).mean if whole.latent is not None and whole.latent.infers else None
    for i in range(3):
        single, own = model(image[i : i + 1]), noise[:, i : i + 1]
        assert torch.equal(whole.labels(noise)[:, i : i + 1], single.labels(own))
        torch.testing.assert_close(whole.logits(noise)[:, i : i + 1], single.logits(own), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(whole.probabilities(noise)[i : i + 1], single.probabilities(own), atol=1e-5, rtol=0)
        if inferred is not None:
            torch.testing.assert_close(single.latent.posterior(label[i : i + 1]).mean, inferred[i : i + 1])


@pytest.mark.parametrize("value", [0.0, 1e4, -1e4])
def test_extreme_images_give_finite_losses_and_gradients(make, value, generator):
    model = make(1, 2)
    loss = model.loss(torch.full((2, 1, 16, 16), value), labels(2, 2, 16, 16), generator)
    loss.total.backward()
    assert torch.isfinite(loss.total)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_all_ignored_labels_cost_nothing_in_the_reconstruction(make, generator):
    everything_ignored = torch.full((2, 24, 20), IGNORE, dtype=torch.uint8)
    assert make(1, 2).loss(images(2), everything_ignored, generator).terms["reconstruction"] == 0


def test_ignored_pixels_cost_nothing(make):
    """The reconstruction is a sum over the pixels that are not ignored: fewer of them cost less."""
    model, label = make(1, 2), labels(2, 2)
    first = model.loss(images(2), label, torch.Generator().manual_seed(5)).terms["reconstruction"]
    label[:, 2:12] = IGNORE
    assert model.loss(images(2), label, torch.Generator().manual_seed(5)).terms["reconstruction"] < 0.8 * first


def test_training_improves_the_likelihood(make):
    """Twenty steps on one image make its label more likely under the model than it was."""
    model, image = make(1, 2), images(2)
    label = (image[:, 0] > 0).to(torch.uint8)
    before = model(image).log_prob(label, 16, torch.Generator().manual_seed(0)).mean()
    optimiser = torch.optim.Adam(model.parameters(), 1e-2)
    for step in range(20):
        optimiser.zero_grad()
        model.loss(image, label, torch.Generator().manual_seed(step)).total.backward()
        optimiser.step()
    after = model(image).log_prob(label, 16, torch.Generator().manual_seed(0)).mean()
    assert after > before + 10


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (torch.zeros(1, 2, 16, 16), r"\(1, 2, 16, 16\).* 1 input channel"),
        (torch.zeros(1, 16, 16), r"\(1, 16, 16\)"),
        (torch.zeros(1, 1, 15, 16), "15x16 px is too small"),
        (torch.full((1, 1, 16, 16), float("nan")), "256 values that are NaN"),
        (torch.zeros(1, 1, 16, 16, dtype=torch.int64), "int64"),
    ],
)
def test_unusable_images_are_refused_in_one_sentence(make, image, words):
    with pytest.raises(InputError, match=words):
        make(1, 2)(image)


@pytest.mark.parametrize(
    ("label", "words"),
    [
        (torch.full((2, 24, 20), 2), "label value 2 is out of range; use 0 to 1, or 255"),
        (torch.full((2, 24, 20), -1), "label value -1"),
        (torch.zeros((2, 24, 21), dtype=torch.int64), r"\(2, 24, 21\)"),
    ],
)
def test_unusable_labels_are_refused_in_one_sentence(make, label, words):
    with pytest.raises(InputError, match=words):
        make(1, 2).loss(images(2), label)


def test_a_copy_is_independent(make):
    """No state is smuggled between calls: a second image does not change the distribution of the first."""
    model = make(1, 2)
    first = model(images(1))
    expected = copy.deepcopy(first.sample(2, torch.Generator().manual_seed(0)))
    model(images(4) + 3)
    assert torch.equal(expected, first.sample(2, torch.Generator().manual_seed(0)))
