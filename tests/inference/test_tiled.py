"""Large images tile by tile against the same images whole."""

import pytest
import torch
from test_laws import MODELS, images, labels

import probunet as pu
from probunet.core.errors import InputError
from probunet.inference.tiled import TILEABLE, tiled
from probunet.nets.tiling import Span, Tiling, make_tiling, receptive_radius, reduced, strips
from probunet.nets.unet import FeatureUNet

SEEDED = [name for name, make in MODELS.items() if isinstance(make(1, 2), TILEABLE) and name != "dropout_unet"]


def generator():
    return torch.Generator().manual_seed(3)


def test_spans_by_hand():
    assert Tiling(16, 8, 4).spans(50) == [
        Span((0, 28), (0, 20)),
        Span((4, 44), (12, 36)),
        Span((20, 50), (28, 50)),
    ]  # the last 2 pixels are no tile of their own
    assert Tiling(32, 8, 0).spans(20) == [Span((0, 20), (0, 20))]


@pytest.mark.parametrize(("channels", "convolutions"), [((3, 3), 1), ((3, 3, 3), 2), ((3, 3, 3, 3), 3)])
def test_receptive_radius_covers_what_a_feature_depends_on(channels, convolutions):
    """From gradients at every place of the pooling grid."""
    torch.manual_seed(0)
    unet = FeatureUNet(1, channels, convolutions).double()
    for parameter in unet.parameters():
        parameter.data.abs_()  # no ReLU closes, no path cancels
    radius, side, furthest = receptive_radius(unet), 256, 0
    for place in range(side // 2, side // 2 + unet.encoder.multiple):
        image = torch.ones(1, 1, side, side, dtype=torch.double, requires_grad=True)
        unet(image)[0, 0, place, place].backward()
        seen = image.grad[0, 0].abs().sum(dim=0).nonzero().squeeze()
        furthest = max(furthest, int(seen.max()) - place, place - int(seen.min()))
    assert radius == furthest


@pytest.mark.parametrize("name", SEEDED)
def test_equal_to_the_whole_image(name):
    torch.manual_seed(0)
    model = MODELS[name](1, 3).eval()
    image, label = images(2, 1, 150, 101), labels(2, 3, 150, 101)
    with torch.inference_mode():
        whole, parts = model(image), tiled(model, image, tile=32)
        assert parts.distinct == whole.distinct
        same = parts.sample(4, generator()) == whole.sample(4, generator())
        assert same.float().mean() > 0.9999  # ties may fall either way
        difference = parts.probabilities(5, generator()) - whole.probabilities(5, generator())
        assert difference.abs().max() < 1e-5
        torch.testing.assert_close(
            parts.log_prob(label, 3, generator()), whole.log_prob(label, 3, generator()), rtol=1e-5, atol=1e-2
        )


def test_dropout_is_reproducible_and_has_the_same_marginals():
    torch.manual_seed(0)
    model = MODELS["dropout_unet"](1, 2).eval()
    image = images(1, 1, 70, 50)
    with torch.inference_mode():
        parts = tiled(model, image, tile=32)
        assert torch.equal(parts.sample(2, generator()), parts.sample(2, generator()))
        assert parts.sample(3, generator()).unique(dim=0).shape[0] == 3
        difference = parts.probabilities(400, generator()) - model(image).probabilities(400, generator())
    assert difference.abs().mean() < 0.02


def test_a_small_margin_is_faded():
    """A network that knows where its tile began would show seams; faded, no step is higher than its share."""
    image = torch.zeros(1, 1, 64, 64)
    tiling = Tiling(16, 0, 4)
    first = iter(range(100))
    jumps = torch.cat(list(strips(lambda x: x + next(first) % 4, image, tiling)), dim=-2)
    assert jumps.shape == image.shape
    across = jumps[0, 0, 8]  # columns belong to tiles 0, 1, 2, 3
    assert across[:12].eq(0).all()
    assert across[12:20].tolist() == [(i + 0.5) / 8 for i in range(8)]
    assert across[20:28].eq(1).all()


def test_a_smaller_margin_is_close_and_larger_ones_are_exact():
    torch.manual_seed(0)
    model = pu.ProbabilisticUNet(1, 2, channels=(4, 6, 6), latent_dims=3).eval()
    image = images(1, 1, 96, 96)
    assert make_tiling(model.unet, 30).tile == 32
    assert make_tiling(model.unet, 32, 9).margin == 12
    with torch.inference_mode():
        whole = model(image).probabilities(2, generator())
        errors = [
            float((tiled(model, image, 32, margin).probabilities(2, generator()) - whole).abs().mean())
            for margin in (0, 8, 64)
        ]
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 1e-6


def test_the_prior_sees_large_images_reduced():
    image = torch.arange(16.0).reshape(1, 1, 4, 4)
    assert reduced(image, 2).flatten().tolist() == [2.5, 4.5, 10.5, 12.5]
    assert reduced(image, 4) is image
    torch.manual_seed(0)
    model = pu.ProbabilisticUNet(1, 2, channels=(4, 6, 6), latent_dims=3).eval()
    large = images(1, 1, 64, 64)
    with torch.inference_mode():
        draws = tiled(model, large, 32, prior_size=32).sample(1, generator())
        z = model.prior(reduced(large, 32))
        noise = torch.randn(1, 1, 3, generator=generator())
        expected = model(large).logits(z.base_dist.loc + z.base_dist.scale * noise[0]).argmax(dim=1)
    assert (draws[0] == expected).float().mean() > 0.999


@pytest.mark.parametrize(("tile", "margin"), [(8, None), (32, -1)])
def test_impossible_tiles_are_refused(tile, margin):
    with pytest.raises(InputError, match=f"a tile of {tile} px with a margin of {margin} px"):
        tiled(pu.UNet(1, 2, channels=(4, 6)), images(1), tile, margin)
