"""Whether a trained model may be evaluated on some data: it takes these images, and never saw these patients."""

from __future__ import annotations

import logging

from probunet.core.errors import InputError
from probunet.data.manifest import Split
from probunet.data.store import Store
from probunet.runs.description import TrainedModel

log = logging.getLogger(__name__)


def check_fit(trained: TrainedModel, store: Store, split: Split) -> None:
    """Refuse data of another kind, and a test on patients that the model was trained on or chosen by.

    Raises:
        InputError: other channels or classes, or such patients in the test split, who are named.
    """
    arguments = trained.specification.arguments
    channels, classes = int(store.images.shape[1]), len(store.classes)
    takes = (arguments.get("in_channels", channels), len(trained.classes))
    if (channels, classes) != takes:
        raise InputError(
            f"{store.path} has {channels} channel(s) and {classes} classes, the model of {trained.path} takes "
            f"{takes[0]} and {takes[1]}; evaluate it on data of its own kind"
        )
    if split == "test":
        check_patients(trained, store, split)


def check_patients(trained: TrainedModel, store: Store, split: Split) -> None:
    """Refuse patients that the model was trained on or chosen by; warn of a model that says nothing of its patients.

    Raises:
        InputError: there are such patients in the split; they are named.
    """
    if trained.settings.get("patients") is None:
        log.warning(f"note: {trained.path} does not say which patients it was trained on; see that they are others")
    if both := trained.knows(store.patients(split)):
        raise InputError(
            f"{len(both)} patients of the {split} split of {store.path} are ones that {trained.path} was trained on or "
            f"chosen by ({', '.join(both[:5])}, ...); prepare the data with the splits of the training, or with other "
            "patients"
        )
