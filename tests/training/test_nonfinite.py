"""Steps that are not finite are skipped, counted, and named when they do not end; no batch makes a weight NaN."""

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset

import probunet as pu
from probunet.core.errors import InputError
from probunet.core.types import IGNORE
from probunet.data.training_batches import Batch
from probunet.training.nonfinite import SkipNotFinite
from probunet.training.task import Optimisation, SegmentationTask

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore:.*LeafSpec.*")  # of Lightning
TINY = {"channels": (4, 4), "convolutions": 1}


class Listed(Dataset):
    """Given batches, one after the other."""

    def __init__(self, batches: list[Batch]) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, i: int) -> Batch:
        return self.batches[i]

    def names(self, step: int) -> list[str]:
        return [f"case {step}.{i}" for i in range(len(self.batches[step].image))]


def good(seed: int = 0) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    image = torch.randn(2, 1, 16, 16, generator=generator)
    return Batch(image, (image[:, 0] > 0.5).to(torch.uint8))


def bad() -> Batch:
    """Finite, but its loss overflows."""
    return Batch(torch.full((2, 1, 16, 16), 3e38), torch.zeros(2, 16, 16, dtype=torch.uint8))


def train(model, batches: list[Batch], folder) -> SkipNotFinite:
    skip = SkipNotFinite(folder)
    task = SegmentationTask(model, Optimisation(1e-3, schedule="constant"), 0, lambda: 0.0, {})
    trainer = pl.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, callbacks=[skip], default_root_dir=folder,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(task, DataLoader(Listed(batches), batch_size=None))
    return skip


def parameters(model) -> torch.Tensor:
    return torch.cat([p.detach().flatten().clone() for p in model.parameters()])


def nasty(random: np.random.Generator) -> Batch:
    """Constant or extreme images, one bright pixel; labels all empty, all full, all ignored, or but for one pixel."""
    shape = (2, 1, 16, 16)
    kind, scale = random.integers(4), 10.0 ** random.integers(-38, 39)
    image = scale * random.normal(size=shape) if kind == 0 else np.full(shape, [0.0, 0.0, scale, 1.0][kind])
    if kind == 1:
        image[..., random.integers(16), random.integers(16)] = scale
    label = np.full((2, 16, 16), random.choice([0, 1, IGNORE]), np.uint8)
    if random.random() < 0.5:
        label[:, random.integers(16), random.integers(16)] = random.choice([0, 1, IGNORE])
    limit = np.finfo(np.float32).max
    return Batch(torch.from_numpy(image.clip(-limit, limit).astype(np.float32)), torch.from_numpy(label))


def test_a_step_that_is_not_finite_changes_no_weight_and_is_counted(tmp_path):
    torch.manual_seed(0)
    model = pu.ProbabilisticUNet(**TINY)
    before = parameters(model)
    assert train(model, [bad(), bad()], tmp_path).skipped == 2
    assert torch.equal(parameters(model), before)


def test_three_in_a_row_name_the_cases_and_dump_the_batch(tmp_path):
    model = pu.UNet(**TINY)
    with pytest.raises(InputError, match=r"3 steps in a row, the last one step 4 with the cases case 4.0, case 4.1"):
        train(model, [bad(), good(), bad(), bad(), bad(), good()], tmp_path)
    dump = torch.load(next(tmp_path.glob("not_finite_step_4_*.pt")), weights_only=True)
    assert dump["cases"] == ["case 4.0", "case 4.1"]
    assert torch.equal(dump["image"], bad().image)
    assert dump["state_dict"].keys() == {f"model.{name}" for name in model.state_dict()}


@pytest.mark.parametrize("kind", [pu.ProbabilisticUNet, pu.MHeads])
def test_fifty_nasty_batches_leave_every_weight_finite(kind, tmp_path):
    torch.manual_seed(0)
    model = kind(**TINY)
    random = np.random.default_rng(0)
    batches = []
    for number in range(50):
        batches += [nasty(random), good(number)]  # the good one in between keeps the training from stopping
    skip = train(model, batches, tmp_path)
    assert torch.isfinite(parameters(model)).all()
    assert 0 < skip.skipped < 50
    loss = model.loss(good().image, good().label, torch.Generator().manual_seed(0))
    assert torch.isfinite(loss.total)
