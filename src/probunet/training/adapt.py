"""A new reader for a model of readers: the embedding of that person is fitted, and all the rest stays as it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from probunet.core.errors import InputError
from probunet.core.files import check_out_folder
from probunet.core.names import refuse_alike
from probunet.data.batches import EvaluationImages
from probunet.data.manifest import Split
from probunet.data.store import Store
from probunet.models.base import SegmentationModel
from probunet.runs.description import TrainedModel, hashed
from probunet.runs.exported import facts_of, save

BATCH, LEARNING_RATE = 16, 0.02


def adapt(
    trained: TrainedModel,
    store: Store,
    reader: str,
    out: Path,
    split: Split = "train",
    steps: int = 300,
    seed: int = 0,
) -> int:
    """Teach a model of readers one more person, from a few readings, and write it as an exported folder.

    What the model says of the readers whom it knew does not change. Among all readers, the new one gets the share of
    one in as many as there are now.

    Args:
        trained: a model with ``reader_names``.
        store: data with readings of the person, whom it names.
        reader: the person's name, as in the store.
        out: folder to make.
        split: part of the data that is fitted to.
        steps: of the fit.
        seed: of the order of the readings and of the draws.

    Returns:
        How many readings there were.

    Raises:
        InputError: a model without readers or one that knows the person, no readings of that person, data of another
            kind, fewer than one step, or a folder that exists.
    """
    check_out_folder(out, [store.path, trained.path])
    images = _images(trained, store, reader, split)
    if steps < 1:
        raise InputError(f"steps={steps} teach nothing; give at least 1")
    model, known = _with_one_more(trained, reader)
    image, label = (torch.stack(part) for part in zip(*images, strict=True))
    model.requires_grad_(False)
    persons = [model.get_parameter(name).requires_grad_() for name in model.reader_parameters]
    only_new = (torch.arange(known + 1) == known).float()[:, None]
    for parameter in persons:
        parameter.register_hook(lambda gradient: gradient * only_new)
    optimiser, generator = torch.optim.Adam(persons, lr=LEARNING_RATE), torch.Generator().manual_seed(seed)
    for _ in range(steps):
        chosen = torch.randint(len(image), (min(BATCH, len(image)),), generator=generator)
        drawn_by = torch.full((len(chosen),), known)
        optimiser.zero_grad()
        model.loss_of_reader(image[chosen], label[chosen], drawn_by, generator).total.backward()
        optimiser.step()
    facts = facts_of(trained)
    patients = facts.get("patients") or {}
    mine = {hashed(store.cases[int(row)].patient) for row in store.indices(split)}
    facts["patients"] = {**patients, "train": sorted({*patients.get("train", ()), *mine})}
    learned = {"reader": reader, "readings": len(images), "data": str(store.manifest["title"])}
    data = facts.get("data") or {}
    facts["data"] = {**data, "adapted": [*data.get("adapted", ()), learned]}
    save(model, out, **facts)
    return len(images)


def _images(trained: TrainedModel, store: Store, reader: str, split: Split) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """Images (C, H, W) and the person's labels (H, W), as the model sees them."""
    names = store.reader_names or ()
    if reader not in names:
        known = ", ".join(names) or "no persons"
        raise InputError(f"{store.path} names {known}, and not '{reader[:80]}'; give a reader of the data")
    images = EvaluationImages(store, split, trained.crop, intensity=trained.intensity)
    column, pairs = names.index(reader), []
    for item in (images[position] for position in range(len(images))):
        at = np.flatnonzero(item["readers"].numpy() == column)
        pairs += [(item["image"], item["labels"][int(at[0])])] if len(at) else []
    if not pairs:
        raise InputError(f"'{reader[:80]}' drew none of the {split} images of {store.path}; choose another --split")
    return pairs


def _with_one_more(trained: TrainedModel, reader: str) -> tuple[SegmentationModel, int]:
    """The same model with one more reader, who begins as the average of the others, and how many others there are."""
    before = trained.model()
    names = before.reader_names
    if not names:
        raise InputError(f"{trained.path} was trained without readers' names, so that no person can be added to it")
    if reader in names:
        raise InputError(f"{trained.path} knows '{reader[:80]}' already, from that person's readings in its training")
    refuse_alike([*names, reader], "readers", f"{trained.path} with one more")
    weights, shares = before.state_dict(), trained.specification.arguments["shares"] or [1.0] * len(names)
    among = [*(share * len(names) / sum(shares) for share in shares), 1.0]
    arguments = {**trained.specification.arguments, "reader_names": [*names, reader], "shares": among}
    model = replace(trained.specification, arguments=arguments).build(trained.trust)
    for name in model.reader_parameters:
        weights[name] = torch.cat([weights[name], weights[name].mean(dim=0, keepdim=True)])
    model.load_state_dict(weights | {model.reader_shares: model.get_buffer(model.reader_shares)})
    return model.eval(), len(names)
