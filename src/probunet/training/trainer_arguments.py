"""Which arguments of Lightning's Trainer a training takes, and which it sets itself."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Literal

from probunet.core.errors import InputError
from probunet.core.numbers import is_whole

OWN: dict[str, str] = {
    "logger": "the log is written into the run directory",
    "callbacks": "the training has its own",
    "plugins": "checkpoints are written by the training itself",
    "use_distributed_sampler": "every process takes its share of each batch",
    "accumulate_grad_batches": "give several processes the same data.batch_size instead",
    "enable_progress_bar": "there is one bar",
    "enable_model_summary": "parameters are counted in training.json",
    "num_sanity_val_steps": "the data is checked before the training",
    "default_root_dir": "give --out",
    "check_val_every_n_epoch": "batches never end; give val_check_interval in steps",
    "max_epochs": "batches never end; give max_steps or max_time",
    "min_epochs": "batches never end; give min_steps or min_time",
    "sync_batchnorm": "it is always on where there are several processes",
    "limit_train_batches": "batches never end; give max_steps or max_time",
    "fast_dev_run": "it would save no model; give max_steps",
    "overfit_batches": "batches never end; prepare a small store instead",
}
"""Arguments that the training sets itself, and what there is instead."""
Precision = Literal[
    "auto", "32-true", "bf16-mixed", "16-mixed", "64-true", "bf16-true", "16-true", "transformer-engine"
]
PRECISION_HELP = "number format; auto: float32 or bfloat16, whichever a trial of a few steps shows to be faster here"
END = ("max_steps", "max_time")
_TIMES = {"weeks", "days", "hours", "minutes", "seconds"}
VALIDATE_EVERY = 500
"""Steps between validations, where ``val_check_interval`` is not given."""


def check_trainer(arguments: Mapping[str, Any]) -> None:
    """Refuse arguments of the trainer that mean nothing here, or that leave a training without an end.

    Raises:
        InputError: one of ``OWN``, no end, or an end or an interval that is no positive number of steps.
    """
    for name in arguments:
        if name in OWN:
            raise InputError(f"trainer.{name} cannot be chosen: {OWN[name]}")
    if not set(arguments) & set(END):
        raise InputError("the training has no end; give trainer.max_steps or trainer.max_time")
    if not _is_time(arguments.get("max_time")):
        written = str(arguments["max_time"])[:40]
        raise InputError(f"trainer.max_time={written} is no time; give days, hours, minutes, seconds: 00:00:03:00")
    for name in ("max_steps", "val_check_interval"):
        value = arguments.get(name)
        if value is not None and (not is_whole(value) or value < 1):
            raise InputError(f"trainer.{name}={value} is no number of steps; give 1 or more")


def _is_time(value: Any) -> bool:
    """Whether Lightning understands it: nothing, a span, DD:HH:MM:SS, or names such as hours with their numbers."""
    if isinstance(value, Mapping):
        return bool(value) and set(value) <= _TIMES and all(isinstance(part, int | float) for part in value.values())
    if isinstance(value, str):
        return re.fullmatch(r"\d{1,4}:\d\d:\d\d:\d\d", value.strip()) is not None
    return value is None or isinstance(value, timedelta)
