"""The Probabilistic U-Net against hand-made numbers."""

import math

import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence
from torch.nn import functional as F

from probunet.core.errors import InputError
from probunet.core.types import IGNORE
from probunet.distributions.base import SegmentationDistribution
from probunet.distributions.latent import Normals
from probunet.models.image2image_vae import Image2ImageVAE
from probunet.models.probabilistic_unet import ProbabilisticUNet
from probunet.nets.combine import Combine, Decoder
from probunet.nets.decode import BLOCK, Network, most_probable
from probunet.nets.gaussian import LOG_SIGMA_BOUND, GaussianNet
from probunet.nets.labels import one_hot
from probunet.nets.scales import make_scales
from probunet.objectives.elbo import ELBO, those_who_looked
from probunet.objectives.geco import GECO


def gaussian(mean: float, sigma: float, batch: int = 1, dims: int = 1) -> Independent:
    return Independent(Normal(torch.full((batch, dims), mean), torch.full((batch, dims), sigma)), 1)


def test_sampling_splits_the_first_layer_exactly(generator):
    """W [f; z] + b computed as (W_f f + b) + W_z z equals the plain concatenation."""
    combine = Combine(5, 3, 4, layers=3, channels=7)
    features, z = torch.randn(2, 5, 9, 8, generator=generator), torch.randn(2, 3, generator=generator)
    weight = torch.cat([combine.from_features.weight[:, :, 0, 0], combine.from_latent.weight], dim=1)
    broadcast = z[:, :, None, None].expand(-1, -1, 9, 8)
    x = F.conv2d(torch.cat([features, broadcast], dim=1), weight[:, :, None, None], combine.from_features.bias)
    for layer in combine.rest:
        x = layer(x.relu())
    torch.testing.assert_close(combine(combine.project(features), z), x, atol=1e-5, rtol=1e-5)


def test_the_first_layer_begins_as_one_layer_on_features_and_z():
    """He normal over both together: variance 2 / (30 + 6) for the weights of either."""
    combine = Combine(30, 6, 2, channels=2000)
    for layer in (combine.from_features, combine.from_latent):
        assert layer.weight.var().item() == pytest.approx(2 / 36, rel=0.05)


@pytest.mark.parametrize(
    ("images", "latents", "height", "width"),
    [
        (1, 1, 2 * BLOCK // 64 + 3, 64),  # one image of several blocks of rows
        (1, 3, BLOCK // 48, 64),  # several latents of such an image
        (5, 5, BLOCK // 64 // 2 - 1, 64),  # two images a block, one left over
        (2, 2, 3, BLOCK + 1),  # a row that is more than a block
    ],
)
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_f_comb_in_blocks_is_f_comb_at_once(images, latents, height, width, layout, generator):
    combine = Combine(3, 2, 2, channels=4)
    features = torch.randn(images, 3, height, width, generator=generator).contiguous(memory_format=layout)
    projected, z = combine.project(features), torch.randn(latents, 2, generator=generator)
    with torch.no_grad():
        blocks = combine(projected, z)
    at_once = combine(projected, z)  # gradients need all of it
    assert at_once.requires_grad
    torch.testing.assert_close(blocks, at_once.detach(), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("layers", [3, 4])
@pytest.mark.parametrize(("height", "width"), [(9, 8), (2 * BLOCK // 64 + 3, 64), (2, BLOCK + 1)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_fused_labels_are_those_of_the_logits(layers, height, width, layout, generator):
    combine = Combine(3, 2, 2, layers=layers, channels=4).double()  # float sums in another order may change a pixel
    for weight in combine.parameters():
        torch.nn.init.normal_(weight, generator=generator)  # biases start at 0, which would hide their place
    features = torch.randn(1, 3, height, width, generator=generator).double().contiguous(memory_format=layout)
    z = 2 * torch.randn(5, 2, generator=generator)
    with torch.no_grad():
        decoder = Decoder(combine, combine.project(features))
        first, second = decoder(z).unbind(dim=1)
        combine.rest[-1].bias[0] += (second - first).median() + 1e-6  # so that either class has half of the pixels
        expected = most_probable(decoder(z))
    assert decoder.fuses
    assert expected.float().mean() == pytest.approx(0.5, abs=0.01)
    assert (expected[1:] != expected[:-1]).any()
    found = decoder.labels(z[:, None])[:, 0]
    assert found.dtype == torch.uint8
    assert torch.equal(found, expected)


@pytest.mark.parametrize(("images", "classes", "layers"), [(2, 2, 3), (1, 3, 3), (1, 2, 2)])
def test_fused_labels_are_for_one_image_two_classes_three_layers(images, classes, layers):
    combine = Combine(3, 2, classes, layers=layers)
    assert not Decoder(combine, combine.project(torch.zeros(images, 3, 8, 8))).fuses


def test_fused_labels_are_not_for_half_precision():
    combine = Combine(3, 2, 2)
    with torch.autocast("cpu", torch.bfloat16):
        assert not Decoder(combine, combine.project(torch.zeros(1, 3, 8, 8))).fuses


def test_f_comb_with_one_layer_is_refused():
    with pytest.raises(InputError, match="at least 2 layers"):
        Combine(4, 2, 2, layers=1)


def test_loss_is_equation_4_with_its_reductions():
    """Cross-entropy summed over pixels, KL summed over latents, both averaged over the batch, added with beta."""
    torch.manual_seed(0)
    model = ProbabilisticUNet(1, 3, channels=(4, 4), latent_dims=2, objective=ELBO(3.0))
    image, label = torch.randn(4, 1, 16, 16), torch.randint(3, (4, 16, 16))
    label[0, :3] = IGNORE
    loss = model.loss(image, label, torch.Generator().manual_seed(1))
    latent = model(image).latent
    posterior = latent.posterior(label)
    z = posterior.mean + posterior.stddev * torch.randn(4, 2, generator=torch.Generator().manual_seed(1))
    log_probability = latent.logits(z).log_softmax(dim=1)
    known = label != IGNORE
    picked = log_probability.gather(1, torch.where(known, label, 0)[:, None])[:, 0]
    reconstruction = -(picked * known).sum() / 4
    kl = kl_divergence(posterior, latent.prior).sum() / 4
    torch.testing.assert_close(loss.total, reconstruction + 3 * kl)
    torch.testing.assert_close(loss.terms["kl"], kl.detach())
    assert sum(loss.terms[f"kl_dimension/{i}"] for i in range(2)) == pytest.approx(kl.item(), rel=1e-5)


def test_kl_of_a_gaussian_with_itself_is_zero_and_known_otherwise():
    p, q = gaussian(0.0, 1.0, dims=6), gaussian(1.0, 2.0, dims=6)
    assert float(kl_divergence(p, p)) == 0
    expected = 6 * (math.log(1 / 2) + (4 + 1) / 2 - 0.5)
    assert float(kl_divergence(q, p)) == pytest.approx(expected, rel=1e-6)


def test_log_sigma_is_bounded_smoothly():
    net = GaussianNet(1, make_scales((4, 4)), 2)
    with torch.no_grad():
        net.head.bias[:] = torch.tensor([0.0, 0.0, 1e6, -1e6])
    sigma = net(torch.zeros(1, 1, 16, 16)).base_dist.scale[0]
    torch.testing.assert_close(sigma.log(), torch.tensor([LOG_SIGMA_BOUND, -LOG_SIGMA_BOUND]))


def two_pixels(z: torch.Tensor) -> torch.Tensor:
    """A decoder whose class-1 logit is 3 z at one pixel and z^2 - 1 at the other."""
    ones = torch.stack([3 * z[:, 0], z[:, 0] ** 2 - 1], dim=-1)[:, None, None]
    return torch.cat([torch.zeros_like(ones), ones], dim=1)


@pytest.mark.parametrize("label", [(0, 0), (0, 1), (1, 0), (1, 1), (1, IGNORE)])
def test_log_prob_agrees_with_brute_force_integration(label, generator):
    """log P(Y|X) by a Riemann sum over a one-dimensional latent; proposals from a posterior that is far off."""
    prior, posterior = gaussian(0.3, 0.8), gaussian(0.0, 1.0)
    distribution = SegmentationDistribution(Normals(prior, lambda _: posterior), [Network(two_pixels)], 2, (1, 1, 2))
    grid = torch.linspace(-8, 8, 20001)[:, None]
    logits = two_pixels(grid)
    target = torch.tensor(label).expand(len(grid), 1, 2)
    likelihood = -F.cross_entropy(logits, target, ignore_index=IGNORE, reduction="none").sum(dim=(1, 2))
    exact = torch.logsumexp(likelihood + Normal(0.3, 0.8).log_prob(grid[:, 0]), dim=0) + math.log(16 / 20000)
    estimate = distribution.log_prob(torch.tensor(label)[None, None], 4000, generator)
    assert estimate.item() == pytest.approx(float(exact), abs=0.05)


def test_probabilities_are_the_average_over_the_prior(generator):
    prior = gaussian(0.3, 0.8)
    distribution = SegmentationDistribution(Normals(prior), [Network(two_pixels)], 2, (1, 1, 2))
    z = 0.3 + 0.8 * torch.randn(200_000, generator=generator)
    expected = torch.stack([torch.sigmoid(3 * z).mean(), torch.sigmoid(z**2 - 1).mean()])
    for marginals in (
        distribution.probabilities(samples=1024, generator=generator),
        distribution.probabilities(distribution.noise(5000, generator)),
    ):
        torch.testing.assert_close(marginals[0, 1, 0], expected, atol=0.02, rtol=0)


def test_the_label_reaches_the_posterior_and_ignored_pixels_are_zero():
    encoded = one_hot(torch.tensor([[[0, 2, IGNORE]]], dtype=torch.uint8), 3)
    assert encoded[0, :, 0].T.tolist() == [[1, 0, 0], [0, 0, 1], [0, 0, 0]]
    torch.manual_seed(0)
    model = ProbabilisticUNet(1, 2, channels=(4, 4), latent_dims=2)
    latent = model(torch.randn(1, 1, 16, 16)).latent
    empty, full = (latent.posterior(torch.full((1, 16, 16), value)).base_dist.loc for value in (0, 1))
    assert not torch.equal(empty, full)


def test_the_unet_and_the_prior_run_once_for_all_samples(generator):
    torch.manual_seed(0)
    model = ProbabilisticUNet(1, 2, channels=(4, 4), latent_dims=2)
    calls: list[str] = []
    model.unet.register_forward_hook(lambda *_: calls.append("unet"))
    model.prior.register_forward_hook(lambda *_: calls.append("prior"))
    distribution = model(torch.randn(1, 1, 16, 16))
    distribution.sample(16, generator)
    distribution.probabilities(samples=4, generator=generator)
    assert sorted(calls) == ["prior", "unet"]


def test_hypotheses_differ_and_need_not_be_nested():
    """With a non-linear f_comb, z moves pixels in both directions at once."""
    torch.manual_seed(3)
    model = ProbabilisticUNet(1, 2, channels=(8, 8), latent_dims=6)
    samples = model(torch.randn(1, 1, 32, 32)).sample(16, torch.Generator().manual_seed(0))[:, 0].flatten(1)
    a, b = samples[:, None], samples[None]
    assert (((a > b).any(-1)) & ((a < b).any(-1))).any()


def test_the_bound_over_all_readings_is_the_average_of_the_bounds():
    torch.manual_seed(0)
    model = ProbabilisticUNet(1, 2, channels=(4, 6), latent_dims=2, readers="all")
    image, labels = torch.randn(3, 1, 16, 16), torch.randint(2, (3, 3, 16, 16), dtype=torch.uint8)
    alone, together = torch.Generator().manual_seed(5), torch.Generator().manual_seed(5)
    expected = torch.stack([model.loss(image, label, alone).total for label in labels.unbind(dim=1)]).mean()
    torch.testing.assert_close(model.loss_of_readers(image, labels, together).total, expected)
    assert model.learns_from_readers
    assert not ProbabilisticUNet(1, 2, channels=(4, 6)).learns_from_readers


def test_readers_who_did_not_look_are_replaced_by_those_who_did():
    labels = torch.tensor([[7, IGNORE, 9], [IGNORE, IGNORE, 4], [1, 2, 3], [IGNORE, IGNORE, IGNORE]], dtype=torch.uint8)
    expected = [[7, 9, 7], [4, 4, 4], [1, 2, 3], [IGNORE] * 3]
    assert those_who_looked(labels[..., None, None])[..., 0, 0].tolist() == expected


def test_a_fixed_prior_is_standard_normal_whatever_the_image():
    model = ProbabilisticUNet(1, 2, channels=(4, 4), latent_dims=3, prior="fixed")
    latent = model(torch.randn(2, 1, 16, 16) * 100).latent.prior.base_dist
    assert torch.equal(latent.loc, torch.zeros(2, 3))
    assert torch.equal(latent.scale, torch.ones(2, 3))


def test_a_posterior_on_the_label_alone_does_not_see_the_image():
    label = torch.randint(2, (1, 16, 16), generator=torch.Generator().manual_seed(0))
    images = [torch.randn(1, 1, 16, 16, generator=torch.Generator().manual_seed(i)) for i in (1, 2)]
    for posterior, same in (("label", True), ("image_and_label", False)):
        model = ProbabilisticUNet(1, 2, channels=(4, 4), posterior=posterior)
        first, second = (model(image).latent.posterior(label).mean for image in images)
        assert torch.equal(first, second) is same


def test_a_latent_at_the_start_is_seen_by_the_whole_unet():
    """With z at the end only f_comb tells hypotheses apart; at the start the first convolution does."""
    model = ProbabilisticUNet(1, 2, channels=(4, 4), latent_dims=3, inject="start")
    assert model.unet.encoder.blocks[0][0].in_channels == 4
    assert model.combine is None
    latent = model(torch.randn(1, 1, 16, 16)).latent
    assert not torch.equal(latent.logits(torch.zeros(1, 3)), latent.logits(torch.ones(1, 3)))


def test_all_ablations_together_are_the_image2image_vae():
    options = {"channels": (4, 6), "latent_dims": 3}
    ablated = ProbabilisticUNet(1, 2, prior="fixed", posterior="label", inject="start", **options)
    vae = Image2ImageVAE(1, 2, **options)
    vae.load_state_dict(ablated.state_dict())
    image, label = torch.randn(2, 1, 16, 16), torch.randint(2, (2, 16, 16))
    losses = [model.loss(image, label, torch.Generator().manual_seed(0)).total for model in (ablated, vae)]
    assert torch.equal(*losses)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"prior": "none"}, "is none: Input should be 'conditional' or 'fixed'"),
        ({"inject": "middle"}, "is middle: Input should be"),
        ({"inject": "start", "combine_channels": 8}, "has no f_comb"),
        ({"readers": "all", "objective": GECO(0.05)}, "averages an ELBO"),
    ],
)
def test_options_without_meaning_are_refused(options, words):
    with pytest.raises(InputError, match=words):
        ProbabilisticUNet(1, 2, channels=(4, 4), **options)


@pytest.mark.parametrize("classes", [2, 4])
def test_the_most_probable_class_is_the_lowest_of_several(classes):
    logits = torch.zeros(1, classes, 1, 3)
    logits[0, 1, 0, 1] = 1.0
    logits[0, 0, 0, 2] = 1.0
    found = most_probable(logits)
    assert found.dtype == torch.uint8
    assert found.tolist() == [[[0, 1, 0]]]


@pytest.mark.parametrize("inject", ["end", "start"])
def test_samples_that_are_decoded_together_are_those_decoded_alone(inject):
    torch.manual_seed(0)
    distribution = ProbabilisticUNet(1, 3, (4, 8), inject=inject)(torch.randn(1, 1, 16, 16))
    n = 2 * BLOCK // 256 + 2  # a first one, two full blocks, and one left over
    with torch.inference_mode():
        together = distribution.sample(n, torch.Generator().manual_seed(0))
        noise = distribution.noise(n, torch.Generator().manual_seed(0))
        alone = torch.stack([most_probable(logits) for logits in distribution.logits(noise)])
    assert together.shape == (n, 1, 16, 16)
    assert (together != alone).float().mean() < 1e-4  # float sums in another order
    assert (together[1:] != together[:-1]).any()
