"""The number format in which a model trains fastest on the machine at hand, found by a trial of a few steps."""

from __future__ import annotations

import copy
import logging
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from probunet.core.descriptions import read_json, write_json
from probunet.core.devices import wait_for
from probunet.core.errors import InputError, first_line
from probunet.data.batches import Crop
from probunet.models.base import SegmentationModel
from probunet.training.placement import is_first
from probunet.training.trial import try_step

log = logging.getLogger(__name__)

AUTO = "auto"
FULL, HALF = "32-true", "bf16-mixed"
STEPS = 3
"""Steps that are timed in each format, after one that is not."""
IMAGES = 4
"""Images of a step on a processor, where the time of a step is proportional to them."""


def resolved(
    trainer: Mapping[str, Any], folder: Path, model: SegmentationModel, crop: Crop, batch_size: int
) -> dict[str, Any]:
    """Replace ``precision: auto`` by the faster of float32 and bfloat16; leave everything else as it is.

    The choice is written beside the training, into ``precision.json``: a training that goes on, and every further
    process of it, keeps what was chosen first.

    Args:
        trainer: arguments of Lightning's Trainer.
        folder: the run directory.
        model: what is to be trained; only a copy of it is used.
        crop: size of the images, in pixels.
        batch_size: images a step.

    Raises:
        InputError: several processes were begun at once, before one of them could choose.
    """
    if trainer.get("precision") != AUTO:
        return dict(trainer)
    file = folder / "precision.json"
    if not file.is_file():
        if not is_first():
            raise InputError("trainer.precision=auto is chosen by one process; give 32-true or bf16-mixed here")
        _choose(file, trainer, model, crop, batch_size)
    precision = read_json(file).get("precision")
    if precision not in (FULL, HALF):
        raise InputError(f"{file} names no precision of {FULL} and {HALF}; remove it, and it is chosen again")
    return {**trainer, "precision": precision}


def _choose(file: Path, trainer: Mapping[str, Any], model: SegmentationModel, crop: Crop, batch_size: int) -> None:
    device = _device(trainer)
    images = min(batch_size, IMAGES) if device.type == "cpu" else batch_size
    step = _step_of(model, device, images, crop)
    seconds = {FULL: _seconds(step, device, None)}
    try:
        seconds[HALF] = _seconds(step, device, seconds[FULL])
    except (RuntimeError, NotImplementedError) as error:  # a layer of the user's that does not know bfloat16
        log.info(f"no {HALF} here: {first_line(error)[:150]}")
    fastest = min(seconds, key=lambda name: seconds[name])
    times = ", ".join(f"{name} {value:.3g} s" for name, value in seconds.items())
    log.info(f"precision {fastest}: the fastest on {device.type} ({times} a step of {images} images)")
    write_json(file, {"precision": fastest, "seconds": seconds, "images": images, "device": device.type})


def _device(trainer: Mapping[str, Any]) -> torch.device:
    """Where the first process will train, as far as that matters to a number format."""
    if trainer.get("accelerator", AUTO) not in (AUTO, "cuda", "gpu") or not torch.cuda.is_available():
        return torch.device("cpu")
    devices = trainer.get("devices")
    return torch.device("cuda", int(devices[0]) if isinstance(devices, Sequence) and devices[0] in range(64) else 0)


def _step_of(model: SegmentationModel, device: torch.device, images: int, crop: Crop) -> Callable[[], None]:
    """Make a step on a copy of a model."""
    trial = copy.deepcopy(model).to(device).train()

    def step() -> None:
        trial.zero_grad()
        try_step(trial, images, crop)

    return step


def _seconds(step: Callable[[], None], device: torch.device, other: float | None) -> float:
    """Time a step: the median of a few, or the first alone where it is far slower than the ``other`` format."""
    devices = [device] if device.type == "cuda" else []
    taken: list[float] = []
    with (
        torch.random.fork_rng(devices),
        torch.autocast(device.type, torch.bfloat16, enabled=other is not None),
    ):
        for _ in range(STEPS + 1):
            begin = time.perf_counter()
            step()
            wait_for(device)
            taken.append(time.perf_counter() - begin)
            if other is not None and taken[0] > 4 * other:
                return taken[0]
    return statistics.median(taken[1:])
