"""Whether a trained model may be evaluated on some data: it takes these images, and never saw these patients."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from probunet.core.errors import InputError
from probunet.core.files import shown
from probunet.core.words import by
from probunet.data.identity import Identity
from probunet.data.manifest import LEARNED_FROM, Split, is_store
from probunet.data.store import Store
from probunet.inference.units import crop_of_range
from probunet.runs.description import TrainedModel

log = logging.getLogger(__name__)

KNOWN: dict[Split, tuple[Split, ...]] = {"train": (), "validation": ("train",), "test": ("train", "validation")}
"""Splits of the training whose patients a split that is evaluated may not hold: what it was fitted to or chosen by."""


def check_fit(trained: TrainedModel, store: Store, split: Split) -> None:
    """Refuse data of another kind, or whose patients the model knows, see ``KNOWN``.

    Raises:
        InputError: other channels, classes or order of the classes, or such patients in the split, who are named.
    """
    arguments = trained.specification.arguments
    channels, classes = store.channels, len(store.classes)
    takes = (arguments.get("in_channels", channels), len(trained.classes))
    if (channels, classes) != takes:
        raise InputError(
            f"{store.path} has {channels} channel(s) and {classes} classes, the model of {trained.path} takes "
            f"{takes[0]} and {takes[1]}; evaluate it on data of its own kind"
        )
    if store.classes != trained.classes and sorted(store.classes) == sorted(trained.classes):
        here, there = (", ".join(names)[:200] for names in (store.classes, trained.classes))
        raise InputError(
            f"{shown(store.path)} has the classes {here}, the model of {shown(trained.path)} has them as {there}; "
            "prepare the data in the order of the model"
        )
    if (dims := arguments.get("dims", 2)) != store.dims:
        raise InputError(
            f"{store.path} holds {'volumes' if store.dims == 3 else 'images'}, the model of {trained.path} takes "
            f"{'volumes' if dims == 3 else 'images'}; evaluate it on data of its own kind"
        )
    if KNOWN[split]:
        check_patients(trained, store, split, KNOWN[split])


def store_of(trained: TrainedModel, data: Path | None) -> Store:
    """The data that is asked for, or else a model's own store, if it is still there and the same.

    Raises:
        InputError: no store there, or one of other images, readings, patients or splits than the model's.
    """
    if data is not None:
        return Store(data)
    path, named = shown(trained.path), trained.store
    if named is None:
        raise InputError(f"{path} has no data of its own; give --data STORE")
    if not is_store(named):
        raise InputError(
            f"{path} was trained on the store {named}, which is not there, seen from here; give --data STORE"
        )
    store, own = Store(named), trained.identity
    if own and (other := Identity(**own).differences(store.identity())):
        raise InputError(
            f"the store {named} has other {' and '.join(other)} than that which {path} was trained on; give --data "
            f"{named} if it is meant all the same"
        )
    return store


def check_values(trained: TrainedModel, store: Store, split: Split) -> None:
    """Refuse data whose values mean something else than those that the model was trained on.

    Raises:
        InputError: another unit, or crops that do not each have the range that the model asks for.
    """
    wanted, unit = trained.intensity.unit, store.intensity.unit
    own_range = crop_of_range(wanted)
    data, model = shown(store.path), f"the model of {shown(trained.path)}"
    if wanted and unit != wanted and not (own_range and unit and wanted.startswith(unit)):
        raise InputError(
            f"{data} holds {unit or 'values of no unit'}, {model} takes {wanted}; prepare the data in this unit"
        )
    if own_range and any(_range(store, row) != (0, 255) for row in store.indices(split).tolist()):
        raise InputError(
            f"{data} has images whose values do not run from 0 to 255, {model} takes {wanted}; prepare them so"
        )


def check_pixels(trained: TrainedModel, store: Store) -> None:
    """Refuse pixels of another size than those of the training.

    Raises:
        InputError: they are of another size.
    """
    if other := _other_pixels(trained, store):
        raise InputError(f"{other}; prepare the data with --spacing")


def tell_pixels(trained: TrainedModel, store: Store) -> None:
    """Say where pixels are of another size than in training: what a model makes of them is worth knowing."""
    if other := _other_pixels(trained, store):
        log.warning(f"note: {other}; figures are of the model on the pixels as they are")


def tell_known(trained: TrainedModel, store: Store, split: Split) -> None:
    """Say where a model is scored on patients that it was trained on or chosen by: figures on them flatter it."""
    if split in LEARNED_FROM and (both := trained.knows(store.patients(split), [split])):
        log.warning(
            f"note: {shown(trained.path)} was {LEARNED_FROM[split]} {len(both)} of the patients of the {split} split, "
            "and figures on them flatter it; those of the test split do not"
        )


def _other_pixels(trained: TrainedModel, store: Store) -> str | None:
    mine, its = store.manifest["spacing_mm"], trained.spacing_mm
    if not (mine and its) or np.allclose(its, mine, rtol=0.01):
        return None
    model = f"the model of {shown(trained.path)}"
    return f"{shown(store.path)} has pixels of {by(mine)} mm, {model} was trained on {by(its)} mm"


def _range(store: Store, row: int) -> tuple[float, float]:
    image = store.images[row]
    return float(image.min()), float(image.max())


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
