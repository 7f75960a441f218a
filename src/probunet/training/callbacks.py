"""Progress with time left, and a clean stop on Ctrl-C or SIGTERM."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

from pytorch_lightning import Callback, LightningModule, Trainer

from probunet.core.console import state_bar
from probunet.core.processes import Tell
from probunet.training.placement import highest
from probunet.training.task import VALIDATION


class TrainingBar(Callback):
    """One bar for the whole training, by steps or by time, whichever ends it.

    Args:
        name: of the model.
        progress: the share of the training that is done, 0 to 1.
    """

    def __init__(self, name: str, progress: Callable[[], float]) -> None:
        self.name, self.progress = name, progress
        self.bar = state_bar()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Show the bar."""
        self.task = self.bar.add_task(self.name, total=1.0, state="")
        self.bar.start()

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        """Advance the bar."""
        self.bar.update(self.task, completed=self.progress(), state=_state(trainer))

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Leave the last state of the bar standing."""
        self.bar.stop()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Do not leave a live bar behind a message."""
        self.bar.stop()


class TellProgress(Callback):
    """Tells another process how far the training is, about once a second.

    Args:
        tell: told the share that is done and the state.
        progress: the share of the training that is done, 0 to 1.
    """

    def __init__(self, tell: Tell, progress: Callable[[], float]) -> None:
        self.tell, self.progress, self.told = tell, progress, 0.0

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        """Tell it."""
        if time.monotonic() - self.told > 1:
            self.told = time.monotonic()
            self.tell(self.progress(), _state(trainer))


class Stopwatch(Callback):
    """Seconds of training over all its starts; what was done after the last checkpoint of a start does not count."""

    def __init__(self) -> None:
        self.before, self.started = 0.0, time.perf_counter()

    @property
    def seconds(self) -> float:
        """Until now."""
        return self.before + time.perf_counter() - self.started

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to count this start."""
        self.started = time.perf_counter()

    def state_dict(self) -> dict[str, float]:
        """What a checkpoint keeps."""
        return {"seconds": self.seconds}

    def load_state_dict(self, state_dict: dict[str, float]) -> None:
        """Go on from a checkpoint."""
        self.before = state_dict["seconds"]


class StopOnSignal(Callback):
    """Ctrl-C and SIGTERM end the training after the step in hand, so that its state can be saved.

    A signal to one of several processes stops all of them after the same step. A second signal ends it at once; the
    checkpoint of the last validation then is the last state.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take over the two signals."""

        def stop(number: int, frame: FrameType | None) -> None:
            if self.received is not None:
                raise KeyboardInterrupt
            self.received = signal.Signals(number)

        self._before = {s: signal.signal(s, stop) for s in (signal.SIGINT, signal.SIGTERM)}

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        """Stop if a signal came, here or in another process."""
        if number := highest(trainer, self.received or 0):
            self.received = signal.Signals(int(number))
            trainer.should_stop = True
            if not validation_follows(trainer):
                trainer.limit_val_batches = 0  # Lightning would validate before it stops, at a step like no other

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give the signals back."""
        self.give_back()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Give the signals back."""
        self.give_back()

    def give_back(self) -> None:
        """Restore the handlers that stood before the training."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}


class ValidateLast(Callback):
    """Has the last step validated as well, where it is no multiple of the interval: the best weights may be its own."""

    def on_train_batch_end(self, trainer: Trainer, *args: Any) -> None:
        """End a training that would end without a validation; Lightning validates before it ends one."""
        trainer.should_stop = trainer.should_stop or _is_last(trainer)


def validation_follows(trainer: Trainer) -> bool:
    """Whether the state after this step is validated."""
    interval = trainer.val_check_batch or math.inf
    return _is_last(trainer) or not (trainer.fit_loop.total_batch_idx + 1) % interval


def _is_last(trainer: Trainer) -> bool:
    return trainer.global_step == trainer.max_steps


def _state(trainer: Trainer) -> str:
    metrics = trainer.callback_metrics
    state = f"step {trainer.global_step}"
    for key, text in (("train/loss", "loss {:.0f}"), (VALIDATION, "D_GED² {:.3f}")):
        if key in metrics:
            state += " · " + text.format(float(metrics[key]))
    return state
