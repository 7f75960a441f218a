"""Laws that every model obeys, of images and of volumes; a new model is one line in ``MODELS`` and in ``VOLUMES``."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from small_models import Wrapped

import probunet as pu
from probunet.core.errors import InputError
from probunet.core.types import IGNORE
from probunet.distributions.latent import divergence
from probunet.models.base import SegmentationModel
from probunet.nets.prior import PriorFamily
from probunet.nets.receptive_field import ReceptiveField
from probunet.testing import LAWS, check_model


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
    "hierarchical_batch_norm": lambda c, k: pu.HierarchicalProbabilisticUNet(
        c, k, channels=(4, 6, 6), latent_dims=(1, 2), batch_norm=True
    ),
    "phiseg_batch_norm": lambda c, k: pu.PHiSeg(c, k, channels=(4, 6, 6), latent_dims=(1, 2), batch_norm=True),
    "mixture_of_experts": lambda c, k: pu.MixtureOfExperts(c, k, channels=(4, 6, 6), experts=3),
    "hierarchical_readers": lambda c, k: pu.HierarchicalProbabilisticUNet(
        c, k, channels=(4, 6, 6), latent_dims=(1, 2), convolutions=1, reader_names=("A", "B")
    ),
    "stochastic_readers": lambda c, k: pu.StochasticSegmentationNetwork(
        c, k, channels=(4, 6, 6), convolutions=2, rank=2, draws=4, reader_names=("A", "B"), shares=(2, 1)
    ),
}


OF_VOLUMES = {"channels": (4, 6, 6), "convolutions": 1, "dims": 3, "spacing": (2.5, 1, 1)}
VOLUMES: dict[str, Callable[[], SegmentationModel]] = {
    "unet": partial(pu.UNet, **OF_VOLUMES),
    "dropout_unet": partial(pu.DropoutUNet, **OF_VOLUMES),
    "ensemble": partial(pu.Ensemble, members=2, **OF_VOLUMES),
    "m_heads": partial(pu.MHeads, heads=3, **OF_VOLUMES),
    "image2image_vae": partial(pu.Image2ImageVAE, **OF_VOLUMES),
    "probabilistic_unet": partial(pu.ProbabilisticUNet, **OF_VOLUMES),
    "batch_norm_mixture_fixed_posterior": partial(
        pu.ProbabilisticUNet, batch_norm=True, prior_family="mixture", posterior="label", **OF_VOLUMES
    ),
    "flow_at_start": partial(pu.ProbabilisticUNet, prior_family="flow", inject="start", **OF_VOLUMES),
    "full_top_k": partial(pu.ProbabilisticUNet, prior_family="full", pixels=pu.TopK(0.9), **OF_VOLUMES),
    "readers": partial(pu.ProbabilisticUNet, reader_names=("A", "B"), **OF_VOLUMES),
    "stochastic_segmentation_network": partial(pu.StochasticSegmentationNetwork, rank=3, **OF_VOLUMES),
    "hierarchical_probabilistic_unet": partial(
        pu.HierarchicalProbabilisticUNet, latent_dims=(1, 2), pixels=pu.TopK(0.2), **OF_VOLUMES
    ),
    "phiseg": partial(pu.PHiSeg, latent_dims=(1, 2), **OF_VOLUMES),
    "mixture_of_experts": partial(pu.MixtureOfExperts, experts=3, **OF_VOLUMES),
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


@pytest.mark.parametrize("law", LAWS)
def test_law(make, law):
    check_model(make(1, 3), images(2), labels(2, 3), [law])


@pytest.mark.parametrize("law", [law for law in LAWS if law != "training_makes_labels_likelier"])
@pytest.mark.parametrize("model", VOLUMES)
def test_law_of_volumes(model, law):
    _check_of_volumes(model, law)


def test_training_makes_labels_of_volumes_likelier():
    _check_of_volumes("probabilistic_unet", "training_makes_labels_likelier")


def _check_of_volumes(model, law):
    torch.manual_seed(1)
    generator = torch.Generator().manual_seed(1)
    volumes = torch.randn(2, 1, 3, 18, 16, generator=generator)
    chosen = torch.randint(2, (2, 3, 18, 16), generator=generator).to(torch.uint8)
    chosen[:, :, :2] = IGNORE
    check_model(VOLUMES[model](1, 2), volumes, chosen, [law])


def test_another_number_of_channels_and_classes_and_odd_sizes(make):
    check_model(make(2, 5), images(3, 2, 19, 33), labels(3, 5, 19, 33), ["shapes_and_types"])


def test_two_classes_are_compared_without_their_logits(make, generator):
    """What is fused for two classes is what their logits say."""
    with torch.inference_mode():
        distribution = make(1, 2).eval()(images(1))
        noise = distribution.noise(5, generator)
        assert (distribution.labels(noise) == distribution.logits(noise).argmax(dim=2)).float().mean() > 0.999


def test_covering_noise_is_an_exact_draw(make):
    """Over many draws, one for each copy of an image, the marginals of few that cover are those of independent ones."""
    model = make(1, 2).eval()
    with torch.inference_mode():
        distribution = model(images(1, 1, 16, 16).expand(100, -1, -1, -1))
        noises = [distribution.noise(3, torch.Generator().manual_seed(1), cover=cover) for cover in (False, True)]
        independent, covering = (distribution.probabilities(noise).mean(dim=0) for noise in noises)
    assert (covering - independent).abs().mean() < 0.03


def test_in_tiles_a_label_map_is_as_likely_as_in_the_whole_image(make, generator):
    model = make(1, 3).eval()
    image, label = images(2, 1, 101, 70), labels(2, 3, 101, 70)
    with torch.inference_mode():
        whole, tiles = model(image), model.tiled(image, tile=32)
        assert (tiles.distinct, tiles.independent) == (whole.distinct, whole.independent)
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


def test_the_posterior_of_an_image_does_not_depend_on_its_neighbours(make):
    model, image, label = make(1, 2).double().eval(), images(3).double(), labels(3, 2)
    latent = model(image).latent
    if latent is None or not latent.infers:
        pytest.skip("no posterior")
    for i in range(3):
        alone = model(image[i : i + 1]).latent.posterior(label[i : i + 1])
        torch.testing.assert_close(alone.mean, latent.posterior(label).mean[i : i + 1])


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


class Outside(Wrapped):
    """Looks at a pixel too few around its tiles."""

    @property
    def receptive_field(self) -> ReceptiveField:
        return ReceptiveField(self.unet.receptive_field.coarsest, (0, 0))


class Forgetful(Wrapped):
    """Draws from the generator of the process."""

    def parts(self, image, corner):
        return super().parts(image + torch.randn_like(image), corner)


class Stuck(Wrapped):
    """Has a layer that nothing trains."""

    def __init__(self, in_channels: int = 1, num_classes: int = 2) -> None:
        super().__init__(in_channels, num_classes)
        self.more = torch.nn.Linear(2, 2)


class Careless(Wrapped):
    """Takes ignored pixels for background."""

    def loss(self, image, label, generator=None):
        return super().loss(image, label.where(label != IGNORE, 0), generator)


@pytest.mark.parametrize(
    ("kind", "law", "words"),
    [
        (Outside, "tiles_are_the_whole", "tiles give other labels"),
        (Forgetful, "a_seed_gives_one_sample", "another pass gives other samples"),
        (Stuck, "every_parameter_learns", r"no gradient reaches more\.weight"),
        (Careless, "ignored_pixels_cost_nothing", "with half of the pixels ignored"),
    ],
)
def test_a_model_that_breaks_a_law_is_told_which(kind, law, words):
    torch.manual_seed(0)
    with pytest.raises(AssertionError, match=f"{kind.__name__} breaks the law '{law}': {words}"):
        check_model(kind(), images(2), labels(2, 2), [law])
