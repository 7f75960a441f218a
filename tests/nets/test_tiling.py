"""Large images tile by tile against the same images whole."""

import pytest
import torch
from test_laws import images

import probunet as pu
from probunet.core.errors import InputError
from probunet.nets.decode import Network
from probunet.nets.receptive_field import receptive_field_of
from probunet.nets.scales import make_scales
from probunet.nets.tiling import Span, Tiles, Tiling, make_tiling, reduced
from probunet.nets.unet import FeatureUNet


def generator():
    return torch.Generator().manual_seed(3)


def test_spans_by_hand():
    assert Tiling(16, 8, 4).spans(50) == [
        Span((0, 28), (0, 20)),
        Span((4, 44), (12, 36)),
        Span((20, 50), (28, 50)),
    ]  # the last 2 pixels are no tile of their own
    assert Tiling(32, 8, 0).spans(20) == [Span((0, 20), (0, 20))]


@pytest.mark.parametrize(
    "scales",
    [
        make_scales((3, 3), 1),
        make_scales((3, 3, 3), 2),
        make_scales((3, 3, 3, 3), 3),
        make_scales((2, 2, 2), 2, dims=3, spacing=(2.5, 1, 0.5)),
    ],
)
def test_receptive_radius_covers_what_a_feature_depends_on(scales):
    """From gradients at every place of the pooling grid, along every axis."""
    torch.manual_seed(0)
    unet = FeatureUNet(1, scales).double()
    for parameter in unet.parameters():
        parameter.data.abs_()  # no ReLU closes, no path cancels
    size = (256, 256) if scales.dims == 2 else (16, 32, 64)
    furthest = [0] * scales.dims
    for step in range(max(scales.multiple)):
        place = torch.tensor([length // 2 + step for length in size])
        image = torch.ones(1, 1, *size, dtype=torch.double, requires_grad=True)
        unet(image)[(0, 0, *place)].backward()
        seen = image.grad[0, 0].nonzero()
        reach = torch.maximum(seen.amax(dim=0) - place, place - seen.amin(dim=0)).tolist()
        furthest = [max(pair) for pair in zip(furthest, reach, strict=True)]
    assert receptive_field_of(unet.encoder, unet.decoder).radius == tuple(furthest)


@pytest.mark.parametrize(
    "model",
    [
        pu.HierarchicalProbabilisticUNet(1, 2, channels=(4, 4, 4), convolutions=2, latent_dims=(1, 1)),
        pu.PHiSeg(1, 2, channels=(4, 4, 4, 4), convolutions=1, latent_dims=(1, 1)),
        pu.PHiSeg(1, 2, channels=(4, 4, 4, 4), convolutions=2, latent_dims=(1, 1, 1)),
    ],
)
def test_no_logit_of_a_model_with_latent_maps_depends_on_more_than_its_view(model):
    model = model.double().eval()
    for parameter in model.parameters():
        parameter.data.normal_(generator=generator()).mul_(0.3)
    side, middle, furthest = 512, 256, 0
    for place in range(middle, middle + model.receptive_field.coarsest[0]):
        image = torch.zeros(1, 1, side, 16, dtype=torch.double, requires_grad=True)
        model.parts(image, (0, 0)).decode()(torch.zeros(1, dtype=torch.int64))[0, :, place, 8].sum().backward()
        seen = image.grad[0, 0].abs().sum(dim=1).nonzero().squeeze()
        furthest = max(furthest, int(seen.max()) - place, place - int(seen.min()))
    assert 0.3 * model.receptive_field.radius[0] < furthest <= model.receptive_field.radius[0]


def test_a_small_margin_is_faded():
    """A network that knows where its tile began would show seams; faded, no step is higher than its share."""
    image = torch.zeros(1, 1, 64, 64)
    tiling = Tiling(16, 0, 4)
    first = iter(range(100))

    def decoder(part, corner):
        value = next(first) % 4
        return Network(lambda _: part + value)

    jumps = torch.cat([strip(torch.zeros(1)) for strip in Tiles(decoder, image, [tiling] * 2)], dim=-2)
    assert jumps.shape == image.shape
    across = jumps[0, 0, 8]  # columns belong to tiles 0, 1, 2, 3
    assert across[:12].eq(0).all()
    assert across[12:20].tolist() == [(i + 0.5) / 8 for i in range(8)]
    assert across[20:28].eq(1).all()


def test_a_smaller_margin_is_close_and_larger_ones_are_exact():
    torch.manual_seed(0)
    model = pu.ProbabilisticUNet(1, 2, channels=(4, 6, 6), latent_dims=3).eval()
    image = images(1, 1, 96, 96)
    assert make_tiling(model.receptive_field, 30)[0].tile == 32
    assert make_tiling(model.receptive_field, 32, 9)[0].margin == 12
    with torch.inference_mode():
        noise = model(image).noise(2, generator())
        whole = model(image).probabilities(noise)
        errors = [
            float((model.tiled(image, 32, margin).probabilities(noise) - whole).abs().mean()) for margin in (0, 8, 64)
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
        draws = model.tiled(large, 32, prior_size=32).sample(1, generator())
        z = model.prior(reduced(large, 32))
        noise = torch.randn(1, 1, 3, generator=generator())
        expected = model(large).latent.logits(z.base_dist.loc + z.base_dist.scale * noise[0]).argmax(dim=1)
    assert (draws[0] == expected).float().mean() > 0.999


@pytest.mark.parametrize(("tile", "margin"), [(8, None), (32, -1)])
def test_impossible_tiles_are_refused(tile, margin):
    with pytest.raises(InputError, match=f"a tile of {tile} px with a margin of {margin} px"):
        pu.UNet(1, 2, channels=(4, 6)).tiled(images(1), tile, margin)
