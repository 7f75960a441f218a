"""On a GPU every model obeys the laws, and says and learns what it does on the processor."""

import copy

import pytest
import torch
from gpu_device import DEVICE
from test_laws import MODELS, VOLUMES, images, labels
from torch.nn import functional as F

import probunet as pu
from probunet.core.types import IGNORE
from probunet.metrics.convention import Convention
from probunet.models.base import SegmentationModel
from probunet.testing import LAWS, check_model

pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("default")]
CASES = [*(f"{name}-2d" for name in MODELS), *(f"{name}-3d" for name in VOLUMES)]
SCORE = pu.EnergyScore(samples=2)


@pytest.fixture(autouse=True)
def full_float32(monkeypatch):
    """TF32 rounds the factors of a GPU's convolutions to ten bits; what is compared with a processor does not."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


def made(case: str) -> tuple[SegmentationModel, torch.Tensor, torch.Tensor]:
    """The model, images and labels, on the processor."""
    torch.manual_seed(1)
    name, dims = case.rsplit("-", 1)
    if dims == "2d":
        return MODELS[name](1, 3), images(2), labels(2, 3)
    generator = torch.Generator().manual_seed(1)
    chosen = torch.randint(2, (2, 3, 18, 16), generator=generator).to(torch.uint8)
    chosen[:, :, :2] = IGNORE
    return VOLUMES[name](1, 2), torch.randn(2, 1, 3, 18, 16, generator=generator), chosen


@pytest.mark.parametrize("case", CASES)
def test_laws(case):
    model, image, label = made(case)
    slow = "training_makes_labels_likelier" if case.endswith("3d") and case != "probabilistic_unet-3d" else ""
    check_model(model, image.to(DEVICE), label.to(DEVICE), [law for law in LAWS if law != slow])


@pytest.mark.parametrize("case", CASES)
def test_says_what_it_says_on_the_processor(case):
    """One seed is one noise on every device; the hypotheses of a noise differ by rounding alone."""
    model, image, label = made(case)
    said = []
    for device in ("cpu", DEVICE):
        with torch.inference_mode():
            distribution = copy.deepcopy(model).eval().to(device)(image.to(device))
            for cover in (False, True):
                noise = distribution.noise(4, torch.Generator().manual_seed(3), cover)
                assert noise.device.type == torch.device(device).type
                said.append(("noise", noise))
                said.append(("labels", distribution.labels(noise)))
                said.append(("probabilities", distribution.probabilities(noise)))
            said.append(("log_prob", distribution.log_prob(label.to(device), 8, torch.Generator().manual_seed(4))))
    half = len(said) // 2
    for (name, here), (_, there) in zip(said[:half], said[half:], strict=True):
        there = there.cpu()
        if name == "labels":
            assert (here == there).float().mean() > 0.995
        elif name == "noise":
            torch.testing.assert_close(there, here, rtol=0, atol=1e-5)
        else:
            torch.testing.assert_close(there, here, rtol=2e-3, atol=1e-3)


def learned(model: SegmentationModel, image: torch.Tensor, label: torch.Tensor) -> dict[str, torch.Tensor]:
    """Values and gradients (on the processor) of the objective, and of cross-entropy and energy score of one noise."""
    readers = torch.stack([label, label.where(label == IGNORE, 0)], dim=1)
    loss = model.loss(image, label, torch.Generator().manual_seed(5))
    distribution = loss.distribution or model(image)
    score = SCORE.of(distribution, readers, Convention(model.num_classes), torch.Generator().manual_seed(7))
    logits = distribution.logits(distribution.noise(2, torch.Generator().manual_seed(8)))
    entropy = F.cross_entropy(logits[0], label.long(), ignore_index=IGNORE)
    (loss.total + 100 * score + 100 * entropy).backward()
    gradients = {f"d {n}": p.grad.cpu() for n, p in model.named_parameters() if p.grad is not None}
    return {"loss": loss.total.detach().cpu(), "score": score.detach().cpu(), **gradients}


@pytest.mark.parametrize("case", CASES)
def test_learns_what_it_learns_on_the_processor(case):
    """The loss, the energy score, and the direction of all gradients together; then one step of the optimiser."""
    model, image, label = made(case)
    here = learned(copy.deepcopy(model).train(), image, label)
    model = model.train().to(DEVICE)
    there = learned(model, image.to(DEVICE), label.to(DEVICE))
    assert here.keys() == there.keys()
    assert all(bool(torch.isfinite(value).all()) for value in there.values())
    torch.testing.assert_close(there["loss"], here["loss"], rtol=0.01, atol=0.1)
    torch.testing.assert_close(there["score"], here["score"], rtol=0.01, atol=0.01)
    first, second = (torch.cat([v.flatten() for n, v in some.items() if n[0] == "d"]) for some in (here, there))
    assert F.cosine_similarity(first, second, dim=0) > 0.99
    before = [p.detach().clone() for p in model.parameters()]
    torch.optim.Adam(model.parameters(), 1e-3, fused=True).step()
    assert any(not torch.equal(p, old) for p, old in zip(model.parameters(), before, strict=True))
    assert all(bool(torch.isfinite(p).all()) for p in model.parameters())


@pytest.mark.parametrize("case", ["probabilistic_unet-2d", "phiseg-2d", "flow-2d", "full_top_k-3d"])
def test_a_generator_of_the_gpu_repeats_itself(case):
    model, image, label = made(case)
    model, image, label = model.to(DEVICE), image.to(DEVICE), label.to(DEVICE)
    generators = [torch.Generator(DEVICE).manual_seed(2) for _ in range(2)]
    with torch.inference_mode():
        first, second = (model.eval()(image).sample(5, own) for own in generators)
    assert first.device.type == torch.device(DEVICE).type
    assert torch.equal(first, second)
    first, second = (model.loss(image, label, own).total for own in generators)
    torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("case", ["probabilistic_unet-2d", "mixture_of_experts-2d", "batch_norm-2d", "phiseg-3d"])
def test_bfloat16_says_nearly_the_same_and_its_gradients_are_finite(case):
    model, image, label = made(case)
    model, image, label = model.to(DEVICE).eval(), image.to(DEVICE), label.to(DEVICE)
    noise = model(image).noise(4, torch.Generator().manual_seed(3))
    with torch.no_grad():
        full = model(image).probabilities(noise)
        with torch.autocast(torch.device(DEVICE).type, torch.bfloat16):
            half = model(image).probabilities(noise)
    assert half.dtype == torch.float32
    assert (half - full).abs().mean() < 0.03
    with torch.autocast(torch.device(DEVICE).type, torch.bfloat16):
        loss = model.train().loss(image, label, torch.Generator().manual_seed(5))
        readers = torch.stack([label, label.where(label == IGNORE, 0)], dim=1)
        score = SCORE.of(loss.distribution or model(image), readers, Convention(model.num_classes))
    (loss.total + score).backward()
    assert all(bool(torch.isfinite(p.grad).all()) for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("width", [16, 32])
def test_hypotheses_of_one_kernel_are_those_of_the_layers(dims, width):
    """More hypotheses than one block decodes, and pixels that fill no block."""
    torch.manual_seed(0)
    model = pu.ProbabilisticUNet(channels=(8, 8), convolutions=1, combine_channels=width, dims=dims).to(DEVICE).eval()
    image = torch.randn(3, 1, *(9, 19, 23)[-dims:], device=DEVICE)
    with torch.inference_mode():
        decoder = model._decoder(image)
        assert decoder.fuses_on_gpu == (torch.device(DEVICE).type == "cuda")
        z = torch.randn(70, 3, model.latent_dims, device=DEVICE)
        logits = decoder(z[0])
        model.combine.rest[-1].bias[1] -= (logits[:, 1] - logits[:, 0]).median()  # so that both classes occur
        together = decoder.labels(z)
        layers = torch.stack([decoder(each).argmax(1).to(torch.uint8) for each in z])
    assert together.shape == layers.shape
    assert 0.05 < layers.float().mean() < 0.95
    assert (together == layers).float().mean() > 0.999
