"""Whether a trained model may be evaluated on some data: it takes these images, and never saw these patients."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from probunet.core.errors import InputError
from probunet.data.manifest import Split
from probunet.data.store import Store
from probunet.runs.description import TrainedModel

log = logging.getLogger(__name__)

KNOWN: dict[Split, tuple[Split, ...]] = {"train": (), "validation": ("train",), "test": ("train", "validation")}
"""Splits of the training whose patients a split that is evaluated may not hold: what it was fitted to or chosen by."""


def check_fit(trained: TrainedModel, store: Store, split: Split) -> None:
    """Refuse data of another kind, or whose patients the model knows, see ``KNOWN``.

    Raises:
        InputError: other channels or classes, or such patients in the split, who are named.
    """
    arguments = trained.specification.arguments
    channels, classes = store.channels, len(store.classes)
    takes = (arguments.get("in_channels", channels), len(trained.classes))
    if (channels, classes) != takes:
        raise InputError(
            f"{store.path} has {channels} channel(s) and {classes} classes, the model of {trained.path} takes "
            f"{takes[0]} and {takes[1]}; evaluate it on data of its own kind"
        )
    if (dims := arguments.get("dims", 2)) != store.dims:
        raise InputError(
            f"{store.path} holds {'volumes' if store.dims == 3 else 'images'}, the model of {trained.path} takes "
            f"{'volumes' if dims == 3 else 'images'}; evaluate it on data of its own kind"
        )
    if KNOWN[split]:
        check_patients(trained, store, split, KNOWN[split])


def check_patients(
    trained: TrainedModel, store: Store, split: Split, known: Sequence[Split] = ("train", "validation")
) -> None:
    """Refuse patients that the model was trained on or chosen by; warn of a model that says nothing of its patients.

    Args:
        trained: the model.
        store: the data.
        split: part of the data that is evaluated.
        known: splits of the training whose patients it may not hold.

    Raises:
        InputError: there are such patients in the split; they are named.
    """
    if trained.settings.get("patients") is None:
        log.warning(f"note: {trained.path} does not say which patients it was trained on; see that they are others")
    if both := trained.knows(store.patients(split), known):
        names = ", ".join(patient[:40] for patient in both[:5]) + (", ..." if len(both) > 5 else "")
        raise InputError(
            f"{len(both)} patients of the {split} split of {store.path} are ones that {trained.path} was trained on"
            f"{' or chosen by' if 'validation' in known else ''} ({names}); prepare the data with the splits of the "
            "training, or with other patients"
        )
