"""Where an axis is pooled and looked along, by hand; and f_comb on volumes."""

import pytest
import torch

import probunet as pu
from probunet.core.errors import InputError
from probunet.nets.combine import Combine, Decoder
from probunet.nets.decode import BLOCK
from probunet.nets.scales import make_scales
from probunet.runs.onnx_graphs import write_onnx


def test_an_axis_is_pooled_once_its_spacing_is_near_to_the_finest():
    """5 mm is 7.1 times .7 mm, after one pooling 3.6 times, after two 1.8 times."""
    scales = make_scales((4, 4, 4, 4), dims=3, spacing=(5, 0.7, 0.7))
    assert scales.kernels == ((1, 3, 3), (1, 3, 3), (3, 3, 3), (3, 3, 3))
    assert scales.strides == ((1, 2, 2), (1, 2, 2), (2, 2, 2))
    assert scales.multiple == (2, 8, 8)
    assert [scales.factor(i) for i in range(3)] == [(1, 1, 1), (1, 2, 2), (1, 4, 4)]
    assert scales.place((4, 16, 24), 3) == (2, 2, 3)


def test_without_a_spacing_all_axes_are_alike():
    for dims in (2, 3):
        scales = make_scales((4, 4, 4), dims=dims)
        assert scales.kernels == ((3,) * dims,) * 3
        assert scales.strides == ((2,) * dims,) * 2
    assert make_scales((4, 4), spacing=(1, 1.9)) == make_scales((4, 4))


@pytest.mark.parametrize(("dims", "spacing"), [(3, (1, 1)), (2, (1, 1, 1)), (3, (0, 1, 1)), (2, (1, -1))])
def test_a_spacing_that_fits_no_image_is_refused(dims, spacing):
    with pytest.raises(InputError, match=f"does not fit dims={dims}; give the mm between voxels along"):
        pu.UNet(channels=(4, 4), dims=dims, spacing=spacing)
    with pytest.raises(InputError, match=r"dims=\.\.\.\) is 4: Input should be 2 or 3"):
        pu.UNet(channels=(4, 4), dims=4)


def test_a_volume_of_a_single_slice_and_one_of_many_have_hypotheses(generator):
    model = pu.ProbabilisticUNet(channels=(4, 6, 6), convolutions=1, dims=3).eval()
    for depth in (1, 5):
        with torch.inference_mode():
            assert model(torch.zeros(1, 1, depth, 17, 16)).sample(2, generator).shape == (2, 1, depth, 17, 16)
    with pytest.raises(
        InputError, match=r"\(1, 1, 16, 16\) does not fit a model of 3 dimensions.*depth, height, width"
    ):
        model(torch.zeros(1, 1, 16, 16))


def test_labels_of_volumes_are_those_of_their_logits(generator):
    """More voxels than a block holds, so that slices and blocks end at different places."""
    combine = Combine(3, 2, 2, channels=4).double()
    features = torch.randn(1, 3, 5, 90, 100, generator=generator).double()
    assert features[0, 0].numel() > BLOCK
    z = torch.randn(3, 1, 2, generator=generator).double()
    with torch.inference_mode():
        decoder = Decoder(combine, combine.project(features))
        labels = decoder.labels(z)
        for hypothesis, latent in zip(labels, z, strict=True):
            assert torch.equal(hypothesis, decoder(latent).argmax(dim=1))
            alone = [Decoder(combine, combine.project(features[:, :, i]))(latent) for i in range(5)]
            torch.testing.assert_close(decoder(latent), torch.stack(alone, dim=2))


def test_volumes_have_no_onnx_form(tmp_path):
    with pytest.raises(InputError, match="a model of volumes has no ONNX form; export it as a folder"):
        write_onnx(pu.ProbabilisticUNet(channels=(4, 6), dims=3), tmp_path)
