"""Compiled networks for a training, tried first on a copy, and left alone with a note where that does not work."""

from __future__ import annotations

import copy
import logging

import torch
from pytorch_lightning import Callback, LightningModule, Trainer

from probunet.core.errors import first_line
from probunet.data.batches import Crop
from probunet.models.base import SegmentationModel
from probunet.training.trial import try_step

log = logging.getLogger(__name__)


class CompileNetworks(Callback):
    """Compiles the networks that a model is made of (U-Net, prior net, ...); its parameters stay the same.

    The objective around them, with its checks of values and its random draws, stays as it is. One step on a copy
    shows first whether it can be done here; a compiler keeps what it made, so that the model itself takes less time.

    Args:
        crop: height and width of the images, in pixels.
        batch_size: images a step, over all processes.
    """

    def __init__(self, crop: Crop, batch_size: int) -> None:
        self.crop, self.batch_size = crop, batch_size

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Try, and compile; the model is on its device by now."""
        model: SegmentationModel = pl_module.model  # type: ignore[assignment]
        devices = [] if pl_module.device.type == "cpu" else [pl_module.device]
        try:
            with torch.random.fork_rng(devices), trainer.precision_plugin.train_step_context():
                try_step(_compiled(copy.deepcopy(model)), self.batch_size // trainer.world_size, self.crop)
        except Exception as error:  # whatever a compiler, or a GPU too old for it, has to say
            log.warning(f"note: the networks cannot be compiled here and run as they are ({first_line(error)})")
        else:
            _compiled(model)


def _compiled(model: SegmentationModel) -> SegmentationModel:
    for network in model.children():
        network.compile()
    return model
