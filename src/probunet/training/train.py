"""Train a model from Python: real objects in, a run directory out."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from probunet.core.devices import chosen_device
from probunet.core.errors import InputError
from probunet.core.files import check_out_folder
from probunet.core.numbers import is_whole, whole_number
from probunet.core.seeds import checked_seed
from probunet.data.augment import Augmentation
from probunet.data.batches import Crop
from probunet.data.own.items import Items, make_store
from probunet.data.store import Store
from probunet.models.base import SegmentationModel
from probunet.objectives.energy_score import EnergyScore
from probunet.runs.run import Run
from probunet.training.data import TrainingData
from probunet.training.experiment import train as train_models
from probunet.training.task import Optimisation
from probunet.training.trainer_arguments import VALIDATE_EVERY, check_trainer

BATCH = 32
SHARES = (0.8, 0.2, 0.0)
"""Of train, validation and test where a store is made for one training."""


def train(
    model: SegmentationModel,
    data: Store | Path | str | Items,
    out: Path | str | None = None,
    *,
    steps: int = 1000,
    crop: Crop | None = None,
    batch_size: int | None = None,
    augmentation: Augmentation | None = None,
    optimisation: Optimisation | None = None,
    energy: EnergyScore | None = None,
    validate_every: int = VALIDATE_EVERY,
    seed: int = 0,
    device: str = "auto",
    trainer: Mapping[str, Any] | None = None,
    start: Path | str | None = None,
) -> Run:
    """Train a model, as ``probunet train`` does; given again, a training that was stopped goes on.

    Args:
        model: what to train: its class and arguments. The object itself stays as it is; weights begin from the seed.
        data: a prepared store. Or a ``torch.utils.data.Dataset`` of image (C, H, W) and labels (R, H, W) or (H, W),
            or the two arrays (N, C, H, W) and (N, R, H, W) or (N, H, W); a store is made of them, OUT/data, of which
            a fifth of the items is for validation. Volumes have a depth before H, and may differ in size where images
            and labels are lists. ``make_store`` can do more: patients, units, names, splits.
        out: folder of the experiment, OUT/<class of the model> becomes the run directory; a new temporary folder,
            which stays, if not given.
        steps: batches to train on.
        crop: height and width that the model sees, in pixels, of volumes depth, height and width; all of the images if
            not given.
        batch_size: images a step; 32, or all of a smaller training set, if not given.
        augmentation: how strongly to deform; the paper's if not given.
        optimisation: how to minimise the loss; the paper's if not given.
        energy: the energy score against all readers, added to the model's own objective.
        validate_every: steps between validations.
        seed: of initial weights, order, augmentation and latents.
        device: auto (a GPU, where there is one), cpu, cuda, cuda:N or mps.
        trainer: further arguments of Lightning's Trainer, for example ``{"precision": "bf16-mixed"}``.
        start: trained model with the same networks whose weights are begun with: a run, an exported folder or a
            published name. A model of volumes may begin with one of slices. Random ones if not given.

    Raises:
        InputError: something does not fit; the message says what.
        KeyboardInterrupt: stopped by Ctrl-C; the state was saved, and the same call goes on from there.
        Stopped: by SIGTERM, likewise.

    Returns:
        The run: ``run.model()`` is the trained model; ``evaluate``, ``Predictor.load`` and every command take it.
    """
    out = Path(tempfile.mkdtemp(prefix="probunet-")) if out is None else Path(out)
    check_out_folder(out)
    chosen = {**_placed(device), "max_steps": steps, "val_check_interval": validate_every, **(trainer or {})}
    check_trainer(chosen)
    chosen |= {key: int(chosen[key]) for key in ("max_steps", "val_check_interval") if is_whole(chosen[key])}
    checked_seed(seed)
    if batch_size is not None:
        whole_number("batch_size", batch_size)
    store = _store(data, out, model, seed)
    run_data = TrainingData(
        store.path,
        _whole(store) if crop is None else crop,
        min(BATCH, len(store.indices("train"))) if batch_size is None else batch_size,
        augmentation or Augmentation(),
    )
    kind = type(model)
    [run] = train_models(
        out,
        run_data,
        {kind.__name__: model},
        optimisation or Optimisation(),
        chosen,
        seed,
        energy=energy,
        trust=[kind],
        start=start,
    )
    return run


def _store(data: Store | Path | str | Items, out: Path, model: SegmentationModel, seed: int) -> Store:
    """The store itself, or one made of a user's items, which is the same when they are given again.

    Raises:
        InputError: items that no store can be made of, or others than the store of an earlier call was made of.
    """
    if isinstance(data, Store):
        return data
    if isinstance(data, Path | str):
        return Store(data)
    classes = ["background", *(f"class {k}" for k in range(1, model.num_classes))]
    folder = out / "data"
    if not folder.exists():
        return make_store(data, folder, shares=SHARES, classes=classes, seed=seed)
    before = Store(folder)
    with tempfile.TemporaryDirectory(dir=out) as place:
        now = make_store(data, Path(place) / "data", shares=SHARES, classes=classes, seed=seed)
        if different := before.identity().differences(now.identity()):
            if {path.name for path in out.iterdir()} == {folder.name, Path(place).name}:  # nothing was trained on it
                shutil.rmtree(folder)
                now.path.rename(folder)
                return Store(folder)
            raise InputError(
                f"{folder} was made of other data ({', '.join(different)}) by an earlier call; choose another out"
            )
    return before


def _whole(store: Store) -> tuple[int, ...]:
    """The size of all images.

    Raises:
        InputError: volumes of different size.
    """
    if (store.sizes != store.sizes[0]).any():
        raise InputError(f"the volumes of {store.path} differ in size; give crop=(D, H, W), the part that a model sees")
    return store.size(0)


def _placed(device: str) -> dict[str, Any]:
    """Arguments of Lightning's Trainer for one device."""
    kind, _, number = chosen_device(device).partition(":")
    return {"accelerator": "gpu" if kind == "cuda" else kind, "devices": [int(number)] if number else 1}
